//! A request and its reply as one call.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use oxzmq_proto::{Message, SocketType};

use crate::asynch::Waiting;
use crate::core::{Core, Until};
use crate::error::{Error, ErrorKind, Result};
use crate::pattern::{self, NotSent, Pattern};
use crate::peers::Peers;
use crate::socket::Socket;

/// A request under way. It is given up when this is dropped before the reply has come.
struct Request<'a> {
    core: &'a Arc<Core>,
    message: Message,
    /// Once it is sent.
    number: Option<u32>,
}

impl Request<'_> {
    /// Sends when there is room, then takes the reply when it is there.
    fn step(&mut self, pattern: &mut dyn Pattern, peers: &mut Peers) -> Option<Result<Message>> {
        let number = match self.number {
            Some(number) => number,
            None if self.message.len() > peers.options.max_frames as usize => {
                return Some(Err(ErrorKind::TooManyFrames.into()));
            }
            None if self.core.socket_type == SocketType::Dealer && peers.options.conflate => {
                let why = "with CONFLATE a DEALER keeps the last frame of each message, so that no number goes with a request";
                return Some(Err(Error::new(ErrorKind::InvalidState, why)));
            }
            None => match pattern.request(peers, &mut self.message) {
                Ok(number) => *self.number.insert(number),
                Err(NotSent::Full) => return None,
                Err(NotSent::Refused(kind)) => return Some(Err(pattern::refusal(self.core.socket_type, kind))),
            },
        };
        let reply = pattern.take_reply(peers, number)?;
        self.number = None;
        Some(Ok(reply))
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.core.give_up(number);
        }
    }
}

/// Requests.
impl Socket {
    /// REQ, DEALER, CLIENT: sends a request, waits for its reply for up to `timeout` (`None`: for ever, and whatever the
    /// timeout options say), and returns it. A reply that comes later, or once more, is dropped and counted
    /// ([`Drops::stale`](crate::Drops::stale)), and never taken for the reply to another request.
    ///
    /// A number goes with the request and comes back with the reply. On REQ and DEALER it is in the envelope, as with
    /// [`Socket::set_req_correlate`]: REP sends it back by itself, and a ROUTER has to send back all frames up to the
    /// first empty one. On CLIENT, whose messages have no envelope, it is the first four octets of the frame: the SERVER
    /// has to begin its reply with the same four.
    ///
    /// On DEALER and CLIENT any number of requests may be under way at the same time, from as many threads; other
    /// messages are received as ever, and have to be: a reply behind more of them than the receive high-water mark is
    /// found when some have been received. What looks like a reply to one of the last million requests (with CLIENT, four
    /// thousand) counts as one: numbers are consecutive and begin anywhere, so other messages hardly ever do.
    ///
    /// On REQ a request fails with [`ErrorKind::InvalidState`] while another is under way, however that was made; after
    /// one that has failed the next may follow. On DEALER it fails so with [`Socket::set_conflate`], which leaves one
    /// frame of each message.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use oxzmq::{Context, ErrorKind, SocketType};
    ///
    /// # fn main() -> oxzmq::Result<()> {
    /// let context = Context::new();
    /// let server = context.socket(SocketType::Rep)?;
    /// let client = context.socket(SocketType::Req)?;
    /// client.connect(&server.bind("tcp://127.0.0.1:*")?)?;
    ///
    /// // Nobody answers yet.
    /// let error = client.request("Hello?", Some(Duration::from_millis(10))).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::TimedOut);
    ///
    /// std::thread::spawn(move || {
    ///     while let Ok(request) = server.recv() {
    ///         server.send(request).unwrap();
    ///     }
    /// });
    /// assert_eq!(client.request("Hello!", None)?.to_text_lossy(), "Hello!");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`]; [`ErrorKind::NotSupported`] on other types; [`ErrorKind::InvalidState`];
    /// [`ErrorKind::InvalidArgument`] for several frames on CLIENT; [`ErrorKind::TooManyFrames`];
    /// [`ErrorKind::Terminated`]; [`ErrorKind::Closed`].
    pub fn request(&self, message: impl Into<Message>, timeout: Option<Duration>) -> Result<Message> {
        let core = self.core();
        let mut request = Request { core, message: message.into(), number: None };
        let result = core.watch(true, Until::within(timeout), |pattern, peers| request.step(pattern, peers));
        result.map_err(|error| match (error.kind(), request.number) {
            (ErrorKind::TimedOut, Some(_)) => Error::new(ErrorKind::TimedOut, "no reply came in time"),
            (ErrorKind::TimedOut, None) => Error::new(ErrorKind::TimedOut, "no peer had room for the request in time"),
            _ => error,
        })?
    }

    /// As [`Socket::request`], without blocking the thread and without a timeout of its own. A future that is dropped
    /// gives the request up.
    ///
    /// # Errors
    /// As [`Socket::request`].
    pub fn request_async(&self, message: impl Into<Message>) -> impl Future<Output = Result<Message>> + Send + '_ {
        let core = self.core();
        let mut request = Request { core, message: message.into(), number: None };
        let mut waiting = Waiting::at(core);
        async move { poll_fn(|cx| waiting.poll_watch(cx, |pattern, peers| request.step(pattern, peers))).await? }
    }
}
