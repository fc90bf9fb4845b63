//! Who may come in: the question, the answer, and the in-process way of asking.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use oxzmq_proto::Properties;

use super::{Mechanism, SecurityOptions, ZapRequest};
use crate::context;
use crate::curve::PublicKey;
use crate::reactor::Reactor;

/// What decides about peers within the process.
pub(crate) type Authenticator = Arc<dyn Fn(AuthRequest) + Send + Sync>;

/// What was decided about a peer.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It may come in; its messages bear these.
    Accept(Properties),
    /// With ZAP's status: 300, 400 or 500.
    Refuse(u16),
    /// There was nobody to ask.
    Unavailable,
    /// The ZAP handler's answer is none; with the number of the monitor's event.
    Malformed(u32, &'static str),
}

impl Decision {
    pub(super) fn accept() -> Self {
        Self::Accept(Properties::new())
    }

    /// Accept a peer as `user_id`, with what else is known of it.
    pub(super) fn accept_as(user_id: impl Into<Bytes>, known: &Properties) -> Self {
        let mut properties = Properties::new();
        properties.insert("User-Id", user_id.into());
        for (name, value) in known.iter() {
            properties.insert(name, value);
        }
        Self::Accept(properties)
    }
}

/// What a peer offers to prove who it is.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// Nothing.
    Null,
    /// Two texts, in any encoding.
    Plain {
        /// Who it claims to be.
        username: Bytes,
        /// To be compared in constant time, and to be logged nowhere.
        password: Bytes,
    },
    /// A key; the peer has proved that the secret half is its own.
    Curve(PublicKey),
    /// A principal, such as `anna@EXAMPLE.ORG`; the peer has proved to be it.
    Gssapi(Bytes),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Plain { .. } => f.write_str("Plain(..)"),
            Self::Curve(key) => f.debug_tuple("Curve").field(key).finish(),
            Self::Gssapi(principal) => f.debug_tuple("Gssapi").field(principal).finish(),
        }
    }
}

impl Credentials {
    fn from_proto(request: &oxzmq_proto::AuthRequest) -> Option<Self> {
        Some(match (request.mechanism, &request.credentials[..]) {
            ("NULL", []) => Self::Null,
            ("PLAIN", [username, password]) => Self::Plain { username: username.clone(), password: password.clone() },
            ("CURVE", [key]) => Self::Curve(PublicKey::from_bytes(key[..].try_into().ok()?)),
            ("GSSAPI", [principal]) => Self::Gssapi(principal.clone()),
            _ => return None,
        })
    }

    fn mechanism(&self) -> Mechanism {
        match self {
            Self::Null => Mechanism::Null,
            Self::Plain { .. } => Mechanism::Plain,
            Self::Curve(_) => Mechanism::Curve,
            Self::Gssapi(_) => Mechanism::Gssapi,
        }
    }
}

/// A peer at the door: see [`Context::set_authenticator`](crate::Context::set_authenticator).
///
/// Answer it with one of its methods, now or later, in this thread or another: the peer waits for as long
/// as [`Socket::set_handshake_interval`](crate::Socket::set_handshake_interval) lets it, and nobody waits
/// with it. Dropped without an answer, it refuses the peer with the status 500.
pub struct AuthRequest {
    domain: String,
    address: Bytes,
    routing_id: Bytes,
    credentials: Credentials,
    reply: Option<Reply>,
}

/// Where an answer goes.
struct Reply {
    reactor: Weak<Reactor>,
    token: u64,
}

impl AuthRequest {
    /// The socket's [domain](crate::Socket::set_zap_domain).
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Where the peer is: an IP address, or for ipc `localhost:UID:GID:PID`.
    pub fn address(&self) -> String {
        String::from_utf8_lossy(&self.address).into_owned()
    }

    /// The routing id of *our* socket, by which sockets of one domain can be told apart. The peer's is not known yet.
    pub fn routing_id(&self) -> &Bytes {
        &self.routing_id
    }

    /// The mechanism.
    pub fn mechanism(&self) -> Mechanism {
        self.credentials.mechanism()
    }

    /// What the peer offers.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Let the peer in. `user_id` becomes the property `User-Id` of its messages.
    pub fn accept(self, user_id: impl Into<Bytes>) {
        self.accept_with(user_id, &Properties::new());
    }

    /// Let the peer in; its messages also bear these properties.
    pub fn accept_with(mut self, user_id: impl Into<Bytes>, properties: &Properties) {
        self.answer(Decision::accept_as(user_id, properties));
    }

    /// Refuse the peer for good (400): it will not try again.
    pub fn refuse(mut self) {
        self.answer(Decision::Refuse(400));
    }

    /// Refuse the peer for now (300): it learns nothing and tries again later.
    pub fn refuse_for_now(mut self) {
        self.answer(Decision::Refuse(300));
    }

    fn answer(&mut self, decision: Decision) {
        let Some(reply) = self.reply.take() else { return };
        if let Some(reactor) = reply.reactor.upgrade() {
            reactor.decided(reply.token, decision);
        }
    }
}

impl Drop for AuthRequest {
    fn drop(&mut self) {
        self.answer(Decision::Refuse(500));
    }
}

impl fmt::Debug for AuthRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRequest")
            .field("domain", &self.domain)
            .field("address", &self.address)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

/// A question that was put, as a handshake keeps it.
pub(crate) enum Asked {
    /// Answered at once.
    Decided(Decision),
    /// The answer comes as a command to the I/O thread.
    Authenticator,
    /// The handler's answer comes as a message, and the I/O thread is told to look for it.
    Zap(ZapRequest),
}

/// Whom a question is about and who wants to know.
pub(crate) struct Question<'a> {
    pub(crate) context: &'a Arc<context::Inner>,
    pub(crate) options: &'a SecurityOptions,
    /// Our socket's.
    pub(crate) routing_id: &'a Bytes,
    pub(crate) address: &'a Bytes,
    pub(crate) request: &'a oxzmq_proto::AuthRequest,
    /// The I/O thread that waits for the answer, and the number of the handshake there.
    pub(crate) reactor: &'a Arc<Reactor>,
    pub(crate) token: u64,
}

impl Question<'_> {
    /// Puts the question to whoever is there: the context's authenticator, else a ZAP handler.
    pub(crate) fn ask(&self) -> Asked {
        if let Some(decision) = self.options.settled() {
            return Asked::Decided(decision);
        }
        if let Some(authenticator) = self.context.authenticator()
            && let Some(credentials) = Credentials::from_proto(self.request)
        {
            let request = AuthRequest {
                domain: self.options.zap_domain.clone(),
                address: self.address.clone(),
                routing_id: self.routing_id.clone(),
                credentials,
                reply: Some(Reply { reactor: Arc::downgrade(self.reactor), token: self.token }),
            };
            // A panic refuses the peer (the request is dropped) and must not take the I/O thread along.
            if catch_unwind(AssertUnwindSafe(|| authenticator(request))).is_err() {
                tracing::error!("the authenticator panicked; the peer is refused");
            }
            return Asked::Authenticator;
        }
        match ZapRequest::send(self) {
            Some(request) => Asked::Zap(request),
            None => Asked::Decided(self.options.unattended()),
        }
    }
}
