//! The body of a response: a page from memory, or a file as its pieces arrive.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::access_log::Entry;
use crate::dispatch::Rest;
use crate::pool::Failure;

use super::multipart::{Parts, Piece};
use super::relay::Relayed;

/// What is sent to a client.
pub(crate) enum Body {
    /// By the workers, or by the master itself.
    File(FileBody),
    /// By a handler.
    Relayed(Relayed),
}

/// Also carries the request's line of the access log, which is written when the body is dropped: sent to the
/// end, or not.
pub(crate) struct FileBody {
    entry: Entry,
    /// What is to be sent next.
    ready: Bytes,
    rest: Option<Rest>,
    /// What follows the rest.
    parts: Option<Box<Parts>>,
    /// Octets to come, `ready` included.
    left: u64,
    /// Octets passed on that were not yet paid for. They are once the connection asks for more, and not
    /// before: until then they may be in its buffer.
    unpaid: usize,
}

impl FileBody {
    /// A body that is all there.
    pub(crate) fn whole(entry: Entry, content: Bytes) -> Self {
        Self { entry, left: content.len() as u64, ready: content, rest: None, parts: None, unpaid: 0 }
    }

    /// A body of `length` octets that begins with `first`.
    pub(crate) fn streaming(entry: Entry, length: u64, first: Bytes, rest: Rest) -> Self {
        Self { entry, ready: first, rest: Some(rest), parts: None, left: length, unpaid: 0 }
    }

    /// A body of several parts.
    pub(super) fn parts(entry: Entry, parts: Box<Parts>) -> Self {
        let left = parts.length();
        Self { entry, ready: Bytes::new(), rest: None, parts: Some(parts), left, unpaid: 0 }
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
        (self.rest, self.parts) = (None, None);
        Poll::Ready(Some(Err(io::Error::other(why))))
    }
}

impl FileBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self;
        loop {
            if !this.ready.is_empty() {
                let piece = std::mem::take(&mut this.ready);
                return this.pass_on(piece);
            }
            if this.left == 0 {
                return Poll::Ready(None);
            }
            let failure = if let Some(rest) = &mut this.rest {
                if this.unpaid > 0 {
                    rest.consumed(std::mem::take(&mut this.unpaid));
                }
                match ready!(rest.poll_next(cx)) {
                    Some(Ok(piece)) => return this.pass_on(piece),
                    Some(Err(failure)) => failure,
                    None if this.parts.is_some() => {
                        this.rest = None;
                        continue;
                    }
                    None => Failure::Broken,
                }
            } else if let Some(parts) = &mut this.parts {
                match ready!(parts.poll_next(cx)) {
                    Ok(Some(Piece { content, rest })) => {
                        (this.ready, this.rest, this.unpaid) = (content, rest, 0);
                        continue;
                    }
                    Ok(None) => Failure::Broken,
                    Err(failure) => failure,
                }
            } else {
                Failure::Broken
            };
            return this.cut(match failure {
                Failure::Changed => "cut: the file changed meanwhile",
                Failure::TooSlow => "cut: the workers were too slow",
                Failure::NoWorker => "cut: no worker to go on",
                _ => "cut: the workers failed",
            });
        }
    }
}

impl Drop for FileBody {
    fn drop(&mut self) {
        if self.left > 0 && self.entry.line.remark.is_empty() {
            self.entry.line.remark = "client left";
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::File(body) => body.poll_frame(cx),
            Self::Relayed(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::File(body) => body.left == 0,
            Self::Relayed(body) => body.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::File(body) => SizeHint::with_exact(body.left),
            Self::Relayed(body) => body.size_hint(),
        }
    }
}
