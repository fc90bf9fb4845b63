//! A proxy joins two sockets (`zmq_proxy(3)`).

use oxzmq_proto::Message;

use crate::error::{ErrorKind, Result};
use crate::poller::{Interest, Poller};
use crate::socket::Socket;

/// Messages forwarded in one direction before the other gets its turn.
const BURST: usize = 1000;

/// Passes whole messages between `front` and `back` in both directions until a socket fails, normally
/// because the context is shut down; that error is returned. Each message is also sent to `capture`, if
/// there is one, which should be a PUB, PUSH, PAIR or DEALER.
///
/// Use ROUTER and DEALER for a request-reply broker, XSUB and XPUB for a publish-subscribe one, PULL and
/// PUSH for a pipeline. A direction whose receiver has no room waits without stopping the other.
///
/// # Errors
/// The error that ended it: [`ErrorKind::Terminated`] after
/// [`Context::shutdown`](crate::Context::shutdown).
pub fn proxy(front: &Socket, back: &Socket, capture: Option<&Socket>) -> Result<()> {
    let mut forth = Direction { from: front, to: back, held: None };
    let mut back_again = Direction { from: back, to: front, held: None };
    let same = std::ptr::eq(front, back);
    loop {
        forth.pump(capture)?;
        if !same {
            back_again.pump(capture)?;
        }
        let mut poller = Poller::new();
        let mut front_wants = forth.wants_input();
        let mut back_wants = forth.wants_output();
        if !same {
            front_wants = front_wants.and(back_again.wants_output());
            back_wants = back_wants.and(back_again.wants_input());
        } else {
            front_wants = front_wants.and(back_wants);
        }
        poller.add(front, front_wants, 0);
        if !same {
            poller.add(back, back_wants, 1);
        }
        poller.wait(None)?;
    }
}

struct Direction<'a> {
    from: &'a Socket,
    to: &'a Socket,
    /// Received, but the receiver had no room.
    held: Option<Message>,
}

impl Direction<'_> {
    fn wants_input(&self) -> Interest {
        Interest { readable: self.held.is_none(), writable: false }
    }

    fn wants_output(&self) -> Interest {
        Interest { readable: false, writable: self.held.is_some() }
    }

    /// Forwards until there is nothing to read, no room, or a burst is over.
    fn pump(&mut self, capture: Option<&Socket>) -> Result<()> {
        for _ in 0..BURST {
            let message = match self.held.take() {
                Some(message) => message,
                None => match self.from.try_recv() {
                    Ok(message) => {
                        if let Some(capture) = capture {
                            capture.send(message.clone())?;
                        }
                        message
                    }
                    // A REQ or REP in the wrong state has nothing to give now.
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::InvalidState) => break,
                    // The end of a one-way pair that only sends.
                    Err(error) if error.kind() == ErrorKind::NotSupported => break,
                    Err(error) => return Err(error),
                },
            };
            if let Err(error) = self.to.try_send(message) {
                if error.kind() == ErrorKind::WouldBlock {
                    self.held = Some(error.into_message());
                    break;
                }
                return Err(error.into());
            }
        }
        Ok(())
    }
}
