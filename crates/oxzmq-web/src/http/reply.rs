//! A response in the making.

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    HeaderValue, LAST_MODIFIED, LOCATION, RETRY_AFTER, SERVER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Response, StatusCode};

use crate::access_log::Entry;
use crate::dispatch::{Answer, Rest};
use crate::envelope::{Head, Status};
use crate::mime;
use crate::pool::Failure;

use super::body::{Body, FileBody};
use super::multipart::Parts;
use super::range::Range;
use super::{Target, conditional, pages, path};

/// A response whose body is still without its line in the log.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    content: Content,
}

/// An error is an answer too: one given early.
pub(super) type Early<T = ()> = Result<T, Box<Reply>>;

enum Content {
    Whole(Bytes),
    /// So many octets: the first ones, and where the others come from.
    Streaming(u64, Bytes, Rest),
    /// Several parts of a file.
    Parts(Box<Parts>),
    /// To HEAD: the length is told, the content is not sent.
    Withheld(u64),
}

/// The answer when there is no file to send.
pub(super) fn without_file(head: &Head, target: &Target) -> Reply {
    match head.status {
        Status::Directory => {
            let mut location = path::encode(&target.path) + "/";
            if let Some(query) = &target.query {
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
    pub(super) fn bare(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), content: Content::Whole(Bytes::new()) }
    }

    pub(super) fn page(status: StatusCode, text: &str) -> Self {
        let content = Content::Whole(pages::page(status, text));
        Self { content, ..Self::bare(status) }.with(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))
    }

    pub(super) fn failure(failure: Failure) -> Self {
        let (status, text, retry) = pages::failure(failure);
        let mut reply = Self::page(status, text);
        if let Some(seconds) = retry {
            reply = reply.with(RETRY_AFTER, seconds);
        }
        if failure == Failure::Stopping { reply.closing() } else { reply }
    }

    pub(super) fn file(answer: Answer, head_only: bool) -> Self {
        let Answer { mut head, content, rest, .. } = answer;
        let kind =
            HeaderValue::try_from(std::mem::take(&mut head.kind)).unwrap_or(HeaderValue::from_static(mime::UNKNOWN));
        let content = if head_only {
            Content::Withheld(head.version.size)
        } else if let Some(rest) = rest {
            Content::Streaming(head.length, content, rest)
        } else {
            Content::Whole(content)
        };
        let reply = Self { content, ..Self::bare(StatusCode::OK) };
        reply.with_validators(&head).with_coding(&head).with(CONTENT_TYPE, kind)
    }

    pub(super) fn part(answer: Answer, Range { offset, length }: Range) -> Self {
        let size = answer.head.version.size;
        let mut reply = Self::file(answer, false);
        reply.status = StatusCode::PARTIAL_CONTENT;
        reply.with(CONTENT_RANGE, format!("bytes {offset}-{}/{size}", offset + length - 1))
    }

    /// Several parts of the file with these facts.
    pub(super) fn parts(facts: &Head, parts: Parts) -> Self {
        let kind = parts.content_type();
        let reply = Self { content: Content::Parts(Box::new(parts)), ..Self::bare(StatusCode::PARTIAL_CONTENT) };
        reply.with_validators(facts).with_coding(facts).with(CONTENT_TYPE, kind)
    }

    pub(super) fn with_validators(self, head: &Head) -> Self {
        let reply = match conditional::last_modified(&head.version) {
            Some(modified) => self.with(LAST_MODIFIED, httpdate::fmt_http_date(modified)),
            None => self,
        };
        let reply = if head.varies { reply.with(VARY, HeaderValue::from_static("accept-encoding")) } else { reply };
        let etag = conditional::etag(&head.version, head.coding);
        reply.with(ETAG, etag).with(ACCEPT_RANGES, HeaderValue::from_static("bytes"))
    }

    fn with_coding(self, head: &Head) -> Self {
        match head.coding {
            Some(coding) => self.with(CONTENT_ENCODING, HeaderValue::from_static(coding.name())),
            None => self,
        }
    }

    /// A value that cannot be a header's is left out.
    pub(super) fn with(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.insert(name, value);
        }
        self
    }

    pub(super) fn closing(self) -> Self {
        self.with(CONNECTION, HeaderValue::from_static("close"))
    }

    pub(super) fn into_response(mut self, mut entry: Entry, head_only: bool) -> Response<Body> {
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
            Content::Streaming(length, first, rest) if !head_only => FileBody::streaming(entry, length, first, rest),
            Content::Parts(parts) if !head_only => FileBody::parts(entry, parts),
            Content::Whole(content) if !head_only => FileBody::whole(entry, content),
            _ => FileBody::whole(entry, Bytes::new()),
        };
        if let Some(length) = withheld {
            self.headers.insert(CONTENT_LENGTH, length.into());
        }
        let mut response = Response::new(Body::File(body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
