//! The same octets to a PULL of the system's libzmq and to one of ours: what comes out has to be the same.
//!
//! A peer of each version shakes hands as it should; then the input follows, in one piece or in two, and the end.
#![no_main]

mod libzmq;

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use libzmq::Libzmq;
use oxzmq::{Context, EventKind, Monitor, Socket, SocketType};
use oxzmq_proto::{Decoder, Limits, ProtocolError};

const PATIENCE: Duration = Duration::from_secs(8);
const PULL: c_int = 7;
const RCVHWM: c_int = 24;
const MAXMSGSIZE: c_int = 22;
/// Once for each connection, and nothing else: a monitor that is full holds up libzmq's I/O thread.
const DISCONNECTED: c_int = 0x0200;
/// No frame of an input is that long, so that none is only as long as this by what it promises.
const LIMIT: i64 = 1 << 16;

struct Sides {
    libzmq: Libzmq,
    theirs: *mut c_void,
    their_events: *mut c_void,
    their_port: u16,
    ours: Socket,
    our_events: Monitor,
    our_port: u16,
    _context: Context,
}

impl Sides {
    fn new() -> Self {
        let libzmq = Libzmq::load();
        let theirs = libzmq.socket(PULL);
        libzmq.set_int(theirs, RCVHWM, 0);
        libzmq.set_long(theirs, MAXMSGSIZE, LIMIT);
        let their_events = libzmq.monitor(theirs, DISCONNECTED);
        libzmq.set_timeout(their_events, PATIENCE.as_millis() as c_int);
        let their_port = libzmq.bind(theirs);

        let context = Context::new();
        let ours = context.socket(SocketType::Pull).unwrap();
        ours.set_recv_hwm(0).unwrap();
        ours.set_max_message_size(Some(LIMIT as u64)).unwrap();
        let our_events = ours.monitor().unwrap();
        let place = ours.bind("tcp://127.0.0.1:*").unwrap();
        let our_port = place.rsplit(':').next().unwrap().parse().unwrap();
        Sides { libzmq, theirs, their_events, their_port, ours, our_events, our_port, _context: context }
    }

    fn of_libzmq(&self, version: Version, pieces: &[&[u8]]) -> Vec<Vec<Vec<u8>>> {
        deliver(self.their_port, version, pieces, "libzmq");
        self.libzmq.recv(self.their_events, true).expect("libzmq says when a connection has ended");
        std::iter::from_fn(|| self.libzmq.recv(self.theirs, false)).collect()
    }

    fn of_ours(&self, version: Version, pieces: &[&[u8]]) -> Vec<Vec<Vec<u8>>> {
        deliver(self.our_port, version, pieces, "ours");
        loop {
            let event =
                self.our_events.recv_deadline(Instant::now() + PATIENCE).expect("we say when a connection has ended");
            if event.kind == EventKind::Disconnected {
                break;
            }
        }
        let messages = std::iter::from_fn(|| self.ours.try_recv().ok());
        messages.map(|message| message.frames().iter().map(|frame| frame.to_vec()).collect()).collect()
    }
}

/// Shakes hands, sends it, says that there is no more, and waits for the other to go as well. The handshake is read to its
/// end before any traffic: libzmq takes a message that comes before it has sent its own READY for nonsense.
fn deliver(port: u16, version: Version, pieces: &[&[u8]], whose: &str) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let (greeting, answer) = version.handshake();
    let shaken = stream.write_all(&greeting).and_then(|()| stream.read_exact(&mut vec![0; answer]));
    assert!(shaken.is_ok(), "{whose} does not shake hands: {shaken:?}");
    for piece in pieces {
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("{whose} keeps a dead connection"),
            Err(_) => return,
        }
    }
}

/// Of ZMTP.
#[derive(Clone, Copy)]
enum Version {
    V3(u8),
    V2,
    V1,
}

impl Version {
    fn of(octet: u8) -> Self {
        match octet % 4 {
            minor @ (0 | 1) => Self::V3(minor),
            2 => Self::V2,
            _ => Self::V1,
        }
    }

    /// What a PUSH says before its first message, and how much a PULL does.
    fn handshake(self) -> (Vec<u8>, usize) {
        const PUSH_2_0: u8 = 8;
        let mut signature = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f];
        match self {
            Self::V3(minor) => {
                signature.extend([3, minor, b'N', b'U', b'L', b'L']);
                signature.resize(64, 0);
                signature.extend(b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH");
                (signature, 64 + 28)
            }
            // Signature, revision, type, an empty identity.
            Self::V2 => ([&signature[..], &[1, PUSH_2_0, 0, 0]].concat(), 14),
            // An empty identity; whoever hears one says no more than its signature.
            Self::V1 => (vec![1, 0], 10),
        }
    }
}

/// Where ours ends a connection that libzmq lets go on: at a command that belongs to the handshake, or that is malformed.
fn may_end_it(version: Version, octets: &[u8]) -> bool {
    let version = match version {
        Version::V3(0) => oxzmq_proto::Version::V3_0,
        Version::V3(_) => oxzmq_proto::Version::V3_1,
        Version::V2 | Version::V1 => return false, // no commands
    };
    let mut decoder = Decoder::new(version, Limits { max_frame_size: Some(LIMIT as u64), ..Limits::default() });
    let outcome = decoder.decode(octets, &mut VecDeque::new(), usize::MAX, &mut Vec::new());
    use ProtocolError::*;
    matches!(outcome, Err(MalformedCommand { .. } | UnexpectedCommand { .. } | InvalidGroup { .. } | PeerError { .. }))
}

/// There is a frame whose flags no peer sets, and that both sides read as they like: in ZMTP 2.0 the bit that became that of
/// commands, later a command that says that more frames follow.
fn has_odd_flags(version: Version, mut octets: &[u8]) -> bool {
    let odd = match version {
        Version::V1 => return false,
        Version::V2 => 4,
        Version::V3(_) => 4 | 1,
    };
    while let [flags, rest @ ..] = octets {
        if flags & odd == odd {
            return true;
        }
        let (size, body) = match rest {
            [size, body @ ..] if flags & 2 == 0 => (u64::from(*size), body),
            [a, b, c, d, e, f, g, h, body @ ..] => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), body),
            _ => return false,
        };
        octets = usize::try_from(size).ok().and_then(|size| body.get(size..)).unwrap_or_default();
    }
    false
}

fn is_change(frame: &[u8]) -> bool {
    frame.starts_with(b"\x09SUBSCRIBE") || frame.starts_with(b"\x06CANCEL")
}

thread_local! {
    static SIDES: OnceCell<Sides> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| {
    let Some((&which, octets)) = input.split_first() else { return };
    let version = Version::of(which);
    if octets.len() > 4096 || has_odd_flags(version, octets) {
        return;
    }
    let cut = if which & 128 == 0 { octets.len() } else { octets.len() / 2 };
    let pieces = [&octets[..cut], &octets[cut..]];
    SIDES.with(|sides| {
        let sides = sides.get_or_init(Sides::new);
        let (mut ours, mut theirs) = (sides.of_ours(version, &pieces), sides.of_libzmq(version, &pieces));
        // To a PULL these commands mean nothing. libzmq takes them for messages, so that messages that only look like them
        // have to be left out on both sides.
        for messages in [&mut ours, &mut theirs] {
            messages.retain(|message| !matches!(&message[..], [frame] if is_change(frame)));
        }
        if !(may_end_it(version, octets) && theirs.starts_with(&ours)) {
            assert_eq!(ours, theirs, "ours is left, libzmq's is right");
        }
    });
});
