//! The decoder's work where frames are WebSocket's: see [`crate::websocket`].

use std::collections::VecDeque;

use super::{Control, Decoder, LARGE_BODY, Large};
use crate::header::{self, COMMAND, MORE};
use crate::websocket::header::{Header, Kind};
use crate::websocket::{Side, unmask};
use crate::{Frame, Message, ProtocolError};

/// How a connection's frames come, where it is not as ZMTP's.
#[derive(Debug)]
pub(super) struct WebSocketState {
    side: Side,
    /// The peer has said that nothing more will come.
    closed: bool,
}

impl Decoder {
    /// From now on, frames are WebSocket's.
    pub(crate) fn unwrap_websocket(&mut self, side: Side) {
        self.websocket = Some(WebSocketState { side, closed: false });
    }

    /// [`Decoder::decode`] until `out` holds `full`, from `at` on. A large body is none on its way.
    #[cold] // as seen from the loop for ZMTP
    pub(super) fn decode_websocket(
        &mut self,
        side: Side,
        input: &[u8],
        out: &mut VecDeque<Message>,
        full: usize,
        controls: &mut Vec<Control>,
    ) -> Result<usize, ProtocolError> {
        let mut at = 0;
        while out.len() < full {
            let rest = &input[at..];
            let Some(header) = Header::parse(side, rest)? else { break };
            let body = &rest[header.len..];
            let size = header.size as usize; // `Header` only has sizes that fit.
            if header.kind != Kind::Binary {
                let Some(payload) = body.get(..size) else { break };
                at += header.len + size;
                if self.accept_control(&header, payload, controls) {
                    return Ok(input.len());
                }
                continue;
            }
            self.admit(&header::Header { flags: header.flags, len: header.len, size: header.size })?;
            let Some(body) = body.get(..size) else {
                if size < LARGE_BODY {
                    break;
                }
                at += header.len;
                self.large = Some(Large { buffer: Vec::new(), size, flags: header.flags, mask: header.key });
                at += self.fill_large(&input[at..]);
                break;
            };
            at += header.len + size;
            self.accept_binary(&header, body, out, controls)?;
        }
        Ok(at)
    }

    /// The side that we are, while there is still something to expect.
    pub(super) fn websocket_side(&self) -> Option<Side> {
        self.websocket.as_ref().filter(|state| !state.closed).map(|state| state.side)
    }

    fn accept_binary(
        &mut self,
        header: &Header,
        body: &[u8],
        out: &mut VecDeque<Message>,
        controls: &mut Vec<Control>,
    ) -> Result<(), ProtocolError> {
        if let Some(opener) = &mut self.opener {
            let (flags, frame) = match header.key {
                None => opener.open(body)?,
                Some(key) => {
                    let mut body = body.to_vec();
                    unmask(key, &mut body);
                    opener.open_owned(body)?
                }
            };
            return self.accept_opened(flags, frame, out, controls);
        }
        let frame = match header.key {
            None => Frame::copy_from_slice(body),
            Some(key) if body.len() <= Frame::INLINE_MAX => {
                let mut frame = Frame::copy_from_slice(body);
                if let Some(body) = frame.inline_mut() {
                    unmask(key, body);
                }
                frame
            }
            Some(key) => {
                let mut body = body.to_vec();
                unmask(key, &mut body);
                Frame::from(body)
            }
        };
        if header.flags & (MORE | COMMAND) == 0 && self.is_between_messages() {
            out.push_back(Message::single(frame));
            return Ok(());
        }
        self.accept(header.flags, frame, out, controls)
    }

    /// Take in a control frame; true when it is the last of all.
    fn accept_control(&mut self, header: &Header, payload: &[u8], controls: &mut Vec<Control>) -> bool {
        let mut context = Frame::copy_from_slice(payload);
        if let Some(key) = header.key {
            context = {
                let mut octets = context.to_vec();
                unmask(key, &mut octets);
                Frame::from(octets)
            };
        }
        match header.kind {
            Kind::Ping => {
                // Only the last one needs an answer (RFC 6455, 5.5.3): a flood of them takes no memory.
                controls.retain(|control| !matches!(control, Control::Ping { .. }));
                controls.push(Control::Ping { ttl_deciseconds: 0, context });
            }
            Kind::Pong if controls.is_empty() => controls.push(Control::Pong),
            Kind::Pong | Kind::Binary => {}
            Kind::Close => {
                controls.push(Control::Close { payload: context });
                if let Some(state) = &mut self.websocket {
                    state.closed = true;
                }
                return true;
            }
        }
        false
    }
}
