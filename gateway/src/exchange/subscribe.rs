//! A2A subscribe: from the log whatever the log has, from the agent otherwise.
//!
//! With `Last-Event-ID` (an extension of this gateway's) the stream goes on after that event. Without, a stream of the
//! task that is still open is gone on with: first the task as its events tell it, then what comes. Only a task without
//! one is asked of its agent; when the agent is gone, the log still tells the task.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use hyper::{Response, StatusCode};

use super::metrics::Ending;
use super::positions::{At, Bound};
use super::relayed::Pending;
use super::respond::Refused;
use super::{Front, direct, resume, sse};
use crate::edge::Body;
use crate::message::{Dialect, Mode, Operation, Protocol};
use crate::outcome::Reason;
use crate::protocol::{RawId, Snapshot};
use crate::relay::record::{Kind, View};
use crate::relay::{FollowError, Position, Task};

/// How long the log is read for a task before its agent is asked instead.
const READING: Duration = Duration::from_secs(10);

/// Subscribes to `task`; `position` is what the client says of where it stands.
pub(super) async fn run(
    front: &Front,
    pending: Pending,
    task: &Task,
    position: Option<&str>,
    ending: Ending,
) -> Response<Body> {
    let gateway = &front.gateway;
    let (dialect, id) = (pending.admitted.dialect, pending.id.clone());
    let bound = gateway.positions.of(&pending.admitted, None);
    if let Some(position) = position {
        return match resume::go_on(gateway, dialect, bound, position, Some(&id)).await {
            Ok(response) => {
                ending.finish(Reason::Completed);
                response
            }
            Err(refused) => {
                ending.finish(refused.reason);
                refused.response(None)
            }
        };
    }
    if !task.state.is_terminal()
        && let Ok(Some(told)) = tell(front, task, dialect, &id).await
        && let Some(at) = told.open
        && let Ok(following) = gateway.follower.follow(at.id, at.position).await
    {
        ending.finish(Reason::Completed);
        let first = stream::iter([sse::item(Some(bound.write(at)), told.body)]);
        let rest = resume::rest(dialect, bound, at, following, Some(id));
        return resume::response(gateway, at, first.chain(rest));
    }
    let response = direct::run(front, pending, ending).await;
    if response.status() != StatusCode::BAD_GATEWAY {
        return response;
    }
    match tell(front, task, dialect, &id).await {
        Ok(Some(told)) => last_known(front, told, task, (dialect, &id, bound)),
        _ => response,
    }
}

/// A task as its events tell it.
struct Told {
    body: bytes::Bytes,
    /// It was over, or waited for its caller.
    rests: bool,
    /// Where a stream of it that is still open stands.
    open: Option<At>,
    end: i64,
}

/// The task without its agent. Unless the task rests, the stream ends with what is wrong.
fn last_known(
    front: &Front,
    told: Told,
    task: &Task,
    (dialect, id, bound): (Dialect, &RawId, Bound),
) -> Response<Body> {
    let position = Position { partition: task.partition, offset: told.end - 1 };
    let at = At { id: task.relay_id, position, sequence: 0 };
    let mut items = vec![sse::item(Some(bound.write(at)), told.body)];
    if !told.rests {
        let message = "the agent cannot be reached; this is the task as the log knows it";
        let refused = Refused::new(Reason::UpstreamUnreachable, dialect, Some(id), message);
        items.extend(sse::last(dialect, Reason::UpstreamUnreachable, None, refused.body()));
    }
    resume::response(&front.gateway, at, stream::iter(items))
}

/// Reads what the log has of `task`; none when it has nothing, or not in the dialect of this request.
async fn tell(front: &Front, task: &Task, dialect: Dialect, id: &RawId) -> Result<Option<Told>, FollowError> {
    let gateway = &front.gateway;
    let range = gateway.follower.extent(task.partition).await?;
    let (from, end) = (task.from.max(range.start), range.end);
    let teller = Teller {
        snapshot: Snapshot::new(dialect, &task.task),
        task: task.clone(),
        most: gateway.limits.answer_bytes,
        whole: task.from >= range.start,
        stream: None,
    };
    let read = gateway.follower.read(task.partition, from..end, READING, teller, Teller::hear).await?;
    let open = read.stream.and_then(|sequence| {
        let position = Position { partition: task.partition, offset: end - 1 };
        Some(At { id: task.relay_id, position, sequence: sequence? })
    });
    let body = read.snapshot.body(id).filter(|_| read.whole);
    Ok(body.map(|body| Told { body, rests: read.snapshot.rests(), open, end }))
}

struct Teller {
    snapshot: Snapshot,
    task: Task,
    most: usize,
    /// All of it was there, and in one dialect.
    whole: bool,
    /// The stream that last brought the task a message: its latest event, none once it has ended.
    stream: Option<Option<u32>>,
}

impl Teller {
    fn hear(&mut self, view: &View<'_>) -> bool {
        let fields = &view.fields;
        let ours = fields.dialect.protocol() == Protocol::A2a
            && *fields.agent == *self.task.agent
            && self.task.is_of(fields.tenant, fields.principal);
        if !ours || !matches!(fields.kind, Kind::Event | Kind::Terminal) {
            return true;
        }
        // Several messages stand a line each; a single one may have line ends of its own.
        let mut taken = false;
        for body in view.body.split(|byte| fields.lines && *byte == b'\n') {
            taken |= self.snapshot.take(body);
        }
        let streams = fields.mode == Mode::Relay && fields.method == Operation::Stream.method(fields.dialect);
        if fields.id == self.task.relay_id && streams {
            self.stream = Some((fields.kind == Kind::Event).then_some(fields.sequence));
        }
        self.whole &= !taken || fields.dialect == self.snapshot.dialect();
        self.whole &= self.snapshot.bytes() <= self.most;
        self.whole
    }
}
