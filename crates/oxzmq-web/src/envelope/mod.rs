#![doc = include_str!("../../PROTOCOL.md")]

mod codec;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

/// Least content of a CHUNK that is not the last.
pub const CHUNK_MIN: usize = 16 * 1024;
/// Most content of one message.
pub const CHUNK_MAX: usize = 256 * 1024;
/// Longest path that is passed on, in octets.
pub const PATH_MAX: usize = 4096;

/// Which content a path had: two files of equal version are taken to be the same, on any worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Octets in the whole file.
    pub size: u64,
    /// Time of last modification, seconds since 1970.
    pub mtime_s: i64,
    /// The rest of that time, below 10^9.
    pub mtime_ns: u32,
}

/// How a request ended at the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// A regular file.
    File,
    /// A directory, asked for without its final slash.
    Directory,
    /// It exists, but the worker may not read it.
    Forbidden,
    /// Nothing is served under that path.
    NotFound,
    /// A file, but another version than the one asked for.
    Changed,
    /// The worker could not read it.
    Failed,
}

/// How a file's content is compressed (RFC 9110, section 8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`, in a file whose name ends in `.gz`.
    Gzip,
    /// `br`, in `.br`.
    Brotli,
    /// `zstd`, in `.zst`.
    Zstd,
}

impl Coding {
    /// All of them, the one that usually makes the least of a text first.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// As HTTP calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// What is added to a file's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Gzip => 1,
            Self::Brotli => 2,
            Self::Zstd => 3,
        }
    }
}

/// A set of codings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codings(u8);

impl Codings {
    /// No coding: the file as it is.
    pub const NONE: Self = Self(0);

    /// Adds one.
    #[must_use]
    pub fn with(self, coding: Coding) -> Self {
        Self(self.0 | 1 << coding.code())
    }

    /// Whether it is one of them.
    pub fn has(self, coding: Coding) -> bool {
        self.0 & 1 << coding.code() != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The facts about an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// How it ended.
    pub status: Status,
    /// The file's version; zeros when there is no file.
    pub version: Version,
    /// Where in the file the content begins.
    pub offset: u64,
    /// How much content there is in all.
    pub length: u64,
    /// How the content is compressed.
    pub coding: Option<Coding>,
    /// Other codings may be had by other clients.
    pub varies: bool,
    /// The media type, or the reason when the status is [`Status::Failed`].
    pub kind: String,
}

impl Head {
    /// An answer without a file.
    pub fn without_file(status: Status, reason: impl Into<String>) -> Self {
        let version = Version { size: 0, mtime_s: 0, mtime_ns: 0 };
        Self { status, version, offset: 0, length: 0, coding: None, varies: false, kind: reason.into() }
    }

    /// `length` octets of a file from `offset` on, as it is.
    pub fn part(version: Version, offset: u64, length: u64, kind: impl Into<String>) -> Self {
        Self { status: Status::File, version, offset, length, coding: None, varies: false, kind: kind.into() }
    }
}

/// What is wanted of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Percent-decoded and absolute.
    pub path: Bytes,
    /// The facts alone.
    pub head_only: bool,
    /// Where to begin.
    pub offset: u64,
    /// How much; `None` is everything up to the end.
    pub length: Option<u64>,
    /// The only version that will do.
    pub version: Option<Version>,
    /// The codings that the client takes.
    pub accepts: Codings,
}

impl Order {
    /// The whole file at `path`.
    pub fn whole(path: Bytes) -> Self {
        Self { path, head_only: false, offset: 0, length: None, version: None, accepts: Codings::NONE }
    }
}

/// What a worker says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// Its process.
    pub pid: u32,
    /// Most requests in hand at a time; at least one.
    pub slots: u32,
    /// Its name, for people.
    pub name: String,
    /// The machine it runs on.
    pub host: String,
    /// The directory it serves.
    pub root: String,
}

/// A worker's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToMaster {
    /// `R`
    Ready(Introduction),
    /// `H`
    Head(u64, Head, Bytes),
    /// `C`
    Chunk(u64, Bytes),
    /// `E`
    End(u64, String),
    /// `P`
    Pulse,
    /// `D`
    Draining,
    /// `B`
    Bye,
}

/// The master's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToWorker {
    /// `W`
    Welcome(Duration),
    /// `Q`, with the credit to begin with.
    Request(u64, Order, u32),
    /// `G`
    Grant(u64, u32),
    /// `K`
    Cancel(u64),
    /// `P`
    Pulse,
    /// `S`
    Stop,
    /// `B`
    Bye,
}

/// A message that is not of this protocol, and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use oxzmq::{Frame, Message};
    use proptest::prelude::*;

    use super::*;

    const VERSION: Version = Version { size: 5, mtime_s: -1, mtime_ns: 999_999_999 };

    #[test]
    fn every_message_survives_the_journey() {
        let me = Introduction { pid: 7, slots: 64, name: "a".into(), host: "b".into(), root: "/c".into() };
        let head = Head::part(VERSION, 1, 4, "text/plain");
        let coded = Head { coding: Some(Coding::Zstd), varies: true, ..head.clone() };
        for sent in [
            ToMaster::Ready(me),
            ToMaster::Head(u64::MAX, head, Bytes::from_static(b"ello")),
            ToMaster::Head(0, coded, Bytes::new()),
            ToMaster::Head(1, Head::without_file(Status::Failed, "why"), Bytes::new()),
            ToMaster::Chunk(2, Bytes::from(vec![1; CHUNK_MAX])),
            ToMaster::End(3, "gone".into()),
            ToMaster::Pulse,
            ToMaster::Draining,
            ToMaster::Bye,
        ] {
            assert_eq!(ToMaster::decode(sent.clone().encode()), Ok(sent));
        }
        let part = Order { offset: 3, length: Some(0), version: Some(VERSION), ..Order::whole("/a".into()) };
        let accepts = Codings::NONE.with(Coding::Gzip).with(Coding::Brotli);
        for sent in [
            ToWorker::Welcome(Duration::from_secs(1)),
            ToWorker::Request(1, Order::whole("/".into()), 65536),
            ToWorker::Request(2, Order { accepts, ..part.clone() }, 7),
            ToWorker::Request(1, Order { head_only: true, ..part }, 0),
            ToWorker::Grant(1, 2),
            ToWorker::Cancel(1),
            ToWorker::Pulse,
            ToWorker::Stop,
            ToWorker::Bye,
        ] {
            assert_eq!(ToWorker::decode(sent.clone().encode()), Ok(sent));
        }
    }

    #[test]
    fn a_request_looks_like_this() {
        let frames: Vec<Frame> = ToWorker::Request(1, Order::whole("/a".into()), 65536).encode().into_iter().collect();
        assert_eq!(frames[0], "OXW1Q");
        assert_eq!(frames[1][..], [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(frames[2][..5], [0, 0, 1, 0, 0]);
        assert_eq!(frames[2][33..], [255; 8]);
        assert_eq!(frames[3], "/a");
    }

    #[test]
    fn too_much_is_refused() {
        let much = ToMaster::Chunk(2, Bytes::from(vec![1; CHUNK_MAX + 1]));
        assert!(ToMaster::decode(much.encode()).is_err());
        let mut extra = ToWorker::Pulse.encode();
        extra.push_back("more");
        assert_eq!(ToWorker::decode(extra), Err(Malformed("frames too many")));
    }

    proptest! {
        #[test]
        fn nothing_panics(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..7), letter: u8) {
            let mut message: Message = frames.into_iter().collect();
            let _ = ToMaster::decode(message.clone());
            let _ = ToWorker::decode(message.clone());
            message.push_front(&[b'O', b'X', b'W', b'1', letter]);
            let _ = ToMaster::decode(message.clone());
            let _ = ToWorker::decode(message);
        }
    }
}
