//! A stranger's octets to each mechanism and side; however they are cut, the outcome is the same.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use oxzmq_proto::curve::{CurveClient, CurveServer, SecretKey};
use oxzmq_proto::{Handshake, HandshakeConfig, PlainCredentials, Properties, Security, SocketType};

fn random(octets: &mut [u8]) -> bool {
    octets.fill(7);
    true
}

fn config(which: u8) -> HandshakeConfig {
    let secret = || SecretKey::from_bytes([5; 32]);
    let types = [SocketType::Dealer, SocketType::Rep, SocketType::Xpub, SocketType::Sub, SocketType::Pull];
    let mut config = HandshakeConfig::new(types[usize::from(which / 8) % types.len()]);
    config.accept_legacy = which < 128;
    config.authenticate = which % 8 == 1;
    config.security = match which % 8 {
        2 => Security::PlainServer,
        3 => Security::PlainClient(Arc::new(PlainCredentials::new("user", "password").unwrap())),
        4 => Security::CurveServer(Arc::new(CurveServer::new(secret(), random))),
        5 => Security::CurveClient(Arc::new(CurveClient::new([9; 32], secret(), random))),
        _ => Security::Null,
    };
    config
}

/// What comes of these octets in pieces of this size: what was sent, and how it ended.
fn outcome(which: u8, octets: &[u8], piece: usize) -> (Vec<u8>, String) {
    let mut handshake = Handshake::new(config(which));
    let mut sent = Vec::new();
    for piece in octets.chunks(piece) {
        let result = handshake.handle_input(piece);
        let asked = handshake.auth_request().is_some();
        let result = result.and_then(|_| if asked { handshake.authenticate(Ok(Properties::new())) } else { Ok(()) });
        sent.extend_from_slice(handshake.output());
        handshake.advance_output(usize::MAX);
        if let Err(error) = result {
            return (sent, error.to_string());
        }
        if handshake.is_complete() {
            return (sent, format!("complete: {:?}", handshake.finish().properties));
        }
    }
    (sent, "waits".into())
}

fuzz_target!(|input: &[u8]| {
    let Some((&which, octets)) = input.split_first() else { return };
    if octets.is_empty() {
        return;
    }
    let whole = outcome(which, octets, octets.len());
    // A server that asks is answered after each piece, so that only a handshake without questions is the same.
    let asks = matches!(which % 8, 1 | 2 | 4);
    for piece in [1, 7] {
        let cut = outcome(which, octets, piece);
        assert!(asks || cut == whole, "{cut:?} {whole:?}");
    }
});
