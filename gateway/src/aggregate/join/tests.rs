use std::time::SystemTime;

use rdkafka::Timestamp;
use rdkafka::message::{OwnedHeaders, OwnedMessage};

use super::*;
use crate::message::{Dialect, Mode};
use crate::outcome::Reason;
use crate::relay::record::{Draft, End, Fields};

const SECOND: Micros = 1_000_000;

fn fields(kind: Kind, id: RelayId) -> Fields<'static> {
    let ends = matches!(kind, Kind::Terminal | Kind::Refusal);
    let end = End {
        state: Reason::Completed.state(),
        reason: Reason::Completed,
        duration: Duration::from_millis(1),
        request_bytes: 1,
        answer_bytes: 1,
    };
    Fields {
        kind,
        id,
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        parent_span: None,
        principal: "p",
        tenant: "t",
        agent: "a",
        dialect: Dialect::A2aV10,
        method: "SendMessage",
        tool: None,
        mode: Mode::Relay,
        key: None,
        deadline: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_060)),
        policies: None,
        repeatable: false,
        attempt: 0,
        redrives: None,
        sequence: 0,
        epoch: None,
        idempotency: None,
        replay_of: None,
        lines: false,
        end: ends.then_some(end),
    }
}

fn message(kind: Kind, id: RelayId, offset: i64) -> OwnedMessage {
    let headers: OwnedHeaders = Draft::new(&fields(kind, id)).headers;
    let time = Timestamp::CreateTime(1_000_000_000);
    OwnedMessage::new(Some(b"{}".to_vec()), None, "t".into(), time, 0, offset, Some(headers))
}

/// A partition whose records are given by hand.
#[derive(Default)]
struct Partition {
    join: Join,
    requests: i64,
    ends: i64,
}

impl Partition {
    fn asked(&mut self, id: RelayId, written: Micros) {
        let message = message(Kind::Request, id, self.requests);
        self.requests += 1;
        self.join.asked(&View::decode(&message).unwrap(), written);
    }

    /// Gives whether it could be audited at once. Written and read at `now`.
    fn ended(&mut self, kind: Kind, id: RelayId, now: Micros) -> bool {
        let message = message(kind, id, self.ends);
        self.ends += 1;
        let ended = Ended::of(&View::decode(&message).unwrap()).unwrap();
        self.join.ended(ended, now, now).is_ok()
    }

    fn ready(&mut self, now: Micros, read_out: bool) -> Vec<(RelayId, Option<i64>)> {
        let mut ready = Vec::new();
        while let Some((ended, request)) = self.join.ready(now, read_out) {
            ready.push((ended.id, request.map(|source| source.offset)));
        }
        ready
    }
}

fn ids() -> [RelayId; 3] {
    std::array::from_fn(|_| RelayId::generate())
}

#[test]
fn a_request_read_first_is_joined_at_once() {
    let (mut partition, [a, b, _]) = (Partition::default(), ids());
    partition.asked(a, 0);
    partition.asked(b, 0);
    assert!(partition.ended(Kind::Terminal, b, 0));
    assert_eq!(partition.join.requests_from(), 0, "a is open");
    assert!(partition.ended(Kind::Terminal, a, 0));
    assert_eq!(partition.join.requests_from(), 2);
    assert!(partition.ended(Kind::Refusal, RelayId::generate(), 0), "a refusal has none");
}

#[test]
fn ends_keep_their_order_while_one_waits() {
    let (mut partition, [a, b, c]) = (Partition::default(), ids());
    partition.asked(b, 0);
    assert!(!partition.ended(Kind::Terminal, a, 0));
    assert!(!partition.ended(Kind::Terminal, b, 0), "behind a");
    assert!(!partition.ended(Kind::Refusal, c, 0), "behind a");
    assert_eq!(partition.ready(0, true), []);
    partition.asked(a, 0);
    assert_eq!(partition.ready(0, true), [(a, Some(1)), (b, Some(0)), (c, None)]);
}

#[test]
fn a_request_that_does_not_come_is_given_up_but_not_soon() {
    let (mut partition, [a, b, _]) = (Partition::default(), ids());
    partition.asked(b, 0);
    assert!(!partition.ended(Kind::Terminal, a, SECOND));
    assert!(!partition.ended(Kind::Terminal, b, SECOND));
    assert_eq!(partition.ready(10 * SECOND, true), []);
    assert_eq!(partition.ready(60 * SECOND, false), [], "there is more to read");
    assert_eq!(partition.ready(11 * SECOND, true), [(a, None), (b, Some(0))]);

    let (mut partition, [a, b, c]) = (Partition::default(), ids());
    assert!(!partition.ended(Kind::Terminal, a, SECOND));
    partition.asked(b, 61 * SECOND);
    assert_eq!(partition.ready(SECOND, false), []);
    partition.asked(c, 61 * SECOND + 1);
    assert_eq!(partition.ready(SECOND, false), [(a, None)], "requests of a minute later have been read");
}

#[test]
fn a_request_without_an_end_is_forgotten_an_hour_past_its_deadline() {
    let (mut partition, [a, b, _]) = (Partition::default(), ids());
    partition.asked(a, 0);
    partition.asked(b, 0);
    partition.join.forget(a);
    let deadline = 1_000_060 * SECOND;
    assert_eq!(partition.join.expire(deadline + OVERDUE), 0);
    assert_eq!((partition.join.held().0, partition.join.requests_from()), (1, 1));
    assert_eq!(partition.join.expire(deadline + OVERDUE + 1), 1);
    assert_eq!((partition.join.held().0, partition.join.requests_from()), (0, 2));
}

#[test]
fn what_runs_ahead_is_held_up() {
    let mut partition = Partition::default();
    for _ in 0..MAX_OPEN {
        assert!(partition.join.takes_requests());
        partition.asked(RelayId::generate(), 0);
    }
    assert!(!partition.join.takes_requests());
    for _ in 0..MAX_WAITING {
        assert!(partition.join.takes_ends());
        partition.ended(Kind::Terminal, RelayId::generate(), 0);
    }
    assert!(!partition.join.takes_ends());
    assert!(partition.join.takes_requests(), "one of those to come may be waited for");
}
