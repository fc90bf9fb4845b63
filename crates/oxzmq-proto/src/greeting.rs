//! The greeting, sent in stages, and the choice of the version that follows from the peer's.
//!
//! ```text
//! read 1 octet    not ff ────────────────► 1.0, that octet is already a frame's length
//! read 10         bit 0 of octet 9 is 0 ─► 1.0, those octets are already a frame's header
//!                 else send 03
//! read octet 10   0 or 1: send our type, read theirs ─► 1.0 frames, or 2.0
//!                 else send octets 11 to 63, read 64 ─► 3.0 or 3.1
//! ```
//!
//! Sending all 64 octets at once would break every peer older than 3.0: it would take what follows
//! the signature for frames. Waiting for the peer before the signature could wait for ever.

use crate::{ProtocolError, SocketType, Version};

/// Octets of the whole greeting (RFC 37).
const LENGTH: usize = 64;
/// Octets of its first part, which a 1.0 peer reads as the header of an identity frame.
const SIGNATURE: usize = 10;

/// A mechanism's name as it stands in the greeting: padded with zeros.
pub(crate) type MechanismName = [u8; 20];

/// Pads a mechanism's name; it has at most 20 octets.
pub(crate) fn padded(name: &str) -> MechanismName {
    let mut padded = [0; 20];
    for (to, from) in padded.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    padded
}

/// What the peer turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A 1.0 peer; what was read is the beginning of its identity frame.
    Unversioned { read: Vec<u8> },
    /// A peer of revision 0 or 1. The identity frames come next.
    Versioned { version: Version, peer_type: u8 },
    /// A 3.x peer. Its mechanism comes next.
    Modern { version: Version, mechanism: MechanismName },
}

/// How far the peer's greeting was read: what comes next.
#[derive(Clone, Copy, Debug)]
enum Stage {
    First,
    Signature,
    Revision,
    LegacyType,
    Rest,
}

/// One connection's greeting.
#[derive(Debug)]
pub(crate) struct Greeting {
    stage: Stage,
    /// The first `len` octets of the peer's greeting; `len` never exceeds what `stage` asks for.
    peer: [u8; LENGTH],
    len: usize,
    socket_type: SocketType,
    mechanism: MechanismName,
}

impl Greeting {
    /// Begin, by putting the signature into `output`. The padding carries the routing id's length
    /// plus one, because for a 1.0 peer this is the header of our identity frame.
    pub(crate) fn new(
        socket_type: SocketType,
        routing_id_len: usize,
        mechanism: MechanismName,
        output: &mut Vec<u8>,
    ) -> Self {
        output.push(0xff);
        output.extend_from_slice(&(routing_id_len as u64 + 1).to_be_bytes());
        output.push(0x7f);
        Greeting { stage: Stage::First, peer: [0; LENGTH], len: 0, socket_type, mechanism }
    }

    /// Take octets from `input` at `at`, and no more than the greeting needs; what is to be sent in
    /// answer goes to `output`. `None` means that more input is needed.
    pub(crate) fn handle_input(
        &mut self,
        input: &[u8],
        at: &mut usize,
        accept_legacy: bool,
        output: &mut Vec<u8>,
    ) -> Result<Option<Outcome>, ProtocolError> {
        while self.read_up_to(self.wanted(), input, at) {
            self.stage = match self.stage {
                Stage::First if self.peer[0] == 0xff => Stage::Signature,
                Stage::Signature if self.peer[9] & 1 == 1 => {
                    output.push(3);
                    Stage::Revision
                }
                Stage::First | Stage::Signature => {
                    refuse_unless(accept_legacy, Version::V1)?;
                    let read = self.peer[..self.len].to_vec();
                    return Ok(Some(Outcome::Unversioned { read }));
                }
                Stage::Revision if self.peer[10] < 2 => {
                    refuse_unless(accept_legacy, self.legacy_version())?;
                    output.push(self.socket_type as u8);
                    Stage::LegacyType
                }
                Stage::Revision => {
                    self.put_rest(output);
                    Stage::Rest
                }
                Stage::LegacyType => {
                    return Ok(Some(Outcome::Versioned { version: self.legacy_version(), peer_type: self.peer[11] }));
                }
                Stage::Rest => return Ok(Some(self.modern())),
            };
        }
        Ok(None)
    }

    /// Octets that have to be there before the present stage can be decided.
    fn wanted(&self) -> usize {
        match self.stage {
            Stage::First => 1,
            Stage::Signature => SIGNATURE,
            Stage::Revision => SIGNATURE + 1,
            Stage::LegacyType => SIGNATURE + 2,
            Stage::Rest => LENGTH,
        }
    }

    fn read_up_to(&mut self, wanted: usize, input: &[u8], at: &mut usize) -> bool {
        let taken = (wanted - self.len).min(input.len() - *at);
        self.peer[self.len..self.len + taken].copy_from_slice(&input[*at..*at + taken]);
        self.len += taken;
        *at += taken;
        self.len == wanted
    }

    fn legacy_version(&self) -> Version {
        match self.peer[10] {
            0 => Version::V1Versioned,
            _ => Version::V2,
        }
    }

    /// Octets 11 to 63: minor version, mechanism, as-server and filler. as-server stays 0 as libzmq
    /// sends it even for servers; roles come from each side's configuration.
    fn put_rest(&self, output: &mut Vec<u8>) {
        output.push(1);
        output.extend_from_slice(&self.mechanism);
        output.extend_from_slice(&[0; 32]);
    }

    /// Anything but exactly 3.0 counts as 3.1: newer versions have to come down to ours, and the
    /// abandoned revision 2 gets the same greeting from libzmq. Padding, as-server and filler of the
    /// peer are not looked at.
    fn modern(&self) -> Outcome {
        let version = match (self.peer[10], self.peer[11]) {
            (3, 0) => Version::V3_0,
            _ => Version::V3_1,
        };
        let mut mechanism = [0; 20];
        mechanism.copy_from_slice(&self.peer[12..32]);
        Outcome::Modern { version, mechanism }
    }
}

fn refuse_unless(accepted: bool, version: Version) -> Result<(), ProtocolError> {
    if accepted { Ok(()) } else { Err(ProtocolError::LegacyPeerRefused { version }) }
}
