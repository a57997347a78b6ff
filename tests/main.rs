//! The gateway as its users meet it: the built program, real sockets, real upstreams, the log read from outside.
//!
//! Each module is a promise. What a test needs beside the program (Python and Node packages, Kafka's jars) is put
//! into `target/` on first use; where Python, Node or Java are missing the test says `skipped: …` and passes, unless
//! `KAMF_REQUIRE_ALL=1`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod checker;
#[path = "checker/tests.rs"]
mod checker_tests;
#[allow(dead_code, reason = "shared with the campaign, which uses the rest")]
mod common;

mod backpressure;
mod bad_input;
mod bad_upstreams;
mod crash;
mod deadletters;
mod demo;
mod edge;
mod faithful;
mod faults;
mod idempotency;
mod kafka;
mod readers;
mod recount;
mod replay;
mod resume;
mod retries;
mod sdk_a2a;
mod sdk_mcp;
mod tail;
mod tasks;
