//! `kamf key`: the hash of an API key, as the configuration holds it.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use super::CliError;
use crate::config::hash_key;

/// Longest line that is taken for a key.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads an API key from standard input and prints its hash for `identity.keys`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Reads one line, so that the key shows neither in the list of processes nor in the shell's history.
///
/// # Errors
/// When no key comes.
pub async fn run(_: Args) -> Result<ExitCode, CliError> {
    let hash = tokio::task::spawn_blocking(|| hash_line(io::stdin().lock())).await??;
    writeln!(io::stdout(), "{hash}")?;
    Ok(ExitCode::SUCCESS)
}

fn hash_line(input: impl BufRead) -> Result<String, CliError> {
    let mut line = String::new();
    io::Read::take(input, MAX_BYTES).read_line(&mut line)?;
    let key = line.trim_end_matches(['\r', '\n']);
    if key.is_empty() {
        return Err(CliError::NoKey);
    }
    Ok(hash_key(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_of_the_line_without_its_end() {
        // FIPS 180-2, appendix B.1.
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash_line(&b"abc"[..]).unwrap(), abc);
        assert_eq!(hash_line(&b"abc\r\nmore\n"[..]).unwrap(), abc);
        assert!(matches!(hash_line(&b"\n"[..]), Err(CliError::NoKey)));
    }
}
