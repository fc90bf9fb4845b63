//! Why a master or a worker could not start or go on, in words that tell what to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::holder;

/// The result of most calls in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The HTTP address could not be bound.
    Http {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The workers' endpoint could not be bound or connected.
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// The library's reason.
        source: oxzmq::Error,
    },
    /// The directory to serve could not be opened.
    Root {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A setting makes no sense.
    Setting(String),
    /// A socket failed.
    Socket(oxzmq::Error),
    /// The system failed while doing something.
    System {
        /// What was being done.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { address, source } if source.kind() == io::ErrorKind::AddrInUse => {
                match holder::of_port(address.port()) {
                    Some(holder) => {
                        write!(f, "port {} is in use by {holder}; end that, or choose another port", address.port())
                    }
                    None => write!(f, "port {} is in use on {}; choose another", address.port(), address.ip()),
                }
            }
            Self::Http { address, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "port {} needs privileges; choose one from 1024 on", address.port())
            }
            Self::Http { address, source } => write!(f, "cannot listen on {address}: {source}"),
            Self::Endpoint { endpoint, source } => write!(f, "cannot use {endpoint} for workers: {source}"),
            Self::Root { path, source } => match source.kind() {
                io::ErrorKind::NotFound => write!(f, "there is no directory {}", path.display()),
                io::ErrorKind::NotADirectory => write!(f, "{} is not a directory", path.display()),
                _ => write!(f, "cannot serve {}: {source}", path.display()),
            },
            Self::Setting(what) => f.write_str(what),
            Self::Socket(source) => source.fmt(f),
            Self::System { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Http { source, .. } | Self::Root { source, .. } | Self::System { source, .. } => Some(source),
            Self::Endpoint { source, .. } | Self::Socket(source) => Some(source),
            Self::Setting(_) => None,
        }
    }
}

impl From<oxzmq::Error> for Error {
    fn from(source: oxzmq::Error) -> Self {
        Self::Socket(source)
    }
}
