//! Frames to a decoder of each version, with and without narrow limits; however they are cut, the same comes out.
#![no_main]

use std::collections::VecDeque;

use libfuzzer_sys::fuzz_target;
use oxzmq_proto::{Control, Decoder, Encoder, Limits, Message, OutBuf, Version};

fn outcome(which: u8, octets: &[u8], piece: usize) -> (VecDeque<Message>, Vec<Control>, Option<String>) {
    let versions = [Version::V1, Version::V1Versioned, Version::V2, Version::V3_0, Version::V3_1];
    let limits = if which < 128 {
        Limits::default()
    } else {
        Limits { max_frame_size: Some(100), max_frames: 5, max_message_size: Some(200) }
    };
    let mut decoder = Decoder::new(versions[usize::from(which) % 5], limits);
    if which & 32 != 0 {
        decoder.validate_replies();
    }
    if which & 64 != 0 {
        decoder.ignore_changes();
    }
    let (mut messages, mut controls) = (VecDeque::new(), Vec::new());
    let mut kept = Vec::new();
    for piece in octets.chunks(piece) {
        kept.extend_from_slice(piece);
        match decoder.decode(&kept, &mut messages, usize::MAX, &mut controls) {
            Ok(used) => drop(kept.drain(..used)),
            Err(error) => return (messages, controls, Some(error.to_string())),
        }
    }
    (messages, controls, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((&which, octets)) = input.split_first() else { return };
    if octets.is_empty() {
        return;
    }
    let whole = outcome(which, octets, octets.len());
    for piece in [1, 5, 64] {
        assert_eq!(outcome(which, octets, piece), whole);
    }
    // What was understood can be said again.
    let mut out = OutBuf::new();
    let mut encoder = Encoder::new(Version::V3_1);
    for message in whole.0 {
        encoder.encode(message, &mut out);
    }
});
