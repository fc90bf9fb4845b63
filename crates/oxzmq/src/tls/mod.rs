//! TLS for `wss://`: what the options say, and a stream without I/O. The library behind it comes with the crate feature
//! `wss`; without it [`Tls`] cannot be made.

#[cfg(not(feature = "wss"))]
mod absent;
#[cfg(feature = "wss")]
mod stream;

use std::fmt;

use bytes::Bytes;
use zeroize::Zeroizing;

#[cfg(not(feature = "wss"))]
pub(crate) use self::absent::{Stream, Tls};
#[cfg(feature = "wss")]
pub(crate) use self::stream::{Stream, Tls};
use crate::error::Result;
use crate::socket::Socket;

/// What a socket brings to TLS. Texts are in PEM.
#[derive(Clone, Default)]
pub(crate) struct TlsOptions {
    /// A listener's key and certificate.
    pub(crate) key: Zeroizing<Vec<u8>>,
    pub(crate) certificate: Bytes,
    /// Whom a connecting end trusts.
    pub(crate) trusted: Bytes,
    pub(crate) trusts_system: bool,
    /// Whom it expects; empty for the endpoint's host.
    pub(crate) hostname: Bytes,
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions").finish_non_exhaustive()
    }
}

/// # WebSocket over TLS
///
/// For `wss://` endpoints, which take the crate feature `wss`; they count for endpoints bound or connected afterwards.
impl Socket {
    /// The private key of listeners, in PEM. ZMQ_WSS_KEY_PEM.
    ///
    /// # Errors
    /// [`ErrorKind::Terminated`](crate::ErrorKind::Terminated). Whether it is a key, and the certificate's, is seen at the bind.
    pub fn set_wss_key(&self, pem: impl AsRef<[u8]>) -> Result<()> {
        self.set_tls(|tls| tls.key = pem.as_ref().to_vec().into())
    }

    /// The certificate of listeners, in PEM, followed by those that lead to its issuer. ZMQ_WSS_CERT_PEM.
    ///
    /// # Errors
    /// [`ErrorKind::Terminated`](crate::ErrorKind::Terminated).
    pub fn set_wss_certificate(&self, pem: impl AsRef<[u8]>) -> Result<()> {
        self.set_tls(|tls| tls.certificate = Bytes::copy_from_slice(pem.as_ref()))
    }

    /// The issuers of certificates that connecting endpoints trust, in PEM; default none. ZMQ_WSS_TRUST_PEM.
    ///
    /// # Errors
    /// [`ErrorKind::Terminated`](crate::ErrorKind::Terminated).
    pub fn set_wss_trusted(&self, pem: impl AsRef<[u8]>) -> Result<()> {
        self.set_tls(|tls| tls.trusted = Bytes::copy_from_slice(pem.as_ref()))
    }

    /// Whether connecting endpoints trust the issuers that the system trusts, too; default false.
    /// ZMQ_WSS_TRUST_SYSTEM.
    ///
    /// # Errors
    /// [`ErrorKind::Terminated`](crate::ErrorKind::Terminated).
    pub fn set_wss_trust_system(&self, trust: bool) -> Result<()> {
        self.set_tls(|tls| tls.trusts_system = trust)
    }

    /// The name (or address) that the server's certificate has to be for; default empty, which means the endpoint's host.
    /// libzmq checks no name then. ZMQ_WSS_HOSTNAME.
    ///
    /// # Errors
    /// [`ErrorKind::Terminated`](crate::ErrorKind::Terminated).
    pub fn set_wss_hostname(&self, name: &str) -> Result<()> {
        self.set_tls(|tls| tls.hostname = Bytes::copy_from_slice(name.as_bytes()))
    }

    fn set_tls(&self, set: impl FnOnce(&mut TlsOptions)) -> Result<()> {
        self.core().set_options(|options| {
            set(&mut options.tls);
            Ok(())
        })
    }
}
