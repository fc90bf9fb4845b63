//! What a SOCKS proxy says, as one piece and cut: the outcome has to be the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oxzmq::fuzzing;

fuzz_target!(|input: &[u8]| {
    let whole = fuzzing::socks(input, || usize::MAX);
    let single = fuzzing::socks(input, || 1);
    assert_eq!(whole.1, single.1, "how it ends");
    if whole.1.is_some() {
        assert_eq!(whole.0, single.0, "what was said");
    }
    assert!(whole.0.len() < 600, "a proxy cannot make us talk");
});
