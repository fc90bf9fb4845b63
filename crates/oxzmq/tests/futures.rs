//! The async face: futures that are dropped, streams, sinks, runtimes.

mod common;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::thread;

use common::*;
use futures_core::Stream;
use futures_sink::Sink;
use oxzmq::{ErrorKind, Message, SocketType};

#[test]
fn a_receive_that_is_dropped_has_received_nothing() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (pull, push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        let wakes = Arc::new(CountWakes::default());
        {
            let mut future = pin!(pull.recv_async());
            assert!(poll_once(future.as_mut(), &wakes).is_pending());
            push.send("x").unwrap();
            until("the task is woken", || wakes.count() > 0);
        }
        assert_eq!(recv(&pull), Message::from("x"));
    }
}

#[test]
fn a_send_that_is_dropped_has_sent_nothing() {
    let context = TestContext::new();
    let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    pull.set_recv_hwm(1).unwrap();
    push.set_send_hwm(1).unwrap();
    Transport::Inproc.join(&pull, &push);
    assert_eq!(fill(&push), 2);
    {
        let mut future = pin!(push.send_async("dropped"));
        assert!(poll_once(future.as_mut(), &Arc::default()).is_pending());
        drain(&pull);
    }
    push.send("sent").unwrap();
    assert_eq!(drain(&pull), [Message::from("sent")]);
}

/// Polls for as long as the task asks for that by itself, because it looks a little longer before it waits. Returns how often it
/// was woken.
fn look<T>(mut future: Pin<&mut impl Future<Output = T>>, wakes: &Arc<CountWakes>) -> u64 {
    loop {
        let before = wakes.count();
        assert!(poll_once(future.as_mut(), wakes).is_pending());
        if wakes.count() == before {
            return before;
        }
    }
}

/// A task that finds nothing asks to be polled again for a moment, and then no more.
#[test]
fn a_task_that_waits_for_long_is_left_alone() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (pull, push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        let wakes = Arc::default();
        for round in 0..20 {
            let mut waits = pin!(pull.recv_async());
            let looked = look(waits.as_mut(), &wakes);
            assert!(poll_once(waits.as_mut(), &wakes).is_pending());
            assert_eq!(wakes.count(), looked, "nothing but a message wakes it now");
            push.send(round.to_string()).unwrap();
            until("the message wakes it", || wakes.count() > looked);
            let Poll::Ready(message) = poll_once(waits, &wakes) else { panic!("nothing there") };
            assert_eq!(message.unwrap(), Message::from(round.to_string()));
        }
    }
}

#[test]
fn a_woken_task_that_gives_up_leaves_the_message_to_another() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (pull, push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        let (first, second) = (Arc::new(CountWakes::default()), Arc::new(CountWakes::default()));
        let mut stays = pin!(pull.recv_async());
        let seen;
        {
            let mut gives_up = pin!(pull.recv_async());
            let looked = (look(gives_up.as_mut(), &first), look(stays.as_mut(), &second));
            push.send("x").unwrap();
            until("the first is woken", || first.count() > looked.0);
            seen = looked.1;
        }
        until("the second is woken, too", || second.count() > seen);
        let Poll::Ready(message) = poll_once(stays, &second) else { panic!("nothing there") };
        assert_eq!(message.unwrap(), Message::from("x"));
    }
}

#[test]
fn receives_dropped_at_random_lose_nothing() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (pull, push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        let mut random = Random::new(5);
        thread::scope(|scope| {
            scope.spawn(|| (0..2000u32).for_each(|n| send(&push, n.to_string())));
            let mut next = 0;
            while next < 2000 {
                let patience = random.below(3);
                let mut future = pin!(pull.recv_async());
                let got = (0..patience).find_map(|_| match poll_once(future.as_mut(), &Arc::default()) {
                    Poll::Ready(message) => Some(message.unwrap()),
                    Poll::Pending => None,
                });
                match got {
                    Some(message) => {
                        assert_eq!(text(&message), [next.to_string()]);
                        next += 1;
                    }
                    None => thread::yield_now(),
                }
            }
        });
    }
}

#[test]
fn sends_dropped_at_random_send_all_or_nothing() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        pull.set_recv_hwm(2).unwrap();
        push.set_send_hwm(2).unwrap();
        transport.join(&pull, &push);
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let (mut random, mut sent) = (Random::new(7), Vec::new());
                for n in 0..1000 {
                    let patience = 1 + random.below(3);
                    let mut future = pin!(push.send_async(n.to_string()));
                    if (0..patience).any(|_| poll_once(future.as_mut(), &Arc::default()).is_ready()) {
                        sent.push(n.to_string());
                    }
                }
                send(&push, "end");
                sent
            });
            let mut received = Vec::new();
            loop {
                match recv(&pull).to_text_lossy().into_owned() {
                    end if end == "end" => break,
                    n => received.push(n),
                }
            }
            assert_eq!(received, sender.join().unwrap());
        });
    }
}

#[test]
fn a_stream_yields_messages_and_ends_with_the_context() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (pull, push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        let mut stream = pull.stream();
        let mut next = || block_on(std::future::poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)));
        for n in 0..5 {
            push.send(n.to_string()).unwrap();
            assert_eq!(next().unwrap().unwrap(), Message::from(n.to_string()));
        }
    }
    let pull = context.socket(SocketType::Pull);
    let mut stream = pull.stream();
    let mut next = || block_on(std::future::poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)));
    context.shutdown();
    assert_kind(next().unwrap(), ErrorKind::Terminated);
    assert!(next().is_none() && next().is_none());
}

#[test]
fn a_sink_waits_for_room_and_flushes() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        pull.set_recv_hwm(2).unwrap();
        push.set_send_hwm(2).unwrap();
        transport.join(&pull, &push);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut sink = push.sink();
                for n in 0..200u32 {
                    block_on(std::future::poll_fn(|cx| Pin::new(&mut sink).poll_ready(cx))).unwrap();
                    Pin::new(&mut sink).start_send(n.to_string().into()).unwrap();
                }
                block_on(std::future::poll_fn(|cx| Pin::new(&mut sink).poll_close(cx))).unwrap();
            });
            (0..200).for_each(|n: u32| assert_eq!(recv_text(&pull), [n.to_string()]));
        });
    }
}

#[test]
fn a_sink_of_a_socket_without_peers_is_not_ready() {
    let context = TestContext::new();
    let push = context.socket(SocketType::Push);
    let mut sink = push.sink();
    let wakes = Arc::new(CountWakes::default());
    let ready = poll_once(pin!(std::future::poll_fn(|cx| Pin::new(&mut sink).poll_ready(cx))), &wakes);
    assert!(ready.is_pending());
    push.connect("inproc://later").unwrap();
    assert_eq!(wakes.count(), 1);
}

#[test]
fn a_sink_is_woken_when_a_receive_makes_its_socket_ready_to_send() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (rep, req) = context.pair(transport, SocketType::Rep, SocketType::Req);
        let wakes = Arc::new(CountWakes::default());
        let (mut reply, mut question) = (rep.sink(), req.sink());
        let mut ready = |wakes| poll_once(pin!(std::future::poll_fn(|cx| Pin::new(&mut reply).poll_ready(cx))), wakes);
        assert!(ready(&wakes).is_pending());
        send(&req, "question");
        let request = recv(&rep);
        until("it is woken", || wakes.count() > 0);
        assert!(ready(&wakes).is_ready(), "{transport:?}");

        let wakes = Arc::new(CountWakes::default());
        let mut ready =
            |wakes| poll_once(pin!(std::future::poll_fn(|cx| Pin::new(&mut question).poll_ready(cx))), wakes);
        assert!(ready(&wakes).is_pending());
        send(&rep, request);
        recv(&req);
        until("it is woken", || wakes.count() > 0);
        assert!(ready(&wakes).is_ready(), "{transport:?}");

        // Requests as calls are received, too, by tasks and by threads.
        let asking = Arc::new(CountWakes::default());
        let mut future = pin!(req.request_async("question"));
        assert!(poll_once(future.as_mut(), &asking).is_pending());
        let wakes = Arc::new(CountWakes::default());
        assert!(ready(&wakes).is_pending());
        let request = recv(&rep);
        send(&rep, request);
        until("the reply is there", || poll_once(future.as_mut(), &asking).is_ready());
        until("it is woken", || wakes.count() > 0);
        assert!(ready(&wakes).is_ready(), "{transport:?}");
    }
}

#[test]
fn hundreds_of_tasks_share_sockets_under_tokio() {
    let context = Arc::new(TestContext::new());
    let runtime = tokio();
    let (router, endpoint) = context.bound(SocketType::Router);
    let router = Arc::new(router);
    runtime.block_on(async {
        let servers: Vec<_> = (0..4)
            .map(|_| {
                let router = Arc::clone(&router);
                tokio::spawn(async move {
                    while let Ok(request) = router.recv_async().await {
                        let _ = router.send_async(request).await;
                    }
                })
            })
            .collect();
        let clients: Vec<_> = (0..50)
            .map(|n| {
                let (context, endpoint) = (Arc::clone(&context), endpoint.clone());
                tokio::spawn(async move {
                    let dealer = context.connected(SocketType::Dealer, &endpoint);
                    for turn in 0..10 {
                        let message = Message::from([n.to_string(), turn.to_string()]);
                        dealer.send_async(message.clone()).await.unwrap();
                        assert_eq!(dealer.recv_async().await.unwrap(), message);
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        context.shutdown();
        for server in servers {
            server.await.unwrap();
        }
    });
}

#[test]
fn a_timeout_around_a_receive_loses_nothing_under_tokio() {
    let context = TestContext::new();
    let (pull, push) = context.pair(Transport::Tcp, SocketType::Pull, SocketType::Push);
    tokio().block_on(async {
        thread::scope(|scope| {
            scope.spawn(|| (0..500u32).for_each(|n| send(&push, n.to_string())));
        });
        let mut next = 0;
        while next < 500 {
            if let Ok(message) = tokio::time::timeout(std::time::Duration::from_micros(50), pull.recv_async()).await {
                assert_eq!(text(&message.unwrap()), [next.to_string()]);
                next += 1;
            }
        }
    });
}

#[test]
fn one_task_may_receive_and_send_at_once() {
    let context = TestContext::new();
    let (one, other) = context.pair(Transport::Tcp, SocketType::Pair, SocketType::Pair);
    tokio().block_on(async {
        for n in 0..100 {
            let (sent, received) = tokio::join!(one.send_async(n.to_string()), other.recv_async());
            sent.unwrap();
            assert_eq!(received.unwrap(), Message::from(n.to_string()));
        }
    });
}

#[test]
fn two_receives_of_one_task_on_one_socket_both_complete() {
    let context = TestContext::new();
    let (pull, push) = context.pair(Transport::Tcp, SocketType::Pull, SocketType::Push);
    tokio().block_on(async {
        for _ in 0..50 {
            let sending = async {
                tokio::task::yield_now().await;
                push.send_async("1").await.unwrap();
                push.send_async("2").await.unwrap();
            };
            let (first, second, ()) = tokio::join!(pull.recv_async(), pull.recv_async(), sending);
            assert_ne!(first.unwrap(), second.unwrap());
        }
    });
}

#[test]
fn futures_that_were_dropped_leave_no_wakers_behind() {
    let context = TestContext::new();
    let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    let wakes = Arc::new(CountWakes::default());
    for _ in 0..100 {
        assert!(poll_once(pin!(pull.recv_async()), &wakes).is_pending());
        assert!(poll_once(pin!(push.send_async("x")), &wakes).is_pending());
        let mut stream = pull.stream();
        assert!(poll_once(pin!(std::future::poll_fn(|cx| Pin::new(&mut stream).poll_next(cx))), &wakes).is_pending());
        let mut sink = push.sink();
        assert!(poll_once(pin!(std::future::poll_fn(|cx| Pin::new(&mut sink).poll_ready(cx))), &wakes).is_pending());
    }
    assert_eq!(Arc::strong_count(&wakes), 1);
}
