//! Which codings a client takes (RFC 9110, section 12.5.3).

use hyper::HeaderMap;
use hyper::header::ACCEPT_ENCODING;

use crate::envelope::{Coding, Codings};

/// The codings of all Accept-Encoding headers that the client does not refuse.
pub(crate) fn accepted(headers: &HeaderMap) -> Codings {
    let mut named = Codings::NONE;
    let mut accepted = Codings::NONE;
    let mut any = false;
    let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for element in lists.flat_map(|list| list.split(',')) {
        let mut parts = element.split(';').map(|part| part.trim_matches([' ', '\t']));
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(is_zero_weight);
        if name == "*" {
            any = !refused;
            continue;
        }
        let known = |coding: &Coding| {
            name.eq_ignore_ascii_case(coding.name()) || (*coding == Coding::Gzip && name.eq_ignore_ascii_case("x-gzip"))
        };
        if let Some(coding) = Coding::ALL.into_iter().find(known) {
            named = named.with(coding);
            if !refused {
                accepted = accepted.with(coding);
            }
        }
    }
    if any {
        let others = Coding::ALL.into_iter().filter(|&coding| !named.has(coding));
        accepted = others.fold(accepted, Codings::with);
    }
    accepted
}

/// `q=0`, `q=0.0` and so on: what is not wanted at all.
fn is_zero_weight(parameter: &str) -> bool {
    let Some((name, weight)) = parameter.split_once('=') else { return false };
    let zero = |weight: &str| weight.starts_with('0') && weight.bytes().all(|octet| matches!(octet, b'0' | b'.'));
    name.eq_ignore_ascii_case("q") && zero(weight)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn names(header: &'static str) -> Vec<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(header));
        let accepted = accepted(&headers);
        Coding::ALL.into_iter().filter(|&coding| accepted.has(coding)).map(Coding::name).collect()
    }

    #[test]
    fn what_is_named_is_accepted_unless_its_weight_is_zero() {
        assert_eq!(names("gzip, deflate, br;q=0.5"), ["br", "gzip"]);
        assert_eq!(names("X-GZIP"), ["gzip"]);
        assert_eq!(names("gzip;q=0, br; q=0.000, zstd;q=0.001"), ["zstd"]);
        assert_eq!(names("*"), ["br", "zstd", "gzip"]);
        assert_eq!(names("br;q=0, *;q=0.1"), ["zstd", "gzip"]);
        assert_eq!(names("gzip, *;q=0"), ["gzip"]);
        assert_eq!(names("identity"), [""; 0]);
        assert_eq!(names(",;q=,=;q"), [""; 0]);
    }
}
