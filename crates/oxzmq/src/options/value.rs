//! Option values as they pass by number: through the C API, from the command line, from configuration.

use bytes::Bytes;

use crate::curve;

/// A value of an option that is named by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionValue {
    /// An `int`: numbers, durations in milliseconds, and switches (0 or 1).
    Int(i32),
    /// A 64-bit integer.
    Long(i64),
    /// An unsigned 64-bit integer.
    Unsigned(u64),
    /// Octets: names, texts, keys, messages.
    Bytes(Bytes),
}

impl From<i32> for OptionValue {
    fn from(value: i32) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for OptionValue {
    fn from(value: bool) -> Self {
        Self::Int(value.into())
    }
}

impl From<Bytes> for OptionValue {
    fn from(value: Bytes) -> Self {
        Self::Bytes(value)
    }
}

impl From<&str> for OptionValue {
    fn from(value: &str) -> Self {
        Self::Bytes(Bytes::copy_from_slice(value.as_bytes()))
    }
}

impl From<&[u8]> for OptionValue {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(Bytes::copy_from_slice(value))
    }
}

/// Which values an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionKind {
    /// An `int` between the two, both included.
    Int(i32, i32),
    /// An `int`, 0 or 1.
    Switch,
    /// An `int`; 0 is off, every number above it on.
    Flag,
    /// A signed 64-bit integer; negative means without limit.
    Long,
    /// An unsigned 64-bit integer.
    Unsigned,
    /// Text of between so many octets.
    Text(usize, usize),
    /// Octets, between so many of them.
    Binary(usize, usize),
    /// A key of CURVE: 32 octets, or 40 characters of Z85 with or without a zero octet behind them. Read as 32 octets.
    Key,
}

impl OptionKind {
    /// In words, for messages and documentation.
    pub fn describe(self) -> String {
        let octets = |least: usize, most: usize| match most {
            usize::MAX if least == 0 => "any number of octets".to_owned(),
            usize::MAX => format!("at least {least} octets"),
            _ => format!("{least} to {most} octets"),
        };
        match self {
            Self::Int(i32::MIN, i32::MAX) => "an int".to_owned(),
            Self::Int(least, i32::MAX) => format!("an int, at least {least}"),
            Self::Int(least, most) => format!("an int, {least} to {most}"),
            Self::Switch => "an int, 0 or 1".to_owned(),
            Self::Flag => "an int, 0 or more (0 is off)".to_owned(),
            Self::Long => "a 64-bit int".to_owned(),
            Self::Unsigned => "an unsigned 64-bit int".to_owned(),
            Self::Text(least, most) => format!("text, {}", octets(least, most)),
            Self::Binary(least, most) => octets(least, most),
            Self::Key => "a key: 32 octets, or 40 characters of Z85".to_owned(),
        }
    }

    /// Whether a value is of this kind and in its range.
    pub fn admits(self, value: &OptionValue) -> bool {
        match (self, value) {
            (Self::Int(least, most), OptionValue::Int(value)) => (least..=most).contains(value),
            (Self::Switch, OptionValue::Int(value)) => (0..=1).contains(value),
            (Self::Flag, OptionValue::Int(value)) => *value >= 0,
            (Self::Long, OptionValue::Long(_)) | (Self::Unsigned, OptionValue::Unsigned(_)) => true,
            (Self::Text(least, most) | Self::Binary(least, most), OptionValue::Bytes(value)) => {
                (least..=most).contains(&value.len())
            }
            (Self::Key, OptionValue::Bytes(value)) => curve::key_of(value).is_some(),
            _ => false,
        }
    }
}
