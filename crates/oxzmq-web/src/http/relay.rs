//! Requests for handlers that write whole responses, and those responses on their way to the client.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{HeaderValue, SERVER};
use hyper::{Method, Request, Response, StatusCode};

use crate::access_log::Entry;
use crate::handlers::gate::{Call, Gate};
use crate::handlers::{self, Length, RawHead, parse};

use super::body::Body;
use super::check;
use super::reply::Reply;
use super::version_name;
use Lost::{BrokenOff, TooLong};

/// Longest wait for the rest of a request's body, and for a handler's first word.
const BODY_WAIT: Duration = Duration::from_secs(30);
const HANDLER_WAIT: Duration = Duration::from_secs(60);

/// Has a handler answer.
pub(super) async fn relay<B>(
    gate: &Gate,
    client: SocketAddr,
    secure: bool,
    request: Request<B>,
    entry: Entry,
) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes>,
{
    let head_only = request.method() == Method::HEAD;
    let refuse = |entry, reply: Reply| reply.into_response(entry, head_only);
    if let Err(early) = check::head(&request) {
        return refuse(entry, *early);
    }
    let (parts, body) = request.into_parts();
    let body = match tokio::time::timeout(BODY_WAIT, collect(body)).await {
        Ok(Ok(body)) => body,
        Ok(Err(TooLong)) => {
            return refuse(
                entry,
                Reply::page(StatusCode::PAYLOAD_TOO_LARGE, "The request's body is too long.").closing(),
            );
        }
        Ok(Err(BrokenOff)) | Err(_) => {
            let text = "The request's body did not arrive.";
            return refuse(entry, Reply::page(StatusCode::REQUEST_TIMEOUT, text).closing());
        }
    };
    let mut call = gate.call(handlers::Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        version: version_name(parts.version),
        scheme: if secure { "https" } else { "http" },
        client: client.ip().to_string(),
        headers: parts.headers,
        body,
    });
    match tokio::time::timeout(HANDLER_WAIT, head(&mut call, &parts.method)).await {
        Ok(Ok((head, rest))) => respond(head, rest, call, entry),
        Ok(Err((status, what))) => refuse(entry, Reply::page(status, what)),
        Err(_) => refuse(entry, Reply::page(StatusCode::GATEWAY_TIMEOUT, "No handler answered in time.")),
    }
}

/// Why there is no body.
enum Lost {
    TooLong,
    BrokenOff,
}

/// The body. Within HTTP/2 nothing needs to announce its length, so it is counted.
async fn collect<B: hyper::body::Body<Data = Bytes>>(body: B) -> Result<Vec<u8>, Lost> {
    let mut body = pin!(body);
    let mut collected = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        if let Ok(data) = frame.map_err(|_| BrokenOff)?.into_data() {
            if (collected.len() + data.len()) as u64 > check::BODY_MAX {
                return Err(TooLong);
            }
            collected.extend(data);
        }
    }
    Ok(collected)
}

/// Waits for the head of the response. Gives it with what came after it.
async fn head(call: &mut Call, method: &Method) -> Result<(RawHead, Bytes), (StatusCode, &'static str)> {
    let mut raw = Vec::new();
    while let Some(piece) = call.next().await {
        raw.extend_from_slice(&piece);
        match parse(&raw, method) {
            Ok(Some(head)) => {
                let rest = Bytes::from(raw).slice(head.end..);
                return Ok((head, rest));
            }
            Ok(None) => {}
            Err(what) => {
                tracing::warn!(what, "a handler's response is not one");
                return Err((StatusCode::BAD_GATEWAY, "The handler's response is not one of HTTP."));
            }
        }
    }
    Err(if raw.is_empty() {
        (StatusCode::SERVICE_UNAVAILABLE, "There is no handler for this path at the moment.")
    } else {
        (StatusCode::BAD_GATEWAY, "The handler's response broke off.")
    })
}

fn respond(head: RawHead, ready: Bytes, call: Call, mut entry: Entry) -> Response<Body> {
    entry.line.status = head.status.as_u16();
    entry.line.remark = "";
    let left = match head.length {
        Length::Known(length) => Some(length),
        Length::UntilClosed => None,
    };
    let mut response = Response::new(Body::Relayed(Relayed { entry, ready, call, left, ended: false }));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response.headers_mut().entry(SERVER).or_insert(HeaderValue::from_static("oxzmq"));
    response
}

/// A handler's body.
pub(crate) struct Relayed {
    entry: Entry,
    ready: Bytes,
    call: Call,
    /// Octets to come, if that is known.
    left: Option<u64>,
    ended: bool,
}

impl Relayed {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if self.is_end() {
                self.call.finish();
                return Poll::Ready(None);
            }
            if !self.ready.is_empty() {
                let mut piece = std::mem::take(&mut self.ready);
                if let Some(left) = &mut self.left {
                    // What a handler sends beyond its own announcement is nobody's.
                    piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= piece.len() as u64;
                }
                self.entry.line.octets += piece.len() as u64;
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match ready!(self.call.poll_next(cx)) {
                Some(piece) => self.ready = piece,
                None if self.left.is_none() => self.ended = true,
                None => {
                    self.entry.line.remark = "cut: the handler closed early";
                    return Poll::Ready(Some(Err(io::Error::other("the handler closed early"))));
                }
            }
        }
    }

    pub(super) fn is_end(&self) -> bool {
        self.ended || self.left == Some(0)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        if self.is_end() {
            self.call.finish();
        } else if self.entry.line.remark.is_empty() {
            self.entry.line.remark = "client left";
        }
    }
}
