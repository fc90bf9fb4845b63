//! Several parts of a file in one body (RFC 9110, section 14.6).

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::dispatch::{Answer, Handle, Refusal, Rest};
use crate::envelope::{Order, Status};
use crate::pool::Failure;
use crate::system;

use super::range::Range;

type Fetch = Pin<Box<dyn Future<Output = Result<Answer, Refusal>> + Send>>;

/// The parts that are still to be sent. They are fetched one after the other, so that no more of them is in
/// memory than of a single download.
pub(super) struct Parts {
    handle: Handle,
    /// What they are parts of; its version is fixed.
    order: Order,
    boundary: String,
    kind: String,
    queue: VecDeque<Range>,
    fetch: Option<Fetch>,
    ended: bool,
}

/// What comes next in the body.
pub(super) struct Piece {
    pub(super) content: Bytes,
    pub(super) rest: Option<Rest>,
}

impl Parts {
    /// `order` names the file and its version, `kind` is its media type.
    pub(super) fn new(handle: Handle, order: Order, kind: String, ranges: Vec<Range>) -> Self {
        // Random, so that a file cannot be made to contain it.
        let boundary = format!("{:016x}{:016x}", system::random(), system::random());
        Self { handle, order, boundary, kind, queue: ranges.into(), fetch: None, ended: false }
    }

    pub(super) fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// Octets of the whole body.
    pub(super) fn length(&self) -> u64 {
        let part = |range| self.preamble(range).len() as u64 + range.length;
        self.queue.iter().map(part).sum::<u64>() + self.epilogue().len() as u64
    }

    fn preamble(&self, range: &Range) -> String {
        let size = self.order.version.map_or(0, |version| version.size);
        let last = range.offset + range.length - 1;
        let Self { boundary, kind, .. } = self;
        let Range { offset, .. } = range;
        format!("\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: bytes {offset}-{last}/{size}\r\n\r\n")
    }

    fn epilogue(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary)
    }

    /// The next piece; to be asked for once the last one's rest has come to its end.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, Failure>> {
        if let Some(fetch) = &mut self.fetch {
            let answer = ready!(fetch.as_mut().poll(cx));
            self.fetch = None;
            return Poll::Ready(match answer {
                Ok(Answer { head, content, rest, .. }) if head.status == Status::File => {
                    Ok(Some(Piece { content, rest }))
                }
                Ok(_) => Err(Failure::Changed),
                Err((failure, _)) => Err(failure),
            });
        }
        let piece = |text: String| Poll::Ready(Ok(Some(Piece { content: text.into(), rest: None })));
        if let Some(range) = self.queue.pop_front() {
            let (offset, length) = (range.offset, Some(range.length));
            let (handle, order) = (self.handle.clone(), Order { offset, length, ..self.order.clone() });
            self.fetch = Some(Box::pin(async move { handle.fetch(order).await }));
            return piece(self.preamble(&range));
        }
        if !std::mem::replace(&mut self.ended, true) {
            return piece(self.epilogue());
        }
        Poll::Ready(Ok(None))
    }
}
