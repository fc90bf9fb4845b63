//! The protocol versions a connection can end up in.

use std::fmt;

/// The version of ZMTP that a connection speaks, as negotiated by its greetings.
///
/// The order is the protocol's age, so that `version >= Version::V3_0` asks whether a connection
/// has commands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Version {
    /// ZMTP 1.0 without a greeting (RFC 13): what ZeroMQ 2.x speaks.
    V1,
    /// ZMTP 1.0 frames behind a greeting of revision 0. Never shipped by a release, but understood.
    V1Versioned,
    /// ZMTP 2.0 (RFC 15): what ZeroMQ 3.2 speaks.
    V2,
    /// ZMTP 3.0 (RFC 23). Subscriptions travel as messages.
    V3_0,
    /// ZMTP 3.1 (RFC 37) and everything that calls itself newer. Subscriptions travel as commands.
    V3_1,
}

impl Version {
    /// Whether the framing is that of ZMTP 1.0, whose lengths count the flags octet.
    #[inline]
    pub(crate) const fn is_v1(self) -> bool {
        matches!(self, Version::V1 | Version::V1Versioned)
    }

    /// Whether frames can be commands: from ZMTP 3.0 on.
    #[inline]
    pub(crate) const fn has_commands(self) -> bool {
        matches!(self, Version::V3_0 | Version::V3_1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V1 => "ZMTP 1.0",
            Version::V1Versioned => "ZMTP 1.0 (with greeting)",
            Version::V2 => "ZMTP 2.0",
            Version::V3_0 => "ZMTP 3.0",
            Version::V3_1 => "ZMTP 3.1",
        })
    }
}
