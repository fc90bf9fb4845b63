//! The requests of a connection of HTTP/2, and whether their client takes the answers.
//!
//! A client may take nothing of an answer and yet keep the connection busy, with pings or other requests: so it is not
//! the connection that is watched but each answer. One that the client does not take holds a worker's slot.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

use super::body::Body;

/// The requests of one connection.
#[derive(Clone)]
pub(crate) struct Streams(Arc<Mutex<State>>);

struct State {
    next: u64,
    /// Since when each waits for the client to take what there is; `None` while it is the client that waits.
    offered: HashMap<u64, Option<Instant>>,
    /// Since when there is no request.
    idle: Instant,
}

/// What is to be done about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prospect {
    /// Nothing.
    Fine,
    /// No further requests: it has had none for too long, or the client does not take one of its answers.
    Leave,
    /// The same, and nothing moves any more.
    Hopeless,
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { next: 0, offered: HashMap::new(), idle: Instant::now() })))
    }

    /// A request has come.
    pub(crate) fn begin(&self) -> Stream {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.offered.insert(number, None);
        Stream { streams: self.clone(), number }
    }

    /// A connection without requests for longer than `idle`, or with an answer of which nothing was taken for longer
    /// than `stall`, is to be left.
    pub(crate) fn prospect(&self, idle: Duration, stall: Duration) -> Prospect {
        let (state, now) = (self.state(), Instant::now());
        if state.offered.is_empty() {
            return match now.duration_since(state.idle) {
                // It was told to leave before, and may still have had to take the last pieces.
                since if since > idle + stall => Prospect::Hopeless,
                since if since > idle => Prospect::Leave,
                _ => Prospect::Fine,
            };
        }
        let is_stalled = |since: &Option<Instant>| since.is_some_and(|since| now.duration_since(since) > stall);
        match state.offered.values().filter(|since| is_stalled(since)).count() {
            0 => Prospect::Fine,
            all if all == state.offered.len() => Prospect::Hopeless,
            _ => Prospect::Leave,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is not over; dropped when it is.
pub(crate) struct Stream {
    streams: Streams,
    number: u64,
}

impl Stream {
    /// The client has something to take from now on, or waits.
    fn offers(&self, something: bool) {
        self.streams.state().offered.insert(self.number, something.then(Instant::now));
    }

    /// Goes on with the answer's body.
    pub(crate) fn watch(self, body: Body) -> Watched {
        self.offers(true);
        Watched { body, stream: self }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.streams.state();
        state.offered.remove(&self.number);
        state.idle = Instant::now();
    }
}

/// A body of which it is known when a piece was last asked for.
pub(crate) struct Watched {
    body: Body,
    stream: Stream,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.stream.offers(false);
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.stream.offers(true);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_told_from_who_waits() {
        let (idle, stall) = (Duration::from_secs(30), Duration::from_secs(60));
        let streams = Streams::new();
        let prospect = || streams.prospect(idle, stall);
        let later = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        assert_eq!(prospect(), Prospect::Fine);
        later(31).await;
        assert_eq!(prospect(), Prospect::Leave);
        let (one, two) = (streams.begin(), streams.begin());
        later(1000).await;
        assert_eq!(prospect(), Prospect::Fine, "it is the client that waits");
        one.offers(true);
        later(50).await;
        assert_eq!(prospect(), Prospect::Fine);
        two.offers(true);
        later(11).await;
        assert_eq!(prospect(), Prospect::Leave, "the first one stands still");
        later(50).await;
        assert_eq!(prospect(), Prospect::Hopeless, "both do");
        two.offers(false);
        assert_eq!(prospect(), Prospect::Leave);
        drop(one);
        assert_eq!(prospect(), Prospect::Fine);
        drop(two);
        later(29).await;
        assert_eq!(prospect(), Prospect::Fine);
        later(32).await;
        assert_eq!(prospect(), Prospect::Leave);
        later(30).await;
        assert_eq!(prospect(), Prospect::Hopeless);
    }
}
