use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::dimensions::OTHER;
use super::*;

const SECOND: Micros = 1_000_000;
const AGENTS: [&str; 5] = ["advisor", "ledger", "gold_price", "profit_clac", "x"];

/// One exchange of a generated log.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    partition: i32,
    time: Micros,
    agent: &'static str,
    state: &'static str,
    duration_us: u64,
    cost: u64,
}

fn observation(exchange: &Exchange, offset: i64) -> Observation<'static> {
    Observation {
        partition: exchange.partition,
        offset,
        since: offset,
        time: exchange.time,
        written: exchange.time.max(0),
        labels: Labels {
            tenant: "demo",
            agent: exchange.agent,
            method: "SendMessage",
            tool: None,
            state: exchange.state,
            reason: exchange.state,
        },
        duration_us: exchange.duration_us,
        request_bytes: 10,
        answer_bytes: 20,
        usage: Usage { input_tokens: 3, output_tokens: 4, cost: exchange.cost, ..Usage::default() },
    }
}

fn at(partition: i32, seconds: i64) -> Exchange {
    let time = 1_700_000_000 * SECOND + seconds * SECOND;
    Exchange { partition, time, agent: "advisor", state: "completed", duration_us: 1_000, cost: 7 }
}

fn none(_: i32) -> Option<i64> {
    None
}

/// What a reader of `kamf.aggregates` has: by key the last value.
type Topic = BTreeMap<String, Row>;

fn write(topic: &mut Topic, flush: &Flush) {
    topic.extend(flush.rows.iter().map(|row| (row.key(), row.clone())));
}

/// By size, window and agent (and outcome): calls and cost.
type Sums = BTreeMap<(Size, Micros, String, String), (u64, u64)>;

fn sums(topic: &Topic) -> Sums {
    let mut sums = Sums::new();
    for row in topic.values() {
        let d = &row.dimensions;
        let sum = sums.entry((row.size, row.start, d.agent.to_string(), d.state.to_string())).or_default();
        sum.0 += row.totals.calls;
        sum.1 += row.totals.cost;
    }
    sums
}

/// Without rows that were written again with nothing in them.
fn present(mut sums: Sums) -> Sums {
    sums.retain(|_, sum| *sum != (0, 0));
    sums
}

fn recount(log: &[Exchange]) -> Sums {
    let mut sums = Sums::new();
    for exchange in log {
        for size in Size::ALL {
            let key =
                (size, size.start_of(exchange.time), exchange.agent.to_owned(), exchange.state.to_owned());
            let sum = sums.entry(key).or_default();
            sum.0 += 1;
            sum.1 += exchange.cost;
        }
    }
    sums
}

#[test]
fn a_window_closes_when_every_partition_is_past_its_end_and_the_lateness() {
    let mut windows = Windows::new(2, Bounds::default());
    windows.record(&observation(&at(0, 0), 0));
    windows.record(&observation(&at(0, 100), 1));
    assert!(windows.flush(none).rows.is_empty(), "partition 1 has said nothing");
    windows.idle(1, at(1, 14).time);
    assert!(windows.flush(none).rows.is_empty(), "lateness is 5 s");
    windows.idle(1, at(1, 15).time);
    let rows = windows.flush(none).rows;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].size, rows[0].totals.calls, rows[0].totals.cost), (Size::TenSeconds, 1, 7));
    assert!(windows.flush(none).rows.is_empty(), "nothing changed");
}

#[test]
fn a_late_record_is_counted_and_its_row_written_again() {
    let mut windows = Windows::new(1, Bounds::default());
    assert_eq!(windows.record(&observation(&at(0, 0), 0)), Placement::Counted);
    windows.record(&observation(&at(0, 15), 1));
    assert_eq!(windows.flush(none).rows[0].totals.calls, 1);
    assert_eq!(windows.record(&observation(&at(0, 9), 2)), Placement::Late);
    let again = windows.flush(none).rows;
    assert_eq!((again.len(), again[0].totals.calls), (1, 2));
}

#[test]
fn what_comes_for_a_window_no_longer_held_is_a_correction_of_its_own() {
    let mut windows = Windows::new(1, Bounds::default());
    let mut topic = Topic::new();
    let log = [at(0, 0), at(0, 4_000), at(0, 1), at(0, 2)];
    for (offset, exchange) in log.iter().enumerate() {
        let placement = windows.record(&observation(exchange, offset as i64));
        assert_eq!(placement == Placement::Corrected, offset > 1);
        let flush = windows.flush(none);
        write(&mut topic, &flush);
        windows.settle(&flush.position);
    }
    windows.idle(0, at(0, 8_000).time);
    write(&mut topic, &windows.flush(none));
    assert_eq!(sums(&topic), recount(&log));
    assert_eq!(topic.values().filter(|row| row.correction.is_some()).count(), 4);
}

#[test]
fn a_clock_far_ahead_neither_closes_windows_nor_holds_one() {
    let mut windows = Windows::new(1, Bounds::default());
    let mut wrong = observation(&at(0, 86_400), 0);
    wrong.written = at(0, 0).time;
    assert_eq!(windows.record(&wrong), Placement::Corrected);
    assert_eq!(windows.record(&observation(&at(0, 0), 1)), Placement::Counted);
    windows.set_now(at(0, 1).time);
    windows.record(&observation(&at(0, 500), 2));
    assert_eq!(windows.watermark(), at(0, 1).time, "no watermark passes the clock");
    assert_eq!(windows.held().0, 2);
}

#[test]
fn keys_over_the_bound_are_counted_under_other_and_refusals_take_half() {
    let bounds = Bounds { keys: 4, ..Bounds::default() };
    let mut windows = Windows::new(1, bounds);
    let calls = AGENTS.into_iter().flat_map(|a| [(a, "refused"), (a, "completed"), (a, "completed")]);
    for (offset, (agent, state)) in (0..).zip(calls) {
        windows.record(&observation(&Exchange { agent, state, ..at(0, 0) }, offset));
    }
    let rows = windows.rows(Size::TenSeconds, 0);
    let calls = |agent: &str| -> u64 {
        rows.iter().filter(|row| &*row.dimensions.agent == agent).map(|row| row.totals.calls).sum()
    };
    assert_eq!(rows.iter().map(|row| row.totals.calls).sum::<u64>(), 15);
    assert_eq!((calls("advisor"), calls("ledger")), (3, 3));
    assert_eq!(calls(OTHER), windows.overflowed());
    assert_eq!(rows.len(), 5, "four keys and other");
    assert_eq!(rows.iter().filter(|row| &*row.dimensions.state == "refused").count(), 2);
}

#[test]
fn keys_written_before_a_restart_keep_their_cells() {
    let bounds = Bounds { keys: 1, ..Bounds::default() };
    let (first, second) = (at(0, 0), Exchange { agent: "ledger", ..at(0, 1) });
    let mut before = Windows::new(1, bounds);
    let mut topic = Topic::new();
    before.record(&observation(&first, 0));
    before.record(&observation(&second, 1));
    before.idle(0, at(0, 60).time);
    let flush = before.flush(none);
    write(&mut topic, &flush);

    let mut after = Windows::new(1, bounds);
    after.restore(&flush.position);
    after.expect(
        Size::TenSeconds,
        Size::TenSeconds.start_of(first.time),
        observation(&first, 0).labels,
        false,
    );
    // Read in another order this time, as two partitions can be.
    after.record(&observation(&second, 1));
    after.record(&observation(&first, 0));
    after.record(&observation(&at(0, 2), 2));
    after.idle(0, at(0, 60).time);
    write(&mut topic, &after.flush(none));
    let sum: u64 = topic.values().filter(|r| r.size == Size::TenSeconds).map(|r| r.totals.calls).sum();
    assert_eq!((topic.len(), sum), (4, 3), "advisor and other in both sizes");
}

#[test]
fn labels_that_would_run_together_are_told_apart() {
    let labels = |tenant, agent| Labels { tenant, agent, ..observation(&at(0, 0), 0).labels };
    let (mut one, mut other) = (Vec::new(), Vec::new());
    labels("ab", "c").write_key(&mut one);
    labels("a", "bc").write_key(&mut other);
    assert_ne!(one, other);
    let no_tool = Labels { tool: None, ..labels("a", "b") };
    let empty_tool = Labels { tool: Some(""), ..no_tool };
    no_tool.write_key(&mut one);
    empty_tool.write_key(&mut other);
    assert_ne!(one, other);
}

#[test]
fn quantiles_are_within_one_percent() {
    let mut windows = Windows::new(1, Bounds::default());
    for offset in 0..10_000 {
        let exchange = Exchange { duration_us: offset + 1, ..at(0, 0) };
        windows.record(&observation(&exchange, offset as i64));
    }
    let latency = windows.rows(Size::TenSeconds, 0)[0].latency;
    for (value, truth) in [(latency.p50_us, 5_000), (latency.p90_us, 9_000), (latency.p99_us, 9_900)] {
        assert!(value.abs_diff(truth) * 100 <= truth + 100, "{value} for {truth}");
    }
}

/// A log of two hours in three partitions, each roughly in order with some exchanges hours late.
fn log() -> impl Strategy<Value = Vec<Exchange>> {
    let exchange = (0..3_i32, 0..7_200_i64, 0..100_u32, 0..AGENTS.len(), any::<bool>(), 0..50_u64);
    proptest::collection::vec(exchange, 1..400).prop_map(|mut drawn| {
        drawn.sort_by_key(|(_, second, lateness, ..)| {
            second + if *lateness > 95 { 5_000 } else { i64::from(*lateness) / 8 }
        });
        let place =
            |(partition, second, _, agent, failed, cost): (i32, i64, u32, usize, bool, u64)| Exchange {
                agent: AGENTS[agent],
                state: if failed { "failed" } else { "completed" },
                duration_us: cost * 100,
                cost,
                ..at(partition, second)
            };
        drawn.into_iter().map(place).collect()
    })
}

/// A small generator, so that a failing case shrinks and is found again.
fn chance(seed: u32) -> impl FnMut() -> u32 {
    let mut state = u64::from(seed) | 1;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    }
}

/// Runs over `log`, flushing and being killed by chance; a kill may fall between rows and position.
fn run(log: &[Exchange], mut chance: impl FnMut() -> u32, bounds: Bounds) -> Topic {
    let mut topic = Topic::new();
    let mut position = Position::default();
    let mut partitions: BTreeMap<i32, Vec<Exchange>> = BTreeMap::new();
    log.iter().for_each(|exchange| partitions.entry(exchange.partition).or_default().push(*exchange));
    let mut torn_rows: Vec<String> = Vec::new();
    'life: loop {
        let mut windows = Windows::new(3, bounds);
        windows.restore(&position);
        for (key, row) in topic.iter().filter(|(_, row)| row.correction.is_none()) {
            windows.expect(row.size, row.start, row.dimensions.labels(), torn_rows.contains(key));
        }
        let start = |p: i32| position.partitions.get(&p).map_or(0, |offsets| offsets.start);
        let mut next: BTreeMap<i32, i64> = (0..3).map(|p| (p, start(p))).collect();
        loop {
            let p = (chance() % 3) as i32;
            let records = partitions.get(&p).map_or(&[][..], Vec::as_slice);
            let offset = next[&p];
            match records.get(offset as usize) {
                Some(exchange) => {
                    windows.record(&observation(exchange, offset));
                    next.insert(p, offset + 1);
                }
                None => windows.idle(p, at(0, 20_000).time),
            }
            if (0..3).all(|p| next[&p] as usize >= partitions.get(&p).map_or(0, Vec::len)) {
                (0..3).for_each(|p| windows.idle(p, at(0, 20_000).time));
                write(&mut topic, &windows.flush(none));
                return topic;
            }
            if chance().is_multiple_of(20) && windows.is_whole() {
                let flush = windows.flush(none);
                let torn = chance().is_multiple_of(4);
                let kept = if torn { flush.rows.len() / 2 } else { flush.rows.len() };
                topic.extend(flush.rows[..kept].iter().map(|row| (row.key(), row.clone())));
                if torn {
                    torn_rows.extend(flush.rows[..kept].iter().map(Row::key));
                    continue 'life;
                }
                torn_rows.clear();
                position = flush.position.clone();
                windows.settle(&flush.position);
                if chance().is_multiple_of(3) {
                    continue 'life;
                }
            }
        }
    }
}

#[test]
fn whatever_the_order_and_the_kills_the_rows_equal_a_recount() {
    let mut runner = TestRunner::new(Config { cases: 300, ..Config::default() });
    let bounds = Bounds { keep: 600 * SECOND, ..Bounds::default() };
    let outcome = runner.run(&(log(), any::<u32>()), |(log, seed)| {
        let (rows, truth) = (present(sums(&run(&log, chance(seed), bounds))), recount(&log));
        let wrong: Vec<_> = truth.iter().filter(|(key, sum)| rows.get(*key) != Some(*sum)).collect();
        prop_assert!(
            wrong.is_empty(),
            "{} exchanges, {:?} and not {:?}",
            log.len(),
            rows.get(wrong[0].0),
            wrong
        );
        prop_assert_eq!(rows.len(), truth.len());
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn both_sizes_agree() {
    let log: Vec<Exchange> = (0..2_000).map(|n| at((n % 3) as i32, n / 2)).collect();
    let topic = run(&log, chance(7), Bounds::default());
    let total = |size| -> (u64, u64) {
        let rows = topic.values().filter(|row| row.size == size);
        rows.fold((0, 0), |(calls, cost), row| (calls + row.totals.calls, cost + row.totals.cost))
    };
    assert_eq!(total(Size::TenSeconds), total(Size::Minute));
    assert_eq!(total(Size::Minute), (2_000, 14_000));
}
