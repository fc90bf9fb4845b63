//! Proxies: both directions, under load, with a capture, until the end.

mod common;

use std::thread;

use common::*;
use oxzmq::{ErrorKind, Message, Socket, SocketType, proxy};

/// Runs `body` beside a proxy and ends it with the context.
fn beside(context: &TestContext, front: &Socket, back: &Socket, capture: Option<&Socket>, body: impl FnOnce()) {
    thread::scope(|scope| {
        let running = scope.spawn(|| proxy(front, back, capture).unwrap_err().kind());
        body();
        context.shutdown();
        assert_eq!(running.join().unwrap(), ErrorKind::Terminated);
    });
}

#[test]
fn requests_and_replies_pass_a_broker() {
    for transport in TRANSPORTS {
        let context = TestContext::new();
        let (front, back) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
        let ends = [front.bind(&transport.wildcard()).unwrap(), back.bind(&transport.wildcard()).unwrap()];
        let clients: Vec<_> = (0..3).map(|_| context.connected(SocketType::Req, &ends[0])).collect();
        let workers: Vec<_> = (0..2).map(|_| context.connected(SocketType::Rep, &ends[1])).collect();
        beside(&context, &front, &back, None, || {
            thread::scope(|scope| {
                for worker in &workers {
                    scope.spawn(move || {
                        while let Ok(request) = worker.recv() {
                            if worker.send(request).is_err() {
                                break;
                            }
                        }
                    });
                }
                let asking: Vec<_> = clients
                    .iter()
                    .enumerate()
                    .map(|(n, client)| {
                        scope.spawn(move || {
                            for turn in 0..50 {
                                let message = Message::from([n.to_string(), turn.to_string()]);
                                send(client, message.clone());
                                assert_eq!(recv(client), message);
                            }
                        })
                    })
                    .collect();
                asking.into_iter().for_each(|thread| thread.join().unwrap());
                context.shutdown(); // ends the workers
            });
        });
    }
}

#[test]
fn a_pipeline_passes_in_order_with_a_copy_of_everything() {
    for transport in TRANSPORTS {
        let context = TestContext::new();
        let (front, push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        let (pull, back) = context.pair(transport, SocketType::Pull, SocketType::Push);
        let (copies, capture) = context.pair(transport, SocketType::Pair, SocketType::Pair);
        beside(&context, &front, &back, Some(&capture), || {
            thread::scope(|scope| {
                scope.spawn(|| (0..3000).for_each(|n: u32| send(&push, ["m".to_owned(), n.to_string()])));
                scope.spawn(|| {
                    (0..3000).for_each(|n: u32| assert_eq!(recv_text(&copies), ["m".to_owned(), n.to_string()]))
                });
                (0..3000).for_each(|n: u32| assert_eq!(recv_text(&pull), ["m".to_owned(), n.to_string()]));
            });
        });
    }
}

#[test]
fn both_directions_flow_under_load() {
    for transport in TRANSPORTS {
        let context = TestContext::new();
        let sockets = [(); 4].map(|()| context.socket(SocketType::Dealer));
        for socket in &sockets {
            socket.set_send_hwm(5).unwrap();
            socket.set_recv_hwm(5).unwrap();
        }
        let [left, front, back, right] = &sockets;
        transport.join(front, left);
        transport.join(back, right);
        beside(&context, front, back, None, || {
            thread::scope(|scope| {
                for (from, to) in [(left, right), (right, left)] {
                    scope.spawn(move || (0..1000).for_each(|n: u32| send(from, n.to_string())));
                    scope.spawn(move || (0..1000).for_each(|n: u32| assert_eq!(recv_text(to), [n.to_string()])));
                }
            });
        });
    }
}

#[test]
fn a_direction_that_is_blocked_does_not_stop_the_other() {
    let context = TestContext::new();
    let sockets = [(); 4].map(|()| context.socket(SocketType::Dealer));
    for socket in &sockets {
        socket.set_send_hwm(2).unwrap();
        socket.set_recv_hwm(2).unwrap();
    }
    let [left, front, back, right] = &sockets;
    Transport::Inproc.join(front, left);
    Transport::Inproc.join(back, right);
    beside(&context, front, back, None, || {
        // Nobody reads at the right end until everything there is full.
        while left.send_deadline("jam", std::time::Instant::now() + ms(20)).is_ok() {}
        for n in 0..100 {
            send(right, n.to_string());
            assert_eq!(recv_text(left), [n.to_string()]);
        }
        assert_eq!(recv(right), Message::from("jam"));
    });
}

#[test]
fn publications_pass_down_and_subscriptions_up() {
    for transport in TRANSPORTS {
        let context = TestContext::new();
        let (front, back) = (context.socket(SocketType::Xsub), context.socket(SocketType::Xpub));
        let ends = [front.bind(&transport.wildcard()).unwrap(), back.bind(&transport.wildcard()).unwrap()];
        let publisher = context.connected(SocketType::Xpub, &ends[0]);
        let subscriber = context.connected(SocketType::Sub, &ends[1]);
        beside(&context, &front, &back, None, || {
            subscriber.subscribe("a").unwrap();
            assert_eq!(recv(&publisher), Message::from("\u{1}a"));
            publisher.send("b").unwrap();
            publisher.send(["a", "body"]).unwrap();
            assert_eq!(recv(&subscriber), Message::from(["a", "body"]));
            subscriber.unsubscribe("a").unwrap();
            assert_eq!(recv(&publisher), Message::from("\0a"));
        });
    }
}

#[test]
fn one_socket_as_both_ends_echoes() {
    let context = TestContext::new();
    let (router, dealer) = context.pair(Transport::Tcp, SocketType::Router, SocketType::Dealer);
    beside(&context, &router, &router, None, || {
        for n in 0..20 {
            send(&dealer, n.to_string());
            assert_eq!(recv_text(&dealer), [n.to_string()]);
        }
    });
}

#[test]
fn a_proxy_that_signals_may_end_joins_the_same_sockets_as_every_other() {
    let context = TestContext::new();
    // One socket that is both ends gives back what it gets, once it has got it.
    let (rep, req) = context.inproc_pair(SocketType::Rep, SocketType::Req);
    // And what has no room at the back stays at the front.
    let (pull, pusher) = context.inproc_pair(SocketType::Pull, SocketType::Push);
    let push = context.socket(SocketType::Push);
    rep.set_interruptible(true).unwrap();
    pull.set_interruptible(true).unwrap();
    thread::scope(|scope| {
        let echo = scope.spawn(|| proxy(&rep, &rep, None));
        let pipeline = scope.spawn(|| proxy(&pull, &push, None));
        for n in 0..3 {
            send(&req, format!("{n}"));
            assert_eq!(recv_text(&req), [format!("{n}")]);
            send(&pusher, format!("{n}"));
        }
        let endpoint = push.bind("tcp://127.0.0.1:*").unwrap();
        let puller = context.connected(SocketType::Pull, &endpoint);
        (0..3).for_each(|n| assert_eq!(recv_text(&puller), [format!("{n}")]));
        context.shutdown();
        assert_kind(echo.join().unwrap(), ErrorKind::Terminated);
        assert_kind(pipeline.join().unwrap(), ErrorKind::Terminated);
    });
}

// ---- by command ----------------------------------------------------------------------------------------------

/// Runs `body` beside a steerable proxy of PULL and PUSH, with what feeds it, what it feeds, and what steers it.
fn steered(control: SocketType, commander: SocketType, body: impl FnOnce(&Socket, &Socket, &Socket)) {
    let context = TestContext::new();
    let (front, pusher) = context.inproc_pair(SocketType::Pull, SocketType::Push);
    let (back, puller) = context.inproc_pair(SocketType::Push, SocketType::Pull);
    let (control, commander) = context.inproc_pair(control, commander);
    thread::scope(|scope| {
        let running = scope.spawn(|| oxzmq::proxy_steerable(&front, &back, None, &control));
        body(&pusher, &puller, &commander);
        send(&commander, "TERMINATE");
        running.join().unwrap().unwrap();
        if commander.socket_type() == SocketType::Req {
            assert_eq!(recv(&commander), Message::from(""), "answered before the end");
        }
    });
}

/// The answer to STATISTICS.
fn numbers(answer: &Message) -> Vec<u64> {
    answer.frames().iter().map(|frame| u64::from_ne_bytes(frame[..].try_into().unwrap())).collect()
}

#[test]
fn a_proxy_pauses_and_goes_on_and_ends_by_command() {
    steered(SocketType::Pair, SocketType::Pair, |pusher, puller, commander| {
        send(pusher, "1");
        assert_eq!(recv(puller), Message::from("1"));
        send(commander, "PAUSE");
        // An answer shows that what was sent before it has been obeyed.
        send(commander, "STATISTICS");
        recv(commander);
        send(pusher, "2");
        assert_silent(puller);
        send(commander, "RESUME");
        assert_eq!(recv(puller), Message::from("2"));
        assert_silent(commander);
    });
}

#[test]
fn a_proxy_counts_frames_and_octets_at_each_end() {
    steered(SocketType::Pair, SocketType::Pair, |pusher, puller, commander| {
        send(pusher, ["four", "and nine!"]);
        send(pusher, "x");
        (0..2).for_each(|_| drop(recv(puller)));
        send(commander, "STATISTICS");
        assert_eq!(numbers(&recv(commander)), [3, 14, 0, 0, 0, 0, 3, 14]);
    });
}

#[test]
fn a_rep_that_steers_a_proxy_answers_each_command_and_what_is_none() {
    steered(SocketType::Rep, SocketType::Req, |pusher, puller, commander| {
        for command in ["PAUSE", "pause", "", "nonsense", "RESUME"] {
            send(commander, command);
            assert_eq!(recv(commander), Message::from(""), "{command}");
        }
        send(commander, ["PAUSE", "of two frames is no command"]);
        assert_eq!(recv(commander), Message::from(""));
        send(pusher, "flows");
        assert_eq!(recv(puller), Message::from("flows"));
        send(commander, "STATISTICS");
        assert_eq!(recv(commander).len(), 8);
    });
}

#[test]
fn one_socket_as_both_ends_can_be_steered() {
    let context = TestContext::new();
    let (router, dealer) = context.inproc_pair(SocketType::Router, SocketType::Dealer);
    let (control, commander) = context.inproc_pair(SocketType::Pair, SocketType::Pair);
    thread::scope(|scope| {
        let running = scope.spawn(|| oxzmq::proxy_steerable(&router, &router, None, &control));
        send(&dealer, "echo");
        assert_eq!(recv(&dealer), Message::from("echo"));
        send(&commander, "TERMINATE");
        running.join().unwrap().unwrap();
    });
}

#[test]
fn what_a_proxy_ended_by_command_has_not_forwarded_can_still_be_received() {
    let context = TestContext::new();
    let (front, pusher) = context.inproc_pair(SocketType::Pull, SocketType::Push);
    let (back, puller) = (context.socket(SocketType::Push), context.socket(SocketType::Pull));
    back.set_send_hwm(1).unwrap();
    puller.set_recv_hwm(1).unwrap();
    Transport::Inproc.join(&back, &puller);
    let (control, commander) = context.inproc_pair(SocketType::Pair, SocketType::Pair);
    (0..10).for_each(|n| send(&pusher, n.to_string()));
    thread::scope(|scope| {
        let running = scope.spawn(|| oxzmq::proxy_steerable(&front, &back, None, &control));
        until("the proxy has filled the back", || {
            send(&commander, "STATISTICS");
            numbers(&recv(&commander))[6] == 2
        });
        send(&commander, "TERMINATE");
        running.join().unwrap().unwrap();
    });
    let all = [drain(&puller), drain(&front)].concat();
    assert_eq!(all, (0..10).map(|n| Message::from(n.to_string())).collect::<Vec<_>>());
}
