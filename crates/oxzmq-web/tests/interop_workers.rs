//! Workers in another language, over libzmq. Needs Debian's python3-zmq.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{LONG, Reply, Running, Scratch, noise};
use oxzmq_web::handlers::{Form, Handlers, Route};

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

/// Two endpoints that nobody uses.
fn route(site: &Scratch, form: Form) -> Route {
    let endpoint = |name: &str| format!("ipc://{}", site.0.join(name).display());
    let (prefix, ident) = ("/app".to_owned(), "the-server".to_owned());
    let to = Handlers::Mongrel2 { requests: endpoint("requests"), replies: endpoint("replies"), ident, form };
    Route { prefix, to }
}

/// The first reply of a publisher may come before it knows of its subscriber: then the request is made again.
fn until_answered(master: &Running, target: &str) -> Reply {
    let deadline = Instant::now() + LONG;
    while Instant::now() < deadline {
        let mut client = master.connect();
        client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        client.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        if client.read_to_end(&mut answer).is_ok() && answer.starts_with(b"HTTP/1.1 200") {
            return Reply::parse(&answer);
        }
    }
    panic!("no answer in time");
}

#[test]
fn a_handler_of_mongrel2() {
    for form in [Form::Json, Form::Tnetstring] {
        let site = site();
        let route = route(&site, form);
        let Handlers::Mongrel2 { requests, replies, .. } = route.to.clone() else { unreachable!() };
        let mut master = Running::with(|config| config.routes = vec![route.clone()]);
        let _worker = master.worker(&site.0.join("root"));
        assert_eq!(master.get("/app").status, 503, "no handler yet");
        let _handler = Program::start("tests/peers/mongrel2_handler.py", &[&requests, &replies]);
        until_answered(&master, "/app");

        let reply = master.raw(
            "POST /app/x%20y?q=1 HTTP/1.1\r\nHost: x\r\nA: 1\r\nA: 2\r\nX-Mongrel2-Upload-Done: /etc/passwd\r\n\
             Connection: close\r\nContent-Length: 5\r\n\r\nhello",
        );
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
        let told: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(
            (&told["path"], &told["body"], &told["sender"]),
            (&"/app/x%20y".into(), &"hello".into(), &"the-server".into())
        );
        let headers = &told["headers"];
        assert_eq!(
            (&headers["METHOD"], &headers["QUERY"], &headers["PATTERN"]),
            (&"POST".into(), &"q=1".into(), &"/app".into())
        );
        assert_eq!((&headers["URI"], &headers["REMOTE_ADDR"]), (&"/app/x%20y?q=1".into(), &"127.0.0.1".into()));
        assert_eq!(headers["a"], serde_json::json!(["1", "2"]));
        assert!(headers.get("x-mongrel2-upload-done").is_none(), "a client cannot name files to the handler");

        // No length: it ends with the connection, or in chunks.
        assert_eq!(master.raw("GET /app/pieces HTTP/1.0\r\n\r\n").text(), "one two three");
        // Whoever leaves is told of; whoever was answered is not.
        let mut client = master.connect();
        client.write_all(b"GET /app/silence HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let until = |what: &dyn Fn(&serde_json::Value) -> bool| {
            let deadline = Instant::now() + LONG;
            while !what(&serde_json::from_slice(&master.get("/app/who").body).unwrap()) {
                assert!(Instant::now() < deadline, "the handler is not told");
            }
        };
        let first_silent = |told: &serde_json::Value| told["silent"].get(0).cloned();
        until(&|told| first_silent(told).is_some());
        drop(client);
        // Those whose answers came before the handler had subscribed may have left, too.
        until(&|told| told["departed"].as_array().unwrap().contains(&first_silent(told).unwrap()));
        // Files are files.
        assert_eq!(master.get("/sub/").text(), "below");
        assert_eq!(master.get("/apple").status, 404);
    }
}

#[test]
fn workers_of_majordomo() {
    let site = site();
    let endpoint = format!("ipc://{}", site.0.join("majordomo").display());
    let to = Handlers::Majordomo { endpoint: endpoint.clone(), service: "echo".to_owned() };
    let route = Route { prefix: "/echo".to_owned(), to };
    let master = Running::with(|config| config.routes = vec![route]);
    assert_eq!(master.get("/echo").status, 503, "no worker yet");
    let first = Program::start("tests/peers/majordomo_worker.py", &[&endpoint, "echo"]);
    let deadline = Instant::now() + LONG;
    while master.get("/echo").status == 503 {
        assert!(Instant::now() < deadline, "the worker does not come");
    }
    let reply = master.send("POST", "/echo/x?y", "Content-Length: 0\r\n");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/octet-stream")));
    assert!(reply.text().contains("POST|/echo/x?y|{"), "{}", reply.text());
    let whole = master.get("/echo/whole");
    assert_eq!((whole.status, whole.text().as_str()), (418, "short and stout"));

    // A request in the hands of a worker that dies goes to another.
    let waiting = {
        let mut client = master.connect();
        client.write_all(b"GET /echo/die HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        client
    };
    drop(first);
    let _second = Program::start("tests/peers/majordomo_worker.py", &[&endpoint, "echo", "immortal"]);
    let mut waiting = waiting;
    let mut answer = Vec::new();
    waiting.read_to_end(&mut answer).unwrap();
    // It died with the request in hand, or before it had got it: in either case somebody is told at once or answers.
    assert!([200, 503].contains(&Reply::parse(&answer).status));
    let deadline = Instant::now() + LONG;
    while master.get("/echo").status == 503 {
        assert!(Instant::now() < deadline, "the second worker does not come");
    }
}
