//! Raw TCP clients that say what no good peer would, to a socket that has a good peer as well.

#![allow(dead_code)] // every test file uses another part

pub(crate) mod websocket;

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::common::*;
use oxzmq::{Event, EventKind, Message, Monitor, Socket, SocketType};

/// A socket under attack, with a good peer.
pub(crate) struct Target {
    pub(crate) context: TestContext,
    pub(crate) socket: Socket,
    pub(crate) endpoint: String,
    pub(crate) monitor: Monitor,
    pub(crate) good: Socket,
}

impl Target {
    /// A PULL, served by a good PUSH.
    pub(crate) fn new() -> Self {
        Self::with(SocketType::Pull, SocketType::Push, |_| ())
    }

    pub(crate) fn with(socket_type: SocketType, good: SocketType, set: impl FnOnce(&Socket)) -> Self {
        Self::over(Transport::Tcp, socket_type, good, set)
    }

    pub(crate) fn over(
        transport: Transport,
        socket_type: SocketType,
        good: SocketType,
        set: impl FnOnce(&Socket),
    ) -> Self {
        let context = TestContext::new();
        let socket = context.socket(socket_type);
        set(&socket);
        let endpoint = socket.bind(&transport.wildcard()).unwrap();
        let good = context.socket(good);
        connect_and_wait(&good, &socket, &endpoint);
        let monitor = socket.monitor().unwrap();
        Self { context, socket, endpoint, monitor, good }
    }

    pub(crate) fn client(&self) -> TcpStream {
        raw_client(&self.endpoint)
    }

    /// A client that has shaken hands as this socket type.
    pub(crate) fn peer(&self, socket_type: &str) -> TcpStream {
        let mut client = self.client();
        client.write_all(&hello(socket_type)).unwrap();
        await_event(&self.monitor, EventKind::HandshakeSucceeded);
        // Their greeting and READY, so that nothing stays unread and closing is no reset.
        let mut greeting = [0; 64];
        client.read_exact(&mut greeting).unwrap();
        let mut header = [0; 2];
        client.read_exact(&mut header).unwrap();
        client.read_exact(&mut vec![0; header[1].into()]).unwrap();
        client
    }

    #[track_caller]
    pub(crate) fn refused(&self) -> Event {
        await_event(&self.monitor, EventKind::Disconnected)
    }

    /// The good peer is served as if nothing had happened.
    #[track_caller]
    pub(crate) fn good_peer_is_served(&self) {
        for n in 0..3 {
            send(&self.good, n.to_string());
            assert_eq!(recv_text(&self.socket), [n.to_string()]);
        }
    }

    /// These bytes in traffic end the connection and deliver nothing.
    #[track_caller]
    pub(crate) fn rejects(&self, bytes: &[u8]) {
        let mut client = self.peer("PUSH");
        let _ = client.write_all(bytes);
        let event = self.refused();
        assert_ne!(event.reason, "closed by the peer", "not refused: {}", bytes[..bytes.len().min(40)].escape_ascii());
        self.good_peer_is_served();
    }

    /// These bytes in traffic deliver these messages.
    #[track_caller]
    pub(crate) fn accepts(&self, bytes: &[u8], messages: &[Message]) {
        let mut client = self.peer("PUSH");
        client.write_all(bytes).unwrap();
        for message in messages {
            assert_eq!(recv(&self.socket), *message);
        }
        drop(client);
        self.refused();
        self.good_peer_is_served();
    }
}

pub(crate) const GREETING: [u8; 64] = {
    let mut greeting = [0; 64];
    let start = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL";
    let mut n = 0;
    while n < start.len() {
        greeting[n] = start[n];
        n += 1;
    }
    greeting
};

pub(crate) fn property(name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![name.len() as u8];
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// A frame: flags, and the length in the form that fits.
pub(crate) fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 9);
    if body.len() < 256 {
        bytes.extend_from_slice(&[flags, body.len() as u8]);
    } else {
        bytes.push(flags | 2);
        bytes.extend_from_slice(&(body.len() as u64).to_be_bytes());
    }
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) const MORE: u8 = 1;
pub(crate) const COMMAND: u8 = 4;

pub(crate) fn command(name: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![name.len() as u8];
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(body);
    frame(COMMAND, &bytes)
}

pub(crate) fn hello_with(metadata: &[u8]) -> Vec<u8> {
    [&GREETING[..], &command("READY", metadata)].concat()
}

pub(crate) fn hello(socket_type: &str) -> Vec<u8> {
    hello_with(&property("Socket-Type", socket_type.as_bytes()))
}

/// A frame header that promises this many bytes.
pub(crate) fn promise(length: u64) -> Vec<u8> {
    [&[2], &length.to_be_bytes()[..]].concat()
}

/// Kilobytes of this process, from its status.
pub(crate) fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
