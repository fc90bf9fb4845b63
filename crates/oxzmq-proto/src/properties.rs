//! A peer's properties, and their form on the wire (RFC 37, metadata).

use bytes::Bytes;

use crate::ProtocolError;
use crate::limits::{MAX_PROPERTIES, MAX_PROPERTY_NAME};

/// What is known about the peer that a message came from: the metadata of its handshake plus what
/// the transport and the authenticator add.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Properties {
    /// In order of arrival, each name once: the lengths of name and value, name, value. One allocation, because each
    /// connection keeps its own.
    entries: Vec<u8>,
    count: usize,
    /// RADIO and DISH: the message's group.
    group: Bytes,
}

impl Properties {
    /// The name under which routing ids travel.
    pub(crate) const IDENTITY: &'static str = "Identity";
    /// The name under which socket types travel.
    pub(crate) const SOCKET_TYPE: &'static str = "Socket-Type";

    /// No properties.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a property: by the exact name, else by a name that differs in ASCII case only.
    /// `Routing-Id` is another name for `Identity`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.find(name).or_else(|| {
            let alias = name.eq_ignore_ascii_case("Routing-Id");
            alias.then(|| self.find(Self::IDENTITY)).flatten()
        })
    }

    /// The value of a property, if it is UTF-8 text.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// The value under exactly this name, as libzmq looks for `Socket-Type`.
    pub(crate) fn get_exact(&self, name: &str) -> Option<&[u8]> {
        self.entries().find(|&(known, _)| known == name.as_bytes()).map(|(_, value)| value)
    }

    fn find(&self, name: &str) -> Option<&[u8]> {
        self.get_exact(name).or_else(|| {
            let entry = self.entries().find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))?;
            Some(entry.1)
        })
    }

    /// Add a property unless the name is there already: the first one wins, as it does for libzmq.
    ///
    /// Returns whether it was added. A name of more than 255 octets or a value of 2^31 or more, which
    /// the wire cannot carry, is not added.
    pub fn insert(&mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> bool {
        let (name, value) = (name.as_ref(), value.as_ref());
        let fits = name.len() <= MAX_PROPERTY_NAME && value.len() <= i32::MAX as usize;
        let added = fits && self.get_exact(name).is_none();
        if added {
            self.push(name, value);
        }
        added
    }

    /// Callers have made sure that the lengths fit: a name has at most 255 octets, or three times that where they were no
    /// UTF-8, and a value fewer than 2^32.
    fn push(&mut self, name: &str, value: &[u8]) {
        self.entries.extend_from_slice(&(name.len() as u16).to_ne_bytes());
        self.entries.extend_from_slice(&(value.len() as u32).to_ne_bytes());
        self.entries.extend_from_slice(name.as_bytes());
        self.entries.extend_from_slice(value);
        self.count += 1;
    }

    /// These, and behind them what the peer says of itself, but for names that are not the peer's to use.
    pub(crate) fn over_peers(mut self, peers: Properties) -> Self {
        let reserved = |name: &str| ["User-Id", "Peer-Address"].iter().any(|known| name.eq_ignore_ascii_case(known));
        self.entries.reserve_exact(peers.entries.len());
        for (name, value) in peers.iter() {
            if !reserved(name) && self.get_exact(name).is_none() {
                self.push(name, value);
            }
        }
        self
    }

    /// The group of the message that bears these; see [`Message::group`](crate::Message::group).
    pub fn group(&self) -> &[u8] {
        &self.group
    }

    /// The same with another group.
    #[must_use]
    pub fn with_group(mut self, group: impl Into<Bytes>) -> Self {
        self.group = group.into();
        self
    }

    /// Names and values in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.entries().map(|(name, value)| (std::str::from_utf8(name).unwrap_or_default(), value))
    }

    /// The same without a look at whether names are text, which would be most of what looking one up costs.
    fn entries(&self) -> Entries<'_> {
        Entries { rest: &self.entries, left: self.count }
    }

    /// Number of properties.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Append the form on the wire: name length (1 octet), name, value length (4 octets), value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for (name, value) in self.iter() {
            // Only a name that was read, and was no UTF-8, may be too long.
            let Ok(name_len) = u8::try_from(name.len()) else { continue };
            out.push(name_len);
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&(value.len() as u32).to_be_bytes());
            out.extend_from_slice(value);
        }
    }

    /// Read the form on the wire, all of `octets`.
    ///
    /// Empty names are accepted, as libzmq does; octets of a name that are not UTF-8 become
    /// replacement characters; of a repeated name the first value counts.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::InvalidMetadata`] if it ends within a property,
    /// [`ProtocolError::TooManyProperties`] above [`MAX_PROPERTIES`].
    pub fn parse(octets: &[u8]) -> Result<Self, ProtocolError> {
        let mut properties = Self::new();
        let mut rest = octets;
        let mut count = 0;
        // A property's head is an octet longer here than on the wire; there are mostly few of them.
        properties.entries.reserve_exact(octets.len() + 8);
        while !rest.is_empty() {
            count += 1;
            if count > MAX_PROPERTIES {
                return Err(ProtocolError::TooManyProperties { limit: MAX_PROPERTIES });
            }
            let (name, value, next) = split_property(rest)
                .ok_or(ProtocolError::InvalidMetadata { offset: octets.len() - rest.len(), length: octets.len() })?;
            let name = String::from_utf8_lossy(name);
            if properties.get_exact(&name).is_none() {
                properties.push(&name, value);
            }
            rest = next;
        }
        Ok(properties)
    }
}

/// Goes through the entries: the lengths of name and value, in two octets and in four, then both.
struct Entries<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name_len, rest) = self.rest.split_first_chunk()?;
        let (value_len, rest) = rest.split_first_chunk()?;
        let (name, rest) = rest.split_at_checked(usize::from(u16::from_ne_bytes(*name_len)))?;
        let (value, rest) = rest.split_at_checked(usize::try_from(u32::from_ne_bytes(*value_len)).ok()?)?;
        self.rest = rest;
        self.left = self.left.saturating_sub(1);
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Entries<'_> {}

/// The first property's name and value, and what follows it.
fn split_property(octets: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&name_len, rest) = octets.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(name_len))?;
    let (value_len, rest) = rest.split_first_chunk::<4>()?;
    let value_len = usize::try_from(u32::from_be_bytes(*value_len)).ok()?;
    let (value, rest) = rest.split_at_checked(value_len)?;
    Some((name, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_name_wins_and_case_matters_only_last() {
        let mut properties = Properties::new();
        assert!(properties.insert("x-a", "lower"));
        assert!(properties.insert("X-A", "upper"));
        assert!(!properties.insert("X-A", "again"));
        assert!(properties.insert("Identity", "me"));
        assert_eq!(properties.get_str("X-A"), Some("upper"));
        assert_eq!(properties.get_str("X-a"), Some("lower"));
        assert_eq!(properties.get_str("routing-id"), Some("me"));
        assert_eq!(properties.get("Resource"), None);
    }

    #[test]
    fn what_the_wire_cannot_carry_is_not_added() {
        let mut properties = Properties::new();
        assert!(properties.insert("n".repeat(255), "v"));
        assert!(!properties.insert("n".repeat(256), "v"));
        assert_eq!(properties.len(), 1);
    }

    #[test]
    fn broken_metadata_is_refused() {
        let whole = b"\x01n\x00\x00\x00\x02va\x00\x00\x00\x00\x00";
        assert_eq!(Properties::parse(whole).unwrap().len(), 2);
        for end in 1..whole.len() {
            assert_eq!(Properties::parse(&whole[..end]).is_ok(), end == 8, "{end}");
        }
        let broken = Properties::parse(b"\x01n\xff\xff\xff\xffvalue");
        let expected = ProtocolError::InvalidMetadata { offset: 0, length: 11 };
        assert_eq!(broken, Err(expected));
    }

    #[test]
    fn a_name_that_is_no_text_is_read_and_not_written_with_another_length() {
        let octets = [&[255][..], &[0xff; 255], b"\x00\x00\x00\x01v\x01n\x00\x00\x00\x00"].concat();
        let properties = Properties::parse(&octets).unwrap();
        let names: Vec<_> = properties.iter().map(|(name, value)| (name.chars().count(), value)).collect();
        assert_eq!(names, [(255, &b"v"[..]), (1, b"")]);
        let mut written = Vec::new();
        properties.encode(&mut written);
        assert_eq!(written, b"\x01n\x00\x00\x00\x00");
    }

    #[test]
    fn the_number_of_properties_is_bounded() {
        let one = b"\x00\x00\x00\x00\x00";
        assert_eq!(Properties::parse(&one.repeat(MAX_PROPERTIES)).unwrap().len(), 1);
        assert!(Properties::parse(&one.repeat(MAX_PROPERTIES + 1)).is_err());
    }
}
