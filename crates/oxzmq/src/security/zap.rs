//! ZAP (RFC 27): asking a handler that is bound to `inproc://zeromq.zap.01` in the same context.
//!
//! Each question has a DEALER of its own, as a handler expects: questions that are open at the same time differ in
//! whom they come from, not in their request id.

use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use oxzmq_proto::{Frame, Message, Properties, SocketType};

use super::Decision;
use super::auth::Question;
use crate::core::Until;
use crate::error::Result;
use crate::inproc;
use crate::reactor::Reactor;
use crate::socket::Socket;
use crate::wakers::TaskWait;

/// Where handlers are, without `inproc://`.
const ENDPOINT: &str = "zeromq.zap.01";
const VERSION: &str = "1.0";
/// Always the same, as libzmq has it: a handler may rely on that.
const REQUEST_ID: &str = "1";

// The numbers of the monitor's events for answers that are none.
const UNSPECIFIED: u32 = 0x2000_0000;
const MALFORMED_REPLY: u32 = 0x2000_0001;
const BAD_REQUEST_ID: u32 = 0x2000_0002;
const BAD_VERSION: u32 = 0x2000_0003;
const INVALID_STATUS: u32 = 0x2000_0004;
const INVALID_METADATA: u32 = 0x2000_0005;

/// A question that a handler has been asked.
pub(crate) struct ZapRequest {
    socket: Socket,
    wait: TaskWait,
    waker: Waker,
}

impl ZapRequest {
    /// Asks; `None` if there is no handler.
    pub(super) fn send(question: &Question<'_>) -> Option<Self> {
        if !inproc::is_bound(question.context, ENDPOINT) {
            return None;
        }
        Self::try_send(question).inspect_err(|error| tracing::error!(%error, "cannot ask the ZAP handler")).ok()
    }

    fn try_send(question: &Question<'_>) -> Result<Self> {
        let socket = question.context.internal_socket(SocketType::Dealer)?;
        socket.set_linger(Some(Duration::ZERO))?;
        inproc::connect(socket.core(), ENDPOINT, Bytes::new())?;
        let mut message = Message::from([
            Frame::new(),
            VERSION.into(),
            REQUEST_ID.into(),
            question.options.zap_domain.as_str().into(),
            question.address.clone().into(),
            question.routing_id.clone().into(),
            question.request.mechanism.into(),
        ]);
        for credential in &question.request.credentials {
            message.push_back(credential.clone());
        }
        socket.core().send(&mut message, Until::Now)?;
        let news = News { reactor: Arc::downgrade(question.reactor), token: question.token };
        Ok(Self { socket, wait: TaskWait::default(), waker: Arc::new(news).into() })
    }

    /// The handler's answer, if it is there; otherwise the I/O thread will be told when it is worth another look.
    pub(crate) fn poll(&mut self) -> Option<Decision> {
        match self.socket.core().poll_recv(&self.waker, &mut self.wait)? {
            Ok(reply) => Some(judge(&reply)),
            Err(_) => Some(Decision::Unavailable),
        }
    }
}

/// Tells the I/O thread that there may be an answer.
struct News {
    reactor: Weak<Reactor>,
    token: u64,
}

impl Wake for News {
    fn wake(self: Arc<Self>) {
        if let Some(reactor) = self.reactor.upgrade() {
            reactor.zap_answered(self.token);
        }
    }
}

/// What a handler's answer says.
pub(crate) fn judge(reply: &Message) -> Decision {
    let [delimiter, version, request_id, status, _text, user_id, metadata] = reply.frames() else {
        return Decision::Malformed(MALFORMED_REPLY, "the ZAP handler's reply has another number of frames than seven");
    };
    if !delimiter.is_empty() {
        return Decision::Malformed(UNSPECIFIED, "the ZAP handler's reply does not begin with an empty frame");
    }
    if *version != VERSION {
        return Decision::Malformed(BAD_VERSION, "the ZAP handler's reply has another version than 1.0");
    }
    if *request_id != REQUEST_ID {
        return Decision::Malformed(BAD_REQUEST_ID, "the ZAP handler's reply is to another request");
    }
    match &status[..] {
        b"200" => match Properties::parse(metadata) {
            Ok(known) => Decision::accept_as(Bytes::copy_from_slice(user_id), &known),
            Err(_) => Decision::Malformed(INVALID_METADATA, "the metadata of the ZAP handler's reply breaks off"),
        },
        b"300" => Decision::Refuse(300),
        b"400" => Decision::Refuse(400),
        b"500" => Decision::Refuse(500),
        _ => Decision::Malformed(INVALID_STATUS, "the status of the ZAP handler's reply is none of 200, 300, 400, 500"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(frames: &[&'static [u8]]) -> Decision {
        judge(&frames.iter().map(|frame| Frame::from(*frame)).collect())
    }

    #[test]
    fn a_good_answer_names_the_user_and_what_else_is_known() {
        let decision = reply(&[b"", b"1.0", b"1", b"200", b"OK", b"anna", b"\x03Lvl\0\0\0\x017\x07User-Id\0\0\0\x01x"]);
        let Decision::Accept(properties) = decision else { panic!("{decision:?}") };
        assert_eq!(properties.get_str("User-Id"), Some("anna"));
        assert_eq!(properties.get_str("Lvl"), Some("7"));
    }

    #[test]
    fn refusals_are_told_apart() {
        for (status, code) in [(&b"300"[..], 300), (b"400", 400), (b"500", 500)] {
            let decision = reply(&[b"", b"1.0", b"1", status, b"", b"", b""]);
            assert!(matches!(decision, Decision::Refuse(refused) if refused == code), "{decision:?}");
        }
    }

    #[test]
    fn what_is_no_answer_has_its_number() {
        let cases: [(&[&[u8]], u32); 9] = [
            (&[], MALFORMED_REPLY),
            (&[b"", b"1.0", b"1", b"200", b"", b""], MALFORMED_REPLY),
            (&[b"", b"1.0", b"1", b"200", b"", b"", b"", b""], MALFORMED_REPLY),
            (&[b"x", b"1.0", b"1", b"200", b"", b"", b""], UNSPECIFIED),
            (&[b"", b"1.1", b"1", b"200", b"", b"", b""], BAD_VERSION),
            (&[b"", b"1.0", b"2", b"200", b"", b"", b""], BAD_REQUEST_ID),
            (&[b"", b"1.0", b"1", b"201", b"", b"", b""], INVALID_STATUS),
            (&[b"", b"1.0", b"1", b"200 ", b"", b"", b""], INVALID_STATUS),
            (&[b"", b"1.0", b"1", b"200", b"", b"", b"\x03Lv"], INVALID_METADATA),
        ];
        for (frames, code) in cases {
            let decision = judge(&frames.iter().map(|frame| Frame::copy_from_slice(frame)).collect());
            assert!(matches!(decision, Decision::Malformed(number, _) if number == code), "{frames:?}: {decision:?}");
        }
    }
}
