//! TLS over rustls, with *ring* for the cryptography.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection, crypto};

use super::TlsOptions;
use crate::endpoint::Host;
use crate::error::{Error, ErrorKind, Result};

/// What the connections of one endpoint begin with.
pub(crate) enum Tls {
    Server(Arc<ServerConfig>),
    Client(Arc<ClientConfig>, ServerName<'static>),
}

fn wrong(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{what}: {why}"))
}

fn provider() -> Arc<crypto::CryptoProvider> {
    Arc::new(crypto::ring::default_provider())
}

impl Tls {
    /// A listener's side.
    pub(crate) fn server(options: &TlsOptions) -> Result<Self> {
        let (key, chain) = ("the key for wss:// (WSS_KEY_PEM)", "the certificate for wss:// (WSS_CERT_PEM)");
        let certificates = certificates(&options.certificate).map_err(|error| wrong(chain, error))?;
        if certificates.is_empty() {
            return Err(wrong(chain, "there is none in PEM"));
        }
        let private = PrivateKeyDer::from_pem_slice(&options.key).map_err(|error| wrong(key, error))?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(certificates, private))
            .map_err(|error| wrong(chain, error))?;
        Ok(Self::Server(Arc::new(config)))
    }

    /// A connecting endpoint's side. The server has to be who the options say, or the endpoint.
    pub(crate) fn client(options: &TlsOptions, host: &Host) -> Result<Self> {
        let trusted = "those whom wss:// trusts (WSS_TRUST_PEM, WSS_TRUST_SYSTEM)";
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&options.trusted).map_err(|error| wrong(trusted, error))? {
            roots.add(certificate).map_err(|error| wrong(trusted, error))?;
        }
        if options.trusts_system {
            // Those that make no sense are left out, as everywhere.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        if roots.is_empty() {
            return Err(wrong(trusted, "there are none, so no server could be let in"));
        }
        let name = if options.hostname.is_empty() {
            match host {
                Host::Name(name) => name.clone(),
                Host::Ip(ip, _) => ip.to_string(),
                Host::Any => String::new(),
            }
        } else {
            String::from_utf8_lossy(&options.hostname).into_owned()
        };
        let expected = match name.parse::<IpAddr>() {
            Ok(ip) => ServerName::from(ip),
            Err(_) => ServerName::try_from(name).map_err(|error| wrong("the host of wss:// (WSS_HOSTNAME)", error))?,
        };
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(trusted, error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::Client(Arc::new(config), expected))
    }

    /// One connection.
    pub(crate) fn begin(&self) -> io::Result<Stream> {
        let mut connection = match self {
            Self::Server(config) => ServerConnection::new(Arc::clone(config)).map(Connection::from),
            Self::Client(config, name) => ClientConnection::new(Arc::clone(config), name.clone()).map(Connection::from),
        }
        .map_err(io::Error::other)?;
        // Who drives it bounds what it is given.
        connection.set_buffer_limit(None);
        Ok(Stream(connection))
    }
}

fn certificates(pem: &[u8]) -> std::result::Result<Vec<CertificateDer<'static>>, impl std::fmt::Display> {
    CertificateDer::pem_slice_iter(pem).collect::<std::result::Result<Vec<_>, _>>()
}

/// One connection's TLS: octets in the clear on one side, records on the other.
pub(crate) struct Stream(Connection);

impl Stream {
    pub(crate) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Whether there are records to be written.
    pub(crate) fn wants_write(&self) -> bool {
        self.0.wants_write()
    }

    /// To be sent, once the handshake is over.
    pub(crate) fn put(&mut self, octets: &[u8]) -> io::Result<()> {
        self.0.writer().write_all(octets)
    }

    /// No more will be sent.
    pub(crate) fn end(&mut self) {
        self.0.send_close_notify();
    }

    pub(crate) fn write_to(&mut self, writer: &mut dyn Write) -> io::Result<usize> {
        self.0.write_tls(writer)
    }

    /// Reads records; 0 at their end. [`Stream::take`] is to follow.
    pub(crate) fn read_from(&mut self, reader: &mut dyn Read) -> io::Result<usize> {
        self.0.read_tls(reader)
    }

    /// Appends what was in the records that have come; false when the peer has said that it was the last of all. An error
    /// has an alert to be written.
    pub(crate) fn take(&mut self, octets: &mut Vec<u8>) -> std::result::Result<bool, String> {
        let state = self.0.process_new_packets().map_err(|error| error.to_string())?;
        let start = octets.len();
        octets.resize(start + state.plaintext_bytes_to_read(), 0);
        self.0.reader().read_exact(&mut octets[start..]).map_err(|error| error.to_string())?;
        Ok(!state.peer_has_closed())
    }
}
