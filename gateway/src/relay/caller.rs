//! What delivery needs of the world beyond the gateway.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Instant;

use super::admitted::Admitted;
use super::record::View;
use crate::config::Retry;
use crate::message::RelayId;
use crate::outcome::Reason;

/// Calls agents and servers. Dropping the future, or the stream, gives the call up.
pub trait Caller: Send + Sync + 'static {
    /// Room for one call at an upstream; given back when the call is over, or when it is dropped.
    type Place: Send;

    /// Waits until the upstream of `admitted` takes call number `attempt` (from 1): as long as it takes, unless the
    /// mode is one in which nobody waits.
    fn enter(
        &self,
        admitted: &Admitted,
        attempt: u32,
    ) -> impl Future<Output = Result<Self::Place, Failure>> + Send;

    /// Sends `body` to the upstream of `admitted` and waits for its first word.
    fn call(
        &self,
        admitted: &Admitted,
        body: Bytes,
        deadline: Instant,
        place: Self::Place,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send;

    /// How long to wait between two attempts.
    fn retry(&self, admitted: &Admitted) -> Retry;

    /// The error that a client of `admitted` is to see, in its own protocol.
    fn explain(&self, admitted: &Admitted, request: &Bytes, failure: &Failure) -> Bytes;

    /// Waits until everything that was learned from the answers of `id` is on the log too. Before this it does not count
    /// as finished.
    fn settled(&self, id: RelayId) -> impl Future<Output = ()> + Send;

    /// An event or an end that was found on the log of an exchange whose owner may have stopped before it was settled.
    fn found(&self, view: &View<'_>);
}

/// The messages of a stream, as they come.
pub type Messages = Pin<Box<dyn Stream<Item = Result<Message, Failure>> + Send>>;

/// What an upstream says.
pub enum Answer {
    Unary(Message),
    Stream(Messages),
}

/// One message, as the client shall see it.
#[derive(Clone, Debug)]
pub struct Message {
    pub body: Bytes,
    /// It is the whole answer, or the last message of a stream that names its last.
    pub last: bool,
    /// It is a JSON-RPC error.
    pub error: bool,
}

/// A call without an answer.
#[derive(Clone, Debug)]
pub struct Failure {
    pub reason: Reason,
    /// For the caller: no address, no secret.
    pub message: String,
}

impl Failure {
    /// A failure that needs no more words than its reason.
    pub fn plain(reason: Reason) -> Self {
        let message = match reason {
            Reason::UpstreamTimeout => "the upstream did not answer before the deadline; it may have acted",
            Reason::KeyReused => {
                "the idempotency key was used before with something else to ask for; use a new key"
            }
            Reason::Lost => "the gateway stopped during this call; the upstream may have acted",
            Reason::Cancelled => "cancelled",
            Reason::LogUnavailable => {
                "the log did not acknowledge the request in time; it was not carried out"
            }
            Reason::UpstreamBroken => "the upstream went away in the middle; it may have acted",
            _ => "the call failed",
        };
        Self { reason, message: message.to_owned() }
    }
}
