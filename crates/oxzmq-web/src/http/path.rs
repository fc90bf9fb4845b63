//! From the request target to the path that a worker is asked for, and back.

use bytes::Bytes;

use crate::envelope::PATH_MAX;

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Longer than any file's.
    TooLong,
    /// Not to be understood, or meant to mislead.
    Nonsense(&'static str),
}

/// Decodes a path once. What could be read in two ways is refused rather than interpreted.
pub(crate) fn decode(raw: &str) -> Result<Bytes, Refused> {
    if raw.len() > PATH_MAX {
        return Err(Refused::TooLong);
    }
    if !raw.starts_with('/') {
        return Err(Refused::Nonsense("the path does not begin with a slash"));
    }
    let mut path = Vec::with_capacity(raw.len());
    let mut octets = raw.bytes();
    while let Some(octet) = octets.next() {
        let decoded = if octet == b'%' {
            let digits = [octets.next(), octets.next()].map(|digit| digit.and_then(hex));
            let [Some(high), Some(low)] = digits else {
                return Err(Refused::Nonsense("a percent sign without two hexadecimal digits"));
            };
            match high << 4 | low {
                b'/' => return Err(Refused::Nonsense("an encoded slash")),
                decoded => decoded,
            }
        } else {
            octet
        };
        if decoded < 0x20 || decoded == 0x7f {
            return Err(Refused::Nonsense("a control character in the path"));
        }
        path.push(decoded);
    }
    if path.split(|&octet| octet == b'/').any(|part| part == b"." || part == b"..") {
        return Err(Refused::Nonsense("a path with . or .. in it"));
    }
    Ok(path.into())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The path as a client may be told of it.
pub(crate) fn encode(path: &[u8]) -> String {
    let mut encoded = String::with_capacity(path.len());
    for &octet in path {
        if octet.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=:@".contains(&octet) {
            encoded.push(char::from(octet));
        } else {
            encoded.push_str(&format!("%{octet:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decoding_happens_once() {
        assert_eq!(decode("/a%20b").unwrap(), "/a b");
        assert_eq!(decode("/%2541").unwrap(), "/%41");
        assert_eq!(decode("/%C3%A9").unwrap(), "/é");
        assert_eq!(decode("/%ff").unwrap(), b"/\xff"[..]);
        assert_eq!(decode("/...").unwrap(), "/...");
    }

    #[test]
    fn nonsense_is_refused() {
        for raw in [
            "",
            "a",
            "*",
            "/%",
            "/%4",
            "/%zz",
            "/%+1",
            "/%00",
            "/%0a",
            "/%7f",
            "/%2f",
            "/a%2Fb",
            "/..",
            "/../x",
            "/a/..",
            "/%2e%2e/x",
            "/.%2e/",
            "/./x",
            "/a/.",
        ] {
            assert!(matches!(decode(raw), Err(Refused::Nonsense(_))), "{raw}");
        }
        assert_eq!(decode(&format!("/{}", "a".repeat(5000))), Err(Refused::TooLong));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_encoding_is_undone(raw in "\\PC{0,40}", path in "/[^/\\x00-\\x1f\\x7f]{3,20}") {
            let _ = decode(&raw);
            prop_assert_eq!(decode(&encode(path.as_bytes())).map(|decoded| decoded.to_vec()), Ok(path.into_bytes()));
        }
    }
}
