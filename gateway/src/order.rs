//! Holds the direction of imports: a module uses only those that stand above it in `lib.rs`.

use std::fs;
use std::path::{Path, PathBuf};

/// `stack` knows everyone, `cli` and `admin` read handles of everyone above; `edge` knows the shared words only.
#[test]
fn modules_import_only_what_stands_above_them() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(source.join("lib.rs")).unwrap();
    let order: Vec<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert!(order.len() > 10, "lib.rs declares the modules: {order:?}");
    let mut wrong = Vec::new();
    for (place, module) in order.iter().enumerate() {
        for file in files_of(&source, module) {
            let text = fs::read_to_string(&file).unwrap();
            // Words about a later stage are no import of it.
            let code: String = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .fold(String::new(), |all, line| all + line + "\n");
            for used in uses(&code) {
                let known = order.iter().position(|other| *other == used);
                if known.is_some_and(|other| other > place) {
                    wrong.push(format!("{} uses {used}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports point down: {wrong:#?}");
}

fn files_of(source: &Path, module: &str) -> Vec<PathBuf> {
    let single = source.join(format!("{module}.rs"));
    let mut found: Vec<PathBuf> = single.exists().then_some(single).into_iter().collect();
    let mut folders = vec![source.join(module)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name == "tests.rs") {
                // A test may look at the whole.
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

fn uses(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let preceded = text[..at].chars().next_back();
        if preceded.is_some_and(|before| before == '_' || before.is_alphanumeric()) {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let list = list.split('}').next().unwrap_or_default();
            found.extend(list.split(',').map(|name| name.trim().split("::").next().unwrap_or_default()));
        } else {
            found.push(rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default());
        }
    }
    found
}
