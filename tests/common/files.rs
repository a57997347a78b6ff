//! Places: the repository, the target folder, a folder for one test.

use std::path::{Path, PathBuf};

/// The top of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the repository")
}

/// `tests/` of the repository.
pub(crate) fn tests() -> PathBuf {
    repository().join("tests")
}

/// The folder that cargo builds into.
pub(crate) fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("cargo's folder for tests lies in the target folder")
}

/// The program under test: the one built beside the tests, or what `KAMF_TEST_PROGRAM` names.
pub(crate) fn kamf() -> PathBuf {
    std::env::var_os("KAMF_TEST_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_kamf").into(), PathBuf::from)
}

/// A folder of one test, gone with it.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("kamf-e2e-").tempdir().expect("a temporary folder")
}
