//! Consumer groups: all of them, behind one lock that is never held across a wait.

mod group;
mod member;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

pub(crate) use group::{Caller, Group, State};
pub(crate) use member::{Join, JoinAnswer, JoinRefused, Joined, SyncAnswer, Synced};

use crate::sync::lock;

/// All groups that have, or expect, members. Groups that have only committed offsets are not here.
#[derive(Debug)]
pub(crate) struct Groups {
    groups: Mutex<HashMap<String, Group>>,
    /// A deadline may have come nearer.
    changed: Notify,
    groups_max: usize,
    members_max: usize,
}

impl Groups {
    pub(crate) fn new(groups_max: usize, members_max: usize) -> Groups {
        Groups { groups: Mutex::default(), changed: Notify::new(), groups_max, members_max }
    }

    pub(crate) fn join(&self, name: &str, join: Join) -> oneshot::Receiver<JoinAnswer> {
        let mut groups = lock(&self.groups);
        if !groups.contains_key(name) && groups.len() >= self.groups_max {
            let (sender, receiver) = oneshot::channel();
            let _ = sender
                .send(Err(JoinRefused { error: ResponseError::GroupMaxSizeReached, member: join.member }));
            return receiver;
        }
        let group = groups.entry(name.to_owned()).or_insert_with(|| Group::new(self.members_max));
        let prefix = if join.client.is_empty() { "member".to_owned() } else { join.client.clone() };
        let answer = group.join(join, || format!("{prefix}-{}", Uuid::new_v4()), Instant::now());
        if group.is_idle() {
            groups.remove(name);
        }
        drop(groups);
        self.changed.notify_one();
        answer
    }

    pub(crate) fn sync(
        &self,
        name: &str,
        caller: &Caller<'_>,
        assignments: Vec<(StrBytes, Bytes)>,
    ) -> oneshot::Receiver<SyncAnswer> {
        let mut groups = lock(&self.groups);
        match groups.get_mut(name) {
            Some(group) => group.sync(caller, assignments, Instant::now()),
            None => {
                let (sender, receiver) = oneshot::channel();
                let _ = sender.send(Err(ResponseError::UnknownMemberId));
                receiver
            }
        }
    }

    pub(crate) fn heartbeat(&self, name: &str, caller: &Caller<'_>) -> Result<(), ResponseError> {
        let mut groups = lock(&self.groups);
        groups.get_mut(name).ok_or(ResponseError::UnknownMemberId)?.heartbeat(caller, Instant::now())
    }

    pub(crate) fn may_commit(&self, name: &str, caller: &Caller<'_>) -> Result<(), ResponseError> {
        match lock(&self.groups).get_mut(name) {
            Some(group) => group.may_commit(caller, Instant::now()),
            None if caller.generation < 0 => Ok(()),
            None => Err(ResponseError::IllegalGeneration),
        }
    }

    pub(crate) fn leave(
        &self,
        name: &str,
        member: &str,
        instance: Option<&StrBytes>,
    ) -> Result<(), ResponseError> {
        let mut groups = lock(&self.groups);
        let group = groups.get_mut(name).ok_or(ResponseError::UnknownMemberId)?;
        let left = group.leave(member, instance, Instant::now());
        if group.is_idle() {
            groups.remove(name);
        }
        drop(groups);
        self.changed.notify_one();
        left
    }

    /// What `look` makes of a group that has members.
    pub(crate) fn with<T>(&self, name: &str, look: impl FnOnce(&Group) -> T) -> Option<T> {
        lock(&self.groups).get(name).map(look)
    }

    /// Names, states and protocol types.
    pub(crate) fn all(&self) -> Vec<(String, State, StrBytes)> {
        lock(&self.groups)
            .iter()
            .map(|(name, group)| (name.clone(), group.state, group.protocol_type.clone()))
            .collect()
    }

    /// Forgets a group without members; `false` when it has some.
    pub(crate) fn remove(&self, name: &str) -> bool {
        let mut groups = lock(&self.groups);
        if groups.get(name).is_some_and(|group| !group.members.is_empty()) {
            return false;
        }
        groups.remove(name);
        true
    }

    /// Lets time pass for the groups, for ever.
    pub(crate) async fn keep_time(&self) {
        loop {
            let next = self.tick(Instant::now());
            let changed = self.changed.notified();
            match next {
                Some(at) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(at.max(Instant::now() + SHORTEST_TICK).into()) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    fn tick(&self, now: Instant) -> Option<Instant> {
        let mut groups = lock(&self.groups);
        let next = groups.values_mut().filter_map(|group| group.tick(now)).min();
        groups.retain(|_, group| !group.is_idle());
        next
    }
}

/// Deadlines are looked at no more often than this.
const SHORTEST_TICK: std::time::Duration = std::time::Duration::from_millis(20);
