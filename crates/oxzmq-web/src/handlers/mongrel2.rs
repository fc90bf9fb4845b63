//! Mongrel2's messages.
//!
//! ```text
//! request:     IDENT SP CONNECTION SP PATH SP HEADERS BODY
//!              HEADERS is a netstring of a JSON object or a tnetstring dictionary, BODY a netstring
//! reply:       IDENT SP LENGTH:ID SP ID ..., SP RAW          RAW goes to these clients as it is; empty closes
//! who has left: IDENT SP ID SP @* SP 17:{"METHOD":"JSON"},21:{"type":"disconnect"},
//! ```

use hyper::HeaderMap;
use serde_json::{Map, Value};

/// Most clients that one reply may be for.
const IDS_MAX: usize = 128;

/// How the headers of requests are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// A JSON object.
    #[default]
    Json,
    /// A dictionary of tnetstrings.
    Tnetstring,
}

/// A request, as far as a handler is told of it.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) version: &'static str,
    pub(crate) scheme: &'static str,
    pub(crate) client: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The message for a handler behind the route with this prefix.
    pub(super) fn encode(&self, ident: &str, id: u64, prefix: &str, form: Form) -> Vec<u8> {
        let headers = self.headers(prefix);
        let mut message = format!("{ident} {id} {} ", self.path).into_bytes();
        match form {
            Form::Json => netstring(&mut message, Value::Object(headers).to_string().as_bytes()),
            Form::Tnetstring => tnetstring(&mut message, &Value::Object(headers)),
        }
        netstring(&mut message, &self.body);
        message
    }

    /// Path and query as the client wrote them.
    pub(super) fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The client's headers in lower case, and what the server knows in upper case.
    pub(super) fn headers(&self, prefix: &str) -> Map<String, Value> {
        let mut headers = Map::new();
        for name in self.headers.keys() {
            // A header of this name would let a client name a file that the handler takes for an upload.
            if name.as_str().starts_with("x-mongrel2-") {
                continue;
            }
            let mut values: Vec<Value> = self
                .headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into())
                .collect();
            let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
            headers.insert(name.as_str().to_owned(), value);
        }
        let uri = self.target();
        let facts = [
            ("PATH", self.path.as_str()),
            ("METHOD", &self.method),
            ("VERSION", self.version),
            ("URI", &uri),
            ("PATTERN", prefix),
            ("URL_SCHEME", self.scheme),
            ("REMOTE_ADDR", &self.client),
        ];
        headers.extend(facts.map(|(name, value)| (name.to_owned(), value.into())));
        if let Some(query) = &self.query {
            headers.insert("QUERY".to_owned(), query.as_str().into());
        }
        headers
    }
}

/// The notice that a client has left, or was never there.
pub(super) fn departure(ident: &str, id: u64) -> Vec<u8> {
    format!("{ident} {id} @* 17:{{\"METHOD\":\"JSON\"}},21:{{\"type\":\"disconnect\"}},").into_bytes()
}

/// A handler's reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) ids: Vec<u64>,
    /// Where in the message the octets for the clients begin.
    pub(super) raw: usize,
}

/// Reads a reply; `None` when it is not one.
pub(super) fn decode(message: &[u8]) -> Option<Delivery> {
    let ident = message.iter().position(|&octet| octet == b' ')?;
    let list = ident + 1;
    // The length is that of at most 128 ids of twenty digits: five digits are plenty.
    let digits = message[list..].iter().take(5).position(|&octet| octet == b':')?;
    let length: usize = std::str::from_utf8(&message[list..list + digits]).ok()?.parse().ok()?;
    let begin = list + digits + 1;
    let ids = message.get(begin..begin.checked_add(length)?)?;
    let raw = message[begin + length..].strip_prefix(b", ")?;
    let ids: Option<Vec<u64>> = std::str::from_utf8(ids).ok()?.split(' ').map(|id| id.parse().ok()).collect();
    let ids = ids.filter(|ids| ids.len() <= IDS_MAX)?;
    Some(Delivery { ids, raw: message.len() - raw.len() })
}

fn netstring(out: &mut Vec<u8>, content: &[u8]) {
    typed(out, content, b',');
}

fn typed(out: &mut Vec<u8>, content: &[u8], kind: u8) {
    out.extend(content.len().to_string().as_bytes());
    out.push(b':');
    out.extend(content);
    out.push(kind);
}

/// The kinds that headers consist of: strings, lists of them, and one dictionary.
fn tnetstring(out: &mut Vec<u8>, value: &Value) {
    let mut content = Vec::new();
    match value {
        Value::String(text) => typed(out, text.as_bytes(), b','),
        Value::Array(values) => {
            values.iter().for_each(|value| tnetstring(&mut content, value));
            typed(out, &content, b']');
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                typed(&mut content, name.as_bytes(), b',');
                tnetstring(&mut content, value);
            }
            typed(out, &content, b'}');
        }
        other => typed(out, other.to_string().as_bytes(), b','),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request() -> Request {
        let mut headers = HeaderMap::new();
        headers.insert("host", "x".parse().unwrap());
        headers.append("a", "tab\there".parse().unwrap());
        headers.append("a", "2".parse().unwrap());
        headers.insert("x-mongrel2-upload-done", "/etc/passwd".parse().unwrap());
        Request {
            method: "GET".to_owned(),
            path: "/app/x".to_owned(),
            query: Some("q=1".to_owned()),
            version: "HTTP/1.1",
            scheme: "http",
            client: "127.0.0.1".to_owned(),
            headers,
            body: b"body".to_vec(),
        }
    }

    #[test]
    fn a_request_in_json() {
        let message = String::from_utf8(request().encode("me", 7, "/app", Form::Json)).unwrap();
        let rest = message.strip_prefix("me 7 /app/x ").unwrap();
        let (length, rest) = rest.split_once(':').unwrap();
        let (headers, rest) = rest.split_at(length.parse().unwrap());
        let headers: Value = serde_json::from_str(headers).unwrap();
        assert_eq!(headers["PATH"], "/app/x");
        assert_eq!(headers["URI"], "/app/x?q=1");
        assert_eq!(headers["a"], serde_json::json!(["tab\there", "2"]));
        assert!(headers.get("x-mongrel2-upload-done").is_none());
        assert_eq!(rest, ",4:body,");
    }

    #[test]
    fn a_request_in_tnetstrings() {
        let message = String::from_utf8(request().encode("me", 7, "/app", Form::Tnetstring)).unwrap();
        assert!(message.contains("4:PATH,6:/app/x,"), "{message}");
        assert!(message.contains("1:a,15:8:tab\there,1:2,]"), "{message}");
        assert!(message.ends_with("}4:body,"), "{message}");
    }

    #[test]
    fn replies() {
        let message = b"me 5:1 2 3, HTTP/1.1 200 OK\r\n\r\n";
        let delivery = decode(message).unwrap();
        assert_eq!(
            (delivery.ids.as_slice(), &message[delivery.raw..]),
            ([1, 2, 3].as_slice(), &b"HTTP/1.1 200 OK\r\n\r\n"[..])
        );
        assert_eq!(decode(b"me 1:7, "), Some(Delivery { ids: vec![7], raw: 8 }));
        for nonsense in
            ["", "me", "me ", "me 1:7", "me 1:7,", "me 1:x, ", "me 99:7, ", "me -1:7, ", "me 0:, ", "me 3:1  2, "]
        {
            assert_eq!(decode(nonsense.as_bytes()), None, "{nonsense}");
        }
        let many = vec!["1"; IDS_MAX + 1].join(" ");
        assert_eq!(decode(format!("me {}:{many}, x", many.len()).as_bytes()), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(message: Vec<u8>, length: u16, rest: Vec<u8>) {
            let _ = decode(&message);
            let _ = decode(&[format!("a {length}:").as_bytes(), &rest].concat());
        }
    }
}
