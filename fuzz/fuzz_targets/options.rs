//! Options by number, Z85, and endpoints: what applications pass on from elsewhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oxzmq::curve::z85;
use oxzmq::{Context, OPTIONS, OptionValue, SocketType};

fuzz_target!(|input: &[u8]| {
    let [which, rest @ ..] = input else { return };
    if let Ok(text) = std::str::from_utf8(rest) {
        if let Ok(octets) = z85::decode(text) {
            assert_eq!(z85::encode(&octets).unwrap(), text);
        }
    }
    let types = [SocketType::Pub, SocketType::Router, SocketType::Req, SocketType::Dealer, SocketType::Stream];
    let context = Context::builder().io_threads(0).build();
    let Ok(socket) = context.socket(types[usize::from(*which) % types.len()]) else { return };
    let option = &OPTIONS[usize::from(*which) % OPTIONS.len()];
    let int = rest.first_chunk().map(|octets| i32::from_le_bytes(*octets));
    let long = rest.first_chunk().map(|octets| i64::from_le_bytes(*octets));
    let _ = socket.set_option(option, OptionValue::from(rest));
    if let (Some(int), Some(long)) = (int, long) {
        let _ = socket.set_option(option, int);
        let _ = socket.set_option(option, OptionValue::Long(long));
        let _ = socket.set_option(option, OptionValue::Unsigned(long as u64));
    }
    let _ = socket.option(option);
    if let Ok(text) = std::str::from_utf8(rest) {
        // Without I/O threads, what is parsed goes no further.
        let _ = socket.connect(text);
        // But a path that is bound exists: it would stay behind.
        if !text.to_ascii_lowercase().starts_with("ipc:") {
            let _ = socket.bind(text);
        }
    }
});
