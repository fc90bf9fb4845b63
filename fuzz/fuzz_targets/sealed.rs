//! A peer that has come in by CURVE: what it seals, changed or not, and what it does not seal.
#![no_main]

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use libfuzzer_sys::fuzz_target;
use oxzmq_proto::curve::{CurveClient, CurveServer, SecretKey};
use oxzmq_proto::{Established, Handshake, HandshakeConfig, Limits, Message, OutBuf, Properties, Security, SocketType};

/// The connection's keys follow from the input. The fuzzer sees what is compared, right tags of boxes among it, and would
/// learn to forge them if they stayed the same.
static SEED: AtomicU64 = AtomicU64::new(0);

fn random(octets: &mut [u8]) -> bool {
    octets.iter_mut().zip(SEED.load(Ordering::Relaxed).to_le_bytes().iter().cycle()).for_each(|(to, from)| *to = *from);
    true
}

fn pump(from: &mut Handshake, to: &mut Handshake) {
    let output = from.output().to_vec();
    from.advance_output(usize::MAX);
    to.handle_input(&output).unwrap();
    to.authenticate(Ok(Properties::new())).unwrap();
}

/// A client's and a server's end, ready for traffic.
fn connection() -> (Established, Established) {
    let secret = SecretKey::from_bytes([5; 32]);
    let public = secret.public_key();
    let mut config = HandshakeConfig::new(SocketType::Dealer);
    config.limits = Limits { max_frame_size: Some(1000), ..Limits::default() };
    config.security = Security::CurveServer(Arc::new(CurveServer::new(secret, random)));
    let mut server = Handshake::new(config.clone());
    config.security = Security::CurveClient(Arc::new(CurveClient::new(public, SecretKey::from_bytes([6; 32]), random)));
    let mut client = Handshake::new(config);
    while !(client.is_complete() && server.is_complete()) {
        pump(&mut client, &mut server);
        pump(&mut server, &mut client);
    }
    (client.finish(), server.finish())
}

fuzz_target!(|input: &[u8]| {
    let Some((&how, data)) = input.split_first() else { return };
    let mut hasher = DefaultHasher::new();
    hasher.write(input);
    SEED.store(hasher.finish(), Ordering::Relaxed);
    let (mut client, mut server) = connection();
    let mut out = OutBuf::new();
    let body = &data[..data.len().min(2000)];
    client.encoder.encode(Message::from(body), &mut out);
    client.encoder.encode(Message::from([body, body]), &mut out);
    let mut wire = Vec::new();
    while !out.is_empty() {
        let slice = out.first_slice().to_vec();
        out.advance(slice.len());
        wire.extend_from_slice(&slice);
    }
    let good = wire.clone();
    match how % 3 {
        0 => {}
        1 => {
            for pair in data.chunks_exact(3) {
                let at = usize::from(u16::from_be_bytes([pair[0], pair[1]])) % wire.len();
                wire[at] ^= pair[2];
            }
        }
        _ => wire = data.to_vec(),
    }
    let (mut messages, mut controls) = (VecDeque::new(), Vec::new());
    let result = server.decoder.decode(&wire, &mut messages, usize::MAX, &mut controls);
    if wire == good {
        assert_eq!(result.is_ok(), body.len() <= 1000);
    }
    // Nothing that was not sealed is delivered.
    for message in messages {
        assert!(message.frames().iter().all(|frame| **frame == *body));
    }
});
