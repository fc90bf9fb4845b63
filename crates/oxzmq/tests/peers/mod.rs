//! A libzmq in a process of its own, driven over its standard input (see `peer.py`).

#![allow(dead_code)] // every test file uses another part

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use oxzmq::{Frame, Message};

/// Longer than the peer's own patience, so that the peer gets to say what it was waiting for.
const PATIENCE: Duration = Duration::from_secs(25);

/// Said instead of skipping: a test that was not run has not passed.
const NEEDED: &str = "the interop tests need libzmq and its Python binding for /usr/bin/python3; \
    on Debian and Ubuntu: sudo apt-get install python3-zmq libzmq5 \
    (OXZMQ_TEST_PYTHON names another Python)";

/// The peer; killed when dropped.
pub(crate) struct Peer {
    process: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
}

impl Peer {
    /// Start one.
    pub(crate) fn start() -> Self {
        let python = std::env::var("OXZMQ_TEST_PYTHON").unwrap_or("/usr/bin/python3".into());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/peer.py");
        let mut process = Command::new(&python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {python}: {error}; {NEEDED}"));
        let commands = process.stdin.take().expect("stdin is piped");
        let output = BufReader::new(process.stdout.take().expect("stdout is piped"));
        let (lines, answers) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        let peer = Peer { process, commands, answers };
        match peer.answers.recv_timeout(PATIENCE) {
            Ok(line) if line.starts_with("ok ") => peer,
            other => panic!("{python} is not ready ({other:?}); {NEEDED}"),
        }
    }

    /// Have the peer do something without waiting for its answer.
    pub(crate) fn begin(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("the peer reads commands");
    }

    /// The answer to what was begun.
    pub(crate) fn end(&mut self) -> String {
        let line = self.answers.recv_timeout(PATIENCE).expect("an answer from the peer");
        match line.strip_prefix("ok") {
            Some(answer) => answer.trim().to_owned(),
            None => panic!("libzmq's side: {line}"),
        }
    }

    /// Have the peer do something.
    pub(crate) fn tell(&mut self, command: &str) -> String {
        self.begin(command);
        self.end()
    }

    /// Make a socket named like its type.
    pub(crate) fn socket(&mut self, kind: &str) {
        self.tell(&format!("socket {kind} {kind}"));
    }

    /// Send a message from the socket `name`.
    pub(crate) fn send(&mut self, name: &str, message: &Message) {
        let frames: Vec<String> = message.frames().iter().map(encode).collect();
        self.tell(&format!("send {name} {}", frames.join(" ")));
    }

    /// Receive a message on the socket `name`.
    pub(crate) fn recv(&mut self, name: &str) -> Message {
        self.tell(&format!("recv {name}")).split(' ').map(decode).collect()
    }

    /// Kill it as a crash would, and wait until it is gone.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("the peer was running");
        self.process.wait().expect("the peer is ours");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Bytes that are told by their number; no byte of it repeats in steps of a power of two.
pub(crate) fn pattern(size: usize) -> Frame {
    Frame::from((0..=250).cycle().take(size).collect::<Vec<u8>>())
}

/// A frame as a word.
pub(crate) fn encode(frame: &Frame) -> String {
    if frame.len() > 1000 && *frame == pattern(frame.len()) {
        return format!("~{}", frame.len());
    }
    if frame.is_empty() {
        return "-".into();
    }
    frame.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A word as a frame.
pub(crate) fn decode(word: &str) -> Frame {
    if let Some(size) = word.strip_prefix('~') {
        return pattern(size.parse().expect("a size"));
    }
    let hex = word.trim_matches('-').as_bytes();
    let byte = |pair: &[u8]| {
        let pair = str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(pair, 16).expect("two hex digits")
    };
    Frame::from(hex.chunks(2).map(byte).collect::<Vec<u8>>())
}
