//! I11: memory under its cap, descriptors back to where they were.

use super::super::Evidence;
use super::super::report::Report;

/// Connections that are kept for the next use: of 24 clients, to as many upstreams, to the log; and the log's files.
const KEPT: u64 = 96;

pub(crate) fn check(evidence: &Evidence, report: &mut Report) {
    for reading in &evidence.readings {
        report.count("processes measured", 1);
        if reading.memory_kib > reading.memory_cap_kib {
            let (is, cap) = (reading.memory_kib, reading.memory_cap_kib);
            report.breach("I11", &reading.name, format!("{is} KiB of memory, over its cap of {cap} KiB"));
        }
        if reading.descriptors > reading.descriptors_before + KEPT {
            let (is, was) = (reading.descriptors, reading.descriptors_before);
            report.breach("I11", &reading.name, format!("{is} descriptors, {was} before the load"));
        }
    }
}
