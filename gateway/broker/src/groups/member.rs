//! One member of a consumer group.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;

/// What a member asks for when it joins.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) member: String,
    /// Name of a static member.
    pub(crate) instance: Option<StrBytes>,
    pub(crate) client: String,
    pub(crate) host: String,
    pub(crate) protocol_type: StrBytes,
    /// Ways to assign, the best first, each with what the member says for it.
    pub(crate) protocols: Vec<(StrBytes, Bytes)>,
    pub(crate) session: Duration,
    pub(crate) rebalance: Duration,
    /// A member without an id is given one first and must come back with it.
    pub(crate) id_first: bool,
}

/// The answer to a join.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) protocol_type: StrBytes,
    pub(crate) protocol: StrBytes,
    pub(crate) leader: String,
    pub(crate) member: String,
    /// Everyone with what they said, for the leader only.
    pub(crate) members: Vec<(String, Option<StrBytes>, Bytes)>,
}

/// A refused join, with the member id the client is to use.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JoinRefused {
    pub(crate) error: ResponseError,
    pub(crate) member: String,
}

/// The answer to a sync.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Synced {
    pub(crate) protocol_type: StrBytes,
    pub(crate) protocol: StrBytes,
    pub(crate) assignment: Bytes,
}

pub(crate) type JoinAnswer = Result<Joined, JoinRefused>;
pub(crate) type SyncAnswer = Result<Synced, ResponseError>;

/// A member as the group knows it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance: Option<StrBytes>,
    pub(crate) client: String,
    pub(crate) host: String,
    pub(crate) protocols: Vec<(StrBytes, Bytes)>,
    pub(crate) session: Duration,
    pub(crate) rebalance: Duration,
    pub(crate) assignment: Bytes,
    /// Gone unless it is heard from before.
    pub(crate) expires: Instant,
    /// Waits for the rebalance to complete.
    pub(crate) joining: Option<oneshot::Sender<JoinAnswer>>,
    /// Waits for the leader's assignment.
    pub(crate) syncing: Option<oneshot::Sender<SyncAnswer>>,
}

impl Member {
    pub(crate) fn new(id: String, join: Join, now: Instant) -> Member {
        Member {
            id,
            instance: join.instance,
            client: join.client,
            host: join.host,
            protocols: join.protocols,
            session: join.session,
            rebalance: join.rebalance,
            assignment: Bytes::new(),
            expires: now + join.session,
            joining: None,
            syncing: None,
        }
    }

    /// Its session begins anew.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.expires = now + self.session;
    }

    /// Its client waits for an answer on an open connection, so it is there whatever its session says.
    pub(crate) fn is_waiting(&self) -> bool {
        self.is_joining() || self.syncing.as_ref().is_some_and(|sender| !sender.is_closed())
    }

    pub(crate) fn is_joining(&self) -> bool {
        self.joining.as_ref().is_some_and(|sender| !sender.is_closed())
    }

    pub(crate) fn supports(&self, protocol: &StrBytes) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    pub(crate) fn metadata(&self, protocol: &StrBytes) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| name == protocol)
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }

    pub(crate) fn answer_join(&mut self, answer: JoinAnswer) {
        if let Some(sender) = self.joining.take() {
            let _ = sender.send(answer);
        }
    }

    pub(crate) fn answer_sync(&mut self, answer: SyncAnswer) {
        if let Some(sender) = self.syncing.take() {
            let _ = sender.send(answer);
        }
    }
}
