//! The program as it is called, with its real children.

use std::process::Command;

#[test]
fn a_run_prints_a_table_and_writes_rows() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("rows.json");
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["--quick", "--case", "a2a_stream,mcp_call", "--line", "floor,direct", "--json"])
        .arg(&json)
        .arg("--directory")
        .arg(folder.path())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    assert!(words.contains("round 1/1  a2a_stream  floor"), "{words}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.starts_with("case        line "), "{table}");

    let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let names: Vec<_> = rows.as_array().unwrap().iter().map(|row| (&row["case"], &row["line"])).collect();
    let pairs =
        [("a2a_stream", "direct"), ("a2a_stream", "floor"), ("mcp_call", "direct"), ("mcp_call", "floor")];
    assert_eq!(names.len(), pairs.len());
    for (name, (case, line)) in names.iter().zip(pairs) {
        assert!(name.0 == case && name.1 == line, "{names:?}");
    }
    for row in rows.as_array().unwrap() {
        for member in ["rps", "p50_us", "p99_us", "cpu_us_per_request", "rss_bytes"] {
            assert!(row[member].as_f64().unwrap() > 0.0, "{member} of {row}");
        }
        assert_eq!(row["upstream_requests"], 1.0, "{row}");
    }
    assert_eq!(rows[1]["of_floor"], 1.0);
    // Nothing of the run is left behind.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_gateway_that_is_none_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["--quick", "--line", "gateway_direct", "--gateway", "/bin/false", "--directory"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("gateway-direct is not ready") && words.contains("it ended"), "{words}");
}
