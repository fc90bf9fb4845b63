//! Requests and their replies as one call.

mod common;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Instant;

use common::*;
use oxzmq::{ErrorKind, Message, Socket, SocketType};

/// Answers `count` requests with what they said, and a word of its own behind.
fn echo(server: &Socket, count: usize) {
    for _ in 0..count {
        let mut message = recv(server);
        message.push_back("indeed");
        send(server, message);
    }
}

#[test]
fn a_request_returns_its_reply() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        for requester in [SocketType::Req, SocketType::Dealer] {
            for replier in [SocketType::Rep, SocketType::Router] {
                let (server, client) = context.pair(transport, replier, requester);
                thread::scope(|scope| {
                    scope.spawn(|| echo(&server, 6));
                    for n in 0..3 {
                        let reply = client.request(["question".to_owned(), n.to_string()], Some(PATIENCE)).unwrap();
                        assert_eq!(text(&reply), ["question", &n.to_string(), "indeed"]);
                        let reply = block_on(client.request_async("again")).unwrap();
                        assert_eq!(text(&reply), ["again", "indeed"], "{transport:?} {requester:?} {replier:?}");
                    }
                });
            }
        }
    }
}

#[test]
fn a_client_s_request_begins_with_its_number() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (server, client) = context.pair(transport, SocketType::Server, SocketType::Client);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..2 {
                    let request = recv(&server);
                    let body = request[0].to_vec();
                    let mut reply = Message::from([&body[..4], b"re: ", &body[4..]].concat());
                    reply.set_routing_id(request.routing_id());
                    send(&server, reply);
                }
            });
            assert_eq!(client.request("hello", Some(PATIENCE)).unwrap(), Message::from("re: hello"));
            assert_eq!(client.request("", Some(PATIENCE)).unwrap(), Message::from("re: "));
        });
        assert_kind(client.request(["a", "b"], None), ErrorKind::InvalidArgument);
    }
}

#[test]
fn many_requests_of_one_dealer_may_be_under_way_and_be_answered_in_any_order() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (router, dealer) = context.pair(transport, SocketType::Router, SocketType::Dealer);
        thread::scope(|scope| {
            let clients: Vec<_> = (0..8)
                .map(|n| {
                    let dealer = &dealer;
                    scope.spawn(move || {
                        for round in 0..50 {
                            let question = format!("{n}-{round}");
                            let reply = if n % 2 == 0 {
                                dealer.request(question.as_str(), Some(PATIENCE))
                            } else {
                                block_on(dealer.request_async(question.as_str()))
                            };
                            assert_eq!(text(&reply.unwrap()), [question]);
                        }
                    })
                })
                .collect();
            let mut random = Random::new(7);
            let mut waiting = Vec::new();
            for _ in 0..8 * 50 {
                waiting.push(recv(&router));
                // What no requester waits for comes in between.
                let mut stray = waiting[0].clone();
                stray.pop_back();
                stray.pop_back();
                stray.push_back("");
                send(&router, [stray[0].clone(), "stray".into()]);
                while !waiting.is_empty() && (waiting.len() >= 4 || router.readiness().is_ok_and(|r| !r.readable())) {
                    let at = random.below(waiting.len() as u64) as usize;
                    send(&router, waiting.swap_remove(at));
                }
            }
            clients.into_iter().for_each(|client| client.join().unwrap());
        });
        let strays = drain(&dealer);
        assert_eq!(strays.len(), 400, "{transport:?}");
        assert!(strays.iter().all(|stray| text(stray) == ["stray"]));
    }
}

#[test]
fn a_late_reply_is_nobodys() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        for requester in [SocketType::Req, SocketType::Dealer] {
            let (router, client) = context.pair(transport, SocketType::Router, requester);
            let error = client.request("first", Some(ms(5))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(error.to_string().contains("no reply"), "{error}");
            let mut late = recv(&router);
            late.pop_back();
            late.push_back("late");
            thread::scope(|scope| {
                scope.spawn(|| {
                    let request = recv(&router);
                    send(&router, late);
                    send(&router, request);
                });
                assert_eq!(client.request("second", Some(PATIENCE)).unwrap(), Message::from("second"));
            });
            assert_eq!(client.stats().drops.stale, 1);
            if requester == SocketType::Dealer {
                assert_kind(client.try_recv(), ErrorKind::WouldBlock);
            }
        }
    }
}

#[test]
fn requests_go_on_however_many_replies_came_late() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        for (requester, replier) in [
            (SocketType::Req, SocketType::Router),
            (SocketType::Dealer, SocketType::Router),
            (SocketType::Dealer, SocketType::Rep),
            (SocketType::Client, SocketType::Server),
        ] {
            let (server, client) = (context.socket(replier), context.socket(requester));
            client.set_recv_hwm(10).unwrap();
            transport.join(&server, &client);
            for n in 0..30 {
                assert_kind(client.request(n.to_string(), Some(ms(1))), ErrorKind::TimedOut);
                let late = recv(&server);
                send(&server, late);
            }
            thread::scope(|scope| {
                scope.spawn(|| {
                    let request = recv(&server);
                    send(&server, request);
                });
                let reply = client.request("in time", Some(PATIENCE));
                assert_eq!(reply.unwrap(), Message::from("in time"), "{transport:?} {requester:?} {replier:?}");
            });
            assert_eq!(client.stats().drops.stale, 30);
        }
    }
}

#[test]
fn a_reply_that_nobody_waits_for_is_nothing_to_receive() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (router, dealer) = context.pair(transport, SocketType::Router, SocketType::Dealer);
        assert_kind(dealer.request("x", Some(ms(1))), ErrorKind::TimedOut);
        let late = recv(&router);
        // Doubled: one is late as the other.
        send(&router, late.clone());
        send(&router, late.clone());
        until("both are dropped", || !is_readable(&dealer) && dealer.stats().drops.stale == 2);
        // In the same form, with a number that no request has had.
        let number = u32::from_be_bytes(late[1][..].try_into().unwrap()).wrapping_add(1);
        let mut other = Message::from([&late[0], &number.to_be_bytes()[..], b"", b"other"]);
        send(&router, other.clone());
        other.pop_front();
        assert_eq!(recv(&dealer), other, "{transport:?}");
    }
}

#[test]
fn requests_that_are_given_up_leave_the_socket_usable() {
    let context = TestContext::new();
    let (router, req) = context.pair(Transport::Tcp, SocketType::Router, SocketType::Req);
    let wakes = Arc::new(CountWakes::default());
    {
        let mut future = pin!(req.request_async("dropped"));
        assert!(matches!(poll_once(future.as_mut(), &wakes), Poll::Pending));
        // One at a time.
        assert_kind(req.request("meanwhile", None), ErrorKind::InvalidState);
        assert_kind(req.try_send("meanwhile"), ErrorKind::InvalidState);
        assert_kind(req.try_recv(), ErrorKind::InvalidState);
    }
    assert_eq!(Arc::strong_count(&wakes), 1);
    assert_eq!(recv_text(&router).last().unwrap(), "dropped");
    // The ordinary way.
    send(&req, "plain");
    let request = recv(&router);
    send(&router, request);
    assert_eq!(recv_text(&req), ["plain"]);
}

#[test]
fn a_request_needs_a_peer_with_room_and_a_socket_that_asks() {
    let context = TestContext::new();
    for requester in [SocketType::Req, SocketType::Dealer, SocketType::Client] {
        let before = Instant::now();
        let error = context.socket(requester).request("x", Some(ms(5))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("no peer had room"), "{error}");
        assert!(before.elapsed() >= ms(5));
    }
    for other in [SocketType::Rep, SocketType::Router, SocketType::Push, SocketType::Pair, SocketType::Channel] {
        assert_kind(context.socket(other).request("x", None), ErrorKind::NotSupported);
    }
    let dealer = context.socket(SocketType::Dealer);
    dealer.set_conflate(true).unwrap();
    dealer.bind(&Transport::Inproc.wildcard()).unwrap();
    for result in [dealer.request("x", Some(ms(1))), block_on(dealer.request_async("x"))] {
        let error = result.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidState && error.to_string().contains("CONFLATE"), "{error}");
    }
    let dealer = context.socket(SocketType::Dealer);
    dealer.set_max_frames(2).unwrap();
    assert_kind(dealer.request(["1", "2", "3"], None), ErrorKind::TooManyFrames);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| dealer.request("x", None));
        context.shutdown();
        assert_kind(waiting.join().unwrap(), ErrorKind::Terminated);
    });
}

#[test]
fn a_reply_behind_other_messages_is_found() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (router, dealer) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
        dealer.set_routing_id("d").unwrap();
        transport.join(&router, &dealer);
        for n in 0..100 {
            send(&router, ["d".to_owned(), n.to_string()]);
        }
        thread::scope(|scope| {
            scope.spawn(|| echo(&router, 1));
            assert_eq!(text(&dealer.request("x", Some(PATIENCE)).unwrap()), ["x", "indeed"]);
        });
        for n in 0..100 {
            assert_eq!(recv_text(&dealer), [n.to_string()], "{transport:?}");
        }
    }
}

#[test]
fn a_reply_behind_more_than_the_high_water_mark_is_found_as_others_are_received() {
    let context = TestContext::new();
    let (router, dealer) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
    dealer.set_recv_hwm(10).unwrap();
    dealer.set_routing_id("d").unwrap();
    Transport::Tcp.join(&router, &dealer);
    thread::scope(|scope| {
        // Without a time that would end the wait, and look once more.
        let asking = scope.spawn(|| dealer.request("x", None));
        let mut request = recv(&router);
        for n in 0..12 {
            send(&router, ["d".to_owned(), n.to_string()]);
        }
        request.push_back("indeed");
        send(&router, request);
        for n in 0..3 {
            assert_eq!(recv_text(&dealer), [n.to_string()]);
        }
        assert_eq!(text(&asking.join().unwrap().unwrap()), ["x", "indeed"]);
    });
    assert_eq!(drain(&dealer).len(), 9);
}
