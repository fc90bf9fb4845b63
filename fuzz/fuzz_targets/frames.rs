//! Bytes as frames: a length, as many bytes, and so on.

pub fn of(mut input: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    std::iter::from_fn(move || {
        let (&length, rest) = input.split_first()?;
        let (frame, rest) = rest.split_at(rest.len().min(length.into()));
        input = rest;
        Some(frame.to_vec())
    })
}
