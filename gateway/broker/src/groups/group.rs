//! The classic consumer group as a state machine. It does no I/O and reads no clock: time comes in as a value.
//!
//! A member joins, which makes the group *prepare*: all members are told to join again. When all have, or the slowest
//! one's time is up, the group *completes*: everyone learns the generation, the leader also all members, and hands in
//! the assignment. Then the group is *stable* until a member joins, leaves, or is not heard from.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;

use super::member::{Join, JoinAnswer, JoinRefused, Joined, Member, SyncAnswer, Synced};

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    /// Waits for the members to join again, until then at the latest.
    Preparing(Instant),
    /// Waits for the leader's assignment, until then at the latest.
    Completing(Instant),
    Stable,
}

impl State {
    /// The name by which tools know it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Preparing(_) => "PreparingRebalance",
            State::Completing(_) => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) state: State,
    pub(crate) generation: i32,
    pub(crate) protocol_type: StrBytes,
    pub(crate) protocol: StrBytes,
    leader: String,
    /// In the order in which they came.
    pub(crate) members: Vec<Member>,
    /// Ids given out to members that have not come back with them, and until when they may.
    invited: Vec<(String, Instant)>,
    members_max: usize,
}

impl Group {
    pub(crate) fn new(members_max: usize) -> Group {
        Group {
            state: State::Empty,
            generation: 0,
            protocol_type: StrBytes::default(),
            protocol: StrBytes::default(),
            leader: String::new(),
            members: Vec::new(),
            invited: Vec::new(),
            members_max,
        }
    }

    /// Nobody is there or expected.
    pub(crate) fn is_idle(&self) -> bool {
        self.members.is_empty() && self.invited.is_empty()
    }

    /// A member wants in; `fresh_id` is used when it has no id yet.
    pub(crate) fn join(
        &mut self,
        join: Join,
        fresh_id: impl FnOnce() -> String,
        now: Instant,
    ) -> oneshot::Receiver<JoinAnswer> {
        let (sender, receiver) = oneshot::channel();
        let refuse = |error, member: &str| JoinRefused { error, member: member.to_owned() };
        if !self.fits(&join) {
            let _ = sender.send(Err(refuse(ResponseError::InconsistentGroupProtocol, &join.member)));
            return receiver;
        }
        let same_instance = join.instance.as_ref().and_then(|name| self.position_of_instance(name));
        let invited = self.invited.iter().position(|(id, _)| *id == join.member);
        match self.position(&join.member) {
            _ if join.member.is_empty() => match same_instance {
                Some(at) => self.replace_static(at, fresh_id(), join, sender, now),
                None if self.is_full() => {
                    drop(sender.send(Err(refuse(ResponseError::GroupMaxSizeReached, ""))))
                }
                None if join.id_first && join.instance.is_none() => {
                    let id = fresh_id();
                    self.invited.push((id.clone(), now + join.session));
                    let _ = sender.send(Err(refuse(ResponseError::MemberIdRequired, &id)));
                }
                None => self.add(fresh_id(), join, sender, now),
            },
            Some(at) if join.instance.is_some() && self.members[at].instance != join.instance => {
                let _ = sender.send(Err(refuse(ResponseError::FencedInstanceId, &join.member)));
            }
            Some(at) => self.rejoin(at, join, sender, now),
            None if same_instance.is_some() => {
                drop(sender.send(Err(refuse(ResponseError::FencedInstanceId, &join.member))))
            }
            None => match invited {
                Some(at) => {
                    let (id, _) = self.invited.remove(at);
                    self.add(id, join, sender, now);
                }
                None => drop(sender.send(Err(refuse(ResponseError::UnknownMemberId, &join.member)))),
            },
        }
        receiver
    }

    /// Whether a joining member could share an assignment with the others.
    fn fits(&self, join: &Join) -> bool {
        let others = || {
            self.members.iter().filter(|member| {
                member.id != join.member && (join.instance.is_none() || member.instance != join.instance)
            })
        };
        if join.protocols.is_empty() || join.protocol_type.is_empty() {
            return false;
        }
        others().next().is_none()
            || (self.protocol_type == join.protocol_type
                && join.protocols.iter().any(|(name, _)| others().all(|member| member.supports(name))))
    }

    fn is_full(&self) -> bool {
        self.members.len() + self.invited.len() >= self.members_max
    }

    fn add(&mut self, id: String, join: Join, sender: oneshot::Sender<JoinAnswer>, now: Instant) {
        self.protocol_type = join.protocol_type.clone();
        let mut member = Member::new(id, join, now);
        member.joining = Some(sender);
        self.members.push(member);
        self.rebalance(now);
    }

    /// A known member joins again: for a rebalance, or because it missed the answer.
    fn rejoin(&mut self, at: usize, join: Join, sender: oneshot::Sender<JoinAnswer>, now: Instant) {
        let member = &mut self.members[at];
        let unchanged = member.protocols == join.protocols;
        member.protocols = join.protocols;
        member.session = join.session;
        member.rebalance = join.rebalance;
        member.heard(now);
        member.joining = Some(sender);
        let is_leader = member.id == self.leader;
        match self.state {
            State::Completing(_) if unchanged => self.answer_joined(at),
            State::Stable if unchanged && !is_leader => self.answer_joined(at),
            _ => self.rebalance(now),
        }
    }

    /// A static member came back without its id: it takes its own place, and its former self is fenced.
    fn replace_static(
        &mut self,
        at: usize,
        id: String,
        join: Join,
        sender: oneshot::Sender<JoinAnswer>,
        now: Instant,
    ) {
        let old = &mut self.members[at];
        let fenced = JoinRefused { error: ResponseError::FencedInstanceId, member: old.id.clone() };
        old.answer_join(Err(fenced));
        old.answer_sync(Err(ResponseError::FencedInstanceId));
        let unchanged = old.protocols == join.protocols;
        let mut member = Member::new(id, join, now);
        member.assignment = old.assignment.clone();
        member.joining = Some(sender);
        let was_leader = old.id == self.leader;
        self.members[at] = member;
        if self.state != State::Stable || !unchanged {
            if was_leader {
                self.leader = self.members[at].id.clone();
            }
            return self.rebalance(now);
        }
        // Its assignment stands. Told that its former self leads, it takes it over instead of making a new one.
        let former_leader = self.leader.clone();
        if was_leader {
            self.leader = self.members[at].id.clone();
        }
        let mut joined = self.joined(at);
        joined.leader = former_leader;
        joined.members = Vec::new();
        self.members[at].answer_join(Ok(joined));
    }

    /// Asks everyone to join again.
    fn rebalance(&mut self, now: Instant) {
        if !matches!(self.state, State::Preparing(_)) {
            for member in &mut self.members {
                member.answer_sync(Err(ResponseError::RebalanceInProgress));
            }
            self.state = State::Preparing(now + self.patience());
        }
        self.complete_if_ready(now);
    }

    /// The longest time that a member claims for its rebalance.
    fn patience(&self) -> Duration {
        self.members.iter().map(|member| member.rebalance).max().unwrap_or_default()
    }

    fn complete_if_ready(&mut self, now: Instant) {
        let State::Preparing(until) = self.state else {
            return;
        };
        let all = self.invited.is_empty() && self.members.iter().all(|member| member.joining.is_some());
        if !all && now < until {
            return;
        }
        // A closed connection does not wait for the answer; a static member may come back to its place.
        self.members.retain(|member| member.is_joining() || member.instance.is_some());
        if !self.members.iter().any(Member::is_joining) {
            if self.members.is_empty() {
                self.become_empty();
            } else {
                self.state = State::Preparing(now + self.patience());
            }
            return;
        }
        self.generation = self.generation.wrapping_add(1).max(1);
        if !self.members.iter().any(|member| member.id == self.leader && member.is_joining()) {
            self.leader = self
                .members
                .iter()
                .find(|member| member.is_joining())
                .map(|member| member.id.clone())
                .unwrap_or_default();
        }
        self.protocol = self.choose_protocol();
        self.state = State::Completing(now + self.patience());
        for at in 0..self.members.len() {
            self.members[at].assignment = Bytes::new();
            self.members[at].heard(now);
            self.answer_joined(at);
        }
    }

    /// The leader's best that all support; joining has made sure that there is one.
    fn choose_protocol(&self) -> StrBytes {
        let leader = self.members.iter().find(|member| member.id == self.leader);
        let mut names = leader.into_iter().flat_map(|member| &member.protocols).map(|(name, _)| name);
        names
            .find(|name| self.members.iter().all(|member| member.supports(name)))
            .cloned()
            .unwrap_or_default()
    }

    fn answer_joined(&mut self, at: usize) {
        let joined = self.joined(at);
        self.members[at].answer_join(Ok(joined));
    }

    fn joined(&self, at: usize) -> Joined {
        let member = &self.members[at];
        let everyone = || {
            self.members
                .iter()
                .map(|member| (member.id.clone(), member.instance.clone(), member.metadata(&self.protocol)))
                .collect()
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member: member.id.clone(),
            members: if member.id == self.leader { everyone() } else { Vec::new() },
        }
    }

    /// A member asks for its assignment; the leader brings everyone's.
    pub(crate) fn sync(
        &mut self,
        caller: &Caller<'_>,
        assignments: Vec<(StrBytes, Bytes)>,
        now: Instant,
    ) -> oneshot::Receiver<SyncAnswer> {
        let (sender, receiver) = oneshot::channel();
        let at = match self.find(caller) {
            Ok(at) => at,
            Err(error) => {
                let _ = sender.send(Err(error));
                return receiver;
            }
        };
        if matches!(self.state, State::Preparing(_) | State::Empty) {
            let _ = sender.send(Err(ResponseError::RebalanceInProgress));
            return receiver;
        }
        self.members[at].heard(now);
        self.members[at].syncing = Some(sender);
        if matches!(self.state, State::Completing(_)) && self.members[at].id == self.leader {
            for (id, assignment) in assignments {
                if let Some(at) = self.position(&id) {
                    self.members[at].assignment = assignment;
                }
            }
            self.state = State::Stable;
        }
        if self.state == State::Stable {
            for member in &mut self.members {
                let assignment = member.assignment.clone();
                member.answer_sync(Ok(Synced {
                    protocol_type: self.protocol_type.clone(),
                    protocol: self.protocol.clone(),
                    assignment,
                }));
            }
        }
        receiver
    }

    /// A member is alive.
    pub(crate) fn heartbeat(&mut self, caller: &Caller<'_>, now: Instant) -> Result<(), ResponseError> {
        let at = self.find(caller)?;
        self.members[at].heard(now);
        if matches!(self.state, State::Preparing(_)) {
            Err(ResponseError::RebalanceInProgress)
        } else {
            Ok(())
        }
    }

    /// Whether this member may commit offsets; counts as a heartbeat.
    pub(crate) fn may_commit(&mut self, caller: &Caller<'_>, now: Instant) -> Result<(), ResponseError> {
        if caller.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        let at = self.find(caller)?;
        self.members[at].heard(now);
        if matches!(self.state, State::Completing(_)) {
            Err(ResponseError::RebalanceInProgress)
        } else {
            Ok(())
        }
    }

    /// A member goes; a static one may be named by its instance alone.
    pub(crate) fn leave(
        &mut self,
        member: &str,
        instance: Option<&StrBytes>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        if let Some(at) = self.invited.iter().position(|(id, _)| id == member) {
            self.invited.remove(at);
            self.complete_if_ready(now);
            return Ok(());
        }
        let at = match instance.map(|name| self.position_of_instance(name)) {
            Some(Some(at)) if !member.is_empty() && self.members[at].id != member => {
                return Err(ResponseError::FencedInstanceId);
            }
            Some(found) => found,
            None => self.position(member),
        };
        self.remove(at.ok_or(ResponseError::UnknownMemberId)?);
        self.after_removal(now);
        Ok(())
    }

    fn remove(&mut self, at: usize) {
        let mut member = self.members.remove(at);
        let id = member.id.clone();
        member.answer_join(Err(JoinRefused { error: ResponseError::UnknownMemberId, member: id }));
        member.answer_sync(Err(ResponseError::UnknownMemberId));
    }

    fn after_removal(&mut self, now: Instant) {
        if self.members.is_empty() { self.become_empty() } else { self.rebalance(now) }
    }

    fn become_empty(&mut self) {
        self.state = State::Empty;
        self.generation = self.generation.wrapping_add(1).max(1);
        self.protocol = StrBytes::default();
        self.leader = String::new();
    }

    /// Lets time pass: sessions end, deadlines fall due. Returns when to come again.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<Instant> {
        let late = matches!(self.state, State::Completing(until) if now >= until);
        self.invited.retain(|(_, until)| now < *until);
        let before = self.members.len();
        while let Some(at) =
            self.members.iter().position(|member| !member.is_waiting() && (now >= member.expires || late))
        {
            self.remove(at);
        }
        if self.members.len() < before {
            self.after_removal(now);
        }
        self.complete_if_ready(now);
        self.next_tick()
    }

    pub(crate) fn next_tick(&self) -> Option<Instant> {
        let deadline = match self.state {
            State::Preparing(until) | State::Completing(until) => Some(until),
            State::Empty | State::Stable => None,
        };
        let sessions = self.members.iter().map(|member| member.expires);
        sessions.chain(self.invited.iter().map(|(_, until)| *until)).chain(deadline).min()
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.members.iter().position(|member| member.id == id)
    }

    fn position_of_instance(&self, name: &StrBytes) -> Option<usize> {
        self.members.iter().position(|member| member.instance.as_ref() == Some(name))
    }

    fn find(&self, caller: &Caller<'_>) -> Result<usize, ResponseError> {
        if let Some(at) = caller.instance.and_then(|name| self.position_of_instance(name))
            && self.members[at].id != caller.member
        {
            return Err(ResponseError::FencedInstanceId);
        }
        let at = self.position(caller.member).ok_or(ResponseError::UnknownMemberId)?;
        if caller.generation == self.generation { Ok(at) } else { Err(ResponseError::IllegalGeneration) }
    }
}

/// Who a member claims to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) member: &'a str,
    pub(crate) instance: Option<&'a StrBytes>,
    pub(crate) generation: i32,
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
