//! What clients see while all goes well.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use common::{LONG, Running, Scratch, noise};

fn site() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("root/index.html", "<h1>home</h1>");
    scratch.write("root/ten.txt", "0123456789");
    scratch.write("root/sub dir/index.html", "sub");
    scratch.write("root/empty", "");
    scratch.write("root/.secret", "hidden");
    scratch.write("root-secret/x", "outside");
    scratch.write("outside.txt", "outside");
    scratch
}

#[test]
fn files_indexes_and_directories() {
    let (site, mut master) = (site(), Running::start());
    let _worker = master.worker(&site.0.join("root"));

    let home = master.get("/");
    assert_eq!((home.status, home.text().as_str()), (200, "<h1>home</h1>"));
    assert_eq!(home.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(home.header("x-content-type-options"), Some("nosniff"));
    assert!(home.header("etag").unwrap().starts_with('"'));
    assert!(home.header("date").is_some() && home.header("last-modified").is_some());

    assert_eq!(master.get("/ten.txt?query=ignored").text(), "0123456789");
    assert_eq!(master.get("/sub%20dir/").text(), "sub");
    assert_eq!(master.get("/empty").length(), 0);
    assert_eq!(master.get("/none").status, 404);
    assert_eq!(master.get("/.secret").status, 404);
    assert_eq!(master.get("http://other/ten.txt").text(), "0123456789");

    let moved = master.get("/sub%20dir?a=b");
    assert_eq!((moved.status, moved.header("location")), (301, Some("/sub%20dir/?a=b")));
}

#[test]
fn head_tells_everything_and_sends_nothing() {
    let (site, mut master) = (site(), Running::start());
    let _worker = master.worker(&site.0.join("root"));
    for target in ["/ten.txt", "/none", "/sub%20dir"] {
        let (get, head) = (master.get(target), master.send("HEAD", target, ""));
        assert_eq!(head.body, b"", "{target}");
        assert_eq!((head.status, head.length()), (get.status, get.length()), "{target}");
        assert_eq!(head.header("etag"), get.header("etag"), "{target}");
    }
}

#[test]
fn each_host_has_a_site_of_its_own() {
    let (site, mut master) = (Scratch::new(), Running::with(|config| config.by_host = true));
    site.write("root/a.example/index.html", "the first");
    site.write("root/a.example/sub/page", "below the first");
    site.write("root/b.example/index.html", "the second");
    site.write("root/.hidden/index.html", "secret");
    site.write("root/index.html", "nobody's");
    let _worker = master.worker(&site.0.join("root"));
    let get = |host: &str, target: &str| {
        master.raw(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    };
    for (host, target, text) in [
        ("a.example", "/", "the first"),
        ("A.Example.:8080", "/", "the first"),
        ("b.example", "/", "the second"),
        ("a.example", "/sub/page", "below the first"),
        ("a.example", "http://b.example/", "the second"),
    ] {
        let reply = get(host, target);
        assert_eq!((reply.status, reply.text().as_str()), (200, text), "{target} of {host}");
    }
    for (host, target) in [
        ("c.example", "/"),
        ("", "/"),
        ("[::1]", "/"),
        (".hidden", "/"),
        ("..", "/"),
        ("index.html", "/"),
        ("b.example", "/sub/page"),
        ("a.example", "//b.example/index.html"),
    ] {
        assert_eq!(get(host, target).status, 404, "{target} of {host}");
    }
    assert_eq!(get("a.example", "/../b.example/index.html").status, 400);
    assert_eq!(master.raw("GET / HTTP/1.0\r\n\r\n").status, 404);
    let moved = get("a.example", "/sub?x");
    assert_eq!((moved.status, moved.header("location")), (301, Some("/sub/?x")));
    assert_eq!(get("a.example", &format!("/{}", "x".repeat(4090))).status, 414);
}

#[test]
fn an_empty_directory_says_what_to_do() {
    let (scratch, mut master) = (Scratch::new(), Running::start());
    let _worker = master.worker(&scratch.0);
    let page = master.get("/");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("index.html"));
    scratch.write("index.html", "mine");
    assert_eq!(master.get("/").text(), "mine");
}

#[test]
fn nothing_outside_the_directory_is_served() {
    let (site, mut master) = (site(), Running::start());
    let root = site.0.join("root");
    symlink("../outside.txt", root.join("relative")).unwrap();
    symlink(site.0.join("outside.txt"), root.join("absolute")).unwrap();
    symlink("..", root.join("up")).unwrap();
    let _worker = master.worker(&root);
    for target in [
        "/../outside.txt",
        "/sub%20dir/../../outside.txt",
        "/%2e%2e/outside.txt",
        "/..%2foutside.txt",
        "/%2e%2e%2foutside.txt",
        "/..%5coutside.txt",
        "/%252e%252e/outside.txt",
        "/../root-secret/x",
        "/relative",
        "/absolute",
        "/up/outside.txt",
        "//outside.txt",
        "/ten.txt/../../outside.txt",
        "/ten.txt%00.html",
        "/%c0%ae%c0%ae/outside.txt",
        "/./../outside.txt",
        "/....//outside.txt",
        "/..;/outside.txt",
    ] {
        let reply = master.get(target);
        assert!([400, 404].contains(&reply.status), "{target}: {}", reply.status);
        assert!(!reply.text().contains("outside"), "{target}");
    }
}

#[test]
fn a_fifo_is_not_waited_for() {
    let (site, mut master) = (site(), Running::start());
    let fifo = site.0.join("root/fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let _worker = master.worker(&site.0.join("root"));
    assert_eq!(master.get("/fifo").status, 404);
}

#[test]
fn methods() {
    let (site, mut master) = (site(), Running::start());
    let _worker = master.worker(&site.0.join("root"));
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
        let reply = master.send(method, "/", "");
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD, OPTIONS")), "{method}");
    }
    assert_eq!(master.send("OPTIONS", "*", "").header("allow"), Some("GET, HEAD, OPTIONS"));
    assert_eq!(master.send("BREW", "/", "").status, 501);
}

#[test]
fn nonsense_is_answered_400() {
    let master = Running::start();
    let host = "Host: x\r\n";
    for request in [
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\n{host}A: b\rC: d\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}A: b\0d\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}Content-Length: +5\r\n\r\nhello"),
        format!("GET / HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        format!("GET / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n"),
        format!("GET /% HTTP/1.1\r\n{host}Connection: close\r\n\r\n"),
        format!("GET /a%2fb HTTP/1.1\r\n{host}Connection: close\r\n\r\n"),
        format!("GET * HTTP/1.1\r\n{host}Connection: close\r\n\r\n"),
        "\x16\x03\x01\x02\r\n\r\n".to_owned(),
    ] {
        assert_eq!(master.raw(&request).status, 400, "{request:?}");
    }
    let long = "a".repeat(5000);
    assert_eq!(master.get(&format!("/{long}")).status, 414);
    assert_eq!(master.send("GET", "/", &format!("A: {long}{long}{long}{long}{long}{long}{long}\r\n")).status, 431);
}

#[test]
fn parts_of_a_file() {
    let (site, mut master) = (site(), Running::start());
    let _worker = master.worker(&site.0.join("root"));
    let range = |range: &str| master.send("GET", "/ten.txt", &format!("Range: {range}\r\n"));
    for (asked, sent, content) in [
        ("bytes=0-0", "bytes 0-0/10", "0"),
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-2", "bytes 8-9/10", "89"),
        ("bytes=5-1000", "bytes 5-9/10", "56789"),
    ] {
        let reply = range(asked);
        assert_eq!((reply.status, reply.header("content-range")), (206, Some(sent)), "{asked}");
        assert_eq!((reply.text().as_str(), reply.length()), (content, content.len()), "{asked}");
    }
    let beyond = range("bytes=10-");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */10")));
    let several = range("bytes=0-1,3-4");
    assert_eq!((several.status, several.body.len()), (206, several.length()));
    let boundary = several.header("content-type").unwrap().rsplit_once('=').unwrap().1.to_owned();
    let texts: Vec<String> = several.text().split(&boundary).skip(1).map(str::to_owned).collect();
    let part = |range: &str, digits: &str| {
        format!("\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {range}/10\r\n\r\n{digits}\r\n--")
    };
    assert_eq!(texts, [part("0-1", "01"), part("3-4", "34"), "--\r\n".to_owned()]);
    assert_eq!(master.send("HEAD", "/ten.txt", "Range: bytes=0-1\r\n").length(), 10);
}

#[test]
fn what_the_client_has_is_not_sent_again() {
    let (site, mut master) = (site(), Running::start());
    let _worker = master.worker(&site.0.join("root"));
    let first = master.get("/ten.txt");
    let (etag, modified) = (first.header("etag").unwrap(), first.header("last-modified").unwrap());

    let again = master.send("GET", "/ten.txt", &format!("If-None-Match: \"x\", W/{etag}\r\n"));
    assert_eq!((again.status, again.header("etag"), again.body.len()), (304, Some(etag), 0));
    assert_eq!(master.send("GET", "/ten.txt", &format!("If-Modified-Since: {modified}\r\n")).status, 304);
    assert_eq!(master.send("GET", "/ten.txt", "If-Match: \"x\"\r\n").status, 412);
    let part = master.send("GET", "/ten.txt", &format!("Range: bytes=1-1\r\nIf-Range: {etag}\r\n"));
    assert_eq!((part.status, part.text().as_str()), (206, "1"));

    // Same size, another nanosecond: another version.
    let file = fs::File::options().write(true).open(site.0.join("root/ten.txt")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 1)).unwrap();
    let changed = master.send("GET", "/ten.txt", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((changed.status, changed.text().as_str()), (200, "0123456789"));
    let whole = master.send("GET", "/ten.txt", &format!("Range: bytes=1-1\r\nIf-Range: {etag}\r\n"));
    assert_eq!((whole.status, whole.body.len()), (200, 10));
}

#[test]
fn large_files_arrive_whole_however_they_are_read() {
    let (site, mut master) = (site(), Running::start());
    let content = noise(20 << 20 | 4711);
    site.write("root/large", &content);
    let _worker = master.worker(&site.0.join("root"));
    assert!(master.get("/large").body == content);

    let part = master.send("GET", "/large", "Range: bytes=1000000-19000000\r\n");
    assert!(part.body == content[1_000_000..=19_000_000]);

    // In small sips, several at the same time.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = master.connect();
                client.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
                let (mut answer, mut sip) = (Vec::new(), [0; 10_000]);
                loop {
                    match client.read(&mut sip).unwrap() {
                        0 => break,
                        length => answer.extend(&sip[..length]),
                    }
                }
                assert!(answer.ends_with(&content));
            });
        }
    });
}

#[test]
fn connections_are_kept_and_pipelined_requests_answered_in_order() {
    let (site, mut master) = (site(), Running::start());
    for n in 0..20 {
        site.write(&format!("root/{n}"), format!("<{n}>"));
    }
    let _workers = [master.worker(&site.0.join("root")), master.worker(&site.0.join("root"))];
    let mut client = master.connect();
    let mut expected = String::new();
    let mut requests = String::new();
    for n in 0..20 {
        let close = if n == 19 { "Connection: close\r\n" } else { "" };
        requests += &format!("GET /{n} HTTP/1.1\r\nHost: x\r\n{close}\r\n");
        expected += &format!("<{n}>");
    }
    client.write_all(requests.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let bodies: String = answer.split("\r\n\r\n").skip(1).filter_map(|part| part.split("HTTP/1.1").next()).collect();
    assert_eq!(bodies, expected);

    // HTTP/1.0 closes unless asked otherwise.
    assert_eq!(master.raw("GET /1 HTTP/1.0\r\n\r\n").text(), "<1>");
    let mut client = master.connect();
    for _ in 0..2 {
        client.write_all(b"GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"<1>") {
            let mut octet = [0];
            client.read_exact(&mut octet).unwrap();
            answer.extend(octet);
        }
    }
}

#[test]
fn a_client_that_says_nothing_is_disconnected() {
    let master = Running::with(|config| config.header_timeout = Duration::from_millis(100));
    let mut client = master.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{answer:?}");
}

#[test]
fn a_client_that_takes_nothing_is_disconnected_and_its_worker_freed() {
    let site = site();
    let mut master = Running::with(|config| config.write_timeout = Duration::from_millis(100));
    let script = master.script("w", 1);
    let mut client = master.connect();
    client.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    // A file that never ends, to a client that never reads.
    let (id, _, _) = script.request();
    let size = 1 << 40;
    let version = oxzmq_web::envelope::Version { size, ..common::FILE };
    let head = oxzmq_web::envelope::Head::part(version, 0, size, "");
    script.say(oxzmq_web::envelope::ToMaster::Head(id, head, vec![0; 100_000].into()));
    let mut credit = 512 * 1024 - 100_000_u32;
    loop {
        while credit >= 65536 {
            credit -= 65536;
            script.say(oxzmq_web::envelope::ToMaster::Chunk(id, vec![0; 65536].into()));
        }
        match script.hear() {
            oxzmq_web::envelope::ToWorker::Grant(_, more) => credit += more,
            oxzmq_web::envelope::ToWorker::Cancel(cancelled) => {
                assert_eq!(cancelled, id);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    drop(site);
}
