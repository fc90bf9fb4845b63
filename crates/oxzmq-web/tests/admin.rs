//! The side door: what it tells, and to whom it does not open.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use common::{LONG, Reply, Running, Scratch};

fn get(admin: SocketAddr, path: &str) -> Reply {
    let mut client = TcpStream::connect(admin).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    Reply::parse(&answer)
}

#[test]
fn the_status_follows_workers_and_requests() {
    let site = Scratch::new();
    site.write("x", "hello");
    let mut master = Running::with(|config| config.admin = Some(([127, 0, 0, 1], 0).into()));
    let admin = master.admin.unwrap();
    assert_eq!((get(admin, "/healthz").status, get(admin, "/readyz").status), (200, 503));
    let worker = master.worker(&site.0);
    assert_eq!(get(admin, "/readyz").status, 200);
    for _ in 0..3 {
        assert_eq!(master.get("/x").status, 200);
    }
    assert_eq!(master.get("/none").status, 404);

    // Requests are counted when their answers are out of the master's hands, a moment after the client has them.
    let deadline = std::time::Instant::now() + LONG;
    let status = loop {
        let status: serde_json::Value = serde_json::from_slice(&get(admin, "/status.json").body).unwrap();
        if status["requests_total"] == 4 {
            break status;
        }
        assert!(std::time::Instant::now() < deadline, "{status}");
    };
    assert_eq!((&status["statuses"]["200"], &status["statuses"]["404"]), (&3.into(), &1.into()));
    let view = &status["workers"][0];
    assert_eq!((&view["state"], &view["done"], &view["octets"]), (&"at work".into(), &4.into(), &15.into()));
    assert!(view["p99_ms"].as_f64().unwrap() > 0.0);

    let metrics = get(admin, "/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = metrics.text();
    for line in ["oxzmq_requests_total{status=\"200\"} 3", "oxzmq_workers 1", "oxzmq_request_duration_seconds_count 4"]
    {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let mut names = std::collections::HashSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok() && names.insert(series), "{line}");
    }
    drop(worker);
    master.news();
    assert_eq!(get(admin, "/readyz").status, 503);
}

#[test]
fn what_the_parser_refuses_is_counted() {
    let master = Running::with(|config| config.admin = Some(([127, 0, 0, 1], 0).into()));
    let refused = [
        ("GET / HTTP/1.1\r\nHost : x\r\n\r\n".to_owned(), "400"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(200)), "431"),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(70_000)), "414"),
    ];
    for (request, status) in &refused {
        assert_eq!(master.raw(request).status.to_string(), *status);
    }
    let deadline = std::time::Instant::now() + LONG;
    loop {
        let status: serde_json::Value =
            serde_json::from_slice(&get(master.admin.unwrap(), "/status.json").body).unwrap();
        if status["requests_total"] == 4 {
            assert_eq!(status["statuses"], serde_json::json!({"400": 2, "414": 1, "431": 1}));
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{status}");
    }
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let master = Running::with(|config| config.admin = Some(([127, 0, 0, 1], 0).into()));
    let page = get(master.admin.unwrap(), "/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    let text = page.text().replace("http://www.w3.org/2000/svg", "");
    assert!(!text.contains("http://") && !text.contains("https://"), "an address of somebody else");
    assert_eq!(get(master.admin.unwrap(), "/../etc/passwd").status, 404);
}
