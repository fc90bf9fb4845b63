//! The same octets to a PULL of the system's libzmq and to one of ours: what comes out has to be the same.
//!
//! A peer of each version shakes hands as it should; then the input follows, in one piece or in two, and the end.
#![no_main]

mod libzmq;

use std::cell::OnceCell;
use std::ffi::{c_int, c_void};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use libzmq::Libzmq;
use oxzmq::{Context, EventKind, Monitor, Socket, SocketType};

const PATIENCE: Duration = Duration::from_secs(8);
const PULL: c_int = 7;
const RCVHWM: c_int = 24;
const MAXMSGSIZE: c_int = 22;
/// HANDSHAKE_FAILED_*, and DISCONNECTED.
const ENDS: c_int = 0x0200 | 0x0800 | 0x2000 | 0x4000;
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
        let their_events = libzmq.monitor(theirs, ENDS);
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

    fn of_libzmq(&self, pieces: &[&[u8]]) -> Vec<Vec<Vec<u8>>> {
        deliver(self.their_port, pieces, "libzmq");
        self.libzmq.recv(self.their_events, true).expect("libzmq says when a connection has ended");
        std::iter::from_fn(|| self.libzmq.recv(self.theirs, false)).collect()
    }

    fn of_ours(&self, pieces: &[&[u8]]) -> Vec<Vec<Vec<u8>>> {
        deliver(self.our_port, pieces, "ours");
        loop {
            let event = self.our_events.recv_deadline(Instant::now() + PATIENCE).expect("we say when a connection has ended");
            use EventKind::*;
            if matches!(event.kind, Disconnected | HandshakeFailed | HandshakeFailedAuth | HandshakeFailedProtocol) {
                break;
            }
        }
        let messages = std::iter::from_fn(|| self.ours.try_recv().ok());
        messages.map(|message| message.frames().iter().map(|frame| frame.to_vec()).collect()).collect()
    }
}

/// Sends it, says that there is no more, and waits for the other to go as well.
fn deliver(port: u16, pieces: &[&[u8]], whose: &str) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
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

/// What a PUSH of so many versions says before its first message.
fn greeting(which: u8) -> Vec<u8> {
    const PUSH_2_0: u8 = 8;
    let mut signature = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f];
    match which {
        0 | 1 => {
            signature.extend([3, which, b'N', b'U', b'L', b'L']);
            signature.resize(64, 0);
            signature.extend(b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH");
            signature
        }
        2 => [&signature[..], &[1, PUSH_2_0, 0, 0]].concat(),
        _ => vec![1, 0],
    }
}

thread_local! {
    static SIDES: OnceCell<Sides> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| {
    let Some((&which, octets)) = input.split_first() else { return };
    if octets.len() > 4096 {
        return;
    }
    let mut first = greeting(which % 4);
    let cut = if which & 128 == 0 { octets.len() } else { octets.len() / 2 };
    first.extend_from_slice(&octets[..cut]);
    let pieces = [&first[..], &octets[cut..]];
    SIDES.with(|sides| {
        let sides = sides.get_or_init(Sides::new);
        assert_eq!(sides.of_ours(&pieces), sides.of_libzmq(&pieces), "ours is left, libzmq's is right");
    });
});
