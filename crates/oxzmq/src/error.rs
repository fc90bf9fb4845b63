//! What can go wrong, in words for people, a kind for `match`, and the errno that a C program expects.

use std::fmt;
use std::io;

use oxzmq_proto::Message;

/// The result of most calls in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure an [`Error`] is. Match on this; print the error itself for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call would have to wait and was asked not to (errno `EAGAIN`).
    WouldBlock,
    /// The timeout or deadline passed first (errno `EAGAIN`, as ZeroMQ reports it).
    TimedOut,
    /// The context was shut down; only closing the socket is left to do (errno `ETERM`).
    Terminated,
    /// The socket was closed while the call was under way (errno `ENOTSOCK`).
    Closed,
    /// The call does not fit the socket's state: a REQ that sends twice, say (errno `EFSM`).
    InvalidState,
    /// This socket type never does that: receiving on PUSH, say (errno `ENOTSUP`).
    NotSupported,
    /// A ROUTER in mandatory mode or a STREAM does not know the routing id (errno `EHOSTUNREACH`).
    HostUnreachable,
    /// An option or argument is out of range (errno `EINVAL`).
    InvalidArgument,
    /// The endpoint is not of the form `transport://address` (errno `EINVAL`).
    InvalidEndpoint,
    /// No such transport (errno `EPROTONOSUPPORT`).
    UnknownTransport,
    /// The transport exists but not for this socket type (errno `ENOCOMPATPROTO`).
    IncompatibleTransport,
    /// The address is taken (errno `EADDRINUSE`).
    AddressInUse,
    /// The address does not belong to this machine (errno `EADDRNOTAVAIL`).
    AddressNotAvailable,
    /// The interface or host to bind does not exist (errno `ENODEV`).
    NoDevice,
    /// Nothing is bound or connected under that name, or a directory is missing (errno `ENOENT`).
    NotFound,
    /// The operating system refuses (errno `EACCES`).
    PermissionDenied,
    /// An IPC path is longer than the system allows (errno `ENAMETOOLONG`).
    NameTooLong,
    /// The context's or the system's limit of sockets or descriptors is reached (errno `EMFILE`).
    TooManySockets,
    /// The message has more frames than [`Socket::set_max_frames`](crate::Socket::set_max_frames) allows (errno
    /// `EMSGSIZE`).
    TooManyFrames,
    /// A datagram cannot hold the message (errno `EMSGSIZE`).
    TooLarge,
    /// The context has no I/O thread that may serve the socket (errno `EMTHREAD`).
    NoIoThread,
    /// A signal came while the call waited, and the caller wants to know (errno `EINTR`).
    Interrupted,
    /// Another error of the operating system; [`Error::errno`] tells which.
    Io,
}

// ZeroMQ's own error numbers, above the operating system's.
const HAUSNUMERO: i32 = 156_384_712;
/// errno of [`ErrorKind::InvalidState`].
pub const EFSM: i32 = HAUSNUMERO + 51;
/// errno of [`ErrorKind::IncompatibleTransport`].
pub const ENOCOMPATPROTO: i32 = HAUSNUMERO + 52;
/// errno of [`ErrorKind::Terminated`].
pub const ETERM: i32 = HAUSNUMERO + 53;
/// errno of [`ErrorKind::NoIoThread`].
pub const EMTHREAD: i32 = HAUSNUMERO + 54;

impl ErrorKind {
    fn errno(self) -> i32 {
        use rustix::io::Errno;
        match self {
            Self::WouldBlock | Self::TimedOut => Errno::AGAIN.raw_os_error(),
            Self::Terminated => ETERM,
            Self::Closed => Errno::NOTSOCK.raw_os_error(),
            Self::InvalidState => EFSM,
            Self::NotSupported => Errno::NOTSUP.raw_os_error(),
            Self::HostUnreachable => Errno::HOSTUNREACH.raw_os_error(),
            Self::InvalidArgument | Self::InvalidEndpoint => Errno::INVAL.raw_os_error(),
            Self::UnknownTransport => Errno::PROTONOSUPPORT.raw_os_error(),
            Self::IncompatibleTransport => ENOCOMPATPROTO,
            Self::AddressInUse => Errno::ADDRINUSE.raw_os_error(),
            Self::AddressNotAvailable => Errno::ADDRNOTAVAIL.raw_os_error(),
            Self::NoDevice => Errno::NODEV.raw_os_error(),
            Self::NotFound => Errno::NOENT.raw_os_error(),
            Self::PermissionDenied => Errno::ACCESS.raw_os_error(),
            Self::NameTooLong => Errno::NAMETOOLONG.raw_os_error(),
            Self::TooManySockets => Errno::MFILE.raw_os_error(),
            Self::TooLarge | Self::TooManyFrames => Errno::MSGSIZE.raw_os_error(),
            Self::NoIoThread => EMTHREAD,
            Self::Interrupted => Errno::INTR.raw_os_error(),
            Self::Io => Errno::IO.raw_os_error(),
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::WouldBlock => "the call would have to wait",
            Self::TimedOut => "the timeout passed before the call could complete",
            Self::Terminated => "the context was shut down",
            Self::Closed => "the socket is closed",
            Self::InvalidState => "the socket is not in the state for this call",
            Self::NotSupported => "this socket type does not support the call",
            Self::HostUnreachable => "no peer has this routing id",
            Self::InvalidArgument => "invalid argument",
            Self::InvalidEndpoint => "invalid endpoint",
            Self::UnknownTransport => "unknown transport",
            Self::IncompatibleTransport => "the transport does not fit the socket type",
            Self::AddressInUse => "the address is in use",
            Self::AddressNotAvailable => "the address does not belong to this machine",
            Self::NoDevice => "no such interface or host on this machine",
            Self::NotFound => "not found",
            Self::PermissionDenied => "permission denied",
            Self::NameTooLong => "the name is too long",
            Self::TooManySockets => "too many sockets",
            Self::TooLarge => "the message is larger than a datagram can be",
            Self::TooManyFrames => "the message has more frames than the socket's limit: see set_max_frames",
            Self::NoIoThread => "no I/O thread may serve the socket",
            Self::Interrupted => "a signal came while the call waited",
            Self::Io => "input/output error",
        }
    }
}

/// A failed call: its [`kind`](Error::kind), a sentence that names what was wrong, and an
/// [`errno`](Error::errno).
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    errno: i32,
    // Most errors on the hot path (WouldBlock) carry no text, so that they cost no allocation.
    detail: Option<Box<str>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, detail: impl Into<Box<str>>) -> Self {
        Self { kind, errno: kind.errno(), detail: Some(detail.into()) }
    }

    /// Translates a failure of the operating system, met while doing `what`.
    pub(crate) fn from_os(error: &io::Error, what: &str) -> Self {
        use rustix::io::Errno;
        let errno = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
        let kind = match Errno::from_raw_os_error(errno) {
            Errno::ADDRINUSE => ErrorKind::AddressInUse,
            Errno::ADDRNOTAVAIL => ErrorKind::AddressNotAvailable,
            Errno::NODEV => ErrorKind::NoDevice,
            Errno::NOENT => ErrorKind::NotFound,
            Errno::ACCESS | Errno::PERM => ErrorKind::PermissionDenied,
            Errno::NAMETOOLONG => ErrorKind::NameTooLong,
            Errno::MFILE | Errno::NFILE => ErrorKind::TooManySockets,
            Errno::INVAL => ErrorKind::InvalidArgument,
            Errno::INTR => ErrorKind::Interrupted,
            _ => ErrorKind::Io,
        };
        Self { kind, errno, detail: Some(format!("{what}: {error}").into()) }
    }

    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The error number that the C API reports for it: the operating system's, or one of ZeroMQ's own
    /// ([`EFSM`], [`ENOCOMPATPROTO`], [`ETERM`], [`EMTHREAD`]).
    pub fn errno(&self) -> i32 {
        self.errno
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, errno: kind.errno(), detail: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail.as_deref().unwrap_or(self.kind.sentence()))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.kind)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::WouldBlock => io::ErrorKind::WouldBlock,
            ErrorKind::TimedOut => io::ErrorKind::TimedOut,
            ErrorKind::AddressInUse => io::ErrorKind::AddrInUse,
            ErrorKind::AddressNotAvailable => io::ErrorKind::AddrNotAvailable,
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
            ErrorKind::InvalidArgument | ErrorKind::InvalidEndpoint => io::ErrorKind::InvalidInput,
            ErrorKind::NotSupported => io::ErrorKind::Unsupported,
            ErrorKind::HostUnreachable => io::ErrorKind::HostUnreachable,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// A failed send: why, and the message, which is still the caller's.
pub struct SendError {
    error: Error,
    message: Box<Message>,
}

impl SendError {
    pub(crate) fn new(error: impl Into<Error>, message: Message) -> Self {
        Self { error: error.into(), message: Box::new(message) }
    }

    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.error.kind
    }

    /// Why the message was not sent.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// The message that was not sent.
    pub fn into_message(self) -> Message {
        *self.message
    }

    /// Why, and the message that was not sent.
    pub fn into_parts(self) -> (Error, Message) {
        (self.error, *self.message)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message not sent: {}", self.error)
    }
}

impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendError({:?})", self.error)
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        error.error
    }
}
