//! The head of a response as a handler writes it.

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use hyper::{Method, StatusCode};

/// Longest head.
const HEAD_MAX: usize = 64 * 1024;
/// Most header lines.
const LINES_MAX: usize = 100;

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// So many octets.
    Known(u64),
    /// Until the handler closes.
    UntilClosed,
}

#[derive(Debug)]
pub(crate) struct RawHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) length: Length,
    /// Where the body begins.
    pub(crate) end: usize,
}

/// Reads a head; `Ok(None)` when it is not complete yet.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(raw: &[u8], method: &Method) -> Result<Option<RawHead>, &'static str> {
    let mut lines = [httparse::EMPTY_HEADER; LINES_MAX];
    let mut response = httparse::Response::new(&mut lines);
    let end = match response.parse(raw) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) if raw.len() < HEAD_MAX => return Ok(None),
        Ok(httparse::Status::Partial) => return Err("a head of more than 64 KiB"),
        Err(_) => return Err("no head of a response"),
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or("an unknown status")?;
    if status.is_informational() {
        return Err("an informational response");
    }
    let mut headers = HeaderMap::new();
    for line in response.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| "a bad name of a header")?;
        headers.append(name, HeaderValue::from_bytes(line.value).map_err(|_| "a bad value of a header")?);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err("a Transfer-Encoding: the server chooses that");
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = match (lengths.next(), lengths.next()) {
        (None, _) => Length::UntilClosed,
        (Some(length), None) => {
            let digits = length.to_str().ok().filter(|text| text.bytes().all(|octet| octet.is_ascii_digit()));
            Length::Known(digits.and_then(|digits| digits.parse().ok()).ok_or("a bad Content-Length")?)
        }
        (Some(_), Some(_)) => return Err("two Content-Lengths"),
    };
    // What concerns one connection is between the server and its client (RFC 9110, section 7.6.1).
    for name in [CONNECTION, TE, TRAILER, UPGRADE, PROXY_AUTHENTICATE, HeaderName::from_static("keep-alive")] {
        headers.remove(name);
    }
    let bodiless = *method == Method::HEAD || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    if status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    }
    let length = if bodiless { Length::Known(0) } else { length };
    Ok(Some(RawHead { status, headers, length, end }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let raw = b"HTTP/1.1 201 Made\r\nContent-Length: 2\r\nConnection: close\r\nX-A: b\r\n\r\nhi";
        for part in 0..raw.len() - 2 {
            assert!(parse(&raw[..part], &Method::GET).unwrap().is_none(), "{part}");
        }
        let head = parse(raw, &Method::GET).unwrap().unwrap();
        assert_eq!((head.status.as_u16(), head.length, &raw[head.end..]), (201, Length::Known(2), &b"hi"[..]));
        assert!(head.headers.contains_key("x-a") && !head.headers.contains_key(CONNECTION));
        let length = |raw: &[u8], method| parse(raw, &method).unwrap().unwrap().length;
        assert_eq!(length(raw, Method::HEAD), Length::Known(0));
        assert_eq!(length(b"HTTP/1.0 200 OK\r\n\r\n", Method::GET), Length::UntilClosed);
    }

    #[test]
    fn nonsense() {
        for raw in [
            "hello there, this is no head\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
        ] {
            assert!(parse(raw.as_bytes(), &Method::GET).is_err(), "{raw}");
        }
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(HEAD_MAX));
        assert!(parse(long.as_bytes(), &Method::GET).is_err());
    }
}
