//! How a socket's connections are secured, and who may come in.

mod auth;
mod zap;

use std::fmt;
use std::sync::Arc;

use oxzmq_proto::PlainCredentials;
use oxzmq_proto::curve::{CurveClient, CurveServer, SecretKey};

pub(crate) use self::auth::{Asked, Authenticator, Decision, Question};
pub use self::auth::{AuthRequest, Credentials};
pub(crate) use self::zap::ZapRequest;
use crate::curve::{KeyPair, PublicKey};
use crate::error::{Error, ErrorKind, Result};
use crate::random;
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
}

impl Mechanism {
    /// Its name on the wire: `NULL`, `PLAIN` or `CURVE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Plain => "PLAIN",
            Self::Curve => "CURVE",
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
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "Null",
            Self::PlainServer => "PlainServer",
            Self::PlainClient { .. } => "PlainClient(..)",
            Self::CurveServer(_) => "CurveServer(..)",
            Self::CurveClient { .. } => "CurveClient(..)",
        })
    }
}

/// The security options of a socket. User names, passwords and keys survive changes of the mechanism.
#[derive(Clone)]
pub(crate) struct SecurityOptions {
    mechanism: Mechanism,
    is_server: bool,
    plain: Option<Arc<PlainCredentials>>,
    /// Our secret key; all zero when none was set, with which no handshake succeeds.
    secret: SecretKey,
    server_key: PublicKey,
    pub(crate) zap_domain: String,
    pub(crate) zap_enforce_domain: bool,
}

impl Default for SecurityOptions {
    fn default() -> Self {
        Self {
            mechanism: Mechanism::Null,
            is_server: false,
            plain: None,
            secret: SecretKey::from_bytes([0; 32]),
            server_key: PublicKey::from_bytes([0; 32]),
            zap_domain: String::new(),
            zap_enforce_domain: false,
        }
    }
}

impl fmt::Debug for SecurityOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecurityOptions")
            .field("mechanism", &self.mechanism)
            .field("is_server", &self.is_server)
            .field("zap_domain", &self.zap_domain)
            .finish_non_exhaustive()
    }
}

impl SecurityOptions {
    fn set(&mut self, security: Security) -> Result<()> {
        let (mechanism, is_server) = match security {
            Security::Null => (Mechanism::Null, false),
            Security::PlainServer => (Mechanism::Plain, true),
            Security::PlainClient { username, password } => {
                let credentials = PlainCredentials::new(username, password).ok_or_else(|| {
                    invalid(format!("a user name and a password have at most {MAX_TEXT} octets each"))
                })?;
                self.plain = Some(Arc::new(credentials));
                (Mechanism::Plain, false)
            }
            Security::CurveServer(keys) => {
                self.secret = keys.secret().clone();
                (Mechanism::Curve, true)
            }
            Security::CurveClient { server, keys } => {
                self.server_key = server;
                self.secret = keys.secret().clone();
                (Mechanism::Curve, false)
            }
        };
        (self.mechanism, self.is_server) = (mechanism, is_server);
        Ok(())
    }

    pub(crate) fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// What the handshakes of an endpoint need. Costs a multiplication on the curve, so once for each endpoint.
    pub(crate) fn prepare(&self) -> oxzmq_proto::Security {
        use oxzmq_proto::Security::{CurveClient as Client, CurveServer as Server, Null, PlainClient, PlainServer};
        match (self.mechanism, self.is_server) {
            (Mechanism::Null, _) => Null,
            (Mechanism::Plain, true) => PlainServer,
            (Mechanism::Plain, false) => {
                let nobody = || PlainCredentials::new("", "").map(Arc::new);
                self.plain.clone().or_else(nobody).map_or(PlainServer, PlainClient)
            }
            (Mechanism::Curve, true) => Server(Arc::new(CurveServer::new(self.secret.clone(), random::secret))),
            (Mechanism::Curve, false) => {
                let server = *self.server_key.as_bytes();
                Client(Arc::new(CurveClient::new(server, self.secret.clone(), random::secret)))
            }
        }
    }

    /// Whether peers without credentials are asked about, too: the other mechanisms' servers always do.
    pub(crate) fn asks_about_null(&self) -> bool {
        self.mechanism == Mechanism::Null && !self.zap_domain.is_empty()
    }

    /// What is decided about every peer without asking anybody.
    fn settled(&self) -> Option<Decision> {
        let strict = self.zap_enforce_domain && self.zap_domain.is_empty();
        match self.mechanism {
            Mechanism::Curve if strict => Some(Decision::accept()),
            Mechanism::Plain if strict => Some(Decision::Unavailable),
            _ => None,
        }
    }

    /// What is decided where there is nobody to ask.
    fn unattended(&self) -> Decision {
        let strict = self.zap_enforce_domain && !self.zap_domain.is_empty();
        match self.mechanism {
            Mechanism::Plain => Decision::Unavailable,
            Mechanism::Null | Mechanism::Curve if strict => Decision::Unavailable,
            Mechanism::Null | Mechanism::Curve => Decision::accept(),
        }
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
    /// before each bind or connect. The ZMQ_PLAIN_ and ZMQ_CURVE_ options.
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
    /// [`ErrorKind::InvalidArgument`] for a user name or password of more than 255 octets,
    /// [`ErrorKind::Terminated`].
    pub fn set_security(&self, security: Security) -> Result<()> {
        self.core().set_options(|options| options.security.set(security))
    }

    /// The mechanism of endpoints bound or connected from now on. ZMQ_MECHANISM.
    pub fn mechanism(&self) -> Mechanism {
        self.core().options(|options| options.security.mechanism())
    }

    /// What an authenticator is told this socket belongs to, at most 255 octets; default empty. Set, it makes
    /// a socket with [`Security::Null`] ask about its peers, too, and refuse those that speak a ZMTP older than
    /// 3.0. ZMQ_ZAP_DOMAIN.
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
    /// set. ZMQ_ZAP_ENFORCE_DOMAIN.
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
