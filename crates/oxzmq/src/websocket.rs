//! `ws://host:port/path`, and `wss://` for the same in TLS: what the endpoints of WebSocket have beyond those of TCP.

use std::fmt;

use oxzmq_proto::WebSocket;

use crate::endpoint::{Host, HostPort, Role, invalid};
use crate::error::Result;
use crate::random;

/// A parsed endpoint of WebSocket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WsEndpoint {
    pub(crate) target: HostPort,
    /// From its slash on; `/` where none is written. Listeners keep it for their name alone: libzmq takes requests for
    /// any path, and so do we.
    pub(crate) path: String,
    /// Within TLS.
    pub(crate) secure: bool,
}

/// What travels over a stream before ZMTP does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// Nothing: the stream is ZMTP's.
    None,
    WebSocket,
}

impl WsEndpoint {
    pub(crate) const SCHEMES: [&str; 2] = ["ws", "wss"];

    pub(crate) fn scheme(&self) -> &'static str {
        Self::SCHEMES[usize::from(self.secure)]
    }

    pub(crate) fn parse(text: &str, address: &str, role: Role) -> Result<Self> {
        let (address, path) = address.find('/').map_or((address, "/"), |slash| address.split_at(slash));
        // What would end the request's line, or begin a field of its own.
        if !path.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(invalid(text, "the path has characters that have to be escaped (%20 for a blank)"));
        }
        let target = HostPort::parse(text, address, role == Role::Bind)?;
        if role == Role::Connect && target.host == Host::Any {
            return Err(invalid(text, "`*` names no host to connect to"));
        }
        Ok(Self { target, path: path.to_owned(), secure: text.starts_with("wss:") })
    }

    /// The endpoint for another spelling of its address.
    pub(crate) fn named(&self, address: impl fmt::Display) -> String {
        format!("{}://{address}{}", self.scheme(), self.path)
    }

    /// How the connecting end begins.
    pub(crate) fn client(&self) -> WebSocket {
        let host = match &self.target.host {
            // A zone means something on this machine alone.
            Host::Ip(ip, _) => Host::Ip(*ip, 0),
            other => other.clone(),
        };
        WebSocket::client(host.to_string(), self.path.clone(), random::secret)
    }
}

impl fmt::Display for WsEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.named(&self.target))
    }
}
