//! Keys for CURVE: making them, writing them down, and knowing whom to let in.
//!
//! ```
//! use oxzmq::curve::{KeyPair, PublicKey};
//!
//! # fn main() -> oxzmq::Result<()> {
//! let keys = KeyPair::generate()?;
//! let text = keys.public().to_string(); // 40 printable characters
//! assert_eq!(text.parse::<PublicKey>()?, keys.public());
//! # Ok(())
//! # }
//! ```

mod allowed;
mod certificate;
pub mod z85;

use std::fmt;
use std::str::FromStr;

pub use oxzmq_proto::curve::SecretKey;

pub use self::allowed::AllowedKeys;
pub use self::certificate::Certificate;

use crate::error::{Error, ErrorKind, Result};
use crate::random;

/// Octets of a key.
pub const KEY_SIZE: usize = 32;

/// A public Curve25519 key. Shown and parsed as Z85: 40 printable characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; KEY_SIZE]);

impl PublicKey {
    /// The key of these octets.
    pub const fn from_bytes(octets: [u8; KEY_SIZE]) -> Self {
        Self(octets)
    }

    /// The key's octets.
    pub const fn as_bytes(&self) -> &[u8; KEY_SIZE] {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&z85::encode_key(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        z85::decode_key(text).map(Self)
    }
}

/// A secret key and the public one that belongs to it. The secret one is wiped when dropped, and never shown.
#[derive(Clone, Debug)]
pub struct KeyPair {
    public: PublicKey,
    secret: SecretKey,
}

impl KeyPair {
    /// A new pair.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the system has no random octets to give.
    pub fn generate() -> Result<Self> {
        let mut octets = [0; KEY_SIZE];
        if !random::secret(&mut octets) {
            return Err(Error::new(ErrorKind::Io, "the system has no random octets for a key"));
        }
        Ok(Self::from_secret(SecretKey::from_bytes(octets)))
    }

    /// The pair of this secret key.
    pub fn from_secret(secret: SecretKey) -> Self {
        Self { public: PublicKey(secret.public_key()), secret }
    }

    /// The pair of a secret key in Z85: 40 characters.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for anything else.
    pub fn from_secret_z85(text: &str) -> Result<Self> {
        z85::decode_key(text).map(|octets| Self::from_secret(SecretKey::from_bytes(octets)))
    }

    /// The key to give to everybody.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The key to give to nobody.
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// The secret key in Z85: to be stored safely, and nowhere else.
    pub fn secret_z85(&self) -> String {
        z85::encode_key(self.secret.as_bytes())
    }
}

/// A key as an option has it: as it is, or in Z85 with or without a zero octet behind.
pub(crate) fn key_of(value: &[u8]) -> Option<[u8; KEY_SIZE]> {
    if let Ok(octets) = value.try_into() {
        return Some(octets);
    }
    let text = std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok()?;
    z85::decode_key(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // The pair that ZeroMQ's documentation prints.
    const PUBLIC: &str = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
    const SECRET: &str = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs";

    #[test]
    fn the_public_key_follows_from_the_secret_one() {
        let keys = KeyPair::from_secret_z85(SECRET).unwrap();
        assert_eq!(keys.public().to_string(), PUBLIC);
        assert_eq!(keys.public(), PUBLIC.parse().unwrap());
        assert_eq!(keys.secret_z85(), SECRET);
    }

    #[test]
    fn pairs_differ_and_show_no_secret() {
        let (one, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        assert_ne!(one.public(), other.public());
        let shown = format!("{one:?}");
        assert!(shown.contains("SecretKey(..)") && !shown.contains(&one.secret_z85()), "{shown}");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", &PUBLIC[1..], "~ne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", &format!("{PUBLIC}00000")] {
            let error = text.parse::<PublicKey>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
            assert!(!error.to_string().contains("fVvi"), "an error may be about a secret: {error}");
        }
    }
}
