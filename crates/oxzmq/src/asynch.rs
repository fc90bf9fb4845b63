//! The async face of a socket: futures, a stream and a sink over the same core as the blocking calls.
//!
//! None of them depends on a runtime. A future first tries; only then it leaves its waker, under the lock
//! under which messages arrive, so that none can arrive unnoticed in between.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_sink::Sink;
use oxzmq_proto::Message;

use crate::core::{Core, Want};
use crate::error::{ErrorKind, Result, SendError};
use crate::pattern::Pattern;
use crate::peers::Peers;
use crate::wakers::{TaskWait, Ticket};

/// A core and the entry among its wakers that is taken back in the end.
pub(crate) struct Waiting<'a> {
    core: &'a Arc<Core>,
    wait: TaskWait,
}

impl<'a> Waiting<'a> {
    pub(crate) fn at(core: &'a Arc<Core>) -> Self {
        Self { core, wait: TaskWait::default() }
    }

    fn poll_recv(&mut self, cx: &Context<'_>) -> Option<Result<Message>> {
        self.core.poll_recv(cx.waker(), &mut self.wait)
    }

    /// See [`Core::watch`].
    pub(crate) fn poll_watch<T>(
        &mut self,
        cx: &Context<'_>,
        look: impl FnMut(&mut dyn Pattern, &mut Peers) -> Option<T>,
    ) -> Poll<Result<T>> {
        self.core.poll_watch(cx.waker(), &mut self.wait.ticket, look).map_or(Poll::Pending, Poll::Ready)
    }

    /// Sends what `message` holds and takes it out of there, unless it has to wait.
    fn poll_send(&mut self, message: &mut Option<Message>, cx: &Context<'_>) -> Poll<Result<(), SendError>> {
        let Some(sending) = message else { return Poll::Ready(Ok(())) };
        let Some(result) = self.core.poll_send(sending, cx.waker(), &mut self.wait.ticket) else {
            return Poll::Pending;
        };
        let sent = message.take().unwrap_or_default();
        Poll::Ready(result.map_err(|error| SendError::new(error, sent)))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = &self.wait.ticket {
            self.core.forget_waker(ticket);
        }
    }
}

/// The future of [`Socket::recv_async`](crate::Socket::recv_async).
#[must_use = "futures do nothing unless awaited"]
pub struct RecvFuture<'a> {
    waiting: Waiting<'a>,
}

impl<'a> RecvFuture<'a> {
    pub(crate) fn new(core: &'a Arc<Core>) -> Self {
        Self { waiting: Waiting::at(core) }
    }
}

impl Future for RecvFuture<'_> {
    type Output = Result<Message>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.waiting.poll_recv(cx).map_or(Poll::Pending, Poll::Ready)
    }
}

/// The future of [`Socket::send_async`](crate::Socket::send_async).
#[must_use = "futures do nothing unless awaited"]
pub struct SendFuture<'a> {
    waiting: Waiting<'a>,
    message: Option<Message>,
}

impl<'a> SendFuture<'a> {
    pub(crate) fn new(core: &'a Arc<Core>, message: Message) -> Self {
        Self { waiting: Waiting::at(core), message: Some(message) }
    }
}

impl Future for SendFuture<'_> {
    type Output = Result<(), SendError>;

    /// # Panics
    /// When polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { waiting, message } = &mut *self;
        assert!(message.is_some(), "a future is not polled after it was ready");
        waiting.poll_send(message, cx)
    }
}

/// The stream of [`Socket::stream`](crate::Socket::stream).
#[must_use = "streams do nothing unless polled"]
pub struct MessageStream<'a> {
    waiting: Waiting<'a>,
    ended: bool,
}

impl<'a> MessageStream<'a> {
    pub(crate) fn new(core: &'a Arc<Core>) -> Self {
        Self { waiting: Waiting::at(core), ended: false }
    }
}

impl Stream for MessageStream<'_> {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Some(result) = self.waiting.poll_recv(cx) else { return Poll::Pending };
        if let Err(error) = &result {
            // REQ and REP out of turn can be mended; these cannot.
            self.ended = matches!(error.kind(), ErrorKind::Terminated | ErrorKind::Closed | ErrorKind::NotSupported);
        }
        Poll::Ready(Some(result))
    }
}

/// The sink of [`Socket::sink`](crate::Socket::sink). It holds at most one message that no peer has room for.
#[must_use = "sinks do nothing unless polled"]
pub struct MessageSink<'a> {
    waiting: Waiting<'a>,
    held: Option<Message>,
}

impl<'a> MessageSink<'a> {
    pub(crate) fn new(core: &'a Arc<Core>) -> Self {
        Self { waiting: Waiting::at(core), held: None }
    }

    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.waiting.poll_send(&mut self.held, cx)
    }
}

impl Sink<Message> for MessageSink<'_> {
    type Error = SendError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        if self.poll_held(cx)?.is_pending() {
            return Poll::Pending;
        }
        // A REP without a request is not ready, nor is a socket without a peer that has room.
        let Waiting { core, wait } = &mut self.waiting;
        let ticket = wait.ticket.get_or_insert_with(Ticket::new);
        match core.readiness(Want::SEND, Some((cx.waker(), ticket))) {
            Ok(ready) if ready.send => Poll::Ready(Ok(())),
            Ok(_) => Poll::Pending,
            Err(error) => Poll::Ready(Err(SendError::new(error, Message::new()))),
        }
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), SendError> {
        self.held = Some(message);
        // Sent now if possible, so that `poll_flush` finds nothing to do.
        let waker = std::task::Waker::noop();
        match self.poll_held(&mut Context::from_waker(waker)) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.poll_held(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.poll_flush(cx)
    }
}
