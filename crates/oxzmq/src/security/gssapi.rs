//! GSSAPI: who is who by the word of the system's library, mostly Kerberos's.

#[cfg(feature = "gssapi")]
mod library;

use std::fmt;

use super::{MAX_TEXT, invalid};
use crate::error::Result;

/// How the text of a [`GssapiName`] is meant. The numbers are those of the ZMQ_GSSAPI_..._NAMETYPE options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GssapiNameType {
    /// `service@host`.
    #[default]
    HostBased = 0,
    /// A user of this machine.
    User = 1,
    /// A principal of Kerberos: `anna@EXAMPLE.ORG`, `zmq/host.example.org@EXAMPLE.ORG`.
    Principal = 2,
}

/// Somebody, by name: one of GSSAPI's sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GssapiName {
    pub(super) text: Vec<u8>,
    pub(super) kind: GssapiNameType,
}

impl GssapiName {
    /// Whoever the system says we are: the owner of the ticket cache (KRB5CCNAME) or of any key in the key table
    /// (KRB5_KTNAME).
    pub fn of_system() -> Self {
        Self::default()
    }

    /// A service of a host: `service@host`, both as their owner wrote them.
    pub fn host_based(text: impl Into<Vec<u8>>) -> Self {
        Self { text: text.into(), kind: GssapiNameType::HostBased }
    }

    /// A user of this machine.
    pub fn user(text: impl Into<Vec<u8>>) -> Self {
        Self { text: text.into(), kind: GssapiNameType::User }
    }

    /// A principal of Kerberos.
    pub fn principal(text: impl Into<Vec<u8>>) -> Self {
        Self { text: text.into(), kind: GssapiNameType::Principal }
    }

    /// The text.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// How it is meant.
    pub fn kind(&self) -> GssapiNameType {
        self.kind
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.text.len() > MAX_TEXT {
            return Err(invalid(format!("a GSSAPI name has at most {MAX_TEXT} octets, not {}", self.text.len())));
        }
        Ok(())
    }
}

impl fmt::Display for GssapiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

/// What an endpoint's connections do with GSSAPI.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) ours: GssapiName,
    pub(super) service: GssapiName,
    pub(super) plaintext: bool,
}

#[cfg(feature = "gssapi")]
pub(super) fn check_available() -> Result<()> {
    Ok(())
}

/// Says so where the library was left out.
#[cfg(not(feature = "gssapi"))]
pub(super) fn check_available() -> Result<()> {
    Err(invalid("GSSAPI is left out of this build; it takes the crate feature `gssapi`".to_owned()))
}

impl Settings {
    #[cfg(feature = "gssapi")]
    pub(super) fn prepare(&self, is_server: bool) -> oxzmq_proto::gssapi::Gssapi {
        let Self { ours, service, plaintext } = self.clone();
        oxzmq_proto::gssapi::Gssapi {
            context: Box::new(move || library::context(is_server, &ours, &service)),
            is_server,
            encrypt: !plaintext,
        }
    }

    /// Nothing can choose GSSAPI where it was left out; if it could, its connections would fail.
    #[cfg(not(feature = "gssapi"))]
    pub(super) fn prepare(&self, is_server: bool) -> oxzmq_proto::gssapi::Gssapi {
        oxzmq_proto::gssapi::Gssapi {
            context: Box::new(|| Err("left out of this build".to_owned())),
            is_server,
            encrypt: !self.plaintext,
        }
    }
}
