//! TLS and HTTP/2 as curl sees them.

mod common;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Running, Scratch, noise};
use oxzmq_web::handlers::{Handlers, Route};
use oxzmq_web::tls::TlsFiles;

/// Makes a certificate for `localhost` that has itself for its issuer.
fn certificate(scratch: &Scratch) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = scratch.write("certificate.pem", made.cert.pem());
    let key = scratch.write("key.pem", made.signing_key.serialize_pem());
    TlsFiles { certificate, key }
}

/// What curl says of a GET, as `status version`, and the body.
fn curl(address: SocketAddr, target: &str, certificate: &Path, options: &[&str]) -> (String, Vec<u8>) {
    curl_from(Stdio::null(), address, target, certificate, options)
}

fn curl_from(
    input: Stdio,
    address: SocketAddr,
    target: &str,
    certificate: &Path,
    options: &[&str],
) -> (String, Vec<u8>) {
    let output = Command::new("curl")
        .stdin(input)
        .args(["--silent", "--show-error", "--max-time", "20", "--write-out", "%{stderr}%{http_code} %{http_version}"])
        .args(["--resolve", &format!("localhost:{}:{}", address.port(), address.ip()), "--cacert"])
        .arg(certificate)
        .args(options)
        .arg(format!("https://localhost:{}{target}", address.port()))
        .output()
        .expect("curl (Debian's package curl)");
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.stdout)
}

#[test]
fn http_1_and_2_within_tls() {
    let site = Scratch::new();
    site.write("root/x", "hello");
    site.write("root/large", noise(5 << 20));
    let files = certificate(&site);
    let any = ([127, 0, 0, 1], 0).into();
    let mut master = Running::with(|config| config.https = Some((any, files.clone())));
    let _worker = master.worker(&site.0.join("root"));
    let https = master.https.unwrap();
    let get = |target: &str, options: &[&str]| curl(https, target, &files.certificate, options);
    assert_eq!(get("/x", &["--http2"]), ("200 2".to_owned(), b"hello".to_vec()));
    assert_eq!(get("/x", &["--http1.1"]), ("200 1.1".to_owned(), b"hello".to_vec()));
    assert!(get("/large", &["--http2"]).1 == noise(5 << 20));
    assert_eq!(get("/large", &["--http2", "--range", "5-9"]), ("206 2".to_owned(), noise(10)[5..].to_vec()));
    assert_eq!(get("/../x", &["--http2", "--path-as-is"]).0, "400 2");
    assert_eq!(get("/x", &["--http2", "--request", "POST", "--data", "a"]).0, "405 2");
    assert_eq!(get("/x", &["--http2", "--header", "Expect: tea"]).0, "417 2");
    assert_eq!(get("/none", &["--http2", "--head"]).0, "404 2");

    // Another certificate, once it is told of it; a broken one changes nothing.
    let tls = master.tls.clone().unwrap();
    std::fs::write(&files.key, "broken").unwrap();
    assert!(tls.reload().unwrap_err().to_string().contains("key.pem"));
    assert_eq!(get("/x", &[]).0, "200 2");
    let old = site.write("old.pem", std::fs::read(&files.certificate).unwrap());
    let files = certificate(&site);
    tls.reload().unwrap();
    assert_eq!(curl(https, "/x", &files.certificate, &[]).0, "200 2");
    assert!(curl(https, "/x", &old, &[]).0.contains("certificate"));
}

#[test]
fn a_body_whose_length_nobody_announced_is_bounded() {
    let site = Scratch::new();
    let files = certificate(&site);
    let long = site.write("long", noise(3 << 20));
    let endpoint = format!("ipc://{}", site.0.join("handlers").display());
    let to = Handlers::Majordomo { endpoint, service: "echo".to_owned() };
    let master = Running::with(|config| {
        config.https = Some((([127, 0, 0, 1], 0).into(), files.clone()));
        config.routes = vec![Route { prefix: "/echo".to_owned(), to }];
    });
    let send = |octets: u64| {
        fs::File::options().write(true).open(&long).unwrap().set_len(octets).unwrap();
        // By a pipe, so that curl does not know how long it is.
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut file = fs::File::open(&long).unwrap();
        let copy = std::thread::spawn(move || drop(std::io::copy(&mut file, &mut writer)));
        let options = ["--http2", "--request", "POST", "--upload-file", "-"];
        let status = curl_from(reader.into(), master.https.unwrap(), "/echo", &files.certificate, &options).0;
        copy.join().unwrap();
        status
    };
    // HTTP/2 takes the answer although the body has not ended.
    assert_eq!(send((1 << 20) + 1), "413 2");
    assert_eq!(send(1 << 20), "503 2", "there is no handler");
}
