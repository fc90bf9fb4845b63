//! A proxy joins two sockets (`zmq_proxy(3)`).

use oxzmq_proto::{Message, SocketType};

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
/// [`Context::shutdown`](crate::Context::shutdown), [`ErrorKind::Interrupted`] by a signal where an end is
/// [interruptible](Socket::set_interruptible); nothing is lost then, and it may be called again. With the context's end a
/// message is lost that was received for a side without room: there is nobody left to receive it.
pub fn proxy(front: &Socket, back: &Socket, capture: Option<&Socket>) -> Result<()> {
    run(front, back, capture, None)
}

/// As [`proxy`], and obeys commands that come by `control` (a PAIR or REP, say), each a message of one frame:
///
/// * `PAUSE` stops forwarding: messages stay in their queues; `RESUME` goes on;
/// * `TERMINATE` ends the proxy;
/// * `STATISTICS` is answered by eight frames, each a `u64` in the machine's order of octets: frames and octets
///   received at the front, sent at the front, received at the back, sent at the back.
///
/// A REP `control` answers everything else with an empty message (`zmq_proxy_steerable(3)`).
///
/// A message is received only when its receiver has room, so that none is in the proxy's hands when it ends: all that was
/// not forwarded can be received from the socket that it came to. The exceptions are a socket that is both ends, a
/// receiver whose room another thread takes at this moment, and a ROUTER with
/// [`set_router_mandatory`](Socket::set_router_mandatory) that has room, but not for the peer addressed: such a message
/// is kept until there is room, and dropped when `TERMINATE` comes first.
///
/// # Errors
/// As [`proxy`]; also those of `control`.
pub fn proxy_steerable(front: &Socket, back: &Socket, capture: Option<&Socket>, control: &Socket) -> Result<()> {
    run(front, back, capture, Some(control))
}

fn run(front: &Socket, back: &Socket, capture: Option<&Socket>, control: Option<&Socket>) -> Result<()> {
    let same = std::ptr::eq(front, back);
    let interruptible = front.interruptible() || back.interruptible();
    let mut forth = Direction {
        from: front,
        to: back,
        // One socket that is both ends, a REP say, may have room only for a reply to what it has received.
        checks_room: (interruptible || control.is_some()) && !same,
        full: false,
        held: None,
        received: Traffic::default(),
        sent: Traffic::default(),
    };
    let mut back_again = Direction { from: back, to: front, ..forth.clone() };
    let mut paused = false;
    let mut poller = Poller::new();
    poller.add(front, Interest::default(), 0);
    poller.add(if same { front } else { back }, Interest::default(), 1);
    if let Some(control) = control {
        poller.add(control, Interest::READABLE, 2);
    }
    loop {
        if let Some(control) = control {
            match obey(control, &mut paused, &forth, &back_again)? {
                Next::GoOn => {}
                Next::End => return Ok(()),
            }
        }
        let mut interests = [Interest::default(); 2];
        if !paused {
            forth.pump(capture)?;
            interests = [forth.wants_input(), forth.wants_output()];
            if !same {
                back_again.pump(capture)?;
                interests = [interests[0].and(back_again.wants_output()), interests[1].and(back_again.wants_input())];
            }
        }
        for (index, interest) in interests.into_iter().enumerate() {
            poller.set_interest(index, interest);
        }
        // What has been received and not yet sent must not be lost.
        poller.set_interruptible(interruptible && forth.held.is_none() && back_again.held.is_none());
        poller.wait(None)?;
    }
}

enum Next {
    GoOn,
    End,
}

/// Does what the commands say that have come.
fn obey(control: &Socket, paused: &mut bool, forth: &Direction<'_>, back_again: &Direction<'_>) -> Result<Next> {
    loop {
        let command = match control.try_recv() {
            Ok(command) => command,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::GoOn),
            Err(error) => return Err(error),
        };
        let command = if command.len() == 1 { &command[0][..] } else { b"" };
        match command {
            b"PAUSE" => *paused = true,
            b"RESUME" => *paused = false,
            b"STATISTICS" => {
                let traffic = [&forth.received, &back_again.sent, &back_again.received, &forth.sent];
                let numbers = traffic.into_iter().flat_map(|traffic| [traffic.frames, traffic.octets]);
                control.send(numbers.map(|number| number.to_ne_bytes().to_vec()).collect::<Message>())?;
                continue;
            }
            _ => {}
        }
        if control.socket_type() == SocketType::Rep {
            control.send("")?;
        }
        if command == b"TERMINATE" {
            return Ok(Next::End);
        }
    }
}

#[derive(Clone, Default)]
struct Traffic {
    frames: u64,
    octets: u64,
}

impl Traffic {
    fn count(&mut self, (frames, octets): (u64, u64)) {
        self.frames += frames;
        self.octets += octets;
    }
}

fn size(message: &Message) -> (u64, u64) {
    (message.len() as u64, message.byte_len() as u64)
}

#[derive(Clone)]
struct Direction<'a> {
    from: &'a Socket,
    to: &'a Socket,
    /// A signal or a command may end the proxy, so that nothing is received for which there is no room.
    checks_room: bool,
    /// There was no room at the receiver.
    full: bool,
    /// Received, but the receiver had no room.
    held: Option<Message>,
    received: Traffic,
    sent: Traffic,
}

impl Direction<'_> {
    fn wants_input(&self) -> Interest {
        if !self.full { Interest::READABLE } else { Interest::default() }
    }

    fn wants_output(&self) -> Interest {
        if self.full { Interest::WRITABLE } else { Interest::default() }
    }

    /// Forwards until there is nothing to read, no room, or a burst is over.
    fn pump(&mut self, capture: Option<&Socket>) -> Result<()> {
        for _ in 0..BURST {
            self.full = self.held.is_none() && self.checks_room && !self.to.core().has_room();
            if self.full {
                break;
            }
            let message = match self.held.take() {
                Some(message) => message,
                None => match self.from.try_recv() {
                    Ok(message) => {
                        self.received.count(size(&message));
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
            let size = size(&message);
            match self.to.try_send(message) {
                Ok(()) => self.sent.count(size),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.held = Some(error.into_message());
                    self.full = true;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
