//! What the parser of HTTP leaves to its user: checks that need nothing but the request's head.

use hyper::header::{ALLOW, CONTENT_LENGTH, EXPECT, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Request, StatusCode, Version as HttpVersion};

use super::reply::{Early, Reply};

/// What is allowed on a file.
const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
/// Most octets of a request's headers, names and values.
const HEADERS_MAX: usize = 32 * 1024;
/// Most octets of a request's body. Files have no use for one, handlers may.
pub(super) const BODY_MAX: u64 = 1024 * 1024;

/// Checks framing and fields. Whoever gets these wrong may mean something else by what follows, so the
/// connection ends with the answer.
pub(super) fn head<B>(request: &Request<B>) -> Early {
    let headers = request.headers();
    let refuse = |status, text| Err(Reply::page(status, text).closing().into());
    // Whoever sends both Content-Length and this means to mislead somebody, and the parser has settled that
    // already. Nobody needs chunks to ask for a file.
    if headers.contains_key(TRANSFER_ENCODING) {
        return refuse(StatusCode::BAD_REQUEST, "A request for a file has no body of unknown length.");
    }
    let hosts = headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == HttpVersion::HTTP_11) {
        return refuse(StatusCode::BAD_REQUEST, "A request has exactly one Host header.");
    }
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    if !host.is_none_or(is_host) || !authority.is_none_or(is_host) {
        return refuse(StatusCode::BAD_REQUEST, "That is not the name of a host.");
    }
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > HEADERS_MAX {
        return refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's headers are longer than 32 KiB.");
    }
    if let Some(length) = headers.get(CONTENT_LENGTH)
        && length.to_str().ok().and_then(|length| length.parse().ok()).is_none_or(|length: u64| length > BODY_MAX)
    {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "Nothing is done with a request's body, and this one is long.");
    }
    if headers.get_all(EXPECT).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return refuse(StatusCode::EXPECTATION_FAILED, "The only expectation known is 100-continue.");
    }
    Ok(())
}

/// A name or an address, and a port if there is one (RFC 9110, section 7.2). The empty host is one as well.
fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host {
        [b'[', ..] => {
            let Some(end) = host.iter().position(|&octet| octet == b']') else { return false };
            if !host[1..end].iter().all(|octet| octet.is_ascii_hexdigit() || b":.".contains(octet)) {
                return false;
            }
            (&[][..], &host[end + 1..])
        }
        _ => host.split_at(host.iter().position(|&octet| octet == b':').unwrap_or(host.len())),
    };
    let digits = port.strip_prefix(b":").unwrap_or(port);
    name.iter().all(|octet| octet.is_ascii_alphanumeric() || b"-._~%".contains(octet))
        && (port.is_empty() || port.starts_with(b":"))
        && digits.iter().all(u8::is_ascii_digit)
}

/// Answers what is not GET or HEAD.
pub(super) fn method(method: &Method) -> Early {
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

#[cfg(test)]
mod tests {
    use super::is_host;

    #[test]
    fn hosts() {
        for host in ["", "x", "a.example", "xn--bcher-kva.example", "10.0.0.1:80", "[::1]", "[::1]:80", "x:"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in ["a b", "a/b", "u@x", "x:y", "[::1", "[x]", "[::1]80", "a,b", "é", "x:80:80"] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
