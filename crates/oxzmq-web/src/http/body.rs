//! The body of a response: a page from memory, or a file as its pieces arrive.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::access_log::Entry;
use crate::dispatch::Rest;
use crate::pool::Failure;

/// Also carries the request's line of the access log, which is written when the body is dropped: sent to the
/// end, or not.
pub(crate) struct Body {
    entry: Entry,
    /// What is to be sent next.
    ready: Bytes,
    rest: Option<Rest>,
    /// Octets to come, `ready` included.
    left: u64,
    /// Octets passed on that were not yet paid for. They are once the connection asks for more, and not
    /// before: until then they may be in its buffer.
    unpaid: usize,
}

impl Body {
    /// A body that is all there.
    pub(crate) fn whole(entry: Entry, content: Bytes) -> Self {
        Self { entry, left: content.len() as u64, ready: content, rest: None, unpaid: 0 }
    }

    /// A body of `length` octets that begins with `first`.
    pub(crate) fn streaming(entry: Entry, length: u64, first: Bytes, rest: Rest) -> Self {
        Self { entry, ready: first, rest: Some(rest), left: length, unpaid: 0 }
    }

    fn pass_on(&mut self, piece: Bytes) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let length = piece.len() as u64;
        let Some(left) = self.left.checked_sub(length) else {
            return self.cut("more content than announced");
        };
        self.left = left;
        self.entry.line.octets += length;
        self.unpaid = piece.len();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    /// Ends the connection before the announced end, so that the client knows that something is missing.
    fn cut(&mut self, why: &'static str) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.entry.line.remark = why;
        self.rest = None;
        Poll::Ready(Some(Err(io::Error::other(why))))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if !this.ready.is_empty() {
            let piece = std::mem::take(&mut this.ready);
            return this.pass_on(piece);
        }
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let Some(rest) = &mut this.rest else { return this.cut("nothing more to send") };
        if this.unpaid > 0 {
            rest.consumed(std::mem::take(&mut this.unpaid));
        }
        match rest.poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(piece))) => this.pass_on(piece),
            Poll::Ready(Some(Err(Failure::Changed))) => this.cut("cut: the file changed meanwhile"),
            Poll::Ready(Some(Err(Failure::TooSlow))) => this.cut("cut: the workers were too slow"),
            Poll::Ready(Some(Err(Failure::NoWorker))) => this.cut("cut: no worker to go on"),
            Poll::Ready(Some(Err(_)) | None) => this.cut("cut: the workers failed"),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if self.left > 0 && self.entry.line.remark.is_empty() {
            self.entry.line.remark = "client left";
        }
    }
}
