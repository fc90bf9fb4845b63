//! One HTTP request, from its head to its response.
//!
//! A request passes checks that may answer at once, then a worker is asked, then the answer is dressed up.
//! Only if the answer depends on more than the path (preconditions, a range) are the facts fetched first and
//! the content afterwards, with the condition that the file is still the same.

mod body;
mod conditional;
mod pages;
mod path;
mod range;
pub(crate) mod stall;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, HeaderName, HeaderValue,
    LAST_MODIFIED, LOCATION, RETRY_AFTER, SERVER, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version as HttpVersion};

use crate::access_log::{AccessLog, Entry, Line};
use crate::dispatch::{Answer, Handle, Rest};
use crate::envelope::{Head, Order, Status};
use crate::mime;
use crate::pool::Failure;

pub(crate) use body::Body;
use conditional::Verdict;
use path::Refused;
use range::Part;

/// What is allowed on a file.
const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
/// Most octets of a request's headers, names and values.
const HEADERS_MAX: usize = 32 * 1024;
/// How often a file that changes between its facts and its content is asked for again.
const CHANGE_TRIES: u32 = 3;

/// What connections need to answer requests.
pub(crate) struct Site {
    pub(crate) handle: Handle,
    pub(crate) log: Option<AccessLog>,
}

/// A response whose body is still without its line in the log.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    content: Content,
}

/// An error is an answer too: one given early.
type Early<T = ()> = Result<T, Box<Reply>>;

enum Content {
    Whole(Bytes),
    /// So many octets: the first ones, and where the others come from.
    Streaming(u64, Bytes, Rest),
    /// To HEAD: the length is told, the content is not sent.
    Withheld(u64),
}

impl Site {
    /// Answers one request. Never fails: whatever is wrong becomes a response.
    pub(crate) async fn answer<B>(
        &self,
        client: SocketAddr,
        request: Request<B>,
    ) -> Result<Response<Body>, Infallible> {
        let line = Line {
            client: client.ip(),
            method: request.method().to_string(),
            target: request.uri().to_string(),
            version: if request.version() == HttpVersion::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" },
            status: 0,
            octets: 0,
            took: Duration::ZERO,
            source: None,
            remark: "client left",
        };
        let mut entry = Entry::new(self.log.clone(), line);
        let reply = self.reply(&request, &mut entry).await.unwrap_or_else(|early| *early);
        Ok(reply.into_response(entry, request.method() == Method::HEAD))
    }

    async fn reply<B>(&self, request: &Request<B>, entry: &mut Entry) -> Early<Reply> {
        check_head(request)?;
        check_method(request.method())?;
        let path = path::decode(request.uri().path()).map_err(|refused| match refused {
            Refused::TooLong => Reply::page(StatusCode::URI_TOO_LONG, "The path is longer than that of any file."),
            Refused::Nonsense(what) => Reply::page(StatusCode::BAD_REQUEST, &format!("This is no path: {what}.")),
        })?;
        let order = Order { head_only: *request.method() == Method::HEAD, ..Order::whole(path) };
        if conditional::is_conditional(request.headers()) {
            return self.conditional(request, order, entry).await;
        }
        let answer = self.fetch(order.clone(), entry).await?;
        Ok(match answer.head.status {
            Status::File => Reply::file(answer, order.head_only),
            _ => without_file(&answer.head, &order.path, request.uri().query()),
        })
    }

    async fn fetch(&self, order: Order, entry: &mut Entry) -> Early<Answer> {
        match self.handle.fetch(order).await {
            Ok(answer) => {
                entry.line.source = Some(answer.source.clone());
                Ok(answer)
            }
            Err(failure) => Err(Reply::failure(failure).into()),
        }
    }

    /// The facts first, then what the preconditions and the range leave of the content.
    async fn conditional<B>(&self, request: &Request<B>, order: Order, entry: &mut Entry) -> Early<Reply> {
        let headers = request.headers();
        for _ in 0..CHANGE_TRIES {
            let facts = self.fetch(Order { head_only: true, ..order.clone() }, entry).await?;
            let head = &facts.head;
            if head.status != Status::File {
                return Ok(without_file(head, &order.path, request.uri().query()));
            }
            match conditional::evaluate(headers, &head.version) {
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
            let part =
                conditional::range(headers, &head.version).map_or(Part::Whole, |range| range::resolve(range, size));
            let (offset, length) = match part {
                Part::Whole => (0, size),
                Part::Range { offset, length } => (offset, length),
                Part::Unsatisfiable => {
                    let reply = Reply::page(StatusCode::RANGE_NOT_SATISFIABLE, "The file has no such part.");
                    return Ok(reply.with(CONTENT_RANGE, format!("bytes */{size}")));
                }
            };
            let version = Some(head.version);
            let answer = self.fetch(Order { offset, length: Some(length), version, ..order.clone() }, entry).await?;
            match answer.head.status {
                Status::File if part == Part::Whole => return Ok(Reply::file(answer, false)),
                Status::File => return Ok(Reply::part(answer, offset, length)),
                // It is another one by now, or gone: look again.
                _ => {}
            }
        }
        Err(Reply::failure(Failure::Changed).into())
    }
}

/// What the parser of HTTP leaves to its user.
fn check_head<B>(request: &Request<B>) -> Early {
    let headers = request.headers();
    let hosts = headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() >= HttpVersion::HTTP_11) {
        return Err(Reply::page(StatusCode::BAD_REQUEST, "A request has exactly one Host header.").closing().into());
    }
    // Whoever sends both Content-Length and this means to mislead somebody, and the parser has settled that
    // already. Nobody needs chunks to ask for a file.
    if headers.contains_key(TRANSFER_ENCODING) {
        let text = "A request for a file has no body of unknown length.";
        return Err(Reply::page(StatusCode::BAD_REQUEST, text).closing().into());
    }
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > HEADERS_MAX {
        let text = "The request's headers are longer than 32 KiB.";
        return Err(Reply::page(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text).closing().into());
    }
    Ok(())
}

fn check_method(method: &Method) -> Early {
    let known = [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE, Method::CONNECT];
    if [Method::GET, Method::HEAD].contains(method) {
        Ok(())
    } else if *method == Method::OPTIONS {
        Err(Reply::bare(StatusCode::NO_CONTENT).with(ALLOW, ALLOWED).into())
    } else if known.contains(method) {
        let reply = Reply::page(StatusCode::METHOD_NOT_ALLOWED, "Files can be read here, and nothing else.");
        Err(reply.with(ALLOW, ALLOWED).into())
    } else {
        Err(Reply::page(StatusCode::NOT_IMPLEMENTED, "This server does not know that method.").into())
    }
}

/// The answer when there is no file to send.
fn without_file(head: &Head, path: &[u8], query: Option<&str>) -> Reply {
    match head.status {
        Status::Directory => {
            let mut location = path::encode(path) + "/";
            if let Some(query) = query {
                location = location + "?" + query;
            }
            Reply::page(StatusCode::MOVED_PERMANENTLY, "This is a directory: its path ends in a slash.")
                .with(LOCATION, location)
        }
        Status::Forbidden => Reply::page(StatusCode::FORBIDDEN, "The worker may not read this file."),
        Status::NotFound => Reply::page(StatusCode::NOT_FOUND, "There is no such file."),
        Status::File | Status::Changed | Status::Failed => Reply::failure(Failure::Broken),
    }
}

impl Reply {
    fn bare(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), content: Content::Whole(Bytes::new()) }
    }

    fn page(status: StatusCode, text: &str) -> Self {
        let content = Content::Whole(pages::page(status, text));
        Self { content, ..Self::bare(status) }.with(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))
    }

    fn failure(failure: Failure) -> Self {
        let (status, text, retry) = pages::failure(failure);
        let mut reply = Self::page(status, text);
        if let Some(seconds) = retry {
            reply = reply.with(RETRY_AFTER, seconds);
        }
        if failure == Failure::Stopping { reply.closing() } else { reply }
    }

    fn file(answer: Answer, head_only: bool) -> Self {
        let Answer { head, content, rest, .. } = answer;
        let kind = HeaderValue::try_from(&head.kind).unwrap_or(HeaderValue::from_static(mime::UNKNOWN));
        let content = if head_only {
            Content::Withheld(head.version.size)
        } else if let Some(rest) = rest {
            Content::Streaming(head.length, content, rest)
        } else {
            Content::Whole(content)
        };
        Self { content, ..Self::bare(StatusCode::OK) }.with_validators(&head).with(CONTENT_TYPE, kind)
    }

    fn part(answer: Answer, offset: u64, length: u64) -> Self {
        let size = answer.head.version.size;
        let mut reply = Self::file(answer, false);
        reply.status = StatusCode::PARTIAL_CONTENT;
        reply.with(CONTENT_RANGE, format!("bytes {offset}-{}/{size}", offset + length - 1))
    }

    fn with_validators(self, head: &Head) -> Self {
        let reply = match conditional::last_modified(&head.version) {
            Some(modified) => self.with(LAST_MODIFIED, httpdate::fmt_http_date(modified)),
            None => self,
        };
        reply.with(ETAG, conditional::etag(&head.version)).with(ACCEPT_RANGES, HeaderValue::from_static("bytes"))
    }

    /// A value that cannot be a header's is left out.
    fn with(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.insert(name, value);
        }
        self
    }

    fn closing(self) -> Self {
        self.with(CONNECTION, HeaderValue::from_static("close"))
    }

    fn into_response(mut self, mut entry: Entry, head_only: bool) -> Response<Body> {
        self.headers.insert(SERVER, HeaderValue::from_static("oxzmq"));
        self.headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        entry.line.status = self.status.as_u16();
        entry.line.remark = "";
        let withheld = match &self.content {
            Content::Whole(content) if head_only => Some(content.len() as u64),
            Content::Withheld(length) => Some(*length),
            _ => None,
        };
        let body = match self.content {
            Content::Streaming(length, first, rest) if !head_only => Body::streaming(entry, length, first, rest),
            Content::Whole(content) if !head_only => Body::whole(entry, content),
            _ => Body::whole(entry, Bytes::new()),
        };
        if let Some(length) = withheld {
            self.headers.insert(CONTENT_LENGTH, length.into());
        }
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
