//! `limits`: everything that the gateway bounds. None is a library's default.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::{Field, Group};

/// What the gateway bounds. The defaults are those of [`Limits::default`].
#[derive(Clone, Debug)]
pub struct Limits {
    /// Until the first byte of a connection, and on HTTP/2 until its whole preface.
    pub first_byte: Duration,
    /// A whole request head, from its first byte.
    pub header: Duration,
    /// How long a connection without a request is kept.
    pub idle: Duration,
    /// How long a client may take no byte of what is sent to it.
    pub write_stall: Duration,
    /// The TLS handshake.
    pub tls_handshake: Duration,
    /// Between two pieces of a request body.
    pub body_idle: Duration,
    /// A whole request body.
    pub body_total: Duration,
    /// A request head on HTTP/1.1; half of it for the header list on HTTP/2.
    pub head_bytes: usize,
    /// Headers of a request.
    pub header_count: usize,
    /// The request target: path and query.
    pub target_bytes: usize,
    /// A request body.
    pub body_bytes: usize,
    /// Nesting of a JSON document.
    pub json_depth: usize,
    /// A JSON-RPC id.
    pub id_bytes: usize,
    /// A JSON-RPC method.
    pub method_bytes: usize,
    /// A tool name.
    pub tool_name_bytes: usize,
    /// Concurrent streams of one HTTP/2 connection.
    pub http2_streams: u32,
    /// Open connections in all.
    pub connections: usize,
    /// Open connections of one peer address.
    pub connections_per_address: usize,
    /// Open event streams of one caller.
    pub streams_per_caller: usize,
    /// Requests in the gateway at one time; more are refused, not queued.
    pub in_flight: usize,
    /// An upstream's answer.
    pub answer_bytes: usize,
    /// One event of an upstream's stream.
    pub event_bytes: usize,
    /// Events of one stream.
    pub events_per_stream: usize,
    /// Longest silence on a stream to a client; then a comment is sent.
    pub sse_keep_alive: Duration,
    /// Records waiting for the log.
    pub queue_records: usize,
    /// Bytes of records waiting for the log.
    pub queue_bytes: usize,
    /// A schema learned from an upstream.
    pub schema_bytes: usize,
    /// Its nesting.
    pub schema_depth: usize,
    /// Its subschemas.
    pub schema_count: usize,
    /// Its `$ref`s.
    pub schema_refs: usize,
    /// One validation against a learned schema.
    pub validation: Duration,
    /// From the signal to end until what is still open is cut.
    pub drain: Duration,
    /// A2A tasks that are remembered; beyond it the oldest that have ended are forgotten. Each takes about 500 bytes.
    pub tasks: usize,
    /// MCP sessions (legacy) at one time.
    pub sessions: usize,
    /// A session unused for so long is forgotten.
    pub session_idle: Duration,
    /// Token bucket per caller and agent.
    pub rate: Rate,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(10),
            header: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            write_stall: Duration::from_secs(30),
            tls_handshake: Duration::from_secs(10),
            body_idle: Duration::from_secs(10),
            body_total: Duration::from_secs(30),
            head_bytes: 64 * 1024,
            header_count: 100,
            target_bytes: 8 * 1024,
            body_bytes: 1024 * 1024,
            json_depth: 64,
            id_bytes: 256,
            method_bytes: 128,
            tool_name_bytes: 128,
            http2_streams: 100,
            connections: 15_000,
            connections_per_address: 500,
            streams_per_caller: 100,
            in_flight: 10_000,
            answer_bytes: 8 * 1024 * 1024,
            event_bytes: 1024 * 1024,
            events_per_stream: 100_000,
            sse_keep_alive: Duration::from_secs(15),
            queue_records: 10_000,
            queue_bytes: 64 * 1024 * 1024,
            schema_bytes: 256 * 1024,
            schema_depth: 32,
            schema_count: 2_000,
            schema_refs: 500,
            validation: Duration::from_millis(20),
            drain: Duration::from_secs(25),
            tasks: 50_000,
            sessions: 10_000,
            session_idle: Duration::from_secs(3600),
            rate: Rate { per_second: 100, burst: 200 },
        }
    }
}

pub(super) fn read(group: &mut Group<'_>) -> Limits {
    let mut limits = Limits::default();
    read_durations(group, &mut limits);
    read_sizes(group, &mut limits);
    read_counts(group, &mut limits);
    group.set("rate", &mut limits.rate, |field| Some(field.group(read_rate)));
    limits
}

fn read_durations(group: &mut Group<'_>, limits: &mut Limits) {
    group.set("first_byte", &mut limits.first_byte, Field::duration);
    group.set("header", &mut limits.header, Field::duration);
    group.set("idle", &mut limits.idle, Field::duration);
    group.set("write_stall", &mut limits.write_stall, Field::duration);
    group.set("tls_handshake", &mut limits.tls_handshake, Field::duration);
    group.set("body_idle", &mut limits.body_idle, Field::duration);
    group.set("body_total", &mut limits.body_total, Field::duration);
    group.set("sse_keep_alive", &mut limits.sse_keep_alive, Field::duration);
    group.set("validation", &mut limits.validation, Field::duration);
    group.set("drain", &mut limits.drain, Field::duration);
    group.set("session_idle", &mut limits.session_idle, Field::duration);
}

fn read_sizes(group: &mut Group<'_>, limits: &mut Limits) {
    group.set("head_bytes", &mut limits.head_bytes, |field| field.size(8 << 10..=1 << 20));
    group.set("target_bytes", &mut limits.target_bytes, |field| field.size(256..=64 << 10));
    group.set("body_bytes", &mut limits.body_bytes, |field| field.size(1 << 10..=256 << 20));
    group.set("id_bytes", &mut limits.id_bytes, |field| field.size(16..=64 << 10));
    group.set("method_bytes", &mut limits.method_bytes, |field| field.size(32..=4 << 10));
    group.set("tool_name_bytes", &mut limits.tool_name_bytes, |field| field.size(16..=4 << 10));
    group.set("answer_bytes", &mut limits.answer_bytes, |field| field.size(1 << 10..=256 << 20));
    group.set("event_bytes", &mut limits.event_bytes, |field| field.size(1 << 10..=256 << 20));
    group.set("queue_bytes", &mut limits.queue_bytes, |field| field.size(1 << 20..=4 << 30));
    group.set("schema_bytes", &mut limits.schema_bytes, |field| field.size(1 << 10..=16 << 20));
}

fn read_counts(group: &mut Group<'_>, limits: &mut Limits) {
    group.set("header_count", &mut limits.header_count, |field| count(field, 8..=1_000));
    group.set("json_depth", &mut limits.json_depth, |field| count(field, 4..=128));
    group.set("connections", &mut limits.connections, |field| count(field, 1..=1_000_000));
    group.set("connections_per_address", &mut limits.connections_per_address, |field| {
        count(field, 1..=1_000_000)
    });
    group.set("streams_per_caller", &mut limits.streams_per_caller, |field| count(field, 1..=1_000_000));
    group.set("in_flight", &mut limits.in_flight, |field| count(field, 1..=1_000_000));
    group.set("events_per_stream", &mut limits.events_per_stream, |field| count(field, 1..=1_000_000_000));
    group.set("queue_records", &mut limits.queue_records, |field| count(field, 100..=10_000_000));
    group.set("schema_depth", &mut limits.schema_depth, |field| count(field, 1..=128));
    group.set("schema_count", &mut limits.schema_count, |field| count(field, 1..=100_000));
    group.set("schema_refs", &mut limits.schema_refs, |field| count(field, 0..=100_000));
    group.set("tasks", &mut limits.tasks, |field| count(field, 100..=10_000_000));
    group.set("sessions", &mut limits.sessions, |field| count(field, 1..=10_000_000));
    group.set("http2_streams", &mut limits.http2_streams, |field| field.count(1..=10_000)?.try_into().ok());
}

fn read_rate(group: &mut Group<'_>) -> Rate {
    let mut rate = Limits::default().rate;
    group.set("per_second", &mut rate.per_second, |field| field.count(1..=1_000_000)?.try_into().ok());
    group.set("burst", &mut rate.burst, |field| field.count(1..=1_000_000)?.try_into().ok());
    rate
}

fn count(field: &Field<'_>, bounds: RangeInclusive<u64>) -> Option<usize> {
    field.count(bounds)?.try_into().ok()
}
