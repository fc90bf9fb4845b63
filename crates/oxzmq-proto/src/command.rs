//! The inside of commands: `name-length(1) name data` (RFC 37).

use crate::error::printable;
use crate::limits::{MAX_GROUP, MAX_PING_CONTEXT};
use crate::{Control, Frame, Kind, ProtocolError};

/// What a command in the traffic phase comes to.
pub(crate) enum Traffic {
    /// A subscription or group change and where in the body its topic or group begins.
    Change(Kind, usize),
    /// PING or PONG.
    Control(Control),
    /// Not known: dropped without complaint, as every released peer since libzmq 4.2 does.
    Unknown,
}

/// Split a command's body into its name and data.
pub(crate) fn split(body: &[u8]) -> Result<(&[u8], &[u8]), ProtocolError> {
    body.split_first()
        .and_then(|(&len, rest)| rest.split_at_checked(usize::from(len)))
        .ok_or(ProtocolError::MalformedCommand { name: "", length: body.len() })
}

/// Read a command of the traffic phase.
pub(crate) fn traffic(body: &[u8]) -> Result<Traffic, ProtocolError> {
    let (name, data) = split(body)?;
    let data_start = body.len() - data.len();
    Ok(match name {
        b"SUBSCRIBE" => Traffic::Change(Kind::Subscribe, data_start),
        b"CANCEL" => Traffic::Change(Kind::Cancel, data_start),
        b"JOIN" => Traffic::Change(Kind::Join, checked_group(data, data_start)?),
        b"LEAVE" => Traffic::Change(Kind::Leave, checked_group(data, data_start)?),
        b"PING" => Traffic::Control(ping(body, data)?),
        b"PONG" => Traffic::Control(Control::Pong),
        b"ERROR" => return Err(peer_error(body, data)),
        // They belong to the handshake, which is over.
        b"READY" | b"HELLO" | b"WELCOME" | b"INITIATE" => return Err(unexpected(name)),
        _ => Traffic::Unknown,
    })
}

/// The error for a command (or a message) that may not come at this point.
pub(crate) fn unexpected(name: &[u8]) -> ProtocolError {
    ProtocolError::UnexpectedCommand { name: printable(name) }
}

/// The error that an ERROR command stands for. Octets behind the reason are ignored.
pub(crate) fn peer_error(body: &[u8], data: &[u8]) -> ProtocolError {
    let reason = data.split_first().and_then(|(&len, rest)| rest.get(..usize::from(len)));
    match reason {
        Some(reason) => ProtocolError::PeerError { reason: printable(reason) },
        None => ProtocolError::MalformedCommand { name: "ERROR", length: body.len() },
    }
}

fn ping(body: &[u8], data: &[u8]) -> Result<Control, ProtocolError> {
    let (ttl, context) =
        data.split_first_chunk().ok_or(ProtocolError::MalformedCommand { name: "PING", length: body.len() })?;
    Ok(Control::Ping {
        ttl_deciseconds: u16::from_be_bytes(*ttl),
        context: Frame::copy_from_slice(&context[..context.len().min(MAX_PING_CONTEXT)]),
    })
}

/// Groups are C strings for libzmq, where a zero octet would cut them.
fn checked_group(group: &[u8], data_start: usize) -> Result<usize, ProtocolError> {
    if group.len() > MAX_GROUP || group.contains(&0) {
        return Err(ProtocolError::InvalidGroup { length: group.len() });
    }
    Ok(data_start)
}
