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
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hyper::header::{CONNECTION, CONTENT_RANGE, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version as HttpVersion};

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

/// The target of a request, as far as an answer may name it.
pub(crate) struct Target {
    /// Decoded.
    path: Bytes,
    query: Option<Box<str>>,
}

/// What a request asks for.
enum Asked {
    /// A file, whatever its state.
    File(Target, Order),
    /// The same, on conditions that are in the headers.
    Conditional(Target, Order, Box<HeaderMap>),
    /// What the handler of this number makes of it.
    Handler(usize, Box<Request<()>>),
}

/// As requests and logs write it.
pub(crate) fn version_name(version: HttpVersion) -> &'static str {
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
    ///
    /// What a plain request asks for is found out at once, before anything is waited for, and its head dropped: its
    /// headers are pieces of the connection's buffer, which could not be used again meanwhile. The body stays as long
    /// as ever, because the connection takes its end for a sign that nobody wants what comes of it.
    pub(crate) fn answer<B>(
        self: Arc<Self>,
        client: SocketAddr,
        secure: bool,
        request: Request<B>,
        debt: Option<Debt>,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>>
    where
        B: hyper::body::Body<Data = Bytes>,
    {
        let (version, head_only) = (request.version(), *request.method() == Method::HEAD);
        let mut entry = Entry::new(self.log.clone(), Arc::clone(&self.stats), Line::begin(client), debt);
        entry.note(&request);
        let (head, body) = request.into_parts();
        let asked = self.asked(Request::from_parts(head, ()));
        async move {
            let mut response = match asked {
                Ok(Asked::File(target, order)) => {
                    let reply = self.file(&target, order, &mut entry).await;
                    reply.unwrap_or_else(|early| *early).into_response(entry, head_only)
                }
                // Boxed, so that what is seldom needed is not moved about with every request.
                Ok(Asked::Conditional(target, order, headers)) => {
                    let reply = Box::pin(self.conditional(&headers, &target, order, &mut entry)).await;
                    reply.unwrap_or_else(|early| *early).into_response(entry, head_only)
                }
                Ok(Asked::Handler(gate, request)) => {
                    let request = request.map(|()| body);
                    Box::pin(relay::relay(&self.gates[gate], client, secure, request, entry)).await
                }
                Err(early) => early.into_response(entry, head_only),
            };
            if version == HttpVersion::HTTP_2 {
                response.headers_mut().remove(CONNECTION); // it has none (RFC 9113, section 8.2.2)
            } else if self.closing.load(Ordering::Relaxed) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
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

    /// What a request asks for, or the answer that needs nobody else.
    fn asked(&self, request: Request<()>) -> Early<Asked> {
        if let Some(gate) = self.gates.iter().position(|gate| gate.route.fits(request.uri().path())) {
            return Ok(Asked::Handler(gate, Box::new(request)));
        }
        check::head(&request)?;
        check::method(request.method())?;
        let path = path::decode(request.uri().path()).map_err(|refused| match refused {
            Refused::TooLong => Reply::page(StatusCode::URI_TOO_LONG, "The path is longer than that of any file."),
            Refused::Nonsense(what) => Reply::page(StatusCode::BAD_REQUEST, &format!("This is no path: {what}.")),
        })?;
        let target = Target { path: path.clone(), query: request.uri().query().map(Into::into) };
        let path = if self.by_host { inside(&path, host::directory(&request))? } else { path };
        let accepts = negotiate::accepted(request.headers());
        let order = Order { head_only: *request.method() == Method::HEAD, accepts, ..Order::whole(path) };
        Ok(if conditional::is_conditional(request.headers()) {
            Asked::Conditional(target, order, Box::new(request.into_parts().0.headers))
        } else {
            Asked::File(target, order)
        })
    }

    async fn file(&self, target: &Target, order: Order, entry: &mut Entry) -> Early<Reply> {
        let head_only = order.head_only;
        let answer = self.fetch(order, entry).await?;
        Ok(match answer.head.status {
            Status::File => Reply::file(answer, head_only),
            _ => without_file(&answer.head, target),
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
    async fn conditional(&self, headers: &HeaderMap, target: &Target, order: Order, entry: &mut Entry) -> Early<Reply> {
        for _ in 0..CHANGE_TRIES {
            let facts = self.fetch(Order { head_only: true, ..order.clone() }, entry).await?;
            let head = &facts.head;
            if head.status != Status::File {
                return Ok(without_file(head, target));
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
