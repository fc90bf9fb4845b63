//! Sockets used in every order at random, by one thread and by several: nothing panics, hangs, or stays behind.

mod common;

use std::sync::Mutex;
use std::thread;

use common::*;
use oxzmq::{Context, ErrorKind, Message, Monitor, OPTIONS, OptionKind, OptionValue, Socket, SocketType};

/// Where sockets of one run meet.
struct Places {
    endpoints: Mutex<Vec<String>>,
    directory: TempDir,
}

impl Places {
    fn new() -> Self {
        Self { endpoints: Mutex::default(), directory: TempDir::new() }
    }

    fn to_bind(&self, random: &mut Random) -> String {
        let n = random.below(6);
        match random.below(5) {
            0 => "tcp://127.0.0.1:*".to_owned(),
            1 => "ipc://*".to_owned(),
            2 => format!("ipc://{}/{n}", self.directory.0.display()),
            3 => "udp://127.0.0.1:*".to_owned(),
            _ => format!("inproc://{n}"),
        }
    }

    /// Something that is or was bound, will be, or never is.
    fn known(&self, random: &mut Random) -> String {
        let endpoints = self.endpoints.lock().unwrap();
        match random.below(4) {
            0 => format!("inproc://{}", random.below(6)),
            1 => "tcp://127.0.0.1:1".to_owned(),
            _ if endpoints.is_empty() => "tcp://".to_owned(),
            _ => endpoints[random.below(endpoints.len() as u64) as usize].clone(),
        }
    }
}

fn value(kind: OptionKind, random: &mut Random) -> OptionValue {
    let octets = |random: &mut Random| {
        let length = [0, 1, 4, 32, 40, 255, 256][random.below(7) as usize];
        OptionValue::from(&vec![b'0'; length][..])
    };
    match kind {
        _ if random.below(20) == 0 => octets(random),
        OptionKind::Long => OptionValue::Long(random.below(3) as i64 - 1),
        OptionKind::Unsigned => OptionValue::Unsigned(random.below(3)),
        OptionKind::Text(..) | OptionKind::Binary(..) | OptionKind::Key => octets(random),
        _ => OptionValue::Int([-2, -1, 0, 1, 2, 3, 100, 70_000][random.below(8) as usize]),
    }
}

fn message(random: &mut Random) -> Message {
    let mut message: Message = (0..random.below(4)).map(|n| vec![n as u8; random.below(300) as usize]).collect();
    message.set_group(["", "a", "b"][random.below(3) as usize]);
    message
}

/// One thing that may be done with a socket at any time.
fn step(socket: &Socket, places: &Places, monitors: &mut Vec<Monitor>, random: &mut Random) {
    let result = match random.below(16) {
        0 | 1 => socket.bind(&places.to_bind(random)).map(|bound| places.endpoints.lock().unwrap().push(bound)),
        2..=4 => socket.connect(&places.known(random)),
        5 => socket.unbind(&places.known(random)),
        6 => socket.disconnect(&places.known(random)),
        7 => {
            let option = &OPTIONS[random.below(OPTIONS.len() as u64) as usize];
            // With a linger, what is closed below would wait for peers that never come.
            if option.name == "LINGER" { Ok(()) } else { socket.set_option(option, value(option.kind, random)) }
        }
        8 => socket.option(&OPTIONS[random.below(OPTIONS.len() as u64) as usize]).map(drop),
        9 => socket.monitor().map(|monitor| monitors.push(monitor)),
        10 => socket.subscribe(["", "\0", "a"][random.below(3) as usize]),
        11 => socket.join("a").or_else(|_| socket.leave("a")),
        12 => socket.readiness().map(drop),
        13 => {
            let peers = socket.peers();
            peers
                .first()
                .map_or(Ok(()), |peer| socket.disconnect_peer(peer.routing_id.first().map_or(0, |&n| n.into())))
        }
        14 => (0..random.below(20)).try_for_each(|_| socket.try_recv().map(drop)),
        _ => (0..random.below(20)).try_for_each(|_| socket.try_send(message(random)).map_err(Into::into)),
    };
    if let Err(error) = result {
        assert_ne!(error.to_string(), "", "every error says something");
    }
}

fn a_life(seed: u64, steps: u64) {
    let mut random = Random::new(seed);
    let context = Context::builder().io_threads(1 + random.below(2) as usize).build();
    let (places, mut monitors, mut sockets) = (Places::new(), Vec::new(), Vec::new());
    let make = |random: &mut Random| {
        let types: Vec<_> = socket_types().collect();
        let socket_type = types[random.below(types.len() as u64) as usize];
        let socket = context.socket(socket_type).unwrap();
        socket.set_linger(Some(ms(0))).unwrap();
        socket.set_reconnect_interval(Some(ms(1))).unwrap();
        socket
    };
    sockets.extend((0..6).map(|_| make(&mut random)));
    for _ in 0..steps {
        let at = random.below(sockets.len() as u64) as usize;
        match random.below(60) {
            0 => sockets[at] = make(&mut random), // the other is dropped
            1 => {
                sockets[at].close();
                assert_kind(sockets[at].try_recv(), ErrorKind::Closed);
                sockets[at] = make(&mut random);
            }
            2 => drop(monitors.pop()),
            _ => step(&sockets[at], &places, &mut monitors, &mut random),
        }
    }
    if random.below(2) == 0 {
        context.shutdown();
    }
    drop(sockets);
    context.term_within(PATIENCE).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn anything_in_any_order_ends_and_leaves_nothing() {
    a_life(0, 200);
    let before = descriptors();
    for seed in 1..=60 {
        let _watchdog = Watchdog::start();
        a_life(seed, 400);
    }
    // Names that were being looked up may still be, each with a few descriptors.
    until("all descriptors are back", || descriptors() <= before + 4);
}

#[test]
fn several_threads_do_anything_with_the_same_sockets() {
    for seed in 0..15 {
        let _watchdog = Watchdog::start();
        let context = Context::new();
        let places = Places::new();
        let types = [SocketType::Dealer, SocketType::Router, SocketType::Xpub, SocketType::Xsub, SocketType::Pair];
        let sockets = types.map(|socket_type| {
            let socket = context.socket(socket_type).unwrap();
            socket.set_linger(Some(ms(0))).unwrap();
            socket.set_reconnect_interval(Some(ms(1))).unwrap();
            socket
        });
        thread::scope(|scope| {
            // Two that wait, in whatever state the sockets are.
            for socket in &sockets[..2] {
                scope.spawn(move || {
                    loop {
                        match socket.recv() {
                            Ok(_) => {}
                            Err(error) if matches!(error.kind(), ErrorKind::Terminated | ErrorKind::Closed) => break,
                            Err(_) => thread::yield_now(),
                        }
                    }
                });
            }
            let workers: Vec<_> = (0..3)
                .map(|worker| {
                    let (sockets, places) = (&sockets, &places);
                    scope.spawn(move || {
                        let (mut random, mut monitors) = (Random::new(seed * 10 + worker), Vec::new());
                        for _ in 0..300 {
                            let at = random.below(sockets.len() as u64) as usize;
                            step(&sockets[at], places, &mut monitors, &mut random);
                        }
                    })
                })
                .collect();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
            context.shutdown();
        });
        drop(sockets);
        context.term_within(PATIENCE).unwrap();
    }
}
