//! Answers of ZAP handlers: whoever is let in was let in by exactly the right words.
#![no_main]

mod frames;

use libfuzzer_sys::fuzz_target;
use oxzmq::{Message, fuzzing};

fuzz_target!(|input: &[u8]| {
    let reply: Message = frames::of(input).collect();
    if fuzzing::zap_lets_in(&reply) {
        let words: Vec<&[u8]> = reply.frames().iter().map(|frame| frame.as_slice()).collect();
        assert_eq!((words.len(), words[0], words[1], words[3]), (7, &b""[..], &b"1.0"[..], &b"200"[..]));
    }
});
