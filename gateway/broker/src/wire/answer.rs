//! Answers as frames.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ResponseHeader, ResponseKind, TopicName};
use kafka_protocol::protocol::Encodable;

use crate::storage::partition::Ends;

/// What goes back for one request.
#[derive(Debug)]
pub(crate) enum Answer {
    Kafka(Box<ResponseKind>),
    /// Encoded here, so that records are copied once.
    Fetched(Fetched),
    /// The client asked for none.
    Nothing,
}

impl<T: Into<ResponseKind>> From<T> for Answer {
    fn from(kind: T) -> Answer {
        Answer::Kafka(Box::new(kind.into()))
    }
}

/// The answer to a fetch.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) error: i16,
    pub(crate) topics: Vec<(TopicName, Vec<FetchedPartition>)>,
}

/// One partition of it.
#[derive(Debug)]
pub(crate) struct FetchedPartition {
    pub(crate) index: i32,
    pub(crate) error: i16,
    pub(crate) ends: Ends,
    /// Whole batches, in order.
    pub(crate) batches: Vec<Bytes>,
}

/// Why an answer could not be sent; the connection is closed then, so that the client does not wait for ever.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("the answer does not fit its version: {0}")]
    Version(String),
    #[error("the answer is larger than a frame can be")]
    TooLarge,
}

/// Adds a whole frame to `out`.
pub(crate) fn encode(
    answer: &Answer,
    key: ApiKey,
    version: i16,
    correlation: i32,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.put_i32(0);
    match answer {
        Answer::Nothing => {
            out.truncate(start);
            return Ok(());
        }
        Answer::Kafka(kind) => {
            let header = ResponseHeader::default().with_correlation_id(correlation);
            let encoded = header
                .encode(out, key.response_header_version(version))
                .and_then(|()| kind.encode(out, version));
            encoded.map_err(|error| EncodeError::Version(format!("{error:#}")))?;
        }
        Answer::Fetched(fetched) => {
            out.put_i32(correlation);
            put_fetched(fetched, version, out)?;
        }
    }
    let length = i32::try_from(out.len() - start - 4).map_err(|_| EncodeError::TooLarge)?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Fetch answers of versions 4 to 11.
fn put_fetched(fetched: &Fetched, version: i16, out: &mut BytesMut) -> Result<(), EncodeError> {
    out.put_i32(0);
    if version >= 7 {
        out.put_i16(fetched.error);
        out.put_i32(0);
    }
    put_count(fetched.topics.len(), out)?;
    for (name, partitions) in &fetched.topics {
        out.put_i16(i16::try_from(name.len()).map_err(|_| EncodeError::TooLarge)?);
        out.put_slice(name.as_bytes());
        put_count(partitions.len(), out)?;
        for partition in partitions {
            put_partition(partition, version, out)?;
        }
    }
    Ok(())
}

fn put_partition(partition: &FetchedPartition, version: i16, out: &mut BytesMut) -> Result<(), EncodeError> {
    out.put_i32(partition.index);
    out.put_i16(partition.error);
    out.put_i64(partition.ends.high_watermark);
    // Without transactions all that is synced is stable.
    out.put_i64(partition.ends.high_watermark);
    if version >= 5 {
        out.put_i64(partition.ends.log_start);
    }
    // No aborted transactions.
    put_count(0, out)?;
    if version >= 11 {
        // No replica to read from instead.
        out.put_i32(-1);
    }
    put_count(partition.batches.iter().map(Bytes::len).sum(), out)?;
    for batch in &partition.batches {
        out.put_slice(batch);
    }
    Ok(())
}

fn put_count(count: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
    out.put_i32(i32::try_from(count).map_err(|_| EncodeError::TooLarge)?);
    Ok(())
}
