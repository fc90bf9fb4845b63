//! Alone in its process, because it looks at the time that the process takes.

#![cfg(feature = "wss")]

mod certificates;
mod common;

use std::time::{Duration, Instant};

use certificates::*;
use common::*;
use oxzmq::{ErrorKind, SocketType};

/// Ticks (hundredths of a second) that this process has had of processors.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Open, half closed by either end, or with a reader that does not read: nothing of it keeps a thread awake.
#[test]
fn connections_that_wait_take_no_processor_time() {
    let context = TestContext::new();
    let (pull, push, _) = pair(&context, SocketType::Pull, SocketType::Push);
    let (full, filling, endpoint) = pair(&context, SocketType::Pull, SocketType::Push);
    fill_with(&filling, |_| vec![0; 10_000].into());
    let (_left, leaving) = (raw_client(&endpoint), raw_client(&endpoint));
    drop(leaving);
    send(&push, "hello");
    recv(&pull);

    // What was sent has to come to rest first.
    until("half a second passes in which little is done", || {
        let before = ticks();
        assert_kind(pull.recv_deadline(Instant::now() + Duration::from_millis(500)), ErrorKind::TimedOut);
        ticks() - before <= 5
    });
    drop(full);
}
