//! One end of a connection with its driver's duties done in memory, and the captured bytes.

#![allow(dead_code)] // Each test program uses a part of it.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::LazyLock;

use oxzmq_proto::{
    Control, Encoder, Established, Handshake, HandshakeConfig, Message, OutBuf, Properties, ProtocolError, Version,
};

static VECTORS: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let text = include_str!("../data/vectors.json");
    let entries: Vec<serde_json::Value> = serde_json::from_str(text).expect("valid JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a string").to_owned();
    entries.iter().map(|entry| (text(&entry["name"]), hex(&text(&entry["hex"])))).collect()
});

/// The captured bytes of this name.
pub(crate) fn vector(name: &str) -> Vec<u8> {
    let found = VECTORS.iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("no vector {name}")).1.clone()
}

/// The names of all captures that begin like this.
pub(crate) fn vector_names(prefix: &str) -> Vec<String> {
    let names = VECTORS.iter().map(|(name, _)| name.clone());
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// Octets from hexadecimal digits; blanks are ignored.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|digit| *digit != b' ').collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
    digits.chunks(2).map(|pair| octet(pair).expect("hexadecimal")).collect()
}

/// A message's bytes for a peer of this version.
pub(crate) fn encoded(version: Version, message: impl Into<Message>) -> Vec<u8> {
    encoded_all(version, [message.into()])
}

/// Several messages' bytes for a peer of this version.
pub(crate) fn encoded_all(version: Version, messages: impl IntoIterator<Item = Message>) -> Vec<u8> {
    let mut encoder = Encoder::new(version);
    let mut out = OutBuf::new();
    messages.into_iter().for_each(|message| encoder.encode(message, &mut out));
    drained(&mut out)
}

fn drained(out: &mut OutBuf) -> Vec<u8> {
    let mut octets = Vec::new();
    while !out.is_empty() {
        let mut slices = [IoSlice::new(&[]); 3];
        let count = out.io_slices(&mut slices);
        let before = octets.len();
        slices[..count].iter().for_each(|slice| octets.extend_from_slice(slice));
        out.advance(octets.len() - before);
    }
    octets
}

/// One end of a connection: handshake, then traffic, from whatever pieces of bytes it receives.
pub(crate) struct Wire {
    stage: Option<Stage>,
    sent: Vec<u8>,
    /// What was received and not yet used.
    tail: Vec<u8>,
    messages: VecDeque<Message>,
    controls: Vec<Control>,
    /// Read large bodies into their own buffers, as a good driver does.
    direct: bool,
}

enum Stage {
    Handshake(Box<Handshake>),
    Traffic(Box<Established>),
}

impl Wire {
    pub(crate) fn new(config: HandshakeConfig) -> Self {
        Self::at(Stage::Handshake(Box::new(Handshake::new(config))))
    }

    fn at(stage: Stage) -> Self {
        Wire {
            stage: Some(stage),
            sent: Vec::new(),
            tail: Vec::new(),
            messages: VecDeque::new(),
            controls: Vec::new(),
            direct: true,
        }
    }

    /// Hand large bodies to `decode` instead of reading them directly.
    pub(crate) fn indirect(mut self) -> Self {
        self.direct = false;
        self
    }

    /// Receive one segment.
    pub(crate) fn receive(&mut self, octets: &[u8]) -> Result<(), ProtocolError> {
        let mut octets = octets;
        if self.direct && self.tail.is_empty() {
            octets = self.receive_body(octets)?;
        }
        self.tail.extend_from_slice(octets);
        if let Some(Stage::Handshake(handshake)) = &mut self.stage {
            let result = handshake.handle_input(&self.tail);
            self.sent.extend_from_slice(handshake.output());
            handshake.advance_output(usize::MAX);
            self.tail.drain(..result?);
            if !handshake.is_complete() {
                assert!(self.tail.is_empty(), "a handshake in progress uses all of its input");
                return Ok(());
            }
            if let Some(Stage::Handshake(handshake)) = self.stage.take() {
                self.stage = Some(Stage::Traffic(Box::new(handshake.finish())));
            }
        }
        self.decode()
    }

    /// Let the peer in, if that is the question.
    pub(crate) fn admit(&mut self) {
        let Some(Stage::Handshake(handshake)) = &mut self.stage else { return };
        handshake.authenticate(Ok(Properties::new())).unwrap();
        self.sent.extend_from_slice(handshake.output());
        handshake.advance_output(usize::MAX);
        if handshake.is_complete()
            && let Some(Stage::Handshake(handshake)) = self.stage.take()
        {
            self.stage = Some(Stage::Traffic(Box::new(handshake.finish())));
        }
    }

    fn receive_body<'a>(&mut self, octets: &'a [u8]) -> Result<&'a [u8], ProtocolError> {
        let Some(Stage::Traffic(established)) = &mut self.stage else {
            return Ok(octets);
        };
        let decoder = &mut established.decoder;
        let Some(mut body) = decoder.body() else {
            return Ok(octets);
        };
        let (now, rest) = octets.split_at(octets.len().min(body.missing));
        for octet in now {
            body.reserve();
            assert!(body.buffer.capacity() > body.buffer.len());
            body.buffer.push(*octet);
        }
        decoder.body_received(&mut self.messages, &mut self.controls)?;
        Ok(rest)
    }

    fn decode(&mut self) -> Result<(), ProtocolError> {
        let Some(Stage::Traffic(established)) = &mut self.stage else {
            return Ok(());
        };
        loop {
            let before = self.messages.len();
            // Few at a time, to see that decoding goes on where it stopped.
            let (decoder, out) = (&mut established.decoder, &mut self.messages);
            let used = decoder.decode(&self.tail, out, 3, &mut self.controls)?;
            self.tail.drain(..used);
            assert!(self.messages.len() - before <= 3);
            if self.messages.len() - before < 3 {
                return Ok(());
            }
        }
    }

    /// What was sent since the last time.
    pub(crate) fn sent(&mut self) -> Vec<u8> {
        if let Some(Stage::Handshake(handshake)) = &mut self.stage {
            self.sent.extend_from_slice(handshake.output());
            handshake.advance_output(usize::MAX);
        }
        std::mem::take(&mut self.sent)
    }

    /// Send a message, once there is traffic.
    pub(crate) fn send(&mut self, message: impl Into<Message>) {
        let Some(Stage::Traffic(established)) = &mut self.stage else {
            panic!("the handshake is not complete");
        };
        let mut out = OutBuf::new();
        established.encoder.encode(message.into(), &mut out);
        self.sent.extend_from_slice(&drained(&mut out));
    }

    pub(crate) fn validate_replies(&mut self) {
        if let Some(Stage::Traffic(established)) = &mut self.stage {
            established.decoder.validate_replies();
        }
    }

    pub(crate) fn version(&self) -> Option<Version> {
        match &self.stage {
            Some(Stage::Traffic(established)) => Some(established.version),
            _ => None,
        }
    }

    /// What was received since the last time.
    pub(crate) fn messages(&mut self) -> Vec<Message> {
        self.messages.drain(..).collect()
    }

    /// The heartbeats received since the last time.
    pub(crate) fn controls(&mut self) -> Vec<Control> {
        std::mem::take(&mut self.controls)
    }

    /// What the handshake came to.
    pub(crate) fn finish(self) -> Established {
        match self.stage {
            Some(Stage::Traffic(established)) => *established,
            _ => panic!("the handshake is not complete"),
        }
    }
}
