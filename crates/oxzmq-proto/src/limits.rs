//! Every bound on what a peer can make this side keep, with its unit and its reason.

/// Longest body of a handshake command, in octets.
///
/// The metadata of a READY is a few dozen octets in practice. [`Limits::max_frame_size`] does not
/// apply before traffic starts, because a small one would make every handshake fail; this does.
pub const MAX_HANDSHAKE_COMMAND: usize = 64 * 1024;

/// Longest routing id (identity), in octets: the greatest that RFC 37 and the local option allow.
pub const MAX_ROUTING_ID: usize = 255;

/// Longest group name of RADIO and DISH, in octets (RFC 48).
pub const MAX_GROUP: usize = 255;

/// Longest property name, in octets: its length travels in one octet.
pub const MAX_PROPERTY_NAME: usize = 255;

/// Most properties in one peer's metadata, counting repetitions.
///
/// Real peers send two to ten. Finding a repeated name takes a scan, so the square of this number
/// has to stay harmless.
pub const MAX_PROPERTIES: usize = 1024;

/// Longest context of a PING that is echoed, in octets (RFC 37); what goes beyond is cut off.
pub const MAX_PING_CONTEXT: usize = 16;

/// Longest head of a WebSocket's upgrade, in octets.
///
/// A client of ZeroMQ sends 200 octets, a browser with its cookies seldom more than two thousand.
pub const MAX_UPGRADE: usize = 8192;

/// Most fields in such a head.
pub const MAX_UPGRADE_FIELDS: usize = 64;

/// Answers to pings that may wait for a peer that reads nothing during its handshake, in octets.
pub(crate) const MAX_UNREAD_PONGS: usize = 1024;

/// Greatest length that RFC 37 allows in a frame header.
pub const MAX_FRAME_LENGTH: u64 = (1 << 63) - 1;

/// How much longer than [`Limits::max_frame_size`] a command may be, in octets.
///
/// The limit is meant for data. A command also carries its name, so without this a limit of ten
/// would forbid every SUBSCRIBE and PING. 256 is a name of the greatest length with its length octet.
pub const COMMAND_OVERHEAD: u64 = 256;

/// Default of [`Limits::max_frames`].
///
/// Frames cost 40 octets each even when they are empty, so an endless message of empty frames is
/// cut at 2.6 MB. Applications send up to some thousands of frames.
pub const DEFAULT_MAX_FRAMES: usize = 65_536;

/// What traffic from one peer may contain. Exceeding any of these is an error that ends the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Longest frame body in octets; exactly this many are accepted. `None` (the default) means
    /// 2^63-1. Memory follows the octets received, whatever the header promises.
    pub max_frame_size: Option<u64>,
    /// Most frames in one message; default [`DEFAULT_MAX_FRAMES`].
    pub max_frames: usize,
    /// Longest message in octets, all frames' bodies together. `None` (the default) means no limit
    /// beyond that of the frames.
    pub max_message_size: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_frame_size: None, max_frames: DEFAULT_MAX_FRAMES, max_message_size: None }
    }
}
