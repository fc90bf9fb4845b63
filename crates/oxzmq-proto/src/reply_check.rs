//! The form of replies to a REQ socket (RFC 28), frame by frame.
//!
//! ```text
//! First ── empty, MORE ──────────────────────────► Body ── any, MORE ─► Body
//!   └──── 4 octets, MORE ─► AfterId ─ empty, MORE ──┘  └── any, last ─► First
//! ```
//!
//! Anything else is an error. Commands are no frames of a message and change nothing.

use crate::ProtocolError;

/// Where in a reply the next frame is.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) enum ReplyCheck {
    #[default]
    First,
    /// Behind a request id, which is let through even if none was asked for: its socket drops it.
    AfterId,
    Body,
}

impl ReplyCheck {
    /// Take in the frame at `index` of a message; `more` says whether others follow it.
    pub(crate) fn frame(&mut self, more: bool, length: usize, index: usize) -> Result<(), ProtocolError> {
        *self = match (*self, more, length) {
            (ReplyCheck::First | ReplyCheck::AfterId, true, 0) => ReplyCheck::Body,
            (ReplyCheck::First, true, 4) => ReplyCheck::AfterId,
            (ReplyCheck::Body, true, _) => ReplyCheck::Body,
            (ReplyCheck::Body, false, _) => ReplyCheck::First,
            _ => {
                return Err(ProtocolError::ReplyFormat { frame: index, length });
            }
        };
        Ok(())
    }
}
