//! Clients of HTTP/2 that keep a connection, and others' places, for nothing. Frames are written by hand, as no
//! well-behaved client would.

mod common;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use common::{LONG, Running, Scratch, noise};
use oxzmq_web::config::MasterConfig;
use oxzmq_web::tls::TlsFiles;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// `ACK` of SETTINGS and PING, `END_STREAM` of HEADERS and DATA.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Short, as a test has to wait for it.
const SHORT: Duration = Duration::from_millis(200);

struct Client(TlsStream<TcpStream>);

impl Client {
    async fn connect(master: &Running, certificate: rcgen::Certificate) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(master.https.unwrap()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        Self(TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap())
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        // Who was disconnected finds out by reading.
        let _ = self.0.write_all(&frame).await;
    }

    /// Greets, with a window of so many octets for each answer.
    async fn greet(&mut self, window: u32) {
        self.0.write_all(PREFACE).await.unwrap();
        let setting = [&[0, 4][..], &window.to_be_bytes()].concat();
        self.frame(SETTINGS, 0, 0, &setting).await;
    }

    async fn get(&mut self, stream: u32, path: &str) {
        // GET, https and an authority from the static table, the path as it is.
        let mut head = vec![0x82, 0x87, 0x41, 1, b'x', 0x04, u8::try_from(path.len()).unwrap()];
        head.extend(path.bytes());
        self.frame(HEADERS, END_HEADERS | END_STREAM, stream, &head).await;
    }

    async fn grant(&mut self, stream: u32, octets: u32) {
        self.frame(WINDOW_UPDATE, 0, 0, &octets.to_be_bytes()).await;
        self.frame(WINDOW_UPDATE, 0, stream, &octets.to_be_bytes()).await;
    }

    /// The next frame but for settings and pings, which are answered, and room for what is not sent; `None` at the end.
    async fn next(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.0.read_exact(&mut payload).await.ok()?;
            match (head[3], head[4]) {
                (SETTINGS | PING, ACK) | (WINDOW_UPDATE, _) => {}
                (SETTINGS, _) => self.frame(SETTINGS, ACK, 0, &[]).await,
                (PING, _) => self.frame(PING, ACK, 0, &payload).await,
                (kind, flags) => return Some((kind, flags, payload)),
            }
        }
    }

    /// The types of the frames until the end.
    async fn rest(&mut self) -> Vec<u8> {
        let mut kinds = Vec::new();
        while let Some((kind, ..)) = self.next().await {
            kinds.push(kind);
        }
        kinds
    }
}

/// A master with a site and a short patience, and a client of it.
fn meet<F: Future>(change: impl FnOnce(&mut MasterConfig), talk: impl FnOnce(Client) -> F) {
    let site = Scratch::new();
    site.write("root/x", "hello");
    site.write("root/large", noise(1 << 20));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = site.write("certificate.pem", made.cert.pem());
    let key = site.write("key.pem", made.signing_key.serialize_pem());
    let mut master = Running::with(|config| {
        config.https = Some((([127, 0, 0, 1], 0).into(), TlsFiles { certificate, key }));
        change(config);
    });
    let _worker = master.worker(&fs::canonicalize(site.0.join("root")).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let talk = async { talk(Client::connect(&master, made.cert).await).await };
        tokio::time::timeout(LONG, talk).await.expect("an end in time");
    });
}

#[test]
fn a_connection_without_requests_ends() {
    // It also bounds the handshake of TLS, which a busy machine takes its time for.
    let short = |config: &mut MasterConfig| config.header_timeout = 5 * SHORT;
    meet(short, |mut client| async move {
        client.greet(65_535).await;
        client.get(1, "/x").await;
        assert_eq!(
            client.rest().await,
            [HEADERS, DATA, GOAWAY, GOAWAY],
            "twice: when it begins, and when it has ended"
        );
    });
    meet(short, |mut client| async move {
        assert!(!client.rest().await.contains(&HEADERS), "not even a greeting");
    });
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_is_disconnected_however_busy_it_is() {
    meet(
        |config| config.write_timeout = SHORT,
        |mut client| async move {
            client.greet(0).await;
            client.get(1, "/large").await;
            assert_eq!(client.next().await.unwrap().0, HEADERS);
            loop {
                client.frame(PING, 0, 0, &[0; 8]).await;
                let next = tokio::time::timeout(SHORT / 10, client.next()).await;
                if let Ok(None) = next {
                    break;
                }
                assert!(!matches!(next, Ok(Some((DATA, ..)))), "it took something");
            }
        },
    );
}

#[test]
fn a_client_that_takes_its_time_gets_everything() {
    meet(
        |config| (config.write_timeout, config.header_timeout) = (5 * SHORT, 5 * SHORT),
        |mut client| async move {
            client.greet(64 * 1024).await;
            client.get(1, "/large").await;
            let (mut got, mut taken) = (Vec::new(), 0);
            loop {
                let (kind, flags, payload) = client.next().await.expect("it is not cut");
                if kind == DATA {
                    got.extend(payload);
                    if flags & END_STREAM != 0 {
                        break;
                    }
                    let since = got.len() - taken;
                    if since >= 48 * 1024 {
                        taken = got.len();
                        tokio::time::sleep(SHORT / 2).await; // longer than the timeouts, taken together
                        client.grant(1, u32::try_from(since).unwrap()).await;
                    }
                }
            }
            assert!(got == noise(1 << 20));
        },
    );
}
