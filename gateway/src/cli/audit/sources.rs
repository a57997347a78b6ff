//! What audit records are made from, read from the log one partition at a time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use rdkafka::Message;

use crate::aggregate::audit::{EPOCH_HEADER, Ended, HASH_HEADER, Hash, Source};
use crate::aggregate::reader::{Extent, Partition, Polled, Reader};
use crate::aggregate::verify::{Request, Sources};
use crate::cli::CliError;
use crate::message::RelayId;
use crate::relay::record::{Kind, View};
use crate::relay::{Fence, Topic};

/// How long the log may keep silent about records that it has.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many exchanges are remembered, so that one that ends twice shows; some 64 bytes each.
const REMEMBERED: usize = 1_000_000;

/// Requests and events of one partition.
pub(super) struct Topics<'r> {
    reader: &'r Reader,
    partition: i32,
    requests: Partition,
    events: Partition,
    requests_low: i64,
    events_low: i64,
    /// Where reading events ends for now.
    pub(super) limit: i64,
    open: HashMap<RelayId, Source>,
    ended: HashSet<RelayId>,
    ended_order: VecDeque<RelayId>,
    fence: Fence,
}

impl<'r> Topics<'r> {
    /// Sources whose queues are `requests` and `events`, read from the first offset there is.
    pub(super) fn new(
        reader: &'r Reader,
        partition: i32,
        (requests, events): (Partition, Partition),
    ) -> Self {
        Self {
            reader,
            partition,
            requests_low: requests.next,
            events_low: events.next,
            requests,
            events,
            limit: i64::MAX,
            open: HashMap::new(),
            ended: HashSet::new(),
            ended_order: VecDeque::new(),
            fence: Fence::default(),
        }
    }

    fn read_requests_to(&mut self, offset: i64) -> Result<(), CliError> {
        while self.requests.next <= offset {
            let wait = Wait { reader: self.reader, topic: Topic::Requests, partition: self.partition };
            let open = &mut self.open;
            let read = wait.next(&mut self.requests, |view| {
                if view.fields.kind == Kind::Request {
                    let source = Source { offset: view.offset, sha256: Hash::of_value(view.body) };
                    open.insert(view.fields.id, source);
                }
            })?;
            if !read {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Says whether `id` ends for the first time.
    fn ends_first(&mut self, id: RelayId) -> bool {
        self.ended_order.push_back(id);
        if self.ended_order.len() > REMEMBERED
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
        self.ended.insert(id)
    }
}

impl Sources for Topics<'_> {
    type Error = CliError;

    fn first_event(&self) -> i64 {
        self.events_low
    }

    fn next_end(&mut self) -> Result<Option<Ended<Box<str>>>, CliError> {
        while self.events.next < self.limit {
            let wait = Wait { reader: self.reader, topic: Topic::Events, partition: self.partition };
            let mut end = None;
            let fence = &mut self.fence;
            let read = wait.next(&mut self.events, |view| {
                if fence.admits(view) {
                    end = Ended::of(view).map(Ended::into_owned);
                }
            })?;
            if end.is_some() || !read {
                return Ok(end);
            }
        }
        Ok(None)
    }

    fn request(&mut self, id: RelayId, offset: Option<i64>) -> Result<Request, CliError> {
        if !self.ends_first(id) {
            return Ok(Request::Taken);
        }
        if offset.is_some_and(|offset| offset < self.requests_low) {
            return Ok(Request::Removed);
        }
        if let Some(offset) = offset {
            self.read_requests_to(offset)?;
        }
        Ok(self.open.remove(&id).map_or(Request::Missing, Request::There))
    }
}

/// Reads the next record of a partition, and knows when there is none.
pub(super) struct Wait<'r> {
    pub(super) reader: &'r Reader,
    pub(super) topic: Topic,
    pub(super) partition: i32,
}

impl Wait<'_> {
    /// Gives the next record to `take`, when it can be read; false at the end of the partition.
    fn next(&self, queue: &mut Partition, mut take: impl FnMut(&View<'_>)) -> Result<bool, CliError> {
        self.raw(queue, |message| {
            if let Ok(view) = View::decode(message) {
                take(&view);
            }
        })
    }

    /// The same with the record as it is.
    pub(super) fn raw(
        &self,
        queue: &mut Partition,
        take: impl FnOnce(&rdkafka::message::BorrowedMessage<'_>),
    ) -> Result<bool, CliError> {
        let since = Instant::now();
        loop {
            if let Polled::Record(message) = queue.poll(Duration::from_millis(20))? {
                take(&message);
                return Ok(true);
            }
            // What was the end a moment ago need not be it now.
            let Extent { high, .. } = self.reader.extent(self.topic, self.partition)?;
            if queue.next >= high {
                return Ok(false);
            }
            if since.elapsed() > PATIENCE {
                return Err(CliError::Silent {
                    topic: self.topic.as_str(),
                    partition: self.partition,
                    seconds: PATIENCE.as_secs(),
                });
            }
            self.reader.serve(Duration::ZERO)?;
        }
    }
}

/// The value and headers of an audit record.
pub(super) struct Copied {
    pub(super) offset: i64,
    pub(super) value: Vec<u8>,
    pub(super) hash: Option<Vec<u8>>,
    pub(super) epoch: Option<i64>,
}

impl Copied {
    pub(super) fn of(message: &rdkafka::message::BorrowedMessage<'_>) -> Self {
        use rdkafka::message::Headers;
        let header = |name| {
            let found = message.headers()?.iter().find(|found| found.key == name)?;
            found.value
        };
        let epoch = header(EPOCH_HEADER).and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        Self {
            offset: message.offset(),
            value: message.payload().unwrap_or_default().to_vec(),
            hash: header(HASH_HEADER).map(<[u8]>::to_vec),
            epoch,
        }
    }
}
