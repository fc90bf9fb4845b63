//! The upgrade: a request of HTTP's and its answer (RFC 6455, 4), in which the two agree on ZWS's variant (RFC 45).
//!
//! The client lists the variants that it speaks, and the server takes the first of them that it speaks, too. A server
//! that will not upgrade says nothing and closes, as libzmq does: its clients come back after a silent end, but never
//! after an answer that they do not understand.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};

use super::{BARE, no_upgrade, no_upgrade_because};
use crate::ProtocolError;
use crate::curve::RandomSource;
use crate::limits::{MAX_UPGRADE, MAX_UPGRADE_FIELDS};

/// What a key is hashed with (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Octets of a key.
const KEY: usize = 16;

/// How a head ends.
const END: &[u8] = b"\r\n\r\n";

/// One connection's upgrade.
#[derive(Debug)]
pub(crate) struct Upgrade {
    /// What has come so far of the peer's head.
    head: Vec<u8>,
    role: Role,
    /// The subprotocols that we speak, the best first.
    protocols: Vec<String>,
}

#[derive(Debug)]
enum Role {
    /// With what the server has to accept our key.
    Client {
        accept: String,
    },
    Server,
}

impl Upgrade {
    /// Begin as the client: the request goes to `output`, in the words that libzmq uses.
    pub(crate) fn client(
        host: &str,
        path: &str,
        random: RandomSource,
        protocols: Vec<String>,
        output: &mut Vec<u8>,
    ) -> Result<Self, ProtocolError> {
        let printable = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic());
        if !printable(host) || !printable(path) {
            return Err(no_upgrade("the host or path of the endpoint cannot stand in a request"));
        }
        let mut key = [0; KEY];
        if !random(&mut key) {
            return Err(ProtocolError::NoRandomness);
        }
        let key = BASE64_STANDARD.encode(key);
        // No port behind the host: libzmq sends none.
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {}\r\nSec-WebSocket-Version: 13\r\n\r\n",
            protocols.join(","),
        );
        output.extend_from_slice(request.as_bytes());
        Ok(Upgrade { head: Vec::new(), role: Role::Client { accept: accept(&key) }, protocols })
    }

    /// Begin as the server.
    pub(crate) fn server(protocols: Vec<String>) -> Self {
        Upgrade { head: Vec::new(), role: Role::Server, protocols }
    }

    /// Take octets from `input` at `at`, none beyond the end of the peer's head, and answer into `output`. The
    /// subprotocol, once it is agreed on.
    pub(crate) fn handle_input(
        &mut self,
        input: &[u8],
        at: &mut usize,
        output: &mut Vec<u8>,
    ) -> Result<Option<String>, ProtocolError> {
        while !self.head.ends_with(END) {
            let Some(&octet) = input.get(*at) else { return Ok(None) };
            if self.head.len() == MAX_UPGRADE {
                return Err(no_upgrade("a head of more than 8192 octets"));
            }
            self.head.push(octet);
            *at += 1;
            self.check_start()?;
        }
        match &self.role {
            Role::Client { accept } => self.read_response(accept).map(Some),
            Role::Server => {
                let (protocol, accept) = self.read_request()?;
                let response = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
                );
                output.extend_from_slice(response.as_bytes());
                Ok(Some(protocol))
            }
        }
    }

    /// What speaks another protocol is told from the first octet that differs, so that nothing waits for its end.
    fn check_start(&self) -> Result<(), ProtocolError> {
        let start: &[u8] = match self.role {
            Role::Client { .. } => b"HTTP/1.1 ",
            Role::Server => b"GET ",
        };
        let known = self.head.len().min(start.len());
        if self.head[..known] == start[..known] {
            return Ok(());
        }
        Err(no_upgrade_because("what does not begin as an upgrade does:", &self.head))
    }

    /// The subprotocol taken from the client's list, and the answer to its key.
    fn read_request(&self) -> Result<(String, String), ProtocolError> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_UPGRADE_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        let parsed = request.parse(&self.head);
        self.check_parsed(parsed)?;
        if request.version != Some(1) {
            return Err(no_upgrade("a request of another version than HTTP/1.1"));
        }
        let fields = Fields(request.headers);
        if !fields.has_token("Upgrade", "websocket") {
            return Err(no_upgrade("a request without \"Upgrade: websocket\""));
        }
        if !fields.has_token("Connection", "upgrade") {
            return Err(no_upgrade("a request without \"Connection: Upgrade\""));
        }
        let key = fields.only("Sec-WebSocket-Key").unwrap_or_default();
        if !BASE64_STANDARD.decode(key).is_ok_and(|key| key.len() == KEY) {
            return Err(no_upgrade("a request without a key of 16 octets"));
        }
        // Without a mechanism nobody can heartbeat, and types go unchecked: last, whatever the client prefers.
        let offered = || fields.tokens("Sec-WebSocket-Protocol").filter_map(|token| str::from_utf8(token).ok());
        let spoken = |token: &&str| self.protocols.iter().any(|ours| ours == token);
        let protocol = offered().filter(spoken).find(|&token| token != BARE).or_else(|| offered().find(spoken));
        let Some(protocol) = protocol else {
            let offer = offered().collect::<Vec<_>>().join(",");
            let reason = format!("of these, none is ours ({}):", self.protocols.join(","));
            return Err(no_upgrade_because(&reason, offer.as_bytes()));
        };
        Ok((protocol.to_owned(), accept(str::from_utf8(key).unwrap_or_default())))
    }

    /// The subprotocol that the server has chosen from ours.
    fn read_response(&self, accept: &str) -> Result<String, ProtocolError> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_UPGRADE_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let parsed = response.parse(&self.head);
        self.check_parsed(parsed)?;
        if response.code != Some(101) {
            let line = self.head.split(|&octet| octet == b'\r').next().unwrap_or_default();
            return Err(no_upgrade_because("the answer is", line));
        }
        let fields = Fields(response.headers);
        if !fields.has_token("Upgrade", "websocket") || !fields.has_token("Connection", "upgrade") {
            return Err(no_upgrade("an answer that upgrades to something else"));
        }
        if fields.only("Sec-WebSocket-Accept") != Some(accept.as_bytes()) {
            return Err(no_upgrade("an answer to another key than ours"));
        }
        if fields.tokens("Sec-WebSocket-Extensions").next().is_some() {
            return Err(no_upgrade("an answer with extensions that nobody asked for"));
        }
        let chosen = fields.only("Sec-WebSocket-Protocol").unwrap_or_default();
        let ours = self.protocols.iter().find(|ours| ours.as_bytes() == chosen);
        ours.cloned().ok_or_else(|| no_upgrade_because("an answer that chooses", chosen))
    }

    /// The parser takes lines that end in LF alone, too; then the head's end may not be where it was looked for.
    fn check_parsed(&self, parsed: httparse::Result<usize>) -> Result<(), ProtocolError> {
        match parsed {
            Ok(httparse::Status::Complete(length)) if length == self.head.len() => Ok(()),
            Ok(_) => Err(no_upgrade("a head whose lines do not end in CR LF")),
            Err(httparse::Error::TooManyHeaders) => Err(no_upgrade("a head of more than 64 fields")),
            Err(_) => Err(no_upgrade("what is not HTTP/1.1")),
        }
    }
}

/// The fields of a head.
struct Fields<'a>(&'a [httparse::Header<'a>]);

impl<'a> Fields<'a> {
    fn values(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let named = move |field: &&httparse::Header<'a>| field.name.eq_ignore_ascii_case(name);
        self.0.iter().filter(named).map(|field| field.value.trim_ascii())
    }

    /// The value of a field that may come once.
    fn only(&self, name: &'static str) -> Option<&'a [u8]> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// The parts of a field whose value is a list, which may be spread over several fields.
    fn tokens(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let parts = self.values(name).flat_map(|value| value.split(|&octet| octet == b','));
        parts.map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
    }

    fn has_token(&self, name: &'static str, wanted: &str) -> bool {
        self.tokens(name).any(|token| token.eq_ignore_ascii_case(wanted.as_bytes()))
    }
}

/// The answer to a key (RFC 6455, 4.2.2).
fn accept(key: &str) -> String {
    BASE64_STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Vec<String> {
        vec!["ZWS2.0/NULL".into(), "ZWS2.0".into()]
    }

    fn zeros(octets: &mut [u8]) -> bool {
        octets.fill(0);
        true
    }

    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: ZWS2.0/NULL\r\n\r\n";

    /// What a server makes of a request: the protocol, or why not.
    fn served(request: &str) -> Result<String, String> {
        let mut output = Vec::new();
        let mut upgrade = Upgrade::server(ours());
        let result = upgrade.handle_input(request.as_bytes(), &mut 0, &mut output);
        assert_eq!(output.is_empty(), !matches!(result, Ok(Some(_))), "an answer to what is no upgrade");
        result.map(|protocol| protocol.unwrap_or_default()).map_err(|error| error.to_string())
    }

    fn changed(from: &str, to: &str) -> Result<String, String> {
        assert!(REQUEST.contains(from), "{from}");
        served(&REQUEST.replace(from, to))
    }

    #[test]
    fn the_answer_to_a_key_is_that_of_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_request_may_be_written_in_many_ways() {
        for (from, to) in [
            ("GET / ", "GET /chat/room?id=1 "),
            ("Upgrade: websocket", "UPGRADE:WebSocket"),
            ("Connection: Upgrade", "connection: keep-alive, upgrade"),
            ("Protocol: ZWS2.0/NULL", "Protocol: chat, ZWS2.0/NULL , ZWS2.0"),
            ("Protocol: ZWS2.0/NULL", "Protocol: ZWS2.0\r\nsec-websocket-protocol:ZWS2.0/NULL"),
            ("Protocol: ZWS2.0/NULL", "Protocol: ZWS2.0,ZWS2.0/NULL"),
            ("Host: a", "Host: a\r\nOrigin: https://example.org\r\nCookie: a=b; \u{e9}"),
            ("Host: a", "Host: a\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate"),
        ] {
            assert_eq!(changed(from, to).as_deref(), Ok("ZWS2.0/NULL"), "{to}");
        }
        assert_eq!(changed("Protocol: ZWS2.0/NULL", "Protocol: ZWS2.0").as_deref(), Ok("ZWS2.0"));
    }

    #[test]
    fn what_is_no_upgrade_says_why() {
        for (from, to, why) in [
            ("GET", "POST", "does not begin"),
            ("GET / HTTP", "GET HTTP", "not HTTP"),
            ("GET / HTTP/1.1", "GET / HTTP/1.0", "version"),
            ("Upgrade: websocket", "Upgrade: h2c", "Upgrade: websocket"),
            ("Upgrade: websocket\r\n", "", "Upgrade: websocket"),
            ("Connection: Upgrade", "Connection: close", "Connection: Upgrade"),
            ("Key: AAAAAAAAAAAAAAAAAAAAAA==", "Key: AAAA", "key"),
            ("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", "", "key"),
            ("Host: a", "Host: a\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "key"),
            ("Protocol: ZWS2.0/NULL", "Protocol: ZWS2.0/PLAIN", "ZWS2.0/PLAIN"),
            ("Protocol: ZWS2.0/NULL", "Protocol: zws2.0/null", "zws2.0/null"),
            ("Sec-WebSocket-Protocol: ZWS2.0/NULL\r\n", "", "none is ours"),
            ("Host: a\r\n", "Host: a\n\n", "CR LF"),
            ("Host: a", "Host: a\0", "not HTTP"),
            ("Host: a\r\n", "Host: a\r\n folded\r\n", "not HTTP"),
        ] {
            let error = changed(from, to).expect_err(to);
            assert!(error.contains(why), "{to}: {error}");
        }
        assert!(served("\u{ff}").unwrap_err().contains("does not begin"));
    }

    #[test]
    fn a_head_is_bounded() {
        let padded = |padding: usize| changed("Host: a", &format!("Host: a\r\nX: {}", "x".repeat(padding)));
        let room = MAX_UPGRADE - REQUEST.len() - "\r\nX: ".len();
        assert_eq!(padded(room).as_deref(), Ok("ZWS2.0/NULL"));
        assert!(padded(room + 1).unwrap_err().contains("8192"));
        assert!(padded(64 * 1024).unwrap_err().contains("8192"));
        assert!(changed("Host: a", &"a: b\r\n".repeat(100)).is_err());
    }

    fn answered(answer: &str) -> Result<String, String> {
        let mut request = Vec::new();
        let mut upgrade = Upgrade::client("h", "/p", zeros, ours(), &mut request).unwrap();
        assert!(request.starts_with(b"GET /p HTTP/1.1\r\nHost: h\r\n"));
        let result = upgrade.handle_input(answer.as_bytes(), &mut 0, &mut Vec::new());
        result.map(|protocol| protocol.unwrap_or_default()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_answer_has_to_be_one_to_the_request() {
        let good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\nSec-WebSocket-Protocol: ZWS2.0/NULL\r\n\r\n";
        assert_eq!(answered(good).as_deref(), Ok("ZWS2.0/NULL"));
        assert_eq!(answered(&good.replace("0/NULL", "0")).as_deref(), Ok("ZWS2.0"));
        assert_eq!(answered(&good.replace("Switching Protocols", "Fine")).as_deref(), Ok("ZWS2.0/NULL"));
        for (from, to, why) in [
            ("101 Switching Protocols", "404 Not Found", "404 Not Found"),
            ("HTTP/1.1", "HTTP/1.0", "does not begin"),
            ("Upgrade: websocket", "Upgrade: h2c", "something else"),
            ("Connection: Upgrade", "Connection: close", "something else"),
            ("ICX+", "ICX-", "another key"),
            ("ZWS2.0/NULL", "ZWS2.0/CURVE", "ZWS2.0/CURVE"),
            ("Sec-WebSocket-Protocol: ZWS2.0/NULL\r\n", "", "chooses"),
            (
                "Connection: Upgrade",
                "Connection: Upgrade\r\nSec-WebSocket-Extensions: permessage-deflate",
                "extensions",
            ),
        ] {
            let error = answered(&good.replace(from, to)).expect_err(to);
            assert!(error.contains(why), "{to}: {error}");
        }
    }

    #[test]
    fn a_request_cannot_be_split_by_its_path() {
        for path in ["", "/a b", "/\r\nX: y", "/\u{e9}"] {
            assert!(Upgrade::client("h", path, zeros, ours(), &mut Vec::new()).is_err(), "{path:?}");
        }
    }
}
