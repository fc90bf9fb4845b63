//! Z85 (RFC 32): octets as printable characters, five for each four.
//!
//! ```
//! use oxzmq::curve::z85;
//!
//! let text = z85::encode(&[0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b])?;
//! assert_eq!(text, "HelloWorld");
//! assert_eq!(z85::decode("HelloWorld")?[0], 0x86);
//! # Ok::<(), oxzmq::Error>(())
//! ```

use super::KEY_SIZE;
use crate::error::{Error, ErrorKind, Result};

const ALPHABET: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// The value of each character; 255 for what is none.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut at = 0;
    while at < ALPHABET.len() {
        values[ALPHABET[at] as usize] = at as u8;
        at += 1;
    }
    values
};

fn invalid(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidArgument, why)
}

/// The text of `octets`, whose number must be a multiple of four.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for another number.
pub fn encode(octets: &[u8]) -> Result<String> {
    let (groups, []) = octets.as_chunks::<4>() else {
        return Err(invalid("Z85 encodes a multiple of four octets"));
    };
    let mut text = String::with_capacity(groups.len() * 5);
    for group in groups {
        let value = u32::from_be_bytes(*group);
        for power in [85 * 85 * 85 * 85, 85 * 85 * 85, 85 * 85, 85, 1] {
            text.push(char::from(ALPHABET[(value / power % 85) as usize]));
        }
    }
    Ok(text)
}

/// The octets of `text`, whose length must be a multiple of five. Errors do not repeat the text, which may
/// be a secret.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for another length, a character that is none of the 85, or five
/// characters whose value exceeds four octets.
pub fn decode(text: &str) -> Result<Vec<u8>> {
    let (groups, []) = text.as_bytes().as_chunks::<5>() else {
        return Err(invalid("Z85 text has a multiple of five characters"));
    };
    let mut octets = Vec::with_capacity(groups.len() * 4);
    for group in groups {
        let mut value = 0;
        for &character in group {
            let digit = VALUES[usize::from(character)];
            if digit == 255 {
                return Err(invalid("a character that Z85 does not have"));
            }
            value = value * 85 + u64::from(digit);
        }
        let value = u32::try_from(value).map_err(|_| invalid("five characters that are no four octets in Z85"))?;
        octets.extend_from_slice(&value.to_be_bytes());
    }
    Ok(octets)
}

pub(super) fn encode_key(octets: &[u8; KEY_SIZE]) -> String {
    encode(octets).unwrap_or_default() // 32 is a multiple of four
}

pub(super) fn decode_key(text: &str) -> Result<[u8; KEY_SIZE]> {
    if text.len() != KEY_SIZE / 4 * 5 {
        return Err(invalid("a key in Z85 has 40 characters"));
    }
    decode(text)?.try_into().map_err(|_| invalid("a key has 32 octets"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_hold() {
        let octets = [0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b];
        assert_eq!(encode(&octets).unwrap(), "HelloWorld");
        assert_eq!(decode("HelloWorld").unwrap(), octets);
        let key = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";
        let octets = decode(key).unwrap();
        assert_eq!(octets[..4], [0x8e, 0x0b, 0xdd, 0x69]);
        assert_eq!(encode(&octets).unwrap(), key);
    }

    #[test]
    fn the_edges_of_a_group() {
        assert_eq!(encode(&[0xff; 4]).unwrap(), "%nSc0");
        assert_eq!(decode("%nSc0").unwrap(), [0xff; 4]);
        assert!(decode("%nSc1").is_err());
        assert!(decode("#####").is_err());
        assert_eq!(encode(b"").unwrap(), "");
        assert_eq!(decode("").unwrap(), b"");
    }

    #[test]
    fn wrong_lengths_and_characters_are_refused() {
        for text in ["1", "1234", "123456", "1234~", "12 34", "123é"] {
            assert!(decode(text).is_err(), "{text}");
        }
        assert!(encode(&[1, 2, 3]).is_err());
    }
}
