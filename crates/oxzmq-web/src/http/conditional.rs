//! Validators and the requests that depend on them (RFC 9110, sections 8.8 and 13).

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use hyper::HeaderMap;
use hyper::header::{
    HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};

use crate::envelope::{Coding, Head, Version};

/// Last second that an HTTP date can name.
const YEAR_9999_END: u64 = 253_402_300_799;

/// What the preconditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// 304: the client has it already.
    NotModified,
    /// 412: it is not what the client thinks.
    Failed,
}

/// Whether the answer depends on more than the path.
pub(crate) fn is_conditional(headers: &HeaderMap) -> bool {
    [IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, RANGE]
        .iter()
        .any(|name| headers.contains_key(name))
}

/// Three numbers of 64 bits and a coding's name, with what is between them.
const ETAG_MOST: usize = 64;

/// The entity tag: strong, from size, modification time to the nanosecond, and coding; alike on
/// all workers.
pub(crate) fn etag(version: &Version, coding: Option<Coding>) -> String {
    let Version { size, mtime_s, mtime_ns } = version;
    let (dash, coding) = coding.map_or(("", ""), |coding| ("-", coding.name()));
    let mut etag = String::with_capacity(ETAG_MOST);
    // Writing to a string cannot fail.
    let _ = write!(etag, "\"{size:x}-{mtime_s:x}.{mtime_ns:x}{dash}{coding}\"");
    etag
}

/// The time of modification in whole seconds, if it can be told: not before 1970, not in the future.
pub(crate) fn last_modified(version: &Version) -> Option<SystemTime> {
    let seconds = u64::try_from(version.mtime_s).ok().filter(|&seconds| seconds <= YEAR_9999_END)?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    (time <= SystemTime::now()).then_some(time)
}

/// Evaluates the preconditions in the order of RFC 9110, section 13.2.2.
pub(crate) fn evaluate(headers: &HeaderMap, head: &Head) -> Verdict {
    let etag = etag(&head.version, head.coding);
    let modified = last_modified(&head.version);
    if headers.contains_key(IF_MATCH) {
        if !any_matches(headers, IF_MATCH, &etag, false) {
            return Verdict::Failed;
        }
    } else if let (Some(since), Some(modified)) = (time(headers, IF_UNMODIFIED_SINCE), modified)
        && modified > since
    {
        return Verdict::Failed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        if any_matches(headers, IF_NONE_MATCH, &etag, true) {
            return Verdict::NotModified;
        }
    } else if let (Some(since), Some(modified)) = (time(headers, IF_MODIFIED_SINCE), modified)
        && modified <= since
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// The Range header, unless If-Range says that the client's part is of another version.
pub(crate) fn range<'a>(headers: &'a HeaderMap, head: &Head) -> Option<&'a HeaderValue> {
    let range = headers.get(RANGE)?;
    let Some(condition) = headers.get(IF_RANGE) else { return Some(range) };
    let same = if condition.as_bytes().starts_with(b"\"") {
        condition.as_bytes() == etag(&head.version, head.coding).as_bytes()
    } else {
        let date = time(headers, IF_RANGE);
        date.is_some() && date == last_modified(&head.version)
    };
    same.then_some(range)
}

fn time(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// Whether one of the listed entity tags is `etag`, or the list is `*`. A weak tag matches only where weak
/// comparison is allowed. Tags may contain commas, so the list is read tag by tag.
fn any_matches(headers: &HeaderMap, name: HeaderName, etag: &str, weak: bool) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        let mut list = list.trim();
        if list == "*" {
            return true;
        }
        loop {
            list = list.trim_start_matches([' ', '\t', ',']);
            let (is_weak, tag) = match list.strip_prefix("W/") {
                Some(tag) => (true, tag),
                None => (false, list),
            };
            let Some(end) = tag.strip_prefix('"').and_then(|inner| inner.find('"')) else { return false };
            let (tag, rest) = tag.split_at(end + 2);
            if tag == etag && (weak || !is_weak) {
                return true;
            }
            list = rest;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: Version = Version { size: 16, mtime_s: 784_111_777, mtime_ns: 10 };
    const ETAG: &str = "\"10-2ebc9921.a\"";

    fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn head() -> Head {
        Head::part(VERSION, 0, VERSION.size, "text/plain")
    }

    fn verdict(list: &[(HeaderName, &str)]) -> Verdict {
        evaluate(&headers(list), &head())
    }

    #[test]
    fn tags_tell_nanoseconds_apart() {
        assert_eq!(etag(&Version { mtime_s: 0x2ebc_9921, ..VERSION }, None), ETAG);
        assert_ne!(etag(&VERSION, None), etag(&Version { mtime_ns: 11, ..VERSION }, None));
        assert_ne!(etag(&VERSION, None), etag(&VERSION, Some(Coding::Gzip)));
    }

    #[test]
    fn lists_of_tags_are_compared_weakly_for_get() {
        let etag = etag(&VERSION, None);
        assert_eq!(verdict(&[(IF_NONE_MATCH, &format!("\"a,b\", W/{etag}"))]), Verdict::NotModified);
        assert_eq!(verdict(&[(IF_NONE_MATCH, "*")]), Verdict::NotModified);
        assert_eq!(verdict(&[(IF_NONE_MATCH, "\"x\"")]), Verdict::Proceed);
        assert_eq!(verdict(&[(IF_NONE_MATCH, "broken \"")]), Verdict::Proceed);
        assert_eq!(verdict(&[(IF_MATCH, &format!("W/{etag}"))]), Verdict::Failed);
        assert_eq!(verdict(&[(IF_MATCH, &format!("\"x\",{etag}"))]), Verdict::Proceed);
    }

    #[test]
    fn dates_count_when_there_is_no_tag() {
        let (same, before) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:36 GMT");
        assert_eq!(verdict(&[(IF_MODIFIED_SINCE, same)]), Verdict::NotModified);
        assert_eq!(verdict(&[(IF_MODIFIED_SINCE, before)]), Verdict::Proceed);
        assert_eq!(verdict(&[(IF_MODIFIED_SINCE, "yesterday")]), Verdict::Proceed);
        assert_eq!(verdict(&[(IF_MODIFIED_SINCE, same), (IF_NONE_MATCH, "\"x\"")]), Verdict::Proceed);
        assert_eq!(verdict(&[(IF_UNMODIFIED_SINCE, before)]), Verdict::Failed);
        assert_eq!(verdict(&[(IF_UNMODIFIED_SINCE, same)]), Verdict::Proceed);
    }

    #[test]
    fn a_range_counts_only_for_the_same_version() {
        let etag = etag(&VERSION, None);
        let range_with = |condition: &str| {
            let headers = headers(&[(RANGE, "bytes=0-1"), (IF_RANGE, condition)]);
            range(&headers, &head()).is_some()
        };
        assert!(range_with(&etag));
        assert!(range_with("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(!range_with(&format!("W/{etag}")));
        assert!(!range_with("\"x\""));
        assert!(!range_with("Sun, 06 Nov 1994 08:49:38 GMT"));
    }

    #[test]
    fn times_that_http_cannot_tell_are_left_out() {
        for mtime_s in [-1, i64::MAX, i64::MIN, 253_402_300_800, 253_402_300_799] {
            assert_eq!(last_modified(&Version { mtime_s, ..VERSION }), None);
        }
    }
}
