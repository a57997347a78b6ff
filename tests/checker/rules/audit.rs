//! I6: the audit trail is one chain for each partition, with one record for each end.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::Record;
use super::super::report::Report;
use super::super::stories::Stories;

pub(crate) fn check(stories: &Stories<'_>, events: &[Record], audit: &[Record], report: &mut Report) {
    let ends: HashMap<(i32, i64), &Record> =
        events.iter().map(|record| ((record.partition, record.offset), record)).collect();
    let mut previous: BTreeMap<i32, String> = BTreeMap::new();
    let mut audited: HashMap<String, usize> = HashMap::new();
    // What a replica wrote although another had taken its place is a copy, under another epoch.
    let mut epochs: HashMap<String, &str> = HashMap::new();
    for record in audit {
        let own = leaf(&record.body);
        match epochs.get(&own) {
            Some(epoch) if *epoch != record.get("kamf_epoch") => {
                report.count("audit records copied by another replica", 1);
                continue;
            }
            _ => epochs.insert(own.clone(), record.get("kamf_epoch")),
        };
        let value: Value = serde_json::from_slice(&record.body).unwrap_or_default();
        let before = previous.entry(record.partition).or_insert_with(|| "0".repeat(64));
        if value["previous"] != **before {
            report.breach("I6", record.place(), "does not follow the record before it");
        }
        *before = own;
        if record.get("kamf_hash") != before {
            report.breach("I6", record.place(), "its hash is not that of its bytes");
        }
        let id = value["id"].as_str().unwrap_or_default();
        *audited.entry(id.to_owned()).or_default() += 1;
        let offset = value["terminal"]["offset"].as_i64().unwrap_or(-1);
        let source = ends.get(&(record.partition, offset));
        let right = |end: &&&Record| end.id() == id && value["terminal"]["sha256"] == hex(&end.body);
        if source.filter(right).is_none() {
            report.breach("I6", id, format!("its audit record ({}) is not about its end", record.place()));
        }
    }
    report.count("audit records", audit.len());
    for (id, story) in &stories.by_id {
        let ends = story.terminals.len() + story.refusals.len();
        let records = audited.get(*id).copied().unwrap_or_default();
        if ends > 0 && records != 1 {
            report.breach("I6", *id, format!("{records} audit records"));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    text(Sha256::digest(bytes).into())
}

/// Hash of a leaf as in RFC 6962, section 2.1.
fn leaf(bytes: &[u8]) -> String {
    text(Sha256::new().chain_update([0]).chain_update(bytes).finalize().into())
}

fn text(hash: [u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
