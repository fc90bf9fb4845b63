//! Workers in another language, over libzmq. Needs Debian's python3-zmq.

mod common;

use std::fs;
use std::process::{Child, Command, Stdio};

use common::{Running, Scratch, noise};

/// A program that ends with the test.
struct Program(Child);

impl Program {
    fn start(script: &str, arguments: &[&str]) -> Self {
        let python = std::env::var("OXZMQ_TEST_PYTHON").unwrap_or("/usr/bin/python3".into());
        let path = format!("{}/{script}", env!("CARGO_MANIFEST_DIR"));
        assert!(fs::exists(&path).unwrap(), "{path} is missing");
        let child = Command::new(&python).arg(path).args(arguments).stdin(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| {
            panic!("{python}: {error}; install Debian's python3-zmq (OXZMQ_TEST_PYTHON names another Python)")
        }))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn site() -> Scratch {
    let site = Scratch::new();
    site.write("secret", "secret");
    site.write("root/index.html", "the index");
    site.write("root/sub/index.html", "below");
    site.write("root/large", noise(3 << 20));
    site
}

#[test]
fn a_worker_in_python() {
    let (site, mut master) = (site(), Running::start());
    let root = site.0.join("root");
    let first = Program::start("../../examples/python/webworker.py", &[&master.endpoint, root.to_str().unwrap()]);
    assert_eq!(master.joined(), first.0.id());
    let index = master.get("/");
    assert_eq!(
        (index.status, index.text().as_str(), index.header("content-type")),
        (200, "the index", Some("text/html"))
    );
    assert_eq!(master.get("/sub").header("location"), Some("/sub/"));
    assert_eq!(master.get("/sub/").text(), "below");
    assert_eq!(master.get("/none").status, 404);
    assert_eq!(master.send("HEAD", "/large", "").length(), 3 << 20);
    assert!(master.get("/large").body == noise(3 << 20));
    let part = master.send("GET", "/large", "Range: bytes=1000000-2999999\r\n");
    assert!(part.body == noise(3 << 20)[1_000_000..3_000_000]);
    // It and one of ours have the same versions: what one has begun the other could end.
    let etag = index.header("etag").unwrap().to_owned();
    drop(first);
    let mut next = master.news();
    while !matches!(next, oxzmq_web::pool::News::Left { .. }) {
        next = master.news();
    }
    let _ours = master.worker(&root);
    assert_eq!(master.get("/").header("etag"), Some(etag.as_str()));
}
