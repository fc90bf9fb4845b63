//! `oxzmq serve`, `master` and `worker` as processes: how they start, what they refuse, how they end.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tempfile::TempDir;

/// Longest wait for anything. Reaching it is a failure.
const LONG: Duration = Duration::from_secs(20);

/// A site with one page, and a directory for temporary files next to it.
fn scratch() -> TempDir {
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir(scratch.path().join("site")).unwrap();
    fs::create_dir(scratch.path().join("tmp")).unwrap();
    fs::write(scratch.path().join("site/index.html"), "hello").unwrap();
    scratch
}

fn oxzmq(scratch: &TempDir, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oxzmq"));
    command.args(words).current_dir(scratch.path()).env("TMPDIR", scratch.path().join("tmp")).stdin(Stdio::null());
    command
}

/// A command that is expected to end by itself, soon.
fn output(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = pid(&child);
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    receiver.recv_timeout(LONG).unwrap_or_else(|error| {
        let _ = kill_process(pid, Signal::KILL);
        panic!("it does not end: {error}")
    })
}

/// What it says when it refuses to start.
fn refusal(scratch: &TempDir, words: &[&str]) -> String {
    let output = output(&mut oxzmq(scratch, words));
    assert!(!output.status.success(), "{words:?} is accepted");
    String::from_utf8(output.stderr).unwrap()
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Waits until there is something to read, or a process has ended; false if that takes too long.
fn readable(fd: impl AsFd) -> bool {
    let patience = Timespec { tv_sec: LONG.as_secs() as i64, tv_nsec: 0 };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&patience)).unwrap() == 1
}

/// A server; killed when dropped.
struct Server {
    child: Child,
    lines: Receiver<String>,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            errors.lines().map_while(Result::ok).try_for_each(|line| sender.send(line).map_err(drop))
        });
        Self { child, lines }
    }

    /// The rest of the next line that holds `words`.
    fn told(&self, words: &str) -> String {
        let deadline = Instant::now() + LONG;
        let mut heard = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
                panic!("it did not say {words:?}, but {heard:#?}")
            };
            if let Some((_, rest)) = line.split_once(words) {
                return rest.to_owned();
            }
            heard.push(line);
        }
    }

    /// Waits for the first worker. Gives the address of HTTP.
    fn address(&self) -> String {
        let address = self.told(" at http://").trim_end_matches('/').to_owned();
        self.told("is ready");
        address
    }

    fn signal(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        let process = pidfd_open(pid(&self.child), PidfdFlags::empty()).unwrap();
        assert!(readable(&process), "it does not end");
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(address: &str, target: &str) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    write!(client, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

fn names(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_log_that_nobody_reads_delays_neither_requests_nor_the_end() {
    let scratch = scratch();
    // Both streams are one pipe that is full before long.
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = oxzmq(&scratch, &["serve", "site", "--port", "0", "--workers", "1"]);
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let child = command.spawn().unwrap();
    drop(command);
    let mut server = Server { child, lines: channel().1 };
    // Nobody reads more than that.
    let mut lines = BufReader::new(&reader).lines();
    let line = lines.by_ref().map(Result::unwrap).find(|line| line.contains(" at http://")).unwrap();
    let address = line.split_once(" at http://").unwrap().1.trim_end_matches('/').to_owned();
    let target = format!("/?{}", "x".repeat(2000));
    for _ in 0..100 {
        assert!(get(&address, &target).starts_with("HTTP/1.1 200"));
    }
    server.signal(Signal::INT);
    assert!(server.ended().success());
    drop(reader);
}

#[test]
fn the_log_has_the_form_that_is_asked_for() {
    let scratch = scratch();
    let line = |form: &str| {
        let words = ["serve", "site", "--port", "0", "--workers", "1", "--log", form];
        let mut server = Server::start(&mut oxzmq(&scratch, &words));
        let log = BufReader::new(server.child.stdout.take().unwrap());
        let address = server.address();
        let mut client = TcpStream::connect(&address).unwrap();
        client.write_all(b"GET / HTTP/1.0\r\nUser-Agent: a test\r\n\r\n").unwrap();
        client.read_to_end(&mut Vec::new()).unwrap();
        server.signal(Signal::INT);
        assert!(server.ended().success());
        log.lines().map(Result::unwrap).collect::<Vec<_>>().join("\n")
    };
    assert!(line("common").ends_with("] \"GET / HTTP/1.0\" 200 5"));
    assert!(line("combined").ends_with("] \"GET / HTTP/1.0\" 200 5 \"-\" \"a test\""));
    assert!(line("plain").contains(" worker=worker-1 tries=1"));
    let object: serde_json::Value = serde_json::from_str(&line("json")).unwrap();
    assert_eq!(
        (&object["agent"], &object["worker"], &object["octets"]),
        (&"a test".into(), &"worker-1".into(), &5.into())
    );
    assert!(object["queued_seconds"].as_f64().unwrap() <= object["seconds"].as_f64().unwrap(), "{object}");
}

#[test]
fn the_status_is_told_in_the_terminal() {
    let scratch = scratch();
    let words = ["serve", "site", "--port", "0", "--workers", "1"];
    let server = Server::start(&mut oxzmq(&scratch, &words));
    let page = server.told("Status page: http://");
    server.told("is ready");
    let told = output(&mut oxzmq(&scratch, &["status", page.trim_end_matches('/')]));
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(told.status.success() && text.starts_with("up "), "{text}");
    assert!(text.lines().any(|line| line.starts_with("worker-1 ") && line.contains("at work")), "{text}");
    // Nobody listens where somebody has just stopped to.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let told = refusal(&scratch, &["status", &nobody]);
    assert!(told.contains(&nobody) && told.contains("--admin"), "{told}");
}

#[test]
fn a_file_of_settings_is_checked() {
    let scratch = scratch();
    let file = scratch.path().join("oxzmq.toml");
    fs::write(&file, "[serve]\nroot = \"site\"\nport = 0\n").unwrap();
    let told = output(&mut oxzmq(&scratch, &["check"]));
    assert!(told.status.success() && String::from_utf8(told.stdout).unwrap().contains("is fine"));
    let mut server = Server::start(&mut oxzmq(&scratch, &["serve", "--config", "oxzmq.toml", "--workers", "1"]));
    assert!(get(&server.address(), "/").ends_with("hello"));
    server.signal(Signal::INT);
    assert!(server.ended().success());
    fs::write(&file, "[serve]\nroot = \"site\"\nporrt = 0\n").unwrap();
    for words in [["check"].as_slice(), &["serve", "--config", "oxzmq.toml"]] {
        let told = refusal(&scratch, words);
        assert!(told.contains("oxzmq.toml:3: ") && told.contains("did you mean port?"), "{told}");
    }
}

#[test]
fn there_are_manual_pages_and_completions_for_every_command() {
    let scratch = scratch();
    assert!(output(&mut oxzmq(&scratch, &["generate", "share"])).status.success());
    let read = |path: &str| fs::read_to_string(scratch.path().join("share").join(path)).unwrap();
    assert!(read("man/oxzmq.1").starts_with(".ie"));
    for (command, flag) in [("serve", "workers"), ("master", "curve\\-allow"), ("worker", "root"), ("bench", "against")]
    {
        let page = read(&format!("man/oxzmq-{command}.1"));
        assert!(page.contains(&format!("\\-\\-{flag}")), "{page}");
    }
    for completions in ["completions/oxzmq.bash", "completions/_oxzmq", "completions/oxzmq.fish"] {
        let text = read(completions);
        assert!(["serve", "master", "worker", "curve-allow"].iter().all(|word| text.contains(word)), "{completions}");
    }
}

#[test]
fn too_few_descriptors_are_told_with_a_remedy() {
    let scratch = scratch();
    for words in [["serve", "site", "--port", "0"].as_slice(), &["worker", "--root", "site"]] {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 24; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_oxzmq")]).args(words);
        let output = output(command.current_dir(scratch.path()));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && text.contains("only 24 files") && text.contains("ulimit -n 1024"),
            "{text}"
        );
    }
}

#[test]
fn settings_that_cannot_work_are_refused_with_the_reason() {
    let scratch = scratch();
    for (words, reason) in [
        (["serve", "site", "--workers", "100000"].as_slice(), "1024 are possible"),
        (&["serve", "site", "--workers", "0"], "at least one"),
        (&["serve", "site", "--host", "no.such.host.invalid"], "no such host"),
        (&["serve", "site", "--host", "localhost:8080"], "the port is --port"),
        (&["master", "--http", "127.0.0.1:0", "--workers", "inproc://x"], "several"),
        (&["worker", "--root", "site", "--master", "tcp://localhost"], "no port"),
        (&["demo", "wuclient", "abc"], "invalid"),
        (&["demo", "wuclient", "20000"], "10000..11000"),
        (&["demo", "hwclient", "inproc://x"], "one process"),
    ] {
        let told = refusal(&scratch, words);
        assert!(told.contains(reason), "{words:?}: {told}");
    }
    let told = refusal(&scratch, &["worker", "--root", "site", "--master", "foo"]);
    assert!(told.starts_with("oxzmq: \"foo\" is no endpoint"), "it claims to serve before that: {told}");
}

#[test]
fn hosts_have_names_and_brackets() {
    let scratch = scratch();
    for host in ["localhost", "[::1]", "::1"] {
        let words = ["serve", "site", "--host", host, "--port", "0", "--workers", "1"];
        let address = Server::start(&mut oxzmq(&scratch, &words)).address();
        assert!(host == "localhost" || address.starts_with("[::1]:"), "{address}");
    }
}

#[test]
fn the_private_directory_goes_however_it_ends() {
    let scratch = scratch();
    let tmp = scratch.path().join("tmp");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let told = refusal(&scratch, &["serve", "site", "--port", &port]);
    let holder = format!("(process {})", std::process::id());
    assert!(told.contains("in use by ") && told.contains(&holder) && told.contains("--port"), "{told}");
    assert_eq!(names(&tmp), [""; 0]);

    // A signal at any moment of the start: at once, when the directory is there, and as it tells of its progress.
    for (moment, signal) in
        [("", Signal::HUP), ("directory", Signal::HUP), (" at http://", Signal::INT), ("is ready", Signal::TERM)]
    {
        let changes = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&changes, &tmp, inotify::WatchFlags::CREATE).unwrap();
        let mut server = Server::start(&mut oxzmq(&scratch, &["serve", "site", "--port", "0", "--workers", "1"]));
        match moment {
            "" => {}
            "directory" => assert!(readable(&changes), "it makes no directory"),
            words => drop(server.told(words)),
        }
        server.signal(signal);
        if signal == Signal::HUP {
            server.signal(Signal::TERM); // SIGHUP may only mean new workers
        }
        server.ended();
        assert_eq!(names(&tmp), [""; 0], "after {signal:?} at {moment:?}");
    }

    // Whom nothing can stop to clear away is cleared away after.
    let server = Server::start(&mut oxzmq(&scratch, &["serve", "site", "--port", "0", "--workers", "1"]));
    server.address();
    let left = names(&tmp);
    server.signal(Signal::KILL);
    drop(server);
    assert_eq!(left.len(), 1);
    let mut server = Server::start(&mut oxzmq(&scratch, &["serve", "site", "--port", "0", "--workers", "1"]));
    server.address();
    let now = names(&tmp);
    assert!(now.len() == 1 && now != left, "{now:?}");
    server.signal(Signal::INT);
    assert!(server.ended().success());
    assert_eq!(names(&tmp), [""; 0]);
}
