//! Why a broker did not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A reason not to start, told so that the reader can mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The lock file is held.
    #[error("the log directory {} is in use by another process; stop that process or name another directory", .0.display())]
    InUse(PathBuf),
    /// The directory was written by a version of the format that this build cannot read.
    #[error("the log directory {} has format {found:?}, this build reads {expected:?}; use the build that wrote it, or another directory", directory.display())]
    Format {
        /// The directory.
        directory: PathBuf,
        /// What its `format` file says.
        found: String,
        /// What this build writes.
        expected: &'static str,
    },
    /// There are files, but none that says they are a log.
    #[error("{} is not empty and holds no log; name an empty or a new directory", .0.display())]
    Foreign(PathBuf),
    /// An address others can reach, without leave.
    #[error(
        "{0} is not a loopback address; the log speaks without encryption or authentication, so listening there must be allowed explicitly"
    )]
    NotLoopback(SocketAddr),
    /// The socket could not be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds what no version of this log writes.
    #[error("{} is damaged: {what}; restore it from a copy, or move the directory away to start empty", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An option is out of its range.
    #[error("{0}")]
    Option(String),
    /// The system refused a thread or a runtime.
    #[error("cannot start the threads of the log")]
    Threads(#[source] io::Error),
}

impl StartError {
    /// Names the step and the path of a failed file operation.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> StartError {
        let path = path.into();
        move |source| StartError::Io { action, path, source }
    }
}
