//! What the fuzz targets need of the inside; compiled for them alone.
#![allow(missing_docs, clippy::missing_errors_doc)]

use hyper::header::HeaderValue;

pub use crate::handlers::fuzzing::{majordomo, mongrel2, response};
use crate::http::{host, path, range};

/// The path that is asked for, if the target is not refused.
pub fn path(target: &str) -> Option<Vec<u8>> {
    path::decode(target).ok().map(|path| path.to_vec())
}

/// A path as a client may be told of it.
pub fn encoded(octets: &[u8]) -> String {
    path::encode(octets)
}

/// The directory of a host.
pub fn host(text: &str) -> Option<String> {
    host::name(text)
}

/// The parts of a file of this size that a Range header asks for, as offsets and lengths.
pub fn ranges(header: &[u8], size: u64) -> Option<Vec<(u64, u64)>> {
    let parts = match range::resolve(&HeaderValue::from_bytes(header).ok()?, size) {
        range::Part::Whole | range::Part::Unsatisfiable => Vec::new(),
        range::Part::One(one) => vec![one],
        range::Part::Several(several) => several,
    };
    Some(parts.iter().map(|part| (part.offset, part.length)).collect())
}
