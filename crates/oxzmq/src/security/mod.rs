//! How a socket's connections are secured, and who may come in.

mod auth;
mod gssapi;
mod options;
pub(crate) mod zap;

use std::fmt;

pub(crate) use self::auth::{Asked, Authenticator, Decision, Question};
pub use self::auth::{AuthRequest, Credentials};
pub use self::gssapi::{GssapiName, GssapiNameType};
pub(crate) use self::options::SecurityOptions;
pub(crate) use self::zap::ZapRequest;
use crate::curve::{KeyPair, PublicKey};
use crate::error::{Error, ErrorKind, Result};
use crate::socket::Socket;

/// Longest user name, password and ZAP domain, in octets.
const MAX_TEXT: usize = 255;

/// A security mechanism of ZMTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// None.
    #[default]
    Null,
    /// User name and password, in the clear (RFC 24).
    Plain,
    /// Encrypted, and each side knows the other by its key (RFC 26).
    Curve,
    /// Mostly encrypted; each side knows the other by what a third one says, such as Kerberos (RFC 38).
    Gssapi,
}

impl Mechanism {
    /// Its name on the wire: `NULL`, `PLAIN`, `CURVE` or `GSSAPI`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Plain => "PLAIN",
            Self::Curve => "CURVE",
            Self::Gssapi => "GSSAPI",
        }
    }
}

/// How a socket's connections are secured; see [`Socket::set_security`]. Who is the server and who the client
/// has nothing to do with who binds and who connects.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Security {
    /// Not at all.
    #[default]
    Null,
    /// PLAIN: asks peers for user name and password, which an authenticator has to judge
    /// ([`Context::set_authenticator`](crate::Context::set_authenticator) or a ZAP handler). Without one all are
    /// refused. Everything travels in the clear.
    PlainServer,
    /// PLAIN: tells them, at most 255 octets each.
    PlainClient {
        /// Who we are.
        username: String,
        /// What proves it, to anybody who listens, too.
        password: String,
    },
    /// CURVE: proves to own this key, and lets in those whose key the authenticator accepts. Without an authenticator
    /// everybody comes in who knows the public key: traffic is encrypted, but with whom is unknown.
    CurveServer(KeyPair),
    /// CURVE: talks to the owner of this key and to nobody else.
    CurveClient {
        /// The server's public key.
        server: PublicKey,
        /// Our own.
        keys: KeyPair,
    },
    /// GSSAPI: lets in those whom the system's library (mostly Kerberos's) knows and the authenticator accepts; without
    /// an authenticator, all whom the library knows. Takes the crate feature `gssapi`.
    ///
    /// The library does its own input and output in the I/O thread: key tables, replay caches, name servers.
    GssapiServer {
        /// Which of the key table's names is ours.
        principal: GssapiName,
        /// Whether to encrypt what follows the authentication; the other side has to say the same.
        encrypt: bool,
    },
    /// GSSAPI: shows the system's library who we are, and talks to this service and to nobody else. Takes the crate
    /// feature `gssapi`.
    ///
    /// The library asks Kerberos's servers for a ticket in the I/O thread, if it has none yet.
    GssapiClient {
        /// Who we are.
        principal: GssapiName,
        /// Whom we talk to.
        service: GssapiName,
        /// Whether to encrypt what follows the authentication; the other side has to say the same.
        encrypt: bool,
    },
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "Null",
            Self::PlainServer => "PlainServer",
            Self::PlainClient { .. } => "PlainClient(..)",
            Self::CurveServer(_) => "CurveServer(..)",
            Self::CurveClient { .. } => "CurveClient(..)",
            Self::GssapiServer { .. } => "GssapiServer(..)",
            Self::GssapiClient { .. } => "GssapiClient(..)",
        })
    }
}

fn invalid(why: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, why)
}

/// # Security
///
/// These options concern endpoints bound or connected after they were set, and network transports only:
/// `inproc://` stays within the process.
impl Socket {
    /// How connections are secured; default [`Security::Null`]. A socket whose endpoints differ in it sets it
    /// before each bind or connect. The ZMQ_PLAIN_, ZMQ_CURVE_ and ZMQ_GSSAPI_ options.
    ///
    /// ```
    /// use oxzmq::curve::KeyPair;
    /// use oxzmq::{Context, Security, SocketType};
    ///
    /// # fn main() -> oxzmq::Result<()> {
    /// let context = Context::new();
    /// let server_keys = KeyPair::generate()?;
    /// let server = server_keys.public(); // what clients have to know
    ///
    /// let pull = context.socket(SocketType::Pull)?;
    /// pull.set_security(Security::CurveServer(server_keys))?;
    /// let endpoint = pull.bind("tcp://127.0.0.1:*")?;
    ///
    /// let push = context.socket(SocketType::Push)?;
    /// push.set_security(Security::CurveClient { server, keys: KeyPair::generate()? })?;
    /// push.connect(&endpoint)?;
    /// push.send("nobody else can read this")?;
    /// assert_eq!(pull.recv()?.to_text_lossy(), "nobody else can read this");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a user name, password or GSSAPI name of more than 255 octets, and for GSSAPI
    /// without the crate feature; [`ErrorKind::Terminated`].
    pub fn set_security(&self, security: Security) -> Result<()> {
        self.core().set_options(|options| options.security.set(security))
    }

    /// The mechanism of endpoints bound or connected from now on. ZMQ_MECHANISM.
    pub fn mechanism(&self) -> Mechanism {
        self.core().options(|options| options.security.mechanism())
    }

    /// What an authenticator is told this socket belongs to, at most 255 octets; default empty. Set, it makes
    /// a socket with [`Security::Null`] ask about its peers, too, and refuse those that speak a ZMTP older than
    /// 3.0. ZMQ_ZAP_DOMAIN. ZMQ_ZAP_DOMAIN.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a longer one, [`ErrorKind::Terminated`].
    pub fn set_zap_domain(&self, domain: &str) -> Result<()> {
        if domain.len() > MAX_TEXT {
            return Err(invalid(format!("a ZAP domain has at most {MAX_TEXT} octets, not {}", domain.len())));
        }
        self.core().set_options(|options| {
            domain.clone_into(&mut options.security.zap_domain);
            Ok(())
        })
    }

    /// The value of [`Socket::set_zap_domain`].
    pub fn zap_domain(&self) -> String {
        self.core().options(|options| options.security.zap_domain.clone())
    }

    /// Whether peers are refused while a domain is set and there is no authenticator; default false, which lets
    /// in those of NULL and CURVE. Also: whether CURVE peers are let in without being asked about while *no* domain is
    /// set. ZMQ_ZAP_ENFORCE_DOMAIN. ZMQ_ZAP_ENFORCE_DOMAIN.
    ///
    /// # Errors
    /// [`ErrorKind::Terminated`].
    pub fn set_zap_enforce_domain(&self, enforce: bool) -> Result<()> {
        self.core().set_options(|options| {
            options.security.zap_enforce_domain = enforce;
            Ok(())
        })
    }

    /// The value of [`Socket::set_zap_enforce_domain`].
    pub fn zap_enforce_domain(&self) -> bool {
        self.core().options(|options| options.security.zap_enforce_domain)
    }
}
