//! Commands to a CURVE server that waits for INITIATE, or for its authenticator.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use oxzmq_proto::curve::{CurveClient, CurveServer, SecretKey};
use oxzmq_proto::{Handshake, HandshakeConfig, Properties, Security, SocketType};

fn random(octets: &mut [u8]) -> bool {
    octets.fill(7);
    true
}

fuzz_target!(|input: &[u8]| {
    let Some((&what, rest)) = input.split_first() else { return };
    let secret = SecretKey::from_bytes([5; 32]);
    let public = secret.public_key();
    let mut config = HandshakeConfig::new(SocketType::Pull);
    config.security = Security::CurveServer(Arc::new(CurveServer::new(secret, random)));
    let mut server = Handshake::new(config);
    let mut config = HandshakeConfig::new(SocketType::Push);
    config.security = Security::CurveClient(Arc::new(CurveClient::new(public, SecretKey::from_bytes([6; 32]), random)));
    let mut client = Handshake::new(config);
    let mut initiate = Vec::new();
    for _ in 0..6 {
        initiate = client.output().to_vec();
        client.advance_output(usize::MAX);
        if initiate.windows(9).any(|part| part == b"\x08INITIATE") {
            break;
        }
        server.handle_input(&initiate).unwrap();
        let output = server.output().to_vec();
        server.advance_output(usize::MAX);
        client.handle_input(&output).unwrap();
    }
    if what % 2 == 0 {
        // Something else, or INITIATE with octets changed: each pair of the input is where and how.
        let mut changed = initiate.clone();
        for pair in rest.chunks_exact(2) {
            let at = usize::from(pair[0]) * (1 + usize::from(what / 2)) % changed.len();
            changed[at] ^= pair[1];
        }
        let is_same = changed == initiate;
        let accepted = server.handle_input(&changed).is_ok() && server.auth_request().is_some();
        // Flags that nobody looks at may differ; what is in the frame may not.
        assert!(!accepted || is_same || changed[1..] == initiate[1..], "a changed INITIATE was accepted");
    } else {
        let _ = server.handle_input(rest);
        let _ = server.authenticate(Ok(Properties::new()));
        let _ = server.handle_input(rest);
    }
});
