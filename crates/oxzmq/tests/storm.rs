//! A server that restarts again and again, under clients that find it each time: what it costs comes back. In a file,
//! and so a process, of its own, because it counts the process's descriptors, threads and memory; one test, so that
//! nobody else uses any meanwhile.
//!
//! `OXZMQ_STORM_CYCLES=10000 cargo test -p oxzmq --test storm` makes it longer.

mod common;

use std::time::Instant;

use common::*;
use oxzmq::{Context, EventKind, Message, Monitor, Socket, SocketType};

/// What the allocator keeps for later, and the kernel counts in arrears.
const SLACK_KIB: usize = 512;

#[derive(Clone, Copy, Debug)]
struct Resources {
    descriptors: usize,
    threads: usize,
    memory_kib: usize,
}

impl Resources {
    fn now() -> Self {
        let count = |directory: &str| std::fs::read_dir(directory).unwrap().count();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Self {
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
            memory_kib: memory.trim_end_matches("kB").trim().parse().unwrap(),
        }
    }

    fn is_within(&self, before: &Self) -> bool {
        self.descriptors <= before.descriptors
            && self.threads <= before.threads
            && self.memory_kib <= before.memory_kib + SLACK_KIB
    }
}

/// The timer of a handshake stays for its whole time, also when the handshake is over before.
fn socket(context: &Context, socket_type: SocketType) -> Socket {
    let socket = context.socket(socket_type).unwrap();
    socket.set_handshake_interval(Some(ms(1000))).unwrap();
    socket
}

/// A client, where it looks for its server, and what it tells of its connection.
struct Client {
    socket: Socket,
    place: Place,
    monitor: Monitor,
}

impl Client {
    fn new(context: &Context, transport: Transport) -> Self {
        let place = Place::new(transport);
        let socket = socket(context, SocketType::Dealer);
        socket.set_reconnect_interval(Some(ms(1))).unwrap();
        let monitor = socket.monitor().unwrap();
        socket.connect(place.endpoint()).unwrap();
        Self { socket, place, monitor }
    }

    /// The server comes, answers, and goes.
    fn cycle(&self, context: &Context, n: usize) {
        let _watchdog = Watchdog::start();
        let server = socket(context, SocketType::Router);
        server.bind(self.place.endpoint()).unwrap();
        send(&self.socket, n.to_string());
        let request = recv(&server);
        send(&server, request);
        assert_eq!(recv(&self.socket), Message::from(n.to_string()));
        drop(server);
        await_event(&self.monitor, EventKind::Disconnected);
    }
}

#[test]
fn after_a_storm_of_reconnections_descriptors_threads_and_memory_are_where_they_were() {
    let cycles = std::env::var("OXZMQ_STORM_CYCLES").ok().and_then(|text| text.parse().ok());
    let context = Context::new();
    let clients = NETWORKS.map(|transport| Client::new(&context, transport));
    let storm = |cycles: usize| (0..cycles).for_each(|n| clients[n % clients.len()].cycle(&context, n));
    storm(60); // whatever is made once and kept
    let before = Resources::now();
    storm(cycles.unwrap_or(240));
    let deadline = Instant::now() + ms(5000);
    let mut after = Resources::now();
    while !after.is_within(&before) {
        assert!(Instant::now() < deadline, "grew from {before:?} to {after:?}");
        std::thread::yield_now();
        after = Resources::now();
    }
    println!("{before:?} before, {after:?} after");
}
