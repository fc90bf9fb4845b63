//! Certificates for tests of TLS, and sockets that have them.

#![allow(dead_code)] // every test file uses another part

use std::sync::LazyLock;

use oxzmq::{Socket, SocketType};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair as TlsKey, PKCS_ECDSA_P256_SHA256};

use crate::common::*;

/// An issuer, and what it has issued for `localhost`, 127.0.0.1 and `other.example`; all in PEM.
pub(crate) struct Certificates {
    pub(crate) issuer: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

pub(crate) static OURS: LazyLock<Certificates> = LazyLock::new(Certificates::new);

impl Certificates {
    pub(crate) fn new() -> Self {
        let issuer_key = TlsKey::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "the issuer");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = params.self_signed(&issuer_key).unwrap().pem();
        let key = TlsKey::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let names = ["localhost", "127.0.0.1", "other.example"].map(String::from).to_vec();
        let params_of_server = CertificateParams::new(names).unwrap();
        let certificate = params_of_server.signed_by(&key, &Issuer::new(params, issuer_key)).unwrap().pem();
        Self { issuer, certificate, key: key.serialize_pem() }
    }
}

pub(crate) fn listening(context: &TestContext, socket_type: SocketType) -> Socket {
    let socket = context.socket(socket_type);
    socket.set_wss_key(&OURS.key).unwrap();
    socket.set_wss_certificate(&OURS.certificate).unwrap();
    socket
}

pub(crate) fn trusting(context: &TestContext, socket_type: SocketType) -> Socket {
    let socket = context.socket(socket_type);
    socket.set_wss_trusted(&OURS.issuer).unwrap();
    socket
}

/// A bound socket and one that has connected to it.
pub(crate) fn pair(context: &TestContext, bound: SocketType, connected: SocketType) -> (Socket, Socket, String) {
    let (bound, connected) = (listening(context, bound), trusting(context, connected));
    let endpoint = bound.bind("wss://127.0.0.1:*").unwrap();
    connect_and_wait(&connected, &bound, &endpoint);
    (bound, connected, endpoint)
}
