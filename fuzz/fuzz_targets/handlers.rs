//! What handlers of Mongrel2's and Majordomo's kind say, and the responses that they write.
#![no_main]

mod frames;

use libfuzzer_sys::fuzz_target;
use oxzmq_web::fuzzing;

fuzz_target!(|input: &[u8]| {
    if let Some((ids, raw)) = fuzzing::mongrel2(input) {
        assert!(!ids.is_empty() && ids.len() <= 128 && raw <= input.len());
    }
    for head in [false, true] {
        if let Some(end) = fuzzing::response(input, head) {
            assert!(end <= input.len());
        }
    }
    let said: Vec<_> = frames::of(input).collect();
    let messages =
        said.split(|frame| frame == b"|").map(|frames| (frames.len() % 2 == 0, frames.iter().cloned().collect()));
    let (count, sent) = (messages.clone().count(), fuzzing::majordomo(messages));
    assert!(sent <= 4 * count + 4, "a worker cannot make us talk");
});
