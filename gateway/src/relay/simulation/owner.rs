//! Owners of the partition, one after the other: each recovers, takes requests, delivers, commits, and is killed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::agent::Agent;
use super::world::{Mutation, World, message};
use crate::outcome::Reason;
use crate::relay::append_error::AppendError;
use crate::relay::appender::Position;
use crate::relay::delivery::{History, Input};
use crate::relay::drive::{Ground, Job, drive};
use crate::relay::record::{Fields, Kind};
use crate::relay::replies::Word;
use crate::relay::tracker::{Inherited, Mark, Tracker};

/// Killed so often at most; the last owner lives on.
const KILLS: u64 = 4;

/// What one owner writes with: a record may come to lie after its writer is dead, or its acknowledgement get lost.
struct Log {
    world: Arc<World>,
    epoch: i64,
}

impl Ground for Log {
    async fn append(
        &self,
        _: i32,
        fields: &Fields<'_>,
        body: &[u8],
        word: Word,
    ) -> Result<Position, AppendError> {
        let world = Arc::clone(&self.world);
        let (on_its_way, back, fate) = {
            let mut inner = world.lock();
            (
                inner.rng.pause(Duration::from_secs(2)),
                inner.rng.pause(Duration::from_millis(200)),
                inner.rng.below(20),
            )
        };
        if fate == 0 {
            tokio::time::sleep(on_its_way).await;
            return Err(AppendError::Unconfirmed);
        }
        if fields.kind == Kind::Started && world.mutation == Mutation::StartedUnwritten {
            go(word);
            return Ok(Position { partition: 0, offset: 0 });
        }
        let (epoch, record) = (self.epoch, message(fields, body));
        let landing = tokio::spawn(async move {
            tokio::time::sleep(on_its_way).await;
            let offset = world.land(record, epoch);
            (offset, world.counts(offset))
        });
        let (offset, counts) = landing.await.map_err(|_| AppendError::Unconfirmed)?;
        tokio::time::sleep(back).await;
        if fate == 1 {
            return Err(AppendError::Unconfirmed);
        }
        if counts {
            go(word);
        }
        Ok(Position { partition: 0, offset })
    }

    async fn bury(&self, job: &Job, reason: Reason, _: u32) {
        tokio::time::sleep(self.world.pause(Duration::from_secs(1))).await;
        self.world.lock().letters.push((job.admitted.id, reason));
    }

    fn now(&self) -> SystemTime {
        self.world.now()
    }
}

/// A record on which a delivery waits counts.
fn go(word: Word) {
    if let Word::Go(go) = word {
        let _ = go.send(());
    }
}

/// Lets one owner after the other have the partition.
pub(super) async fn owners(world: Arc<World>) {
    let kills = world.lock().rng.below(KILLS + 1);
    for _ in 0..kills {
        let life = world.pause(Duration::from_secs(20)) * 2;
        // Being cut off at any point is what is tried here.
        drop(tokio::time::timeout(life, own(&world)).await);
        let gap = world.pause(Duration::from_secs(3));
        tokio::time::sleep(gap).await;
    }
    own(&world).await;
}

/// What the log says of the requests from the committed one on.
struct Recovered {
    mark: Mark,
    until: usize,
    histories: HashMap<crate::message::RelayId, History>,
}

fn recover(world: &World) -> Recovered {
    let mark = world.lock().committed.unwrap_or(Mark { requests: 0, events: 0 });
    let until = world.lock().requests.len();
    let mut histories: HashMap<_, History> = HashMap::new();
    world.read(mark.events, |view, _| {
        histories.entry(view.fields.id).or_default().saw(&view.fields);
    });
    for history in histories.values_mut() {
        history.started &= world.mutation != Mutation::StartedForgotten;
        history.ended &= world.mutation != Mutation::EndForgotten;
    }
    Recovered { mark, until, histories }
}

/// The life of an owner; its deliveries end with it.
async fn own(world: &Arc<World>) {
    tokio::time::sleep(world.pause(Duration::from_millis(500))).await;
    let epoch = world.begin_epoch();
    let mut recovered = recover(world);
    let ground = Arc::new(Log { world: Arc::clone(world), epoch });
    let mut inherited = Inherited { until: recovered.until as i64, events: recovered.mark.events };
    if world.mutation == Mutation::PastForgotten {
        inherited = Inherited::default();
    }
    let tracker = Arc::new(Mutex::new(Tracker::after(inherited)));
    let mut deliveries = JoinSet::new();
    let mut next = usize::try_from(recovered.mark.requests).unwrap_or(0);
    loop {
        tokio::time::sleep(Duration::from_millis(50) + world.pause(Duration::from_millis(200))).await;
        while let Some(request) = { world.lock().requests.get(next).cloned() } {
            let history = recovered.histories.remove(&request.id).unwrap_or_default();
            let inherited = next < recovered.until;
            let (offset, events) = (next as i64, world.lock().events.len() as i64);
            next += 1;
            let mut tracked = tracker.lock().expect("nothing panics while it is held");
            tracked.reach(offset);
            if history.ended {
                continue;
            }
            tracked.take(offset, events);
            if world.mutation == Mutation::CommittedEarly {
                tracked.finish(offset);
            }
            drop(tracked);
            let taken = Input::Taken {
                history,
                inherited,
                late: request.deadline <= world.now(),
                abandoned: false,
                implied: false,
            };
            deliveries.spawn(deliver(
                Arc::clone(world),
                Arc::clone(&ground),
                Arc::clone(&tracker),
                request,
                taken,
                offset,
            ));
        }
        while deliveries.try_join_next().is_some() {}
        let events = world.lock().events.len() as i64;
        let mark = tracker.lock().expect("nothing panics while it is held").mark(events);
        if let Some(mark) = mark {
            world.lock().committed = Some(mark);
        }
    }
}

async fn deliver(
    world: Arc<World>,
    ground: Arc<Log>,
    tracker: Arc<Mutex<Tracker>>,
    mut request: crate::relay::Admitted,
    taken: Input,
    offset: i64,
) {
    request.repeatable |= world.mutation == Mutation::AllRepeatable;
    let job = Job {
        admitted: Arc::new(request),
        body: Bytes::from_static(b"{}"),
        offset,
        epoch: ground.epoch,
        cancel: Arc::new(Notify::new()),
    };
    drive(&*ground, &Agent(world), job, taken).await;
    tracker.lock().expect("nothing panics while it is held").finish(offset);
}
