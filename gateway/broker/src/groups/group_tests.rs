use super::*;

const SESSION: Duration = Duration::from_secs(6);

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn join(member: &str, instance: Option<&'static str>, metadata: &'static str) -> Join {
    Join {
        member: member.to_owned(),
        instance: instance.map(text),
        client: "c".into(),
        host: "h".into(),
        protocol_type: text("consumer"),
        protocols: vec![(text("range"), Bytes::from_static(metadata.as_bytes()))],
        session: SESSION,
        rebalance: Duration::from_secs(60),
        id_first: false,
    }
}

fn caller<'a>(member: &'a str, generation: i32) -> Caller<'a> {
    Caller { member, instance: None, generation }
}

type Answer = oneshot::Receiver<JoinAnswer>;

fn add(group: &mut Group, id: &str, now: Instant) -> Answer {
    group.join(join("", None, "m"), || id.to_owned(), now)
}

fn done(answer: &mut Answer) -> Joined {
    answer.try_recv().expect("answered").expect("joined")
}

/// A stable group of `a`, the leader, and `b`.
fn pair(now: Instant) -> Group {
    let mut group = Group::new(10);
    let mut a = add(&mut group, "a", now);
    assert_eq!((done(&mut a).generation, group.state.name()), (1, "CompletingRebalance"));
    let mut b = add(&mut group, "b", now);
    assert!(b.try_recv().is_err(), "waits for a");
    let mut a = group.join(join("a", None, "m"), String::new, now);
    let (a, b) = (done(&mut a), done(&mut b));
    assert_eq!((a.members.len(), b.members.len(), a.leader.as_str(), b.generation), (2, 0, "a", 2));
    let mut waits = group.sync(&caller("b", 2), vec![], now);
    assert!(waits.try_recv().is_err());
    let given = vec![(text("a"), Bytes::from_static(b"A")), (text("b"), Bytes::from_static(b"B"))];
    let mut a = group.sync(&caller("a", 2), given, now);
    assert_eq!(a.try_recv().unwrap().unwrap().assignment, "A");
    assert_eq!(waits.try_recv().unwrap().unwrap().assignment, "B");
    assert_eq!(group.state, State::Stable);
    group
}

#[test]
fn two_members_share_and_are_told_of_a_third() {
    let now = Instant::now();
    let mut group = pair(now);
    assert_eq!(group.heartbeat(&caller("a", 2), now), Ok(()));
    assert_eq!(group.heartbeat(&caller("a", 1), now), Err(ResponseError::IllegalGeneration));
    assert_eq!(group.heartbeat(&caller("x", 2), now), Err(ResponseError::UnknownMemberId));
    let _c = add(&mut group, "c", now);
    assert_eq!(group.heartbeat(&caller("a", 2), now), Err(ResponseError::RebalanceInProgress));
    assert_eq!(
        group.may_commit(&caller("a", 2), now),
        Ok(()),
        "what was done may be committed before joining again"
    );
}

#[test]
fn an_unchanged_follower_missed_only_the_answer() {
    let now = Instant::now();
    let mut group = pair(now);
    let mut again = group.join(join("b", None, "m"), String::new, now);
    assert_eq!((done(&mut again).generation, group.state), (2, State::Stable));
    let mut changed = group.join(join("b", None, "other"), String::new, now);
    assert!(changed.try_recv().is_err());
    assert_eq!(group.state.name(), "PreparingRebalance");
}

#[test]
fn a_silent_member_loses_its_place() {
    let now = Instant::now();
    let mut group = pair(now);
    let later = now + Duration::from_secs(4);
    group.heartbeat(&caller("a", 2), later).unwrap();
    assert_eq!(group.tick(now + Duration::from_secs(5)), Some(now + SESSION));
    group.tick(now + SESSION);
    assert_eq!((group.members.len(), group.state.name()), (1, "PreparingRebalance"));
    let mut alone = group.join(join("a", None, "m"), String::new, now + SESSION);
    assert_eq!(done(&mut alone).generation, 3);
}

#[test]
fn a_member_that_does_not_rejoin_is_left_behind() {
    let now = Instant::now();
    let mut group = pair(now);
    let mut c = add(&mut group, "c", now);
    let mut a = group.join(join("a", None, "m"), String::new, now);
    for second in (0..60).step_by(3) {
        let at = now + Duration::from_secs(second);
        let _ = group.heartbeat(&caller("b", 2), at);
        group.tick(at);
    }
    assert!(a.try_recv().is_err());
    group.tick(now + Duration::from_secs(60));
    assert_eq!(done(&mut a).members.len(), 2);
    assert_eq!(done(&mut c).generation, 3);
}

#[test]
fn a_closed_connection_does_not_hold_a_place() {
    let now = Instant::now();
    let mut group = pair(now);
    drop(add(&mut group, "c", now));
    let mut a = group.join(join("a", None, "m"), String::new, now);
    let _b = group.join(join("b", None, "m"), String::new, now);
    assert_eq!(done(&mut a).members.len(), 2, "c is gone");
}

#[test]
fn a_static_member_takes_its_place_back_and_fences_its_former_self() {
    let now = Instant::now();
    let mut group = Group::new(10);
    let mut first = group.join(join("", Some("one"), "m"), || "a".into(), now);
    let joined = done(&mut first);
    let given = vec![(text("a"), Bytes::from_static(b"A"))];
    let old = Caller { member: "a", instance: joined.members[0].1.as_ref(), generation: 1 };
    group.sync(&old, given, now).try_recv().unwrap().unwrap();
    let mut second = group.join(join("", Some("one"), "m"), || "b".into(), now);
    let again = done(&mut second);
    assert_eq!(
        (again.generation, again.member.as_str(), again.leader.as_str()),
        (1, "b", "a"),
        "no rebalance"
    );
    let new = Caller { member: "b", ..old };
    assert_eq!(group.sync(&new, vec![], now).try_recv().unwrap().unwrap().assignment, "A");
    assert_eq!(group.heartbeat(&old, now), Err(ResponseError::FencedInstanceId));
    let mut fenced = group.join(join("a", Some("one"), "m"), String::new, now);
    assert_eq!(fenced.try_recv().unwrap().unwrap_err().error, ResponseError::FencedInstanceId);
    assert_eq!(group.leave("", old.instance, now), Ok(()));
    assert_eq!(group.state, State::Empty);
}

#[test]
fn an_id_is_given_out_first_when_asked() {
    let now = Instant::now();
    let mut group = Group::new(1);
    let mut asks = group.join(Join { id_first: true, ..join("", None, "m") }, || "a".into(), now);
    let refused = asks.try_recv().unwrap().unwrap_err();
    assert_eq!((refused.error, refused.member.as_str()), (ResponseError::MemberIdRequired, "a"));
    let mut full = add(&mut group, "b", now);
    assert_eq!(full.try_recv().unwrap().unwrap_err().error, ResponseError::GroupMaxSizeReached);
    let mut comes = group.join(join("a", None, "m"), String::new, now);
    assert_eq!(done(&mut comes).member, "a");
    let mut stranger = group.join(join("x", None, "m"), String::new, now);
    assert_eq!(stranger.try_recv().unwrap().unwrap_err().error, ResponseError::UnknownMemberId);
}

#[test]
fn members_must_have_a_protocol_in_common() {
    let now = Instant::now();
    let mut group = pair(now);
    let odd = Join { protocols: vec![(text("sticky"), Bytes::new())], ..join("", None, "m") };
    let mut answer = group.join(odd, || "c".into(), now);
    assert_eq!(answer.try_recv().unwrap().unwrap_err().error, ResponseError::InconsistentGroupProtocol);
    assert_eq!(group.state, State::Stable);
}
