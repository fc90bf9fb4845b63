//! One HTTP request, from its head to its response.
//!
//! A request passes checks that may answer at once, then a worker is asked, then the answer is dressed up.
//! Only if the answer depends on more than the path (preconditions, a range) are the facts fetched first and
//! the content afterwards, with the condition that the file is still the same.

mod body;
mod check;
mod conditional;
pub(crate) mod half;
pub(crate) mod host;
mod multipart;
mod negotiate;
mod pages;
pub(crate) mod path;
pub(crate) mod range;
mod relay;
mod reply;
pub(crate) mod stall;
pub(crate) mod streams;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hyper::header::{CONNECTION, CONTENT_RANGE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version as HttpVersion};

use crate::access_log::{AccessLog, Entry, Line};
use crate::dispatch::{Answer, Handle};
use crate::envelope::{Order, PATH_MAX, Status};
use crate::handlers::gate::Gate;
use crate::pool::Failure;
use crate::stats::Stats;

pub(crate) use body::Body;
use conditional::Verdict;
use half::Debt;
use multipart::Parts;
use path::Refused;
use range::{Part, Range};
use reply::{Early, Reply, without_file};

/// How often a file that changes between its facts and its content is asked for again.
const CHANGE_TRIES: u32 = 3;

/// What connections need to answer requests.
pub(crate) struct Site {
    pub(crate) handle: Handle,
    pub(crate) log: Option<AccessLog>,
    pub(crate) stats: Arc<Stats>,
    /// Each host has a directory below the workers' root.
    pub(crate) by_host: bool,
    /// Handlers, those of longer prefixes first.
    pub(crate) gates: Vec<Gate>,
    /// Each answer is to be the last on its connection.
    pub(crate) closing: AtomicBool,
}

/// As requests and logs write it.
fn version_name(version: HttpVersion) -> &'static str {
    match version {
        HttpVersion::HTTP_10 => "HTTP/1.0",
        HttpVersion::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// A path in a host's directory.
fn inside(path: &[u8], host: Option<String>) -> Early<Bytes> {
    let host = host.ok_or_else(|| Reply::page(StatusCode::NOT_FOUND, "There is no site of that name here."))?;
    let inside = [b"/", host.as_bytes(), path].concat();
    if inside.len() > PATH_MAX {
        return Err(Reply::page(StatusCode::URI_TOO_LONG, "The path is longer than that of any file.").into());
    }
    Ok(inside.into())
}

impl Site {
    /// Answers one request. Never fails: whatever is wrong becomes a response.
    pub(crate) async fn answer<B>(
        &self,
        client: SocketAddr,
        secure: bool,
        request: Request<B>,
        debt: Option<Debt>,
    ) -> Result<Response<Body>, Infallible>
    where
        B: hyper::body::Body<Data = Bytes>,
    {
        let version = request.version();
        let mut response = self.response(client, secure, request, debt).await;
        if version == HttpVersion::HTTP_2 {
            response.headers_mut().remove(CONNECTION); // it has none (RFC 9113, section 8.2.2)
        } else if self.closing.load(Ordering::Relaxed) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    /// From now on each answer is the last on its connection.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Counts and logs a request that the parser has answered by itself, if that is what ended a connection.
    pub(crate) fn refused(&self, client: SocketAddr, error: &hyper::Error) {
        if !error.is_parse() {
            return; // the client's affair: it left, or was too slow to say what it wants
        }
        let status = match error.is_parse_too_large() {
            true if error.to_string().contains("URI") => StatusCode::URI_TOO_LONG,
            true => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            false => StatusCode::BAD_REQUEST,
        };
        let line = Line { status: status.as_u16(), remark: "", ..Line::begin(client) };
        drop(Entry::new(self.log.clone(), Arc::clone(&self.stats), line, None));
    }

    async fn response<B>(
        &self,
        client: SocketAddr,
        secure: bool,
        request: Request<B>,
        debt: Option<Debt>,
    ) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes>,
    {
        let line = Line {
            method: request.method().to_string(),
            target: request.uri().to_string(),
            version: version_name(request.version()),
            ..Line::begin(client)
        };
        let mut entry = Entry::new(self.log.clone(), Arc::clone(&self.stats), line, debt);
        entry.note(request.headers());
        if let Some(gate) = self.gates.iter().find(|gate| gate.route.fits(request.uri().path())) {
            return relay::relay(gate, client, secure, request, entry).await;
        }
        let reply = self.reply(&request, &mut entry).await.unwrap_or_else(|early| *early);
        reply.into_response(entry, request.method() == Method::HEAD)
    }

    async fn reply<B>(&self, request: &Request<B>, entry: &mut Entry) -> Early<Reply> {
        check::head(request)?;
        check::method(request.method())?;
        let path = path::decode(request.uri().path()).map_err(|refused| match refused {
            Refused::TooLong => Reply::page(StatusCode::URI_TOO_LONG, "The path is longer than that of any file."),
            Refused::Nonsense(what) => Reply::page(StatusCode::BAD_REQUEST, &format!("This is no path: {what}.")),
        })?;
        let path = if self.by_host { inside(&path, host::directory(request))? } else { path };
        let accepts = negotiate::accepted(request.headers());
        let order = Order { head_only: *request.method() == Method::HEAD, accepts, ..Order::whole(path) };
        if conditional::is_conditional(request.headers()) {
            return self.conditional(request, order, entry).await;
        }
        let answer = self.fetch(order.clone(), entry).await?;
        Ok(match answer.head.status {
            Status::File => Reply::file(answer, order.head_only),
            _ => without_file(&answer.head, request.uri()),
        })
    }

    async fn fetch(&self, order: Order, entry: &mut Entry) -> Early<Answer> {
        match self.handle.fetch(order).await {
            Ok(answer) => {
                entry.line.source = Some(answer.source.clone());
                Ok(answer)
            }
            Err((failure, last)) => {
                entry.line.source = last.or(entry.line.source.take());
                Err(Reply::failure(failure).into())
            }
        }
    }

    /// The facts first, then what the preconditions and the range leave of the content.
    async fn conditional<B>(&self, request: &Request<B>, order: Order, entry: &mut Entry) -> Early<Reply> {
        let headers = request.headers();
        for _ in 0..CHANGE_TRIES {
            let facts = self.fetch(Order { head_only: true, ..order.clone() }, entry).await?;
            let head = &facts.head;
            if head.status != Status::File {
                return Ok(without_file(head, request.uri()));
            }
            match conditional::evaluate(headers, head) {
                Verdict::Proceed => {}
                Verdict::NotModified => return Ok(Reply::bare(StatusCode::NOT_MODIFIED).with_validators(head)),
                Verdict::Failed => {
                    let text = "The file is not the version that the request asks for.";
                    return Ok(Reply::page(StatusCode::PRECONDITION_FAILED, text));
                }
            }
            if order.head_only {
                return Ok(Reply::file(facts, true)); // a range has a meaning for GET alone
            }
            let size = head.version.size;
            let part = conditional::range(headers, head).map_or(Part::Whole, |range| range::resolve(range, size));
            let order = Order { version: Some(head.version), ..order.clone() };
            let range = match part {
                Part::Whole => Range { offset: 0, length: size },
                Part::One(range) => range,
                Part::Several(ranges) => {
                    let parts = Parts::new(self.handle.clone(), order, head.kind.clone(), ranges);
                    return Ok(Reply::parts(head, parts));
                }
                Part::Unsatisfiable => {
                    let reply = Reply::page(StatusCode::RANGE_NOT_SATISFIABLE, "The file has no such part.");
                    return Ok(reply.with(CONTENT_RANGE, format!("bytes */{size}")));
                }
            };
            let order = Order { offset: range.offset, length: Some(range.length), ..order };
            let answer = self.fetch(order, entry).await?;
            match answer.head.status {
                Status::File if part == Part::Whole => return Ok(Reply::file(answer, false)),
                Status::File => return Ok(Reply::part(answer, range)),
                // It is another one by now, or gone: look again.
                _ => {}
            }
        }
        Err(Reply::failure(Failure::Changed).into())
    }
}
