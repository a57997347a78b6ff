//! Which partitions of the requests this replica owns, since which epoch, and what is under way in each.
//!
//! The group gives partitions and takes them; an epoch record of another replica takes one as well. A request that
//! this replica accepts for a partition of its own is claimed as soon as it is acknowledged, without reading it back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

use super::recover::Recovered;
use super::tracker::{Mark, Tracker};

/// How long new work without a key goes to one partition before it goes to the next. One request to the log carries
/// the records of one partition, so many partitions at once cost many requests.
const TURN_MS: u128 = 50;

/// A partition that is given up in order waits so long for what is under way in it.
const HANDOVER: Duration = Duration::from_secs(10);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// What this replica owns.
#[derive(Debug)]
pub struct Ownership {
    partitions: Vec<Mutex<Slot>>,
    /// The partitions that are owned, in order.
    owned: ArcSwap<Vec<i32>>,
    short_cuts: bool,
}

#[derive(Debug, Default)]
struct Slot {
    /// The group has given it to this replica.
    given: bool,
    owned: Option<Owned>,
    /// Requests on their way to the log that will be claimed.
    entering: usize,
}

/// A partition in this replica's hands.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) epoch: i64,
    pub(super) tracker: Tracker,
    pub(super) recovered: Recovered,
    /// It is about to be given up: nothing new is claimed.
    closing: bool,
}

impl Owned {
    pub(super) fn new(epoch: i64, recovered: Recovered) -> Self {
        Self { epoch, tracker: Tracker::after(recovered.inherited), recovered, closing: false }
    }
}

impl Ownership {
    /// Nothing is owned yet. `short_cuts`: whether requests are claimed on acknowledgement.
    pub fn new(partitions: i32, short_cuts: bool) -> Self {
        let partitions = (0..partitions).map(|_| Mutex::default()).collect();
        Self { partitions, owned: ArcSwap::default(), short_cuts }
    }

    /// Whether what this replica wrote needs no reading back.
    pub(super) fn short_cuts(&self) -> bool {
        self.short_cuts
    }

    /// Since which epoch this replica owns `partition`; none when it does not, or gives it up.
    pub fn epoch_of(&self, partition: i32) -> Option<i64> {
        self.slot(partition)?.owned.as_ref().filter(|owned| !owned.closing).map(|owned| owned.epoch)
    }

    /// A partition for new work at `time`: one of this replica's own when it has any.
    pub(super) fn pick(&self, time: SystemTime) -> i32 {
        let millis = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let turn = usize::try_from(millis / TURN_MS).unwrap_or(0);
        let owned = self.owned.load();
        match owned.len() {
            0 => i32::try_from(turn % self.partitions.len().max(1)).unwrap_or(0),
            count => owned[turn % count],
        }
    }

    /// Announces a request that is about to be appended to `partition`; none when it is not to be claimed.
    pub(super) fn enter(self: &Arc<Self>, partition: i32) -> Option<Entry> {
        if !self.short_cuts {
            return None;
        }
        let mut slot = self.slot(partition)?;
        let epoch = slot.owned.as_ref().filter(|owned| !owned.closing)?.epoch;
        slot.entering += 1;
        Some(Entry { ownership: Arc::clone(self), partition, epoch })
    }

    /// Does `work` on a partition that is owned.
    pub(super) fn with<T>(&self, partition: i32, work: impl FnOnce(&mut Owned) -> T) -> Option<T> {
        self.slot(partition)?.owned.as_mut().map(work)
    }

    /// The same, if it is owned since `epoch`.
    pub(super) fn since<T>(
        &self,
        partition: i32,
        epoch: i64,
        work: impl FnOnce(&mut Owned) -> T,
    ) -> Option<T> {
        self.slot(partition)?.owned.as_mut().filter(|owned| owned.epoch == epoch).map(work)
    }

    /// The group gives the partition; it is owned once its past has been read.
    pub(super) fn give(&self, partition: i32) {
        if let Some(mut slot) = self.slot(partition) {
            slot.given = true;
        }
    }

    /// Partitions that the group has given to this replica, and that are not in its hands: not yet, or because of an
    /// epoch record behind which nobody stands.
    pub(super) fn missing(&self) -> Vec<i32> {
        let missing = |slot: &Slot| slot.given && slot.owned.is_none();
        self.numbers().filter(|partition| self.slot(*partition).is_some_and(|slot| missing(&slot))).collect()
    }

    pub(super) fn assign(&self, partition: i32, owned: Owned) {
        if let Some(mut slot) = self.slot(partition).filter(|slot| slot.given) {
            slot.owned = Some(owned);
        }
        self.list();
    }

    /// The group takes the partition away.
    pub(super) fn take_back(&self, partition: i32) {
        if let Some(mut slot) = self.slot(partition) {
            slot.given = false;
        }
        self.lose(partition);
    }

    /// The partition is another replica's from now on.
    fn lose(&self, partition: i32) {
        if let Some(mut slot) = self.slot(partition) {
            slot.owned = None;
        }
        self.list();
    }

    /// Another replica has begun `epoch` in `partition`.
    pub(super) fn fenced(&self, partition: i32, epoch: i64) {
        let owned = self.with(partition, |owned| owned.epoch);
        if owned.is_some_and(|owned| owned < epoch) {
            tracing::warn!(partition, epoch, "another replica has taken over a partition that was held here");
            self.lose(partition);
        }
    }

    /// Gives partitions up in order: nothing new is claimed, and what is under way may end first. Blocks, for a bounded
    /// time; what then still runs is the next owner's to judge.
    pub(super) fn hand_over(&self, partitions: &[i32]) {
        for partition in partitions {
            self.with(*partition, |owned| owned.closing = true);
        }
        self.list();
        let until = Instant::now() + HANDOVER;
        while partitions.iter().any(|partition| self.is_busy(*partition)) && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
    }

    fn is_busy(&self, partition: i32) -> bool {
        self.slot(partition).is_some_and(|slot| {
            slot.owned.as_ref().is_some_and(|owned| slot.entering > 0 || owned.tracker.open() > 0)
        })
    }

    /// What to commit: for each partition that has moved. `events`: where the events of a partition stand.
    pub(super) fn marks(&self, events: impl Fn(i32) -> i64) -> HashMap<i32, Mark> {
        let mark = |partition| self.with(partition, |owned| owned.tracker.mark(events(partition))).flatten();
        self.numbers().filter_map(|partition| Some((partition, mark(partition)?))).collect()
    }

    fn list(&self) {
        let open = |partition: &i32| self.with(*partition, |owned| !owned.closing).unwrap_or(false);
        self.owned.store(Arc::new(self.numbers().filter(open).collect()));
    }

    fn numbers(&self) -> impl Iterator<Item = i32> + use<> {
        0..i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    fn slot(&self, partition: i32) -> Option<MutexGuard<'_, Slot>> {
        let slot = self.partitions.get(usize::try_from(partition).ok()?)?;
        Some(slot.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request on its way to a partition of this replica's own.
#[derive(Debug)]
pub(super) struct Entry {
    ownership: Arc<Ownership>,
    partition: i32,
    pub(super) epoch: i64,
}

impl Entry {
    /// The request is on the log at `offset`, the events stand at `events`: whether it is the caller's to deliver.
    /// Otherwise the reader has it already, or another replica will.
    pub(super) fn claim(self, offset: i64, events: i64) -> bool {
        let claim = |owned: &mut Owned| owned.tracker.claim(offset, events);
        self.ownership.since(self.partition, self.epoch, claim).unwrap_or(false)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(mut slot) = self.ownership.slot(self.partition) {
            slot.entering -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ownership() -> Arc<Ownership> {
        let ownership = Arc::new(Ownership::new(4, true));
        ownership.give(1);
        ownership.give(3);
        ownership.assign(1, Owned::new(10, Recovered::default()));
        ownership.assign(3, Owned::new(11, Recovered::default()));
        ownership
    }

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn new_work_goes_to_own_partitions_in_turn() {
        let ownership = ownership();
        let picked: Vec<_> = (0..4).map(|turn| ownership.pick(at(turn * 50))).collect();
        assert_eq!(picked, [1, 3, 1, 3]);
        assert_eq!(ownership.pick(at(49)), ownership.pick(at(0)));
        assert_eq!((ownership.epoch_of(1), ownership.epoch_of(2)), (Some(10), None));
        ownership.lose(1);
        assert_eq!(ownership.epoch_of(1), None);
        assert_eq!(ownership.pick(at(0)), 3);
        ownership.lose(3);
        assert_eq!(ownership.pick(at(100)), 2, "with none owned, any");
    }

    #[test]
    fn a_request_is_claimed_only_under_the_epoch_of_its_acceptance() {
        let ownership = ownership();
        assert!(ownership.enter(0).is_none());
        assert!(ownership.enter(1).expect("owned").claim(5, 0));
        let entry = ownership.enter(1).expect("owned");
        ownership.assign(1, Owned::new(20, Recovered::default()));
        assert!(!entry.claim(6, 0), "taken away and given again in between");
        let entry = ownership.enter(3).expect("owned");
        ownership.fenced(3, 11);
        ownership.fenced(3, 30);
        assert!(!entry.claim(7, 0), "fenced");
        assert!(ownership.enter(3).is_none());
    }

    #[test]
    fn a_partition_is_handed_over_when_nothing_is_under_way() {
        let ownership = ownership();
        let entry = ownership.enter(1).expect("owned");
        let handing = std::thread::spawn({
            let ownership = Arc::clone(&ownership);
            move || ownership.hand_over(&[1])
        });
        while ownership.pick(at(0)) == 1 {
            std::thread::yield_now();
        }
        assert!(ownership.enter(1).is_none(), "nothing new");
        assert!(!handing.is_finished());
        assert!(entry.claim(5, 0));
        assert!(!handing.is_finished());
        ownership.with(1, |owned| owned.tracker.finish(5));
        handing.join().unwrap();
    }

    #[test]
    fn what_the_group_took_away_meanwhile_is_not_owned() {
        let ownership = ownership();
        ownership.take_back(1);
        ownership.assign(1, Owned::new(20, Recovered::default()));
        assert_eq!(ownership.epoch_of(1), None);
        assert!(ownership.enter(1).is_none());
        assert!(ownership.missing().is_empty());
        ownership.fenced(3, 30);
        assert_eq!(ownership.missing(), [3], "the group still says that it is ours");
    }

    #[test]
    fn without_short_cuts_nothing_is_claimed() {
        let ownership = Arc::new(Ownership::new(1, false));
        ownership.give(0);
        ownership.assign(0, Owned::new(1, Recovered::default()));
        assert!(ownership.enter(0).is_none());
    }
}
