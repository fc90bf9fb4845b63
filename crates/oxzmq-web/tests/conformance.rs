//! HTTP as it is written: each row of [`cases`] is sent octet for octet on a connection of its own.

#[path = "conformance/cases.rs"]
mod cases;
mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use cases::{CASES, DATE, TAG};
use common::{Running, Scratch};

/// What becomes of the connection after the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Another request is answered on it.
    Keep,
    /// It ends.
    Close,
}

fn site() -> Scratch {
    let site = Scratch::new();
    site.write("secret.txt", "secret");
    let ten = site.write("root/ten.txt", "0123456789");
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(ten).unwrap().set_modified(modified).unwrap();
    site.write("root/dir/index.html", "the index");
    fs::create_dir(site.0.join("root/bare")).unwrap();
    site.write("root/two words.txt", "two words");
    site.write("root/.hidden", "secret");
    site.write("root/.well-known/x", "well");
    site.write("root/page.html", "a page, and quite a long one");
    site.write("root/page.html.gz", "as if compressed");
    symlink("../secret.txt", site.0.join("root/out")).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let fifo = site.0.join("root/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    site
}

/// One response, read no further than it says it is long.
struct Response {
    status: u16,
    head: String,
    body: String,
}

fn read_response(client: &mut TcpStream, to_head: bool) -> Option<Response> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        // A reset is an end too: the server may have left what we sent unread.
        if !matches!(client.read(&mut octet), Ok(1)) {
            return None;
        }
        head.push(octet[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().filter_map(|line| line.split_once(": "));
    let mut lengths = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let bodiless = to_head || [100, 204, 304].contains(&status);
    let length = if bodiless { 0 } else { lengths.next().map_or(0, |(_, length)| length.parse().unwrap()) };
    let mut body = vec![0; length];
    client.read_exact(&mut body).unwrap();
    Some(Response { status, head, body: String::from_utf8(body).unwrap() })
}

#[test]
fn every_row_of_the_table() {
    assert!(CASES.len() >= 120, "only {} rows", CASES.len());
    let site = site();
    let mut master = Running::start();
    let _worker = master.worker(&site.0.join("root"));
    let mut wrong = Vec::new();
    for &(name, rule, request, status, fate, holds) in CASES {
        let mut client = master.connect();
        client.write_all(request.as_bytes()).unwrap();
        let Some(response) = read_response(&mut client, request.starts_with("HEAD")) else {
            wrong.push(format!("{name} ({rule}): no response"));
            continue;
        };
        if response.status != status {
            wrong.push(format!("{name} ({rule}): {} instead of {status}", response.status));
        }
        let text = format!("{}{}", response.head.to_lowercase(), response.body.to_lowercase());
        let (expected, what) = holds.strip_prefix('!').map_or((true, holds), |what| (false, what));
        if text.contains(&what.to_lowercase()) != expected {
            wrong.push(format!("{name} ({rule}): {holds:?} and {text:?}"));
        }
        let _ = client.write_all(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
        let next = read_response(&mut client, false).map(|response| response.status);
        let found = if next == Some(204) { Fate::Keep } else { Fate::Close };
        if found != fate {
            wrong.push(format!("{name} ({rule}): {found:?} instead of {fate:?} ({next:?})"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

#[test]
fn rows_are_what_the_table_says_of_them() {
    for (index, &(name, ..)) in CASES.iter().enumerate() {
        assert!(CASES[..index].iter().all(|&(other, ..)| other != name), "{name} is there twice");
    }
    let uses =
        |text: &str| CASES.iter().any(|&(_, _, request, _, _, holds)| request.contains(text) || holds.contains(text));
    assert!(uses(TAG) && uses(DATE), "tag and date are those of the file");
}
