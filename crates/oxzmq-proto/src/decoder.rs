//! From bytes to messages.

mod websocket;

use std::collections::VecDeque;
use std::mem;

use bytes::Bytes;

use self::websocket::WebSocketState;
use crate::command::{self, Traffic};
use crate::header::{COMMAND, Header, MORE};
use crate::limits::COMMAND_OVERHEAD;
use crate::mechanism::Opener;
use crate::reply_check::ReplyCheck;
use crate::websocket::unmask;
use crate::{Frame, Limits, Message, ProtocolError, Version};

/// Bodies from this many octets on may be read straight into their final buffer; see [`Decoder::body`].
///
/// A driver's read buffer has to hold a smaller frame whole: this many octets and a header of ten.
pub const LARGE_BODY: usize = 16 * 1024;

/// What a large body's buffer starts with, in octets; it doubles from there as octets arrive.
const LARGE_BODY_START: usize = 256 * 1024;

/// The largest frame that may share its buffer with those that came with it; see [`Decoder::decode_run`].
const RUN_FRAME: usize = 2048;

/// The largest buffer that frames share: all of it stays for as long as one of them does.
const RUN: usize = 16 * 1024;

/// So many frames are worth sharing a buffer, and so many share one at most.
const RUN_LEAST: usize = 4;
const RUN_MOST: usize = 128;

/// A sign of life from the peer (RFC 37, heartbeats), or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// To be answered with a PONG that carries the same context.
    Ping {
        /// How long the peer lets us wait for its next sign of life, in tenths of a second; 0 is no bound.
        ttl_deciseconds: u16,
        /// At most 16 octets; what went beyond is cut off. Over WebSocket at most 125.
        context: Frame,
    },
    /// Needs no answer, asked for or not.
    Pong,
    /// The peer closes the WebSocket, and nothing of it comes after this. To be answered with the same, and the connection to
    /// be closed.
    Close {
        /// A code, and a text that explains it, or nothing.
        payload: Frame,
    },
}

/// Turns bytes into messages, in the form of one connection's version.
///
/// It keeps the frames of a message that is not whole yet, and a large body that is not; a partial
/// small frame is left to its caller. After an error it is of no more use; the messages decoded before
/// the error are good.
#[derive(Debug)]
pub struct Decoder {
    version: Version,
    limits: Limits,
    /// Frames of a message whose last one is still to come, and their octets.
    partial: Message,
    partial_size: u64,
    large: Option<Large>,
    /// Octets of the largest body that came whole.
    proven: usize,
    replies: Option<ReplyCheck>,
    /// Subscriptions and group changes concern nobody here.
    ignores_changes: bool,
    /// Decrypts, where the mechanism encrypts.
    opener: Option<Box<Opener>>,
    /// A frame is what the application gets, as it is: neither replies to check nor boxes to open.
    is_direct: bool,
    /// Frames are WebSocket's.
    websocket: Option<WebSocketState>,
}

/// A large body on its way. Holds at most `size` octets.
#[derive(Debug)]
struct Large {
    buffer: Vec<u8>,
    size: usize,
    flags: u8,
    /// Of WebSocket's, for all of it: to be taken off once the body is whole.
    mask: Option<[u8; 4]>,
}

/// A large body's final buffer, for a driver that reads the rest of it directly.
#[derive(Debug)]
pub struct LargeBody<'a> {
    /// What is there so far; append to it.
    pub buffer: &'a mut Vec<u8>,
    /// Octets still to come, at least one. Append at most this many.
    pub missing: usize,
    /// The largest body that came whole on this connection.
    proven: usize,
}

impl LargeBody<'_> {
    /// Make room for at least one more octet: the buffer doubles, from 256 KiB on and never beyond
    /// the body's end, so that memory follows what was received rather than what was promised. A body no
    /// larger than one that came whole before gets all its room at once.
    pub fn reserve(&mut self) {
        if self.buffer.len() == self.buffer.capacity() {
            let more = self.buffer.len().max(LARGE_BODY_START).max(self.proven).min(self.missing);
            self.buffer.reserve_exact(more);
        }
    }
}

impl Decoder {
    /// A decoder for the traffic of a connection of this version.
    pub fn new(version: Version, limits: Limits) -> Self {
        Decoder {
            version,
            limits,
            partial: Message::new(),
            partial_size: 0,
            large: None,
            proven: 0,
            replies: None,
            ignores_changes: false,
            opener: None,
            is_direct: true,
            websocket: None,
        }
    }

    /// A decoder for a connection whose mechanism may encrypt.
    pub(crate) fn sealed(version: Version, limits: Limits, opener: Option<Box<Opener>>) -> Self {
        let is_direct = opener.is_none();
        Decoder { opener, is_direct, ..Self::new(version, limits) }
    }

    /// Drop subscriptions and group changes that come as commands: for the socket types that do not
    /// publish. Their application must not take them for messages.
    pub fn ignore_changes(&mut self) {
        self.ignores_changes = true;
    }

    /// Also check that each message is a reply to a REQ socket (RFC 28): an empty frame first, or a
    /// request id of four octets and then an empty frame, and more after that. Anything else is
    /// [`ProtocolError::ReplyFormat`].
    pub fn validate_replies(&mut self) {
        self.replies = Some(ReplyCheck::default());
        self.is_direct = false;
    }

    /// Decode whole messages from `input` onto the back of `out`, at most `max`; returns the octets
    /// taken from `input`.
    ///
    /// Afterwards either all of `input` is used but a partial frame, which the caller keeps and
    /// presents again with more behind it, or `max` was reached. Subscriptions and group changes
    /// that came as commands are messages with their [`Kind`](crate::Kind); those that came as messages
    /// (`01` or `00` and the topic) are data here, because only the pattern knows whether they mean that.
    /// Heartbeats go to `controls`. Unknown commands are dropped.
    ///
    /// # Errors
    ///
    /// On traffic that breaks the protocol or the limits. Messages in `out` came before that.
    pub fn decode(
        &mut self,
        input: &[u8],
        out: &mut VecDeque<Message>,
        max: usize,
        controls: &mut Vec<Control>,
    ) -> Result<usize, ProtocolError> {
        if out.capacity() == 0 {
            // A reply comes alone: room for more would be most of an idle connection's memory.
            out.reserve_exact(1);
        }
        let full = out.len().saturating_add(max);
        let mut at = 0;
        if self.large.is_some() && max > 0 {
            at = self.fill_large(input);
            self.body_received(out, controls)?;
        }
        if self.websocket.is_some() && self.large.is_none() {
            return match self.websocket_side() {
                Some(side) => Ok(at + self.decode_websocket(side, &input[at..], out, full, controls)?),
                None => Ok(input.len()),
            };
        }
        while out.len() < full && self.large.is_none() {
            at += self.decode_small(&input[at..], out, full);
            if out.len() == full {
                break;
            }
            let rest = &input[at..];
            let Some(header) = Header::parse(self.version, rest)? else {
                break;
            };
            self.admit(&header)?;
            let size = header.size as usize; // `Header` only has sizes that fit.
            let body = &rest[header.len..];
            if size > body.len() {
                if size < LARGE_BODY {
                    break;
                }
                at += header.len;
                self.large = Some(Large { buffer: Vec::new(), size, flags: header.flags, mask: None });
                at += self.fill_large(&input[at..]);
                break;
            }
            at += header.len + size;
            if header.flags & (MORE | COMMAND) == 0 && self.is_between_messages() {
                if size <= RUN_FRAME {
                    let run = self.decode_run(&input[at - header.len - size..], out, full);
                    if run > 0 {
                        at += run - header.len - size;
                        continue;
                    }
                }
                out.push_back(Message::single(&body[..size]));
            } else if let Some(opener) = &mut self.opener {
                let (flags, frame) = opener.open(&body[..size])?;
                self.accept_opened(flags, frame, out, controls)?;
            } else {
                let frame = Frame::copy_from_slice(&body[..size]);
                self.accept(header.flags, frame, out, controls)?;
            }
        }
        Ok(at)
    }

    /// The hot path: messages of one small frame each, one after the other, as long as there are such and `out` holds
    /// fewer than `full`. Returns the octets taken from `input`.
    #[inline]
    fn decode_small(&self, input: &[u8], out: &mut VecDeque<Message>, full: usize) -> usize {
        if !self.is_between_messages() || self.version.is_v1() || self.limits.max_frames == 0 {
            return 0;
        }
        let limits = [self.limits.max_frame_size, self.limits.max_message_size];
        let limit = limits.into_iter().flatten().fold(Frame::INLINE_MAX as u64, u64::min) as u8; // at most INLINE_MAX
        let mut rest = input;
        while out.len() < full
            && let Some([flags, size, data @ ..]) = rest.first_chunk::<{ Frame::INLINE_MAX + 2 }>()
            && *flags == 0
            && *size <= limit
        {
            // Copied from a constant and then filled in place. Written field by field and then moved it would make the
            // processor wait, which cannot read back in one piece what it has just written in several.
            out.push_back(Message::EMPTY_FRAME);
            if let Some(message) = out.back_mut() {
                message.fill(data, usize::from(*size));
            }
            rest = &rest[usize::from(*size) + 2..];
        }
        input.len() - rest.len()
    }

    /// Messages of one frame each of middling size, one after the other: their bodies are copied together into a buffer
    /// that they share, because an allocation for each costs more than its octets do. Returns the octets taken from
    /// `input`; 0 where there are too few of them for that.
    fn decode_run(&self, input: &[u8], out: &mut VecDeque<Message>, full: usize) -> usize {
        let mut bodies = [(0u16, 0u16); RUN_MOST];
        let mut count = 0;
        let mut end = 0;
        for place in bodies.iter_mut().take(full - out.len()) {
            let Ok(Some(header)) = Header::parse(self.version, &input[end..]) else { break };
            let plain = header.flags & (MORE | COMMAND) == 0 && self.admit(&header).is_ok();
            let size = usize::try_from(header.size).unwrap_or(usize::MAX);
            let start = end + header.len;
            if !plain || !(Frame::INLINE_MAX + 1..=RUN_FRAME).contains(&size) || start + size > input.len().min(RUN) {
                break;
            }
            *place = (start as u16, (start + size) as u16); // at most RUN
            count += 1;
            end = start + size;
        }
        let [(first, _), .., _] = bodies[..count] else { return 0 };
        if count < RUN_LEAST {
            return 0;
        }
        let shared = Bytes::copy_from_slice(&input[usize::from(first)..end]);
        for &(start, end) in &bodies[..count] {
            let body = shared.slice(usize::from(start - first)..usize::from(end - first));
            out.push_back(Message::single(Frame::shared(body)));
        }
        end
    }

    /// The large body that is on its way, if the last frame seen is one: at least [`LARGE_BODY`]
    /// octets, and not all were in the input.
    ///
    /// A driver may then append what it reads to the body's own buffer and report it with
    /// [`Decoder::body_received`], or go on with [`Decoder::decode`] as before at the cost of a copy.
    pub fn body(&mut self) -> Option<LargeBody<'_>> {
        let proven = self.proven;
        self.large.as_mut().map(|large| LargeBody {
            missing: large.size - large.buffer.len(),
            buffer: &mut large.buffer,
            proven,
        })
    }

    /// Call after the buffer of [`Decoder::body`] has grown: completes the frame, and perhaps its
    /// message, once nothing is missing.
    ///
    /// # Errors
    ///
    /// As [`Decoder::decode`].
    ///
    /// # Panics
    ///
    /// If more was appended than was missing: those octets are lost, so there is no way on.
    pub fn body_received(
        &mut self,
        out: &mut VecDeque<Message>,
        controls: &mut Vec<Control>,
    ) -> Result<(), ProtocolError> {
        match self.large.take_if(|large| large.buffer.len() >= large.size) {
            Some(Large { mut buffer, size, flags, mask }) => {
                assert!(buffer.len() == size, "a driver appended beyond the body's end");
                if let Some(key) = mask {
                    unmask(key, &mut buffer);
                }
                self.proven = self.proven.max(size);
                if let Some(opener) = &mut self.opener {
                    let (flags, frame) = opener.open_owned(buffer)?;
                    return self.accept_opened(flags, frame, out, controls);
                }
                self.accept(flags, Frame::from(buffer), out, controls)
            }
            None => Ok(()),
        }
    }

    /// Whether a message has begun and is not whole. A partial frame that was left to the caller
    /// does not count.
    pub fn is_mid_message(&self) -> bool {
        self.large.is_some() || !self.partial.is_empty()
    }

    /// Take what is there of the large body from the front of `input`; returns the octets taken.
    fn fill_large(&mut self, input: &[u8]) -> usize {
        let Some(mut body) = self.body() else {
            return 0;
        };
        let taken = input.len().min(body.missing);
        body.reserve();
        body.buffer.extend_from_slice(&input[..taken]);
        taken
    }

    #[inline]
    fn is_command(&self, flags: u8) -> bool {
        flags & COMMAND != 0 && self.version.has_commands()
    }

    /// Compare what a header promises with the limits. Changes nothing, so that the same header can
    /// be presented again.
    #[inline]
    fn admit(&self, header: &Header) -> Result<(), ProtocolError> {
        if let Some(opener) = &self.opener {
            return self.admit_sealed(header.size, opener.overhead());
        }
        self.admit_frame(header.flags, header.size)
    }

    /// A sealed frame: only its outside is known. What is in it is compared with the limits once it is open.
    fn admit_sealed(&self, size: u64, overhead: usize) -> Result<(), ProtocolError> {
        let overhead = overhead as u64 + COMMAND_OVERHEAD;
        let limits = [self.limits.max_frame_size, self.limits.max_message_size];
        match limits.into_iter().flatten().min() {
            Some(limit) if size > limit.saturating_add(overhead) => Err(ProtocolError::FrameTooLarge { size, limit }),
            _ => Ok(()),
        }
    }

    #[inline]
    fn admit_frame(&self, flags: u8, size: u64) -> Result<(), ProtocolError> {
        let command = self.is_command(flags);
        if let Some(limit) = self.limits.max_frame_size {
            let extra = if command { COMMAND_OVERHEAD } else { 0 };
            if size > limit.saturating_add(extra) {
                return Err(ProtocolError::FrameTooLarge { size, limit });
            }
        }
        if command {
            return Ok(());
        }
        if self.partial.len() >= self.limits.max_frames.max(1) {
            let limit = self.limits.max_frames;
            return Err(ProtocolError::TooManyFrames { limit });
        }
        if let Some(limit) = self.limits.max_message_size {
            let size = self.partial_size.saturating_add(size);
            if size > limit {
                return Err(ProtocolError::MessageTooLarge { size, limit });
            }
        }
        Ok(())
    }

    /// Whether the next frame may be a message by itself, with nothing to check about that.
    #[inline]
    fn is_between_messages(&self) -> bool {
        self.partial.is_empty() && self.is_direct
    }

    /// Take in a frame that came in a box.
    fn accept_opened(
        &mut self,
        flags: u8,
        frame: Frame,
        out: &mut VecDeque<Message>,
        controls: &mut Vec<Control>,
    ) -> Result<(), ProtocolError> {
        self.admit_frame(flags, frame.len() as u64)?;
        self.accept(flags, frame, out, controls)
    }

    /// Take in a whole frame, in the clear.
    fn accept(
        &mut self,
        flags: u8,
        frame: Frame,
        out: &mut VecDeque<Message>,
        controls: &mut Vec<Control>,
    ) -> Result<(), ProtocolError> {
        if self.is_command(flags) {
            return accept_command(frame, self.ignores_changes, out, controls);
        }
        if flags & COMMAND != 0 && self.version == Version::V2 {
            // There are no commands in ZMTP 2.0, and this bit is reserved. libzmq delivers no such frame either.
            return Ok(());
        }
        let more = flags & MORE != 0;
        if let Some(check) = &mut self.replies {
            check.frame(more, frame.len(), self.partial.len())?;
        }
        if !more && self.partial.is_empty() {
            out.push_back(Message::single(frame));
            return Ok(());
        }
        self.partial_size = self.partial_size.saturating_add(frame.len() as u64);
        self.partial.push_back(frame);
        if !more {
            self.partial_size = 0;
            out.push_back(mem::take(&mut self.partial));
        }
        Ok(())
    }
}

/// Commands may come between the frames of a message, and leave it alone.
#[cold]
fn accept_command(
    body: Frame,
    ignores_changes: bool,
    out: &mut VecDeque<Message>,
    controls: &mut Vec<Control>,
) -> Result<(), ProtocolError> {
    match command::traffic(&body)? {
        Traffic::Change(..) if ignores_changes => {}
        Traffic::Change(kind, start) => {
            let topic = match body.as_shared() {
                Some(bytes) => Frame::from(bytes.slice(start..)),
                None => Frame::copy_from_slice(&body[start..]),
            };
            out.push_back(Message::subscription(kind, topic));
        }
        Traffic::Control(control) => controls.push(control),
        Traffic::Unknown => {}
    }
    Ok(())
}
