//! Where the windows stand in the log. Written to `kamf.aggregates` after the rows it stands for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::row::Micros;

/// Key of the position record. It is the last record of each flush, in partition 0.
pub const KEY: &[u8] = b"position";

/// What has been written so far, and from where the log must be read again to go on exactly there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub v: u32,
    /// Windows that start before are no longer held: what comes for them is written as a correction.
    pub floor: Micros,
    /// Windows that end by then have been written.
    pub closed: Micros,
    /// By partition of `kamf.events`.
    pub partitions: BTreeMap<i32, Offsets>,
    /// By partition of `kamf.aggregates`: its end when the rows before this position were on the log. Rows after were
    /// written by a flush whose position is missing.
    pub rows: BTreeMap<i32, i64>,
}

/// Two places in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offsets {
    /// First record that windows still held were made from.
    pub start: i64,
    /// First record that is not counted yet.
    pub next: i64,
}

impl Default for Position {
    /// Before the first record.
    fn default() -> Self {
        Self {
            v: 1,
            floor: Micros::MIN,
            closed: Micros::MIN,
            partitions: BTreeMap::new(),
            rows: BTreeMap::new(),
        }
    }
}
