//! A stranger's octets to either end of a WebSocket, from the upgrade on or behind it; however they are cut, the outcome
//! is the same.
#![no_main]

use std::collections::VecDeque;

use libfuzzer_sys::fuzz_target;
use oxzmq_proto::{
    Control, Decoder, Established, Handshake, HandshakeConfig, Limits, Message, OutBuf, SocketType, WebSocket,
};

/// The key that comes of this is that of `ANSWER`.
fn random(octets: &mut [u8]) -> bool {
    octets.fill(0);
    true
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: ZWS2.0/NULL\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\nSec-WebSocket-Protocol: ZWS2.0/NULL\r\n\r\n";
/// READY without metadata, masked (with zeros) and not.
const READY_MASKED: &[u8] = b"\x82\x87\0\0\0\0\x02\x05READY";
const READY: &[u8] = b"\x82\x07\x02\x05READY";

fn config(which: u8) -> HandshakeConfig {
    let mut config = HandshakeConfig::new(SocketType::Router);
    config.accept_legacy = which & 4 == 0;
    config.websocket = Some(match which & 1 {
        0 => WebSocket::server(),
        _ => WebSocket::client("a", "/", random),
    });
    if which & 8 != 0 {
        config.limits = Limits { max_frame_size: Some(100), max_frames: 5, max_message_size: Some(200) };
    }
    config
}

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    sent: Vec<u8>,
    messages: VecDeque<Message>,
    /// The last ping's context, and whether there was a close.
    ping: Option<Control>,
    closed: bool,
    error: Option<String>,
}

impl Outcome {
    fn decode(&mut self, decoder: &mut Decoder, kept: &mut Vec<u8>) {
        let mut controls = Vec::new();
        match decoder.decode(kept, &mut self.messages, usize::MAX, &mut controls) {
            Ok(used) => drop(kept.drain(..used)),
            Err(error) => self.error = Some(error.to_string()),
        }
        for control in controls {
            match control {
                Control::Ping { .. } => self.ping = Some(control),
                Control::Pong => {}
                Control::Close { .. } => self.closed = true,
            }
        }
    }
}

fn outcome(which: u8, octets: &[u8], piece: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let mut handshake = Some(Handshake::new(config(which)));
    let mut traffic: Option<Established> = None;
    let mut kept = Vec::new();
    let begun: &[&[u8]] = match which & 3 {
        2 => &[REQUEST, READY_MASKED],
        3 => &[ANSWER, READY],
        _ => &[],
    };
    for piece in begun.iter().copied().chain(octets.chunks(piece)) {
        kept.extend_from_slice(piece);
        if let Some(mut now) = handshake.take() {
            let used = now.handle_input(&kept);
            outcome.sent.extend_from_slice(now.output());
            now.advance_output(usize::MAX);
            match used {
                Ok(used) => drop(kept.drain(..used)),
                Err(error) => {
                    outcome.error = Some(error.to_string());
                    return outcome;
                }
            }
            if now.is_complete() {
                traffic = Some(now.finish());
            } else {
                handshake = Some(now);
            }
        }
        if let Some(established) = &mut traffic {
            outcome.decode(&mut established.decoder, &mut kept);
        }
        if outcome.error.is_some() {
            break;
        }
    }
    // What was understood can be said again.
    if let Some(mut established) = traffic {
        let mut out = OutBuf::new();
        for message in outcome.messages.clone() {
            established.encoder.encode(message, &mut out);
        }
    }
    outcome
}

fuzz_target!(|input: &[u8]| {
    let Some((&which, octets)) = input.split_first() else { return };
    if octets.is_empty() {
        return;
    }
    let whole = outcome(which, octets, octets.len());
    for piece in [1, 7, 64] {
        assert_eq!(outcome(which, octets, piece), whole);
    }
});
