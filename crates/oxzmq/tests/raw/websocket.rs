//! A WebSocket client of a few lines, which says what it is told to.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::property;
use crate::common::raw_client;

/// The first octet of a whole message, and of the frames that are about the connection.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// What a browser asks, with this list of protocols.
pub(crate) fn request(protocols: &str) -> Vec<u8> {
    format!(
        "GET /chat HTTP/1.1\r\nHost: 127.0.0.1:1234\r\nUser-Agent: Mozilla/5.0\r\nConnection: keep-alive, Upgrade\r\n\
         Origin: https://example.org\r\nCookie: a=b\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocols}\r\n\r\n"
    )
    .into_bytes()
}

/// A frame as a client sends it.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x12, 0xfe, 0, 0x55];
    let mut frame = header(first, 0x80, payload.len());
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(octet, key)| octet ^ key));
    frame
}

/// A frame as a server sends it.
pub(crate) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    [&header(first, 0, payload.len())[..], payload].concat()
}

fn header(first: u8, mask: u8, size: usize) -> Vec<u8> {
    let mut header = vec![first];
    match size {
        0..=125 => header.push(mask | size as u8),
        126..=0xffff => {
            header.push(mask | 126);
            header.extend_from_slice(&(size as u16).to_be_bytes());
        }
        _ => {
            header.push(mask | 127);
            header.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    header
}

/// READY of a socket of this type.
pub(crate) fn ready(socket_type: &str) -> Vec<u8> {
    [&b"\x02\x05READY"[..], &property("Socket-Type", socket_type.as_bytes())].concat()
}

/// One end of a connection, after the upgrade.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    /// Connects, and upgrades with these protocols. Returns what the server chose, too.
    pub(crate) fn upgraded(endpoint: &str, protocols: &str) -> (Self, String) {
        let mut stream = raw_client(endpoint);
        stream.write_all(&request(protocols)).unwrap();
        let head = read_head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
        assert!(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
        assert!(!head.contains("Extensions"), "{head}");
        let chosen = head.split_once("Protocol: ").unwrap().1.lines().next().unwrap();
        (Self(stream), chosen.to_owned())
    }

    /// Connects and shakes hands as a socket of this type.
    pub(crate) fn peer(endpoint: &str, socket_type: &str) -> Self {
        let (mut raw, chosen) = Self::upgraded(endpoint, "ZWS2.0/NULL,ZWS2.0");
        assert_eq!(chosen, "ZWS2.0/NULL");
        raw.send(BINARY, &ready(socket_type));
        let (first, payload) = raw.recv();
        assert_eq!((first, &payload[..7]), (BINARY, &b"\x02\x05READY"[..]));
        raw
    }

    pub(crate) fn send(&mut self, first: u8, payload: &[u8]) {
        self.0.write_all(&masked(first, payload)).unwrap();
    }

    /// The next frame, which has to be a server's.
    pub(crate) fn recv(&mut self) -> (u8, Vec<u8>) {
        let mut start = [0; 2];
        self.0.read_exact(&mut start).unwrap();
        let size = match start[1] {
            126 => u64::from(u16::from_be_bytes(self.octets())),
            127 => u64::from_be_bytes(self.octets()),
            short => short.into(),
        };
        assert!(size < 1 << 30, "masked, or nonsense: {start:x?}");
        let mut payload = vec![0; size as usize];
        self.0.read_exact(&mut payload).unwrap();
        (start[0], payload)
    }

    /// Whether the server has closed the connection, after whatever it still had to say.
    pub(crate) fn is_closed(&mut self) -> bool {
        // A reset is an end, too.
        self.0.read_to_end(&mut Vec::new()).is_ok_and(|_| true) || self.0.read(&mut [0]).is_err()
    }

    fn octets<const N: usize>(&mut self) -> [u8; N] {
        let mut octets = [0; N];
        self.0.read_exact(&mut octets).unwrap();
        octets
    }
}

/// The head of a request or an answer.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet).unwrap();
        head.push(octet[0]);
    }
    String::from_utf8(head).unwrap()
}
