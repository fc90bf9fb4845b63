//! Several sites by one server: each in the directory of its host's name.

use hyper::Request;
use hyper::header::HOST;

/// The directory of the host that a request names, below the root: the name in lower case, without port and final
/// dot. `None` where that is no directory's name, or none that may be served.
pub(super) fn directory<B>(request: &Request<B>) -> Option<String> {
    // A target that has a host overrules the header (RFC 9112, section 3.2.2).
    let host = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => request.headers().get(HOST)?.to_str().ok()?,
    };
    name(host)
}

pub(crate) fn name(host: &str) -> Option<String> {
    // What is between brackets is an address, and in no directory.
    let name = host.split(':').next()?;
    let name = name.strip_suffix('.').unwrap_or(name);
    let letters = name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet));
    let labels = name.split('.').all(|label| !label.is_empty());
    (letters && labels && name.len() < 256).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn names_of_hosts_are_names_of_directories() {
        for host in ["a.example", "A.Example", "a.example:8080", "a.example.", "a.example.:80"] {
            assert_eq!(name(host).as_deref(), Some("a.example"), "{host}");
        }
        assert_eq!(name("10.0.0.1:80").as_deref(), Some("10.0.0.1"));
        let long = "a".repeat(256);
        for host in
            ["", ".", "..", "...", ".hidden", "a..", "a..example", "[::1]:80", ":80", "a/b", "a%2fb", "a b", "é", &long]
        {
            assert_eq!(name(host), None, "{host}");
        }
    }
}
