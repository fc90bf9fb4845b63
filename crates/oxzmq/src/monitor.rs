//! What happens to a socket's connections, told as events (`zmq_socket_monitor(3)`).

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_core::Stream;
use parking_lot::{Condvar, Mutex};
use smallvec::SmallVec;

use crate::error::{ErrorKind, Result};
use crate::wakers::{Ticket, Wakers};

/// Events kept for a monitor that nobody reads. Later ones are dropped and counted, so that neither the
/// socket nor termination ever waits for a monitor.
pub const MONITOR_CAPACITY: usize = 10_000;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A transport connection was made by connecting; the handshake follows.
    Connected,
    /// A connection attempt is under way.
    ConnectDelayed,
    /// An attempt failed or a connection was lost; the next attempt follows after [`value`](field@Event::value) milliseconds.
    /// A name that could not be looked up is told of here.
    ConnectRetried,
    /// An endpoint was bound.
    Listening,
    /// Binding failed; the value is the errno.
    BindFailed,
    /// A connection was accepted; the handshake follows.
    Accepted,
    /// Accepting failed; the value is the errno.
    AcceptFailed,
    /// A bound endpoint was closed, or an attempt to connect given up.
    Closed,
    /// An established connection was lost, or closed because of what the peer sent.
    Disconnected,
    /// The handshake is complete: messages flow.
    HandshakeSucceeded,
    /// The handshake ended early: the peer left, or took too long, or there was no authenticator to ask. The value is
    /// an errno.
    HandshakeFailed,
    /// The peer broke the protocol; the value is one of ZeroMQ's `ZMQ_PROTOCOL_ERROR_*` numbers or zero.
    HandshakeFailedProtocol,
    /// The authenticator refused the peer, or the peer's refused this end; the value is the status (300, 400 or 500).
    HandshakeFailedAuth,
    /// Monitoring has ended; no event follows.
    Stopped,
}

/// One event of a [`Monitor`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The endpoint that was bound or connected; empty when it concerns none.
    pub endpoint: String,
    /// The peer's address for accepted connections; empty otherwise.
    pub peer: String,
    /// A number whose meaning depends on the kind: an errno, milliseconds, a status, for connections and listeners that of
    /// the descriptor (which may be another's by the time that the event is read); zero otherwise.
    pub value: u32,
    /// Why, in words, for events that tell of a failure; empty otherwise.
    pub reason: String,
}

impl Event {
    pub(crate) fn new(kind: EventKind, endpoint: &str) -> Self {
        Self { kind, endpoint: endpoint.to_owned(), peer: String::new(), value: 0, reason: String::new() }
    }

    pub(crate) fn stopped() -> Self {
        Self::new(EventKind::Stopped, "")
    }

    pub(crate) fn descriptor(self, fd: &impl AsRawFd) -> Self {
        self.value(fd.as_raw_fd().unsigned_abs())
    }

    pub(crate) fn value(mut self, value: u32) -> Self {
        self.value = value;
        self
    }

    pub(crate) fn reason(mut self, reason: impl ToString) -> Self {
        self.reason = reason.to_string();
        self
    }

    pub(crate) fn peer(mut self, peer: &str) -> Self {
        peer.clone_into(&mut self.peer);
        self
    }

    pub(crate) fn error(self, error: &std::io::Error) -> Self {
        let errno = error.raw_os_error().and_then(|errno| u32::try_from(errno).ok()).unwrap_or(0);
        self.value(errno).reason(error)
    }
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    dropped: u64,
    wakers: Wakers,
    /// Takes no more events: the last one is in, or there is no reader.
    closed: bool,
}

impl State {
    fn next(&mut self) -> Option<Result<Event>> {
        match self.events.pop_front() {
            Some(event) => Some(Ok(event)),
            None if self.closed => Some(Err(ErrorKind::Closed.into())),
            None => None,
        }
    }
}

/// The socket's end.
#[derive(Clone)]
pub(crate) struct Sender(Arc<Queue>);

impl Sender {
    /// Wakes whoever waits, which may run a task that uses the socket: the caller holds no lock of its own.
    pub(crate) fn send(&self, event: Event) {
        let last = event.kind == EventKind::Stopped;
        let wakers: SmallVec<[Waker; 2]> = {
            let mut state = self.0.state.lock();
            if state.closed {
                return;
            }
            // The last event always fits: a reader must learn that there is nothing more to wait for.
            if state.events.len() >= MONITOR_CAPACITY && !last {
                state.dropped += 1;
                return;
            }
            state.closed = last;
            state.events.push_back(event);
            state.wakers.drain().collect()
        };
        if last {
            // One gets it, and the others learn that there is nothing more.
            self.0.arrived.notify_all();
        } else {
            self.0.arrived.notify_one();
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Receives the [`Event`]s of one socket, in the order in which they happened.
///
/// Made by [`Socket::monitor`](crate::Socket::monitor). Dropping it ends the monitoring. Threads and tasks may share
/// it: each event goes to one of them, and all learn of the end.
pub struct Monitor(Arc<Queue>);

pub(crate) fn channel() -> (Sender, Monitor) {
    let queue = Arc::new(Queue::default());
    (Sender(Arc::clone(&queue)), Monitor(queue))
}

impl Monitor {
    /// Waits for the next event. The last one is [`EventKind::Stopped`]: the socket was closed, its context shut
    /// down, or it got another monitor.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] after the last event.
    pub fn recv(&self) -> Result<Event> {
        let mut state = self.0.state.lock();
        loop {
            if let Some(next) = state.next() {
                return next;
            }
            self.0.arrived.wait(&mut state);
        }
    }

    /// The next event, if there is one.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when there is none yet, [`ErrorKind::Closed`] after the last one.
    pub fn try_recv(&self) -> Result<Event> {
        self.0.state.lock().next().unwrap_or_else(|| Err(ErrorKind::WouldBlock.into()))
    }

    /// Waits for the next event until `deadline`.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] when none came, [`ErrorKind::Closed`] after the last one.
    pub fn recv_deadline(&self, deadline: Instant) -> Result<Event> {
        let mut state = self.0.state.lock();
        loop {
            if let Some(next) = state.next() {
                return next;
            }
            if self.0.arrived.wait_until(&mut state, deadline).timed_out() {
                return state.next().unwrap_or_else(|| Err(ErrorKind::TimedOut.into()));
            }
        }
    }

    /// Waits for the next event without blocking the thread. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] after the last event.
    pub fn recv_async(&self) -> impl Future<Output = Result<Event>> + Send + '_ {
        let mut events = self.stream();
        poll_fn(move |cx| events.poll_event(cx))
    }

    /// The events as a [`Stream`] that ends after [`EventKind::Stopped`]. Dropping it loses nothing.
    ///
    /// ```
    /// use futures_core::Stream;
    /// use oxzmq::{Context, Event, EventKind, SocketType};
    ///
    /// async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    ///     std::future::poll_fn(|cx| std::pin::Pin::new(&mut *stream).poll_next(cx)).await
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> oxzmq::Result<()> {
    /// let context = Context::new();
    /// let socket = context.socket(SocketType::Pull)?;
    /// let monitor = socket.monitor()?;
    /// socket.bind("tcp://127.0.0.1:*")?;
    /// drop(socket);
    ///
    /// let mut events = monitor.stream();
    /// let mut kinds = Vec::new();
    /// while let Some(Event { kind, endpoint, .. }) = next(&mut events).await {
    ///     println!("{kind:?} {endpoint}");
    ///     kinds.push(kind);
    /// }
    /// assert_eq!(kinds, [EventKind::Listening, EventKind::Closed, EventKind::Stopped]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(&self) -> EventStream<'_> {
        EventStream { monitor: self, ticket: None }
    }

    /// Events dropped because [`MONITOR_CAPACITY`] of them were waiting to be read.
    pub fn dropped(&self) -> u64 {
        self.0.state.lock().dropped
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.closed = true;
        state.events.clear();
    }
}

/// The stream of [`Monitor::stream`].
#[must_use = "streams do nothing unless polled"]
pub struct EventStream<'a> {
    monitor: &'a Monitor,
    /// Names its entry among the wakers, which is taken back in the end; `None` until it has left one.
    ticket: Option<Ticket>,
}

impl EventStream<'_> {
    fn poll_event(&mut self, cx: &Context<'_>) -> Poll<Result<Event>> {
        let mut state = self.monitor.0.state.lock();
        if let Some(next) = state.next() {
            return Poll::Ready(next);
        }
        let replaced = state.wakers.register(self.ticket.get_or_insert_with(Ticket::new), cx.waker());
        // In this order: a waker may be the last that holds a task, and with it others that wait here.
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl Stream for EventStream<'_> {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        // The one error is that the last event has been read.
        self.poll_event(cx).map(Result::ok)
    }
}

impl Drop for EventStream<'_> {
    fn drop(&mut self) {
        let Some(ticket) = &self.ticket else { return };
        // A statement of its own, so that the lock is free when the waker is dropped.
        let waker = self.monitor.0.state.lock().wakers.forget(ticket);
        drop(waker);
    }
}
