//! The security options of a socket, one by one as the C API sets them, and what they come to.

use std::fmt;
use std::sync::Arc;

use oxzmq_proto::PlainCredentials;
use oxzmq_proto::curve::{CurveClient, CurveServer, SecretKey};
use zeroize::Zeroizing;

use super::gssapi::{self, GssapiName, GssapiNameType};
use super::{Decision, MAX_TEXT, Mechanism, Security, invalid};
use crate::curve::KEY_SIZE;
use crate::error::Result;
use crate::random;

/// User names, passwords and keys survive changes of the mechanism. Options that name a side of a mechanism choose
/// both; the last one counts.
#[derive(Clone)]
pub(crate) struct SecurityOptions {
    mechanism: Mechanism,
    is_server: bool,
    username: Vec<u8>,
    password: Zeroizing<Vec<u8>>,
    /// Only kept to be read back: it follows from the secret one.
    public: [u8; KEY_SIZE],
    /// All zero when none was set, with which no handshake succeeds.
    secret: SecretKey,
    server: [u8; KEY_SIZE],
    gssapi: gssapi::Settings,
    pub(crate) zap_domain: String,
    pub(crate) zap_enforce_domain: bool,
}

impl Default for SecurityOptions {
    fn default() -> Self {
        Self {
            mechanism: Mechanism::Null,
            is_server: false,
            username: Vec::new(),
            password: Zeroizing::default(),
            public: [0; KEY_SIZE],
            secret: SecretKey::from_bytes([0; KEY_SIZE]),
            server: [0; KEY_SIZE],
            gssapi: gssapi::Settings::default(),
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
    /// All that a side of a mechanism needs at once.
    pub(super) fn set(&mut self, security: Security) -> Result<()> {
        match security {
            Security::Null => self.choose(Mechanism::Null, false),
            Security::PlainServer => self.choose(Mechanism::Plain, true),
            Security::PlainClient { username, password } => {
                let password = Zeroizing::new(password.into_bytes());
                if username.len() > MAX_TEXT || password.len() > MAX_TEXT {
                    return Err(invalid(format!("a user name and a password have at most {MAX_TEXT} octets each")));
                }
                self.username = username.into_bytes();
                self.password = password;
                self.choose(Mechanism::Plain, false);
            }
            Security::CurveServer(keys) => {
                self.public = *keys.public().as_bytes();
                self.secret = keys.secret().clone();
                self.choose(Mechanism::Curve, true);
            }
            Security::CurveClient { server, keys } => {
                self.server = *server.as_bytes();
                self.public = *keys.public().as_bytes();
                self.secret = keys.secret().clone();
                self.choose(Mechanism::Curve, false);
            }
            Security::GssapiServer { principal, encrypt } => {
                gssapi::check_available()?;
                principal.check()?;
                (self.gssapi.ours, self.gssapi.plaintext) = (principal, !encrypt);
                self.choose(Mechanism::Gssapi, true);
            }
            Security::GssapiClient { principal, service, encrypt } => {
                gssapi::check_available()?;
                principal.check()?;
                service.check()?;
                self.gssapi = gssapi::Settings { ours: principal, service, plaintext: !encrypt };
                self.choose(Mechanism::Gssapi, false);
            }
        }
        Ok(())
    }

    fn choose(&mut self, mechanism: Mechanism, is_server: bool) {
        (self.mechanism, self.is_server) = (mechanism, is_server);
    }

    pub(crate) fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    pub(crate) fn is_server_of(&self, mechanism: Mechanism) -> bool {
        self.is_server && self.mechanism == mechanism
    }

    pub(crate) fn set_server(&mut self, mechanism: Mechanism, on: bool) {
        self.choose(if on { mechanism } else { Mechanism::Null }, on);
    }

    pub(crate) fn username(&self) -> &[u8] {
        &self.username
    }

    /// At most 255 octets, as the option's row has it. Empty chooses NULL and leaves the name as it was.
    pub(crate) fn set_username(&mut self, username: &[u8]) {
        if username.is_empty() {
            self.mechanism = Mechanism::Null;
        } else {
            self.username = username.to_vec();
            self.choose(Mechanism::Plain, false);
        }
    }

    pub(crate) fn password(&self) -> &[u8] {
        &self.password
    }

    /// As [`SecurityOptions::set_username`].
    pub(crate) fn set_password(&mut self, password: &[u8]) {
        if password.is_empty() {
            self.mechanism = Mechanism::Null;
        } else {
            self.password = Zeroizing::new(password.to_vec());
            self.choose(Mechanism::Plain, false);
        }
    }

    pub(crate) fn public_key(&self) -> &[u8; KEY_SIZE] {
        &self.public
    }

    pub(crate) fn set_public_key(&mut self, key: [u8; KEY_SIZE]) {
        self.public = key;
        self.mechanism = Mechanism::Curve;
    }

    pub(crate) fn secret_key(&self) -> &[u8; KEY_SIZE] {
        self.secret.as_bytes()
    }

    pub(crate) fn set_secret_key(&mut self, key: [u8; KEY_SIZE]) {
        self.secret = SecretKey::from_bytes(key);
        self.mechanism = Mechanism::Curve;
    }

    pub(crate) fn server_key(&self) -> &[u8; KEY_SIZE] {
        &self.server
    }

    pub(crate) fn set_server_key(&mut self, key: [u8; KEY_SIZE]) {
        self.server = key;
        self.choose(Mechanism::Curve, false);
    }

    /// An error where it is left out of the build.
    pub(crate) fn gssapi_is_built() -> Result<()> {
        gssapi::check_available()
    }

    pub(crate) fn set_gssapi_server(&mut self, on: bool) -> Result<()> {
        gssapi::check_available()?;
        self.choose(Mechanism::Gssapi, on);
        Ok(())
    }

    pub(crate) fn gssapi_principal(&self) -> &GssapiName {
        &self.gssapi.ours
    }

    /// At most 255 octets, as the option's row has it, like those of the service.
    pub(crate) fn set_gssapi_principal(&mut self, text: &[u8]) -> Result<()> {
        gssapi::check_available()?;
        self.gssapi.ours.text = text.to_vec();
        self.mechanism = Mechanism::Gssapi;
        Ok(())
    }

    pub(crate) fn gssapi_service(&self) -> &GssapiName {
        &self.gssapi.service
    }

    pub(crate) fn set_gssapi_service(&mut self, text: &[u8]) -> Result<()> {
        gssapi::check_available()?;
        self.gssapi.service.text = text.to_vec();
        self.choose(Mechanism::Gssapi, false);
        Ok(())
    }

    pub(crate) fn gssapi_plaintext(&self) -> bool {
        self.gssapi.plaintext
    }

    pub(crate) fn set_gssapi_plaintext(&mut self, on: bool) -> Result<()> {
        gssapi::check_available()?;
        self.gssapi.plaintext = on;
        Ok(())
    }

    /// How the principal's name, or the service's, is meant.
    pub(crate) fn set_gssapi_name_type(&mut self, of_service: bool, kind: i32) -> Result<()> {
        gssapi::check_available()?;
        let name = if of_service { &mut self.gssapi.service } else { &mut self.gssapi.ours };
        name.kind = match kind {
            0 => GssapiNameType::HostBased,
            1 => GssapiNameType::User,
            _ => GssapiNameType::Principal,
        };
        Ok(())
    }

    /// What the handshakes of an endpoint need. Costs a multiplication on the curve, so once for each endpoint.
    pub(crate) fn prepare(&self) -> oxzmq_proto::Security {
        use oxzmq_proto::Security::{
            CurveClient as Client, CurveServer as Server, Gssapi, Null, PlainClient, PlainServer,
        };
        match (self.mechanism, self.is_server) {
            (Mechanism::Null, _) => Null,
            (Mechanism::Plain, true) => PlainServer,
            (Mechanism::Plain, false) => {
                // The setters keep both within what the wire can carry; what it could not would be refused by every
                // server as this is.
                let credentials = PlainCredentials::new(&*self.username, &**self.password);
                let credentials = credentials.or_else(|| PlainCredentials::new("", ""));
                credentials.map_or(PlainServer, |credentials| PlainClient(Arc::new(credentials)))
            }
            (Mechanism::Gssapi, is_server) => Gssapi(Arc::new(self.gssapi.prepare(is_server))),
            (Mechanism::Curve, true) => Server(Arc::new(CurveServer::new(self.secret.clone(), random::secret))),
            (Mechanism::Curve, false) => {
                Client(Arc::new(CurveClient::new(self.server, self.secret.clone(), random::secret)))
            }
        }
    }

    /// Whether peers without credentials are asked about, too: the other mechanisms' servers always do.
    pub(crate) fn asks_about_null(&self) -> bool {
        self.mechanism == Mechanism::Null && !self.zap_domain.is_empty()
    }

    /// What is decided about every peer without asking anybody.
    pub(super) fn settled(&self) -> Option<Decision> {
        let strict = self.zap_enforce_domain && self.zap_domain.is_empty();
        match self.mechanism {
            Mechanism::Curve if strict => Some(Decision::accept()),
            Mechanism::Plain if strict => Some(Decision::Unavailable),
            _ => None,
        }
    }

    /// What is decided where there is nobody to ask.
    pub(super) fn unattended(&self) -> Decision {
        let strict = self.zap_enforce_domain && !self.zap_domain.is_empty();
        match self.mechanism {
            Mechanism::Plain => Decision::Unavailable,
            _ if strict => Decision::Unavailable,
            _ => Decision::accept(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_option_set_decides_and_values_stay() {
        let mut options = SecurityOptions::default();
        options.set_server(Mechanism::Plain, true);
        assert!(options.is_server_of(Mechanism::Plain));
        options.set_server(Mechanism::Curve, true);
        assert!(options.is_server_of(Mechanism::Curve) && !options.is_server_of(Mechanism::Plain));
        options.set_secret_key([7; 32]);
        assert!(options.is_server_of(Mechanism::Curve), "a key leaves the side alone");
        options.set_server_key([8; 32]);
        assert!(!options.is_server_of(Mechanism::Curve) && options.mechanism() == Mechanism::Curve);
        options.set_username(b"anna");
        options.set_password(b"secret");
        assert_eq!(options.mechanism(), Mechanism::Plain);
        options.set_password(b"");
        assert_eq!((options.mechanism(), options.password()), (Mechanism::Null, &b"secret"[..]));
        options.set_server(Mechanism::Curve, false);
        assert_eq!((options.secret_key(), options.server_key()), (&[7; 32], &[8; 32]));
        assert!(!format!("{options:?}").contains("secret"));
    }
}
