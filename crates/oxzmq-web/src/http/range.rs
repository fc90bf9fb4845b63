//! The Range header (RFC 9110, section 14).

use hyper::header::HeaderValue;

/// Which part of a file is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it: no range was asked for, or none that is understood.
    Whole,
    /// So many octets from an offset on; at least one, and all within the file.
    Range { offset: u64, length: u64 },
    /// Nothing of what was asked for is there.
    Unsatisfiable,
}

/// Resolves a Range header for a file of `size` octets. Of several ranges none is served: the whole file is
/// an allowed answer to that.
pub(crate) fn resolve(header: &HeaderValue, size: u64) -> Part {
    parse(header, size).unwrap_or(Part::Whole)
}

fn parse(header: &HeaderValue, size: u64) -> Option<Part> {
    let header = header.to_str().ok()?;
    let (unit, range) = header.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?.min(size);
        if suffix == 0 {
            return Some(Part::Unsatisfiable);
        }
        return Some(Part::Range { offset: size - suffix, length: suffix });
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    if first >= size {
        return Some(Part::Unsatisfiable);
    }
    Some(Part::Range { offset: first, length: last.min(size - 1) - first + 1 })
}

/// Digits and nothing else. A number too large for 64 bits is beyond any file's end.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(header: &str, size: u64) -> Part {
        resolve(&HeaderValue::from_str(header).unwrap(), size)
    }

    #[test]
    fn ranges_are_clipped_to_the_file() {
        let range = |offset, length| Part::Range { offset, length };
        assert_eq!(part("bytes=0-0", 10), range(0, 1));
        assert_eq!(part("bytes=2-5", 10), range(2, 4));
        assert_eq!(part("bytes=2-", 10), range(2, 8));
        assert_eq!(part("bytes=9-99999999999999999999999", 10), range(9, 1));
        assert_eq!(part("bytes=-3", 10), range(7, 3));
        assert_eq!(part("bytes=-30", 10), range(0, 10));
        assert_eq!(part("Bytes= 0-1", 10), range(0, 2));
    }

    #[test]
    fn what_is_not_there_is_unsatisfiable() {
        for (header, size) in [("bytes=10-", 10), ("bytes=0-", 0), ("bytes=-0", 10), ("bytes=-5", 0)] {
            assert_eq!(part(header, size), Part::Unsatisfiable, "{header}");
        }
    }

    #[test]
    fn what_is_not_understood_is_ignored() {
        for header in ["bytes=5-2", "bytes=0-1,3-4", "bytes=", "bytes=-", "bytes=a-b", "bytes=+1-2", "lines=0-1", "x"] {
            assert_eq!(part(header, 10), Part::Whole, "{header}");
        }
    }

    proptest! {
        #[test]
        fn a_range_lies_within_the_file(header in "bytes=[0-9]{0,20}-[0-9]{0,20}", size: u64) {
            if let Part::Range { offset, length } = part(&header, size) {
                prop_assert!(length > 0 && offset.checked_add(length).is_some_and(|end| end <= size));
            }
        }
    }
}
