//! The table: what is sent, octet for octet, and what has to come back.
//!
//! `/ten.txt` holds the ten digits and was modified at [`DATE`]; its entity tag is [`TAG`]. `/page.html` has a
//! sibling `page.html.gz`; `/dir/` has an index, `/bare/` has none.

use super::Fate::{self, Close, Keep};

pub(crate) const TAG: &str = "\"a-3b9aca00.0\"";
pub(crate) const DATE: &str = "Sun, 09 Sep 2001 01:46:40 GMT";

/// Name and source of the rule, request, status, what becomes of the connection, and what the response's head or
/// body has to contain (a leading `!`: must not).
pub(crate) type Case = (&'static str, &'static str, &'static str, u16, Fate, &'static str);

/// A GET of `/ten.txt` with these header lines.
macro_rules! ten {
    ($lines:literal) => {
        concat!("GET /ten.txt HTTP/1.1\r\nHost: x\r\n", $lines, "\r\n")
    };
}
/// A GET of this target.
macro_rules! get {
    ($target:literal) => {
        concat!("GET ", $target, " HTTP/1.1\r\nHost: x\r\n\r\n")
    };
}

#[rustfmt::skip] // a row is a line
pub(crate) const CASES: &[Case] = &[
    // ---- the request line ----
    ("a plain request", "RFC 9112, 3", get!("/ten.txt"), 200, Keep, "0123456789"),
    ("a query is not part of the path", "RFC 9110, 4.2.3", get!("/ten.txt?a=b&c"), 200, Keep, ""),
    ("an empty query", "RFC 3986, 3.4", get!("/ten.txt?"), 200, Keep, ""),
    ("an empty line before the request", "RFC 9112, 2.2", "\r\nGET /ten.txt HTTP/1.1\r\nHost: x\r\n\r\n", 200, Keep, ""),
    ("LF ends lines as well", "RFC 9112, 2.2", "GET /ten.txt HTTP/1.1\nHost: x\n\n", 200, Keep, ""),
    ("absolute form", "RFC 9112, 3.2.2", "GET http://x/ten.txt HTTP/1.1\r\nHost: x\r\n\r\n", 200, Keep, ""),
    ("absolute form overrules Host", "RFC 9112, 3.2.2", "GET http://y/ten.txt HTTP/1.1\r\nHost: x\r\n\r\n", 200, Keep, ""),
    ("absolute form without a path", "RFC 9112, 3.2.2", "GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", 404, Keep, ""),
    ("asterisk form is for OPTIONS", "RFC 9112, 3.2.4", get!("*"), 400, Keep, ""),
    ("authority form is for CONNECT", "RFC 9112, 3.2.3", "GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400, Keep, ""),
    ("no target", "RFC 9112, 3", "GET HTTP/1.1\r\nHost: x\r\n\r\n", 400, Close, ""),
    ("a blank within the target", "RFC 9112, 3", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400, Close, ""),
    ("two blanks before the version", "RFC 9112, 3", "GET /ten.txt  HTTP/1.1\r\nHost: x\r\n\r\n", 400, Close, ""),
    ("a blank before the method", "RFC 9112, 3", " GET /ten.txt HTTP/1.1\r\nHost: x\r\n\r\n", 400, Close, ""),
    ("a tab after the method", "RFC 9112, 3", "GET\t/ten.txt HTTP/1.1\r\nHost: x\r\n\r\n", 400, Close, ""),
    ("a control character in the target", "RFC 9112, 3.2", "GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400, Close, ""),
    ("NUL in the target", "RFC 9112, 3.2", "GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400, Close, ""),
    ("NUL in the method", "RFC 9110, 9.1", "GE\0T / HTTP/1.1\r\nHost: x\r\n\r\n", 400, Close, ""),
    ("HTTP 2.0 by name", "RFC 9110, 15.6.6", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", 400, Close, ""),
    ("HTTP 3.7 by name", "RFC 9110, 15.6.6", "GET / HTTP/3.7\r\nHost: x\r\n\r\n", 400, Close, ""),
    ("HTTP 0.9", "RFC 9112, A", "GET /ten.txt\r\n\r\n", 400, Close, ""),
    ("a version without a digit", "RFC 9112, 2.3", "GET / HTTP/1.\r\nHost: x\r\n\r\n", 400, Close, ""),
    ("a version with a sign", "RFC 9112, 2.3", "GET / HTTP/+1.1\r\nHost: x\r\n\r\n", 400, Close, ""),
    ("the version's name is in capitals", "RFC 9112, 2.3", "GET / http/1.1\r\nHost: x\r\n\r\n", 400, Close, ""),
    ("another protocol", "RFC 9112, 2.3", "GET / ICY/1.1\r\nHost: x\r\n\r\n", 400, Close, ""),
    ("TLS on a plain port", "RFC 9112, 2.2", "\x16\x03\x01\x02\x01\x01\x01\r\n\r\n", 400, Close, ""),
    ("a bare CR in the request line", "RFC 9112, 2.2", "GET / HTTP/1.1\rHost: x\r\n\r\n", 400, Close, ""),

    // ---- Host ----
    ("no Host", "RFC 9112, 3.2", "GET / HTTP/1.1\r\n\r\n", 400, Close, ""),
    ("no Host in HTTP 1.0", "RFC 9112, 3.2", "GET /ten.txt HTTP/1.0\r\n\r\n", 200, Close, ""),
    ("two Hosts", "RFC 9112, 3.2", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, Close, ""),
    ("two equal Hosts", "RFC 9112, 3.2", "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400, Close, ""),
    ("an empty Host", "RFC 9112, 3.2", "GET /ten.txt HTTP/1.1\r\nHost:\r\n\r\n", 200, Keep, ""),
    ("Host with a port", "RFC 9110, 7.2", "GET /ten.txt HTTP/1.1\r\nHost: x:8080\r\n\r\n", 200, Keep, ""),
    ("Host with an address", "RFC 9110, 7.2", "GET /ten.txt HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200, Keep, ""),
    ("Host with a blank", "RFC 9112, 3.2", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, Close, ""),
    ("Host with a path", "RFC 9112, 3.2", "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400, Close, ""),
    ("Host with a user", "RFC 9110, 4.2.4", "GET / HTTP/1.1\r\nHost: u@x\r\n\r\n", 400, Close, ""),
    ("Host as a list", "RFC 9112, 3.2", "GET / HTTP/1.1\r\nHost: x, y\r\n\r\n", 400, Close, ""),
    ("Host with a port that is none", "RFC 9112, 3.2", "GET / HTTP/1.1\r\nHost: x:y\r\n\r\n", 400, Close, ""),
    ("a user in the absolute form", "RFC 9110, 4.2.4", "GET http://u:p@x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400, Close, ""),

    // ---- fields ----
    ("a blank before the colon", "RFC 9112, 5.1", ten!("A : b\r\n"), 400, Close, ""),
    ("a tab before the colon", "RFC 9112, 5.1", ten!("A\t: b\r\n"), 400, Close, ""),
    ("a field without a name", "RFC 9110, 5.1", ten!(": b\r\n"), 400, Close, ""),
    ("a field without a colon", "RFC 9112, 5", ten!("A\r\n"), 400, Close, ""),
    ("no token for a name", "RFC 9110, 5.1", ten!("A(b): c\r\n"), 400, Close, ""),
    ("a first line that goes on from nothing", "RFC 9112, 2.2", "GET /ten.txt HTTP/1.1\r\n Host: x\r\n\r\n", 400, Close, ""),
    ("a folded value", "RFC 9112, 5.2", ten!("A: b\r\n c\r\n"), 400, Close, ""),
    ("a bare CR in a value", "RFC 9110, 5.5", ten!("A: b\rc\r\n"), 400, Close, ""),
    ("NUL in a value", "RFC 9110, 5.5", ten!("A: b\0c\r\n"), 400, Close, ""),
    ("a control character in a value", "RFC 9110, 5.5", ten!("A: b\x07c\r\n"), 400, Close, ""),
    ("a tab in a value", "RFC 9110, 5.5", ten!("A: b\tc\r\n"), 200, Keep, ""),
    ("blanks around a value", "RFC 9110, 5.5", ten!("A:   b   \r\n"), 200, Keep, ""),
    ("no blank before a value", "RFC 9112, 5", ten!("A:b\r\n"), 200, Keep, ""),
    ("an empty value", "RFC 9110, 5.5", ten!("A:\r\n"), 200, Keep, ""),
    ("octets beyond ASCII in a value", "RFC 9110, 5.5", ten!("A: \u{e9}\r\n"), 200, Keep, ""),
    ("names in any case", "RFC 9110, 5.1", "GET /ten.txt HTTP/1.1\r\nhOST: x\r\n\r\n", 200, Keep, ""),

    // ---- framing ----
    ("a body that nobody needs", "RFC 9110, 9.3.1", ten!("Content-Length: 0\r\n"), 200, Keep, ""),
    ("Content-Length and Transfer-Encoding", "RFC 9112, 6.1", ten!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"), 400, Close, ""),
    ("the same in the other order", "RFC 9112, 6.1", ten!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n"), 400, Close, ""),
    ("two Content-Lengths that differ", "RFC 9112, 6.3", ten!("Content-Length: 0\r\nContent-Length: 5\r\n"), 400, Close, ""),
    ("a list of Content-Lengths that differ", "RFC 9112, 6.3", ten!("Content-Length: 0, 5\r\n"), 400, Close, ""),
    ("a signed Content-Length", "RFC 9110, 8.6", ten!("Content-Length: +0\r\n"), 400, Close, ""),
    ("a negative Content-Length", "RFC 9110, 8.6", ten!("Content-Length: -1\r\n"), 400, Close, ""),
    ("a Content-Length in hexadecimal", "RFC 9110, 8.6", ten!("Content-Length: 0x0\r\n"), 400, Close, ""),
    ("an empty Content-Length", "RFC 9110, 8.6", ten!("Content-Length:\r\n"), 400, Close, ""),
    ("a Content-Length beyond 64 bits", "RFC 9110, 8.6", ten!("Content-Length: 99999999999999999999\r\n"), 400, Close, ""),
    ("a body of a mebibyte and more", "RFC 9110, 15.5.14", ten!("Content-Length: 1048577\r\n"), 413, Close, ""),
    ("Transfer-Encoding with a GET", "RFC 9112, 6.1", ten!("Transfer-Encoding: chunked\r\n\r\n0\r\n"), 400, Close, ""),
    ("an unknown Transfer-Encoding", "RFC 9112, 6.1", ten!("Transfer-Encoding: xchunked\r\n"), 400, Close, ""),
    ("chunked not last", "RFC 9112, 6.3", ten!("Transfer-Encoding: chunked, gzip\r\n"), 400, Close, ""),
    ("chunked twice", "RFC 9112, 6.1", ten!("Transfer-Encoding: chunked, chunked\r\n"), 400, Close, ""),
    ("Transfer-Encoding: identity", "RFC 9112, 7", ten!("Transfer-Encoding: identity\r\n"), 400, Close, ""),
    ("Transfer-Encoding in HTTP 1.0", "RFC 9112, 6.1", "GET /ten.txt HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, Close, ""),
    ("Transfer-Encoding after a tab", "RFC 9112, 6.1", ten!("Transfer-Encoding:\tchunked\r\n\r\n0\r\n"), 400, Close, ""),
    ("Transfer-Encoding of nothing", "RFC 9112, 6.1", ten!("Transfer-Encoding:\r\n"), 400, Close, ""),

    // ---- connections ----
    ("close is obeyed", "RFC 9112, 9.6", ten!("Connection: close\r\n"), 200, Close, "connection: close"),
    ("close in a list and in capitals", "RFC 9112, 9.6", ten!("Connection: foo, CLOSE\r\n"), 200, Close, ""),
    ("HTTP 1.0 closes", "RFC 9112, 9.3", "GET /ten.txt HTTP/1.0\r\nHost: x\r\n\r\n", 200, Close, ""),
    ("HTTP 1.0 stays when asked", "RFC 9112, C.2.2", "GET /ten.txt HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n", 200, Keep, "connection: keep-alive"),
    ("an upgrade that is not known", "RFC 9110, 7.8", ten!("Connection: upgrade\r\nUpgrade: websocket\r\n"), 200, Keep, ""),
    ("an upgrade to cleartext HTTP/2", "RFC 9113, 3.1", ten!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n"), 200, Keep, ""),

    // ---- methods ----
    ("HEAD has no body", "RFC 9110, 9.3.2", "HEAD /ten.txt HTTP/1.1\r\nHost: x\r\n\r\n", 200, Keep, "content-length: 10"),
    ("HEAD of what is not there", "RFC 9110, 9.3.2", "HEAD /none HTTP/1.1\r\nHost: x\r\n\r\n", 404, Keep, "content-length: "),
    ("OPTIONS of everything", "RFC 9110, 9.3.7", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 204, Keep, "allow: GET, HEAD, OPTIONS"),
    ("OPTIONS of a file", "RFC 9110, 9.3.7", "OPTIONS /ten.txt HTTP/1.1\r\nHost: x\r\n\r\n", 204, Keep, "allow: GET, HEAD, OPTIONS"),
    ("no length with 204", "RFC 9110, 8.6", "OPTIONS /ten.txt HTTP/1.1\r\nHost: x\r\n\r\n", 204, Keep, "!content-length"),
    ("POST", "RFC 9110, 15.5.6", "POST /ten.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405, Keep, "allow: GET, HEAD, OPTIONS"),
    ("PUT", "RFC 9110, 15.5.6", "PUT /ten.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405, Keep, "allow: "),
    ("DELETE", "RFC 9110, 15.5.6", "DELETE /ten.txt HTTP/1.1\r\nHost: x\r\n\r\n", 405, Keep, "allow: "),
    ("PATCH", "RFC 5789, 2", "PATCH /ten.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405, Keep, "allow: "),
    ("TRACE", "RFC 9110, 9.3.8", "TRACE /ten.txt HTTP/1.1\r\nHost: x\r\n\r\n", 405, Keep, "allow: "),
    ("CONNECT", "RFC 9110, 9.3.6", "CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n", 405, Keep, "allow: "),
    ("an unknown method", "RFC 9110, 9.1", "BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 501, Keep, ""),
    ("methods are in capitals", "RFC 9110, 9.1", "get /ten.txt HTTP/1.1\r\nHost: x\r\n\r\n", 501, Keep, ""),

    // ---- expectations ----
    ("100-continue without a body", "RFC 9110, 10.1.1", ten!("Expect: 100-continue\r\n"), 200, Keep, ""),
    ("100-continue that is refused at once", "RFC 9110, 10.1.1", "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", 405, Close, "!100 Continue"),
    ("another expectation", "RFC 9110, 10.1.1", ten!("Expect: tea\r\n"), 417, Close, ""),

    // ---- paths ----
    ("the root without an index", "RFC 9110, 15.5.5", get!("/"), 404, Keep, ""),
    ("an index", "RFC 9110, 4.2.3", get!("/dir/"), 200, Keep, "the index"),
    ("a directory without its slash", "RFC 9110, 15.4.2", get!("/dir"), 301, Keep, "location: /dir/"),
    ("the same with a query", "RFC 9110, 15.4.2", get!("/dir?a=b"), 301, Keep, "location: /dir/?a=b"),
    ("a directory without an index", "RFC 9110, 15.5.5", get!("/bare/"), 404, Keep, ""),
    ("a file with a slash after it", "RFC 9110, 15.5.5", get!("/ten.txt/"), 404, Keep, ""),
    ("an encoded blank", "RFC 3986, 2.1", get!("/two%20words.txt"), 200, Keep, ""),
    ("an encoded letter", "RFC 3986, 2.3", get!("/%74en.txt"), 200, Keep, ""),
    ("decoding happens once", "RFC 3986, 2.4", get!("/%2574en.txt"), 404, Keep, ""),
    ("half an escape", "RFC 3986, 2.1", get!("/%7"), 400, Keep, ""),
    ("no escape", "RFC 3986, 2.1", get!("/%zz"), 400, Keep, ""),
    ("an encoded NUL", "RFC 3986, 7.3", get!("/ten.txt%00"), 400, Keep, ""),
    ("an encoded line end", "RFC 3986, 7.3", get!("/a%0d%0ab"), 400, Keep, ""),
    ("an encoded slash", "RFC 3986, 2.2", get!("/dir%2findex.html"), 400, Keep, ""),
    ("upwards", "RFC 3986, 5.2.4", get!("/../ten.txt"), 400, Keep, ""),
    ("upwards, encoded", "RFC 3986, 5.2.4", get!("/%2e%2e/secret.txt"), 400, Keep, ""),
    ("upwards from below", "RFC 3986, 5.2.4", get!("/dir/../../secret.txt"), 400, Keep, ""),
    ("a dot alone", "RFC 3986, 5.2.4", get!("/./ten.txt"), 400, Keep, ""),
    ("two slashes", "RFC 3986, 3.3", get!("//ten.txt"), 404, Keep, ""),
    ("a backslash is a letter", "RFC 3986, 3.3", get!("/dir%5cindex.html"), 404, Keep, ""),
    ("a hidden file", "RFC 9110, 15.5.5", get!("/.hidden"), 404, Keep, "!secret"),
    ("well-known is not hidden", "RFC 8615, 3", get!("/.well-known/x"), 200, Keep, "well"),
    ("a link that leads out", "RFC 9110, 17.3", get!("/out"), 404, Keep, "!secret"),
    ("a FIFO", "RFC 9110, 17.3", get!("/fifo"), 404, Keep, ""),
    ("markup in the path is not echoed", "RFC 9110, 17.6", get!("/%3Cscript%3E"), 404, Keep, "!<script>"),

    // ---- what every answer has ----
    ("a date", "RFC 9110, 6.6.1", get!("/ten.txt"), 200, Keep, "date: "),
    ("a date with an error", "RFC 9110, 6.6.1", get!("/none"), 404, Keep, "date: "),
    ("a type", "RFC 9110, 8.3", get!("/ten.txt"), 200, Keep, "content-type: text/plain; charset=utf-8"),
    ("no guessing of types", "Fetch, 3.6", get!("/ten.txt"), 200, Keep, "x-content-type-options: nosniff"),
    ("a strong tag", "RFC 9110, 8.8.3", get!("/ten.txt"), 200, Keep, "etag: \"a-3b9aca00.0\""),
    ("when it was modified", "RFC 9110, 8.8.2", get!("/ten.txt"), 200, Keep, "last-modified: Sun, 09 Sep 2001 01:46:40 GMT"),
    ("that parts can be had", "RFC 9110, 14.3", get!("/ten.txt"), 200, Keep, "accept-ranges: bytes"),

    // ---- preconditions ----
    ("If-None-Match", "RFC 9110, 13.1.2", ten!("If-None-Match: \"a-3b9aca00.0\"\r\n"), 304, Keep, "etag: \"a-3b9aca00.0\""),
    ("304 says nothing of a body", "RFC 9110, 15.4.5", ten!("If-None-Match: \"a-3b9aca00.0\"\r\n"), 304, Keep, "!\r\ncontent-type"),
    ("weak comparison", "RFC 9110, 13.1.2", ten!("If-None-Match: W/\"a-3b9aca00.0\"\r\n"), 304, Keep, ""),
    ("a list", "RFC 9110, 13.1.2", ten!("If-None-Match: \"x\", \"a-3b9aca00.0\"\r\n"), 304, Keep, ""),
    ("a list in two fields", "RFC 9110, 5.3", ten!("If-None-Match: \"x\"\r\nIf-None-Match: \"a-3b9aca00.0\"\r\n"), 304, Keep, ""),
    ("any", "RFC 9110, 13.1.2", ten!("If-None-Match: *\r\n"), 304, Keep, ""),
    ("another tag", "RFC 9110, 13.1.2", ten!("If-None-Match: \"x\"\r\n"), 200, Keep, ""),
    ("a tag without quotes", "RFC 9110, 8.8.3", ten!("If-None-Match: a-3b9aca00.0\r\n"), 200, Keep, ""),
    ("If-Modified-Since, the same second", "RFC 9110, 13.1.3", ten!("If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n"), 304, Keep, ""),
    ("a second before", "RFC 9110, 13.1.3", ten!("If-Modified-Since: Sun, 09 Sep 2001 01:46:39 GMT\r\n"), 200, Keep, ""),
    ("as RFC 850 wrote dates", "RFC 9110, 5.6.7", ten!("If-Modified-Since: Sunday, 09-Sep-01 01:46:40 GMT\r\n"), 304, Keep, ""),
    ("as asctime wrote dates", "RFC 9110, 5.6.7", ten!("If-Modified-Since: Sun Sep  9 01:46:40 2001\r\n"), 304, Keep, ""),
    ("no date", "RFC 9110, 13.1.3", ten!("If-Modified-Since: yesterday\r\n"), 200, Keep, ""),
    ("the tag is stronger than the date", "RFC 9110, 13.1.3", ten!("If-None-Match: \"x\"\r\nIf-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n"), 200, Keep, ""),
    ("If-Match", "RFC 9110, 13.1.1", ten!("If-Match: \"a-3b9aca00.0\"\r\n"), 200, Keep, ""),
    ("If-Match, another", "RFC 9110, 13.1.1", ten!("If-Match: \"x\"\r\n"), 412, Keep, ""),
    ("If-Match, strong comparison", "RFC 9110, 13.1.1", ten!("If-Match: W/\"a-3b9aca00.0\"\r\n"), 412, Keep, ""),
    ("If-Match, any", "RFC 9110, 13.1.1", ten!("If-Match: *\r\n"), 200, Keep, ""),
    ("If-Unmodified-Since", "RFC 9110, 13.1.4", ten!("If-Unmodified-Since: Sun, 09 Sep 2001 01:46:39 GMT\r\n"), 412, Keep, ""),
    ("preconditions of what is not there", "RFC 9110, 13.2.1", "GET /none HTTP/1.1\r\nHost: x\r\nIf-Match: \"x\"\r\n\r\n", 404, Keep, ""),
    ("HEAD with a precondition", "RFC 9110, 13.2.1", "HEAD /ten.txt HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n", 304, Keep, ""),

    // ---- ranges ----
    ("the first octet", "RFC 9110, 14.1.2", ten!("Range: bytes=0-0\r\n"), 206, Keep, "content-range: bytes 0-0/10"),
    ("from the middle on", "RFC 9110, 14.1.2", ten!("Range: bytes=7-\r\n"), 206, Keep, "content-range: bytes 7-9/10"),
    ("the last two", "RFC 9110, 14.1.2", ten!("Range: bytes=-2\r\n"), 206, Keep, "content-range: bytes 8-9/10"),
    ("more than there is", "RFC 9110, 14.1.2", ten!("Range: bytes=5-500\r\n"), 206, Keep, "content-range: bytes 5-9/10"),
    ("a suffix longer than the file", "RFC 9110, 14.1.2", ten!("Range: bytes=-500\r\n"), 206, Keep, "content-range: bytes 0-9/10"),
    ("beyond the end", "RFC 9110, 15.5.17", ten!("Range: bytes=10-\r\n"), 416, Keep, "content-range: bytes */10"),
    ("an empty suffix", "RFC 9110, 14.1.2", ten!("Range: bytes=-0\r\n"), 416, Keep, "content-range: bytes */10"),
    ("a number beyond 64 bits", "RFC 9110, 14.1.2", ten!("Range: bytes=0-99999999999999999999\r\n"), 206, Keep, "content-range: bytes 0-9/10"),
    ("backwards", "RFC 9110, 14.1.1", ten!("Range: bytes=5-2\r\n"), 200, Keep, ""),
    ("another unit", "RFC 9110, 14.2", ten!("Range: lines=0-1\r\n"), 200, Keep, ""),
    ("nonsense", "RFC 9110, 14.2", ten!("Range: bytes=a-b\r\n"), 200, Keep, ""),
    ("a unit in capitals", "RFC 9110, 14.1", ten!("Range: BYTES=0-0\r\n"), 206, Keep, ""),
    ("two parts", "RFC 9110, 14.6", ten!("Range: bytes=0-1,5-6\r\n"), 206, Keep, "multipart/byteranges; boundary="),
    ("two parts, and what each says", "RFC 9110, 14.6", ten!("Range: bytes=0-1, -1\r\n"), 206, Keep, "content-range: bytes 9-9/10"),
    ("two parts of which one is not there", "RFC 9110, 14.2", ten!("Range: bytes=0-1,90-\r\n"), 206, Keep, "content-range: bytes 0-1/10"),
    ("two parts and none is there", "RFC 9110, 15.5.17", ten!("Range: bytes=80-81,90-\r\n"), 416, Keep, ""),
    ("parts that touch are one", "RFC 9110, 15.3.7.2", ten!("Range: bytes=0-1,2-3\r\n"), 206, Keep, "content-range: bytes 0-3/10"),
    ("too many parts", "RFC 9110, 17.15", ten!("Range: bytes=0-0,2-2,4-4,6-6,8-8,0-0,2-2,4-4,6-6,8-8,0-0,2-2,4-4,6-6,8-8,0-0,2-2\r\n"), 200, Keep, ""),
    ("empty elements in the list", "RFC 9110, 5.6.1", ten!("Range: bytes=,0-0,\r\n"), 206, Keep, "content-range: bytes 0-0/10"),
    ("If-Range holds", "RFC 9110, 13.1.5", ten!("Range: bytes=0-0\r\nIf-Range: \"a-3b9aca00.0\"\r\n"), 206, Keep, ""),
    ("If-Range does not", "RFC 9110, 13.1.5", ten!("Range: bytes=0-0\r\nIf-Range: \"x\"\r\n"), 200, Keep, ""),
    ("If-Range, weak", "RFC 9110, 13.1.5", ten!("Range: bytes=0-0\r\nIf-Range: W/\"a-3b9aca00.0\"\r\n"), 200, Keep, ""),
    ("If-Range with a date", "RFC 9110, 13.1.5", ten!("Range: bytes=0-0\r\nIf-Range: Sun, 09 Sep 2001 01:46:40 GMT\r\n"), 206, Keep, ""),
    ("HEAD has no ranges", "RFC 9110, 14.2", "HEAD /ten.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=0-0\r\n\r\n", 200, Keep, "content-length: 10"),
    ("304 comes before the range", "RFC 9110, 13.2.2", ten!("Range: bytes=0-0\r\nIf-None-Match: *\r\n"), 304, Keep, ""),

    // ---- codings ----
    ("gzip is had where there is one", "RFC 9110, 12.5.3", "GET /page.html HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n", 200, Keep, "content-encoding: gzip"),
    ("its own tag", "RFC 9110, 8.8.3.3", "GET /page.html HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n", 200, Keep, "-gzip\""),
    ("that there are several", "RFC 9110, 12.5.5", get!("/page.html"), 200, Keep, "vary: accept-encoding"),
    ("a coding that is refused", "RFC 9110, 12.5.3", "GET /page.html HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip;q=0\r\n\r\n", 200, Keep, "!content-encoding"),
    ("a coding that there is not", "RFC 9110, 12.5.3", "GET /page.html HTTP/1.1\r\nHost: x\r\nAccept-Encoding: br\r\n\r\n", 200, Keep, "!content-encoding"),
    ("any coding", "RFC 9110, 12.5.3", "GET /page.html HTTP/1.1\r\nHost: x\r\nAccept-Encoding: *\r\n\r\n", 200, Keep, "content-encoding: gzip"),
    ("any but one", "RFC 9110, 12.5.3", "GET /page.html HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip;q=0, *\r\n\r\n", 200, Keep, "!content-encoding"),
    ("no coding for what has none", "RFC 9110, 12.5.3", ten!("Accept-Encoding: gzip, br, zstd\r\n"), 200, Keep, "!content-encoding"),
];
