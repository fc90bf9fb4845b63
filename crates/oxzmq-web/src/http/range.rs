//! The Range header (RFC 9110, section 14).

use hyper::header::HeaderValue;

/// Most ranges in one header. Whoever asks for more gets the whole file (RFC 9110, section 17.15).
const RANGES_MAX: usize = 16;

/// So many octets from an offset on; at least one, and all within the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Which part of a file is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it: no range was asked for, or none that is understood.
    Whole,
    /// One part.
    One(Range),
    /// Two or more, none of which touch.
    Several(Vec<Range>),
    /// Nothing of what was asked for is there.
    Unsatisfiable,
}

/// Resolves a Range header for a file of `size` octets.
pub(crate) fn resolve(header: &HeaderValue, size: u64) -> Part {
    parse(header, size).unwrap_or(Part::Whole)
}

fn parse(header: &HeaderValue, size: u64) -> Option<Part> {
    let (unit, list) = header.to_str().ok()?.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let specs = list.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty());
    let mut ranges: Vec<Range> = Vec::new();
    let mut count = 0;
    for spec in specs {
        count += 1;
        if count > RANGES_MAX {
            return None;
        }
        let Some(mut range) = one(spec, size)? else { continue };
        // What overlaps or touches is sent once, as one part.
        while let Some(at) = ranges.iter().position(|other| touches(other, &range)) {
            let other = ranges.remove(at);
            let offset = range.offset.min(other.offset);
            let end = (range.offset + range.length).max(other.offset + other.length);
            range = Range { offset, length: end - offset };
        }
        ranges.push(range);
    }
    Some(match (count, ranges.as_slice()) {
        (0, _) => return None,
        (_, []) => Part::Unsatisfiable,
        (_, &[range]) => Part::One(range),
        _ => Part::Several(ranges),
    })
}

fn touches(a: &Range, b: &Range) -> bool {
    a.offset <= b.offset + b.length && b.offset <= a.offset + a.length
}

/// One range: outer `None` when it is not understood, inner when nothing of it is there.
#[allow(clippy::option_option, reason = "two questions, and `?` for the first")]
fn one(spec: &str, size: u64) -> Option<Option<Range>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?.min(size);
        return Some((suffix > 0).then(|| Range { offset: size - suffix, length: suffix }));
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some((first < size).then(|| Range { offset: first, length: last.min(size - 1) - first + 1 }))
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
        let range = |offset, length| Part::One(Range { offset, length });
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
        for header in
            ["bytes=5-2", "bytes=0-1,b-4", "bytes=", "bytes=,", "bytes=-", "bytes=a-b", "bytes=+1-2", "lines=0-1", "x"]
        {
            assert_eq!(part(header, 10), Part::Whole, "{header}");
        }
    }

    #[test]
    fn several_are_sent_in_the_order_asked_for_and_what_touches_is_one() {
        let range = |offset, length| Range { offset, length };
        assert_eq!(part("bytes=6-7, 0-1,,99-", 10), Part::Several(vec![range(6, 2), range(0, 2)]));
        assert_eq!(part("bytes=0-1,2-3", 10), Part::One(range(0, 4)));
        assert_eq!(part("bytes=0-1,6-7,1-6", 10), Part::One(range(0, 8)));
        assert_eq!(part("bytes=10-,11-", 10), Part::Unsatisfiable);
        let many = |count| format!("bytes={}", vec!["0-0"; count].join(","));
        assert_eq!(part(&many(RANGES_MAX), 10), Part::One(range(0, 1)));
        assert_eq!(part(&many(RANGES_MAX + 1), 10), Part::Whole);
    }

    proptest! {
        #[test]
        fn ranges_lie_within_the_file_and_apart(header in "bytes=([0-9]{0,20}-[0-9]{0,2},?){1,5}", size: u64, small in 0_u64..99) {
            for size in [size, small] {
                let ranges = match part(&header, size) {
                    Part::One(range) => vec![range],
                    Part::Several(ranges) => ranges,
                    Part::Whole | Part::Unsatisfiable => continue,
                };
                for (at, a) in ranges.iter().enumerate() {
                    prop_assert!(a.length > 0 && a.offset.checked_add(a.length).is_some_and(|end| end <= size));
                    prop_assert!(ranges[..at].iter().all(|b| !touches(a, b)));
                }
            }
        }
    }
}
