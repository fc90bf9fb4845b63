//! What a client says of path, part and host.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oxzmq_web::fuzzing;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(path) = fuzzing::path(text) {
        assert!(path.starts_with(b"/"));
        assert!(!path.iter().any(|&octet| octet < 0x20 || octet == 0x7f));
        assert!(!path.split(|&octet| octet == b'/').any(|part| part == b"." || part == b".."));
        let again = fuzzing::encoded(&path);
        if again.len() <= text.len() {
            assert_eq!(fuzzing::path(&again), Some(path), "told as it was understood");
        }
    }
    if let Some(host) = fuzzing::host(text) {
        assert!(!host.starts_with('.') && !host.contains(['/', '\0']) && !host.is_empty());
        assert_eq!(fuzzing::host(&host), Some(host.clone()));
    }
    let size = input.len() as u64 * 7;
    if let Some(parts) = fuzzing::ranges(input, size) {
        assert!(parts.len() <= 16);
        for (n, &(offset, length)) in parts.iter().enumerate() {
            assert!(length > 0 && offset.checked_add(length).is_some_and(|end| end <= size));
            let apart = |&(other, size): &(u64, u64)| offset + length < other || other + size < offset;
            assert!(parts[n + 1..].iter().all(apart), "no two touch");
        }
    }
    let _ = fuzzing::ranges(input, u64::MAX);
});
