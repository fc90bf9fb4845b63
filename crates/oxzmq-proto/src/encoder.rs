//! From messages to bytes.

use crate::header::{COMMAND, Header, MAX_HEADER, MORE};
use crate::limits::MAX_PING_CONTEXT;
use crate::mechanism::Sealer;
use crate::websocket::header::Kind as ControlKind;
use crate::{Frame, Kind, Message, OutBuf, Version};

/// A short header and the longest inline body, in octets.
const MAX_SMALL: usize = Frame::INLINE_MAX + 2;

/// Small messages are put together in pieces of so many octets.
const SMALL_PIECE: usize = 2048;

/// For fewer messages a piece is not worth its making: a request or a reply comes alone.
const SMALL_FEWEST: usize = 8;

/// Turns messages into bytes, in the form that one connection's version asks for.
#[derive(Debug)]
pub struct Encoder {
    version: Version,
    /// Encrypts, where the mechanism does; puts frames into those of WebSocket.
    sealer: Option<Box<Sealer>>,
}

impl Encoder {
    /// An encoder for a connection of this version, after its handshake.
    pub fn new(version: Version) -> Self {
        Encoder { version, sealer: None }
    }

    /// An encoder for a connection whose mechanism may encrypt, or that is a WebSocket.
    pub(crate) fn sealed(version: Version, sealer: Option<Box<Sealer>>) -> Self {
        Encoder { version, sealer }
    }

    /// The connection's version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Append a message to `out`. One without frames is sent as one empty frame.
    ///
    /// Subscriptions go out as commands to a 3.1 peer and as messages (`01` or `00` before the
    /// topic) to older ones, which would not understand the commands. Joins and leaves go out as
    /// commands from 3.0 on; to older peers, which have none, nothing is sent.
    #[inline]
    pub fn encode(&mut self, message: Message, out: &mut OutBuf) {
        if message.kind() != Kind::Data {
            return self.encode_change(message, out);
        }
        if let Some(sealer) = &mut self.sealer {
            return seal_frames(sealer, &message, out);
        }
        // The hot path: one small frame, which need not be moved out of its message.
        if let [frame] = message.frames()
            && let Some((body, len)) = frame.inline_parts()
        {
            return self.put_inline(0, body, len, out);
        }
        self.encode_frames(message, out);
    }

    /// Append as many of `messages`, from the front, as are data of one small frame each, until `out` holds `enough`
    /// octets (and a little more); returns how many. What [`Encoder::encode`] does one by one, for the messages of a flood:
    /// a few, or what is sealed, or goes out in the form of ZMTP 1.0, it leaves to that.
    pub fn encode_small(&self, messages: &[Message], out: &mut OutBuf, enough: usize) -> usize {
        if self.sealer.is_some() || self.version.is_v1() || messages.len() < SMALL_FEWEST {
            return 0;
        }
        let mut piece = [0; SMALL_PIECE];
        let mut end = 0;
        let mut count = 0;
        for message in messages {
            let Some((body, len)) = message.small() else { break };
            if end + MAX_SMALL > piece.len() {
                out.put(&piece[..end]);
                end = 0;
                if out.len() >= enough {
                    break;
                }
            }
            // Copies of constant size: cheaper than those of variable size when all is small.
            if let Some([flags, size, data @ ..]) = piece[end..].first_chunk_mut::<MAX_SMALL>() {
                *flags = 0;
                *size = len as u8; // at most INLINE_MAX
                *data = *body;
            }
            end += len + 2;
            count += 1;
        }
        out.put(&piece[..end]);
        count
    }

    fn encode_frames(&self, message: Message, out: &mut OutBuf) {
        let mut left = message.len();
        if left == 0 {
            return self.put_frame(0, Frame::new(), out);
        }
        for frame in message.into_frames() {
            left -= 1;
            self.put_frame(if left > 0 { MORE } else { 0 }, frame, out);
        }
    }

    /// Whether the peer understands PINGs. To one that does not nothing is sent, and so it may be silent for as long as it
    /// likes.
    pub fn has_heartbeats(&self) -> bool {
        self.version.has_commands()
    }

    /// Append a PING. `ttl_deciseconds` is how long the peer may wait for the next sign of life, 0 for
    /// no bound; of `context` at most 16 octets are sent. Nothing is sent below 3.0. WebSocket's own ping has no room for
    /// the former.
    pub fn ping(&mut self, ttl_deciseconds: u16, context: &[u8], out: &mut OutBuf) {
        let [high, low] = ttl_deciseconds.to_be_bytes();
        let context = &context[..context.len().min(MAX_PING_CONTEXT)];
        // Without a mechanism (as ZMTP 2.0) libzmq answers none over WebSocket.
        if let Some(websocket) = self.sealer.as_mut().and_then(|sealer| sealer.websocket())
            && self.version.has_commands()
        {
            return websocket.put_control(ControlKind::Ping, context, out);
        }
        self.put_command(&[b"\x04PING", &[high, low], context], out);
    }

    /// Append the answer to a PING with its `context`, of which at most 16 octets are sent. Nothing
    /// is sent below 3.0. Over WebSocket the answer carries all of the ping's 125 octets.
    pub fn pong(&mut self, context: &[u8], out: &mut OutBuf) {
        if let Some(websocket) = self.sealer.as_mut().and_then(|sealer| sealer.websocket()) {
            return websocket.put_control(ControlKind::Pong, context, out);
        }
        let context = &context[..context.len().min(MAX_PING_CONTEXT)];
        self.put_command(&[b"\x04PONG", context], out);
    }

    /// Append the answer to [`Control::Close`](crate::Control::Close), whose `payload` it repeats. Only WebSocket has one.
    pub fn close(&mut self, payload: &[u8], out: &mut OutBuf) {
        if let Some(websocket) = self.sealer.as_mut().and_then(|sealer| sealer.websocket()) {
            websocket.put_control(ControlKind::Close, payload, out);
        }
    }

    fn put_frame(&self, flags: u8, frame: Frame, out: &mut OutBuf) {
        if let Some((body, len)) = frame.inline_parts() {
            return self.put_inline(flags, body, len, out);
        }
        self.put_header(flags, frame.len(), out);
        out.put_bytes(frame.into_bytes());
    }

    /// Header and body of an inline frame. The short form always fits.
    #[inline]
    fn put_inline(&self, flags: u8, body: &[u8; Frame::INLINE_MAX], len: usize, out: &mut OutBuf) {
        let header = if self.version.is_v1() { [len as u8 + 1, flags] } else { [flags, len as u8] };
        out.put_prefix(&header, body, len);
    }

    #[inline]
    fn put_header(&self, flags: u8, size: usize, out: &mut OutBuf) {
        let mut header = [0; MAX_HEADER];
        let len = Header::write(self.version, flags, size, &mut header);
        out.put(&header[..len]);
    }

    fn put_command(&mut self, parts: &[&[u8]], out: &mut OutBuf) {
        if !self.version.has_commands() {
            return;
        }
        if let Some(sealer) = &mut self.sealer {
            return sealer.put(COMMAND, parts, out);
        }
        self.put_header(COMMAND, parts.iter().map(|part| part.len()).sum(), out);
        parts.iter().for_each(|part| out.put(part));
    }

    fn encode_change(&mut self, mut message: Message, out: &mut OutBuf) {
        let kind = message.kind();
        let topic = message.pop_front().unwrap_or_default();
        let commands_only = matches!(kind, Kind::Join | Kind::Leave);
        if commands_only && !self.version.has_commands() {
            return;
        }
        let (flags, prefix): (u8, &[u8]) = if commands_only || self.version >= Version::V3_1 {
            (COMMAND, command_name(kind))
        } else {
            (0, if kind == Kind::Subscribe { &[1] } else { &[0] })
        };
        if let Some(sealer) = &mut self.sealer {
            return sealer.put(flags, &[prefix, &topic], out);
        }
        self.put_header(flags, prefix.len() + topic.len(), out);
        out.put(prefix);
        match topic.as_shared() {
            Some(bytes) => out.put_bytes(bytes.clone()),
            None => out.put(&topic),
        }
    }
}

// Out of the way of what travels in the clear.
#[inline(never)]
fn seal_frames(sealer: &mut Sealer, message: &Message, out: &mut OutBuf) {
    let mut left = message.len();
    if left == 0 {
        return sealer.put(0, &[], out);
    }
    for frame in message.frames() {
        left -= 1;
        sealer.put_frame(if left > 0 { MORE } else { 0 }, frame, out);
    }
}

/// The command's name with its length octet.
fn command_name(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Data => b"",
        Kind::Subscribe => b"\x09SUBSCRIBE",
        Kind::Cancel => b"\x06CANCEL",
        Kind::Join => b"\x04JOIN",
        Kind::Leave => b"\x05LEAVE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(version: Version, message: Message) -> Vec<u8> {
        let mut out = OutBuf::new();
        Encoder::new(version).encode(message, &mut out);
        assert!(out.is_contiguous());
        out.first_slice().to_vec()
    }

    #[test]
    fn a_message_without_frames_is_one_empty_frame() {
        assert_eq!(encoded(Version::V3_1, Message::new()), [0, 0]);
        assert_eq!(encoded(Version::V1, Message::new()), [1, 0]);
    }

    #[test]
    fn small_messages_together_are_what_they_are_one_by_one() {
        let sizes = || (0..=Frame::INLINE_MAX).cycle().take(500);
        let messages: Vec<_> = sizes().map(|size| Message::from(vec![size as u8; size])).collect();
        for version in [Version::V2, Version::V3_0, Version::V3_1] {
            let one_by_one: Vec<u8> = messages.iter().flat_map(|message| encoded(version, message.clone())).collect();
            let mut together = OutBuf::new();
            let encoder = Encoder::new(version);
            assert_eq!(encoder.encode_small(&messages, &mut together, usize::MAX), messages.len());
            assert_eq!(together.first_slice(), one_by_one);

            let mut some = OutBuf::new();
            let count = encoder.encode_small(&messages, &mut some, 3000);
            assert!((3000..3000 + SMALL_PIECE).contains(&some.len()), "{}", some.len());
            assert!(one_by_one.starts_with(some.first_slice()));
            assert_eq!(some.len(), messages[..count].iter().map(|message| message.byte_len() + 2).sum::<usize>());
        }
        assert_eq!(Encoder::new(Version::V1).encode_small(&messages, &mut OutBuf::new(), usize::MAX), 0);
    }

    #[test]
    fn what_is_no_small_message_ends_those_that_go_together() {
        let others = [
            Message::from(vec![1; 39]),
            Message::from(["a", "b"]),
            Message::subscription(Kind::Subscribe, "t"),
            Message::new(),
        ];
        for other in others {
            let mut messages: Vec<_> = (0..10).map(|_| Message::from("small")).collect();
            messages.insert(7, other);
            let mut out = OutBuf::new();
            assert_eq!(Encoder::new(Version::V3_1).encode_small(&messages, &mut out, usize::MAX), 7);
            assert_eq!(out.len(), 7 * 7);
        }
    }

    #[test]
    fn a_topic_of_255_octets_gets_a_long_header() {
        let topic = vec![b't'; 255];
        let message = Message::subscription(Kind::Subscribe, topic.clone());
        let expected = [&[2, 0, 0, 0, 0, 0, 0, 1, 0, 1][..], &topic].concat();
        assert_eq!(encoded(Version::V3_0, message.clone()), expected);
        assert_eq!(encoded(Version::V3_1, message)[..9], [6, 0, 0, 0, 0, 0, 0, 1, 9]);
    }

    #[test]
    fn old_peers_get_no_commands() {
        for version in [Version::V1, Version::V1Versioned, Version::V2] {
            let mut out = OutBuf::new();
            let mut encoder = Encoder::new(version);
            encoder.ping(5, b"", &mut out);
            encoder.pong(b"", &mut out);
            encoder.encode(Message::subscription(Kind::Join, "g"), &mut out);
            encoder.encode(Message::subscription(Kind::Leave, "g"), &mut out);
            assert!(out.is_empty());
        }
        let join = Message::subscription(Kind::Join, "g");
        assert_eq!(encoded(Version::V3_0, join), b"\x04\x06\x04JOINg");
    }

    #[test]
    fn a_large_body_is_referenced() {
        let body = bytes::Bytes::from(vec![1; OutBuf::REFERENCE_MIN]);
        let at = body.as_ptr();
        let mut out = OutBuf::new();
        Encoder::new(Version::V3_1).encode(Message::from(body), &mut out);
        out.advance(9);
        assert_eq!(out.first_slice().as_ptr(), at);
    }
}
