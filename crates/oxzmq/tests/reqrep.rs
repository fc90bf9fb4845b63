//! The state machines of REQ and REP.

mod common;

use common::*;
use oxzmq::{ErrorKind, Message, SocketType};

#[test]
fn req_sends_and_receives_strictly_in_turn() {
    let context = TestContext::new();
    let (rep, req) = context.inproc_pair(SocketType::Rep, SocketType::Req);
    assert_kind(req.try_recv(), ErrorKind::InvalidState);
    assert!(!req.readiness().unwrap().readable());
    req.send("1").unwrap();
    let refused = req.send("2").unwrap_err();
    assert_eq!((refused.kind(), refused.into_message()), (ErrorKind::InvalidState, Message::from("2")));
    assert!(!req.readiness().unwrap().writable());
    recv(&rep);
    rep.send("one").unwrap();
    assert!(req.readiness().unwrap().readable());
    assert_eq!(recv(&req), Message::from("one"));
    assert_kind(req.try_recv(), ErrorKind::InvalidState);
    assert!(req.readiness().unwrap().writable());
}

#[test]
fn rep_receives_and_sends_strictly_in_turn() {
    let context = TestContext::new();
    let (rep, req) = context.inproc_pair(SocketType::Rep, SocketType::Req);
    assert_kind(rep.try_send("x"), ErrorKind::InvalidState);
    assert!(!rep.readiness().unwrap().writable());
    req.send("1").unwrap();
    recv(&rep);
    assert_kind(rep.try_recv(), ErrorKind::InvalidState);
    let ready = rep.readiness().unwrap();
    assert_eq!((ready.readable(), ready.writable()), (false, true));
    rep.send("one").unwrap();
    assert_kind(rep.try_send("two"), ErrorKind::InvalidState);
}

#[test]
fn rep_skips_requests_without_delimiter() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (rep, dealer) = context.pair(transport, SocketType::Rep, SocketType::Dealer);
        for request in [vec!["nodelim"], vec!["a", "b"], vec![""], vec!["", "good"]] {
            dealer.send(request.into_iter().collect::<Message>()).unwrap();
        }
        assert_eq!(recv(&rep), Message::from("good"));
        rep.send("yes").unwrap();
        assert_eq!(recv(&dealer), Message::from(["", "yes"]));
    }
}

#[test]
fn rep_returns_the_whole_envelope() {
    let context = TestContext::new();
    let (rep, dealer) = context.inproc_pair(SocketType::Rep, SocketType::Dealer);
    dealer.send(["x", "y", "", "body", "", "tail"]).unwrap();
    assert_eq!(recv(&rep), Message::from(["body", "", "tail"]));
    rep.send(["reply", ""]).unwrap();
    assert_eq!(recv(&dealer), Message::from(["x", "y", "", "reply", ""]));
}

#[test]
fn empty_requests_and_replies_are_allowed() {
    let context = TestContext::new();
    let (rep, req) = context.inproc_pair(SocketType::Rep, SocketType::Req);
    req.send("").unwrap();
    assert_eq!(recv(&rep), Message::from(""));
    rep.send("").unwrap();
    assert_eq!(recv(&req), Message::from(""));
    // A message of no frames has an empty one on the wire.
    req.send(Message::new()).unwrap();
    assert_eq!(recv(&rep), Message::from(""));
    rep.send(Message::new()).unwrap();
    assert_eq!(recv(&req), Message::from(""));
}

#[test]
fn a_reply_to_a_requester_that_left_is_dropped() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (rep, req) = context.pair(transport, SocketType::Rep, SocketType::Req);
        req.send("x").unwrap();
        recv(&rep);
        drop(req);
        until("the requester is gone", || rep.stats().peers == 0);
        rep.send("nobody hears").unwrap();
        assert_kind(rep.try_send("again"), ErrorKind::InvalidState);
        let next = context.connected(SocketType::Req, &rep.last_endpoint());
        next.send("next").unwrap();
        assert_eq!(recv(&rep), Message::from("next"));
    }
}

#[test]
fn replies_of_others_are_skipped() {
    let context = TestContext::new();
    let req = context.socket(SocketType::Req);
    let endpoint = req.bind(&Transport::Inproc.wildcard()).unwrap();
    let [asked, other] = [(), ()].map(|()| context.connected(SocketType::Router, &endpoint));
    req.send("x").unwrap();
    let request = recv(&asked);
    // The other ROUTER knows this REQ by an id of its own; a DEALER can answer out of turn more simply.
    let stranger = context.connected(SocketType::Dealer, &endpoint);
    stranger.send(["", "not asked"]).unwrap();
    assert_kind(req.try_recv(), ErrorKind::WouldBlock);
    asked.send([request[0].clone(), "".into(), "answer".into()]).unwrap();
    assert_eq!(recv(&req), Message::from("answer"));
    drop(other);
}

#[test]
fn malformed_replies_are_skipped_over_inproc() {
    let context = TestContext::new();
    let (router, req) = context.inproc_pair(SocketType::Router, SocketType::Req);
    req.send("x").unwrap();
    let id = recv(&router)[0].clone();
    router.send([id.clone(), "no delimiter".into()]).unwrap();
    router.send([id.clone(), "".into()]).unwrap();
    router.send([id, "".into(), "good".into()]).unwrap();
    assert_eq!(recv(&req), Message::from("good"));
}

#[test]
fn a_reply_in_the_wrong_form_ends_the_connection_over_tcp() {
    let context = TestContext::new();
    let (router, req) = context.pair(Transport::Tcp, SocketType::Router, SocketType::Req);
    let monitor = req.monitor().unwrap();
    req.send("x").unwrap();
    let id = recv(&router)[0].clone();
    router.send([id, "no delimiter".into()]).unwrap();
    await_event(&monitor, oxzmq::EventKind::Disconnected);
    until("the peer is given up for good", || req.stats().peers == 0);
}

#[test]
fn strict_req_keeps_waiting_when_its_peer_leaves_and_takes_any_reply_then() {
    let context = TestContext::new();
    let req = context.socket(SocketType::Req);
    let endpoint = req.bind(&Transport::Inproc.wildcard()).unwrap();
    let asked = context.connected(SocketType::Rep, &endpoint);
    req.send("x").unwrap();
    drop(asked);
    assert_kind(req.try_send("y"), ErrorKind::InvalidState);
    let dealer = context.connected(SocketType::Dealer, &endpoint);
    dealer.send(["", "late answer"]).unwrap();
    assert_eq!(recv(&req), Message::from("late answer"));
}

#[test]
fn relaxed_req_gives_up_the_old_request() {
    let context = TestContext::new();
    let (router, req) = context.inproc_pair(SocketType::Router, SocketType::Req);
    req.set_req_relaxed(true).unwrap();
    req.send("first").unwrap();
    let first = recv(&router);
    router.send([first[0].clone(), "".into(), "to the first".into()]).unwrap();
    req.send("second").unwrap(); // drops the reply that waits
    assert_kind(req.try_recv(), ErrorKind::WouldBlock);
    router.send([first[0].clone(), "".into(), "late".into()]).unwrap();
    assert_eq!(recv(&req), Message::from("late"), "without numbers a late reply is taken for the new one");
}

#[test]
fn correlated_req_takes_only_the_reply_with_its_number() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (router, req) = context.pair(transport, SocketType::Router, SocketType::Req);
        req.set_req_relaxed(true).unwrap();
        req.set_req_correlate(true).unwrap();
        req.send("first").unwrap();
        let mut first = recv(&router);
        assert_eq!((first.len(), first[1].len(), first[2].len()), (4, 4, 0));
        req.send("second").unwrap();
        let mut second = recv(&router);
        first.push_back("late");
        router.send(first).unwrap();
        second.push_back("in time");
        router.send(second).unwrap();
        assert_eq!(recv_text(&req), ["second", "in time"]);
    }
}

#[test]
fn correlated_req_works_with_plain_rep() {
    let context = TestContext::new();
    let (rep, req) = context.pair(Transport::Tcp, SocketType::Rep, SocketType::Req);
    req.set_req_correlate(true).unwrap();
    for n in 0..5 {
        req.send(n.to_string()).unwrap();
        assert_eq!(recv_text(&rep), [n.to_string()]);
        rep.send("ok").unwrap();
        assert_eq!(recv(&req), Message::from("ok"));
    }
}

#[test]
fn a_request_waits_for_a_server_that_is_not_there_yet() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let place = Place::new(transport);
        let req = context.connected(SocketType::Req, place.endpoint());
        req.send("x").unwrap();
        let rep = context.socket(SocketType::Rep);
        rep.bind(place.endpoint()).unwrap();
        assert_eq!(recv(&rep), Message::from("x"));
        rep.send("y").unwrap();
        assert_eq!(recv(&req), Message::from("y"));
    }
}

#[test]
fn a_broker_of_router_and_dealer_is_transparent() {
    let context = TestContext::new();
    let (front, back) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
    let (req, rep) = (context.socket(SocketType::Req), context.socket(SocketType::Rep));
    Transport::Inproc.join(&front, &req);
    Transport::Inproc.join(&back, &rep);
    req.send(["question", "two"]).unwrap();
    back.send(recv(&front)).unwrap();
    assert_eq!(recv(&rep), Message::from(["question", "two"]));
    rep.send("answer").unwrap();
    front.send(recv(&back)).unwrap();
    assert_eq!(recv(&req), Message::from("answer"));
}

#[test]
fn a_strict_req_waits_on_for_a_server_that_was_lost_with_its_request() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let place = Place::new(transport);
        let req = context.connected(SocketType::Req, place.endpoint());
        let rep = context.socket(SocketType::Rep);
        rep.bind(place.endpoint()).unwrap();
        send(&req, "asked once");
        assert_eq!(recv(&rep), Message::from("asked once"));
        let monitor = req.monitor().unwrap();
        drop(rep);
        await_event(&monitor, oxzmq::EventKind::Disconnected);
        let rep = context.socket(SocketType::Rep);
        rep.bind(place.endpoint()).unwrap();
        await_event(&monitor, oxzmq::EventKind::HandshakeSucceeded);
        assert_silent(&rep);
        assert_kind(req.try_send("again"), ErrorKind::InvalidState);
        assert_kind(req.try_recv(), ErrorKind::WouldBlock);
        req.set_req_relaxed(true).unwrap();
        send(&req, "given up");
        assert_eq!(recv(&rep), Message::from("given up"), "{transport:?}");
    }
}

#[test]
fn a_relaxed_req_asks_the_next_peer_and_does_not_hear_the_first() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let req = context.socket(SocketType::Req);
        req.set_req_relaxed(true).unwrap();
        let reps = [(), ()].map(|()| {
            let rep = context.socket(SocketType::Rep);
            transport.join(&rep, &req);
            rep
        });
        req.wait_for_peers(2, Some(PATIENCE)).unwrap();
        send(&req, "first");
        send(&req, "second");
        assert_eq!((recv(&reps[0]), recv(&reps[1])), (Message::from("first"), Message::from("second")));
        send(&reps[0], "too late");
        assert_silent(&req);
        send(&reps[1], "in time");
        assert_eq!(recv(&req), Message::from("in time"), "{transport:?}");
    }
}

#[test]
fn a_reply_that_its_requester_has_no_room_for_is_dropped() {
    let context = TestContext::new();
    let (rep, dealer) = (context.socket(SocketType::Rep), context.socket(SocketType::Dealer));
    rep.set_send_hwm(1).unwrap();
    dealer.set_recv_hwm(1).unwrap();
    Transport::Inproc.join(&rep, &dealer);
    for n in 0..4 {
        send(&dealer, ["".to_owned(), n.to_string()]);
        assert_eq!(recv_text(&rep), [n.to_string()]);
        rep.try_send(n.to_string()).unwrap();
    }
    assert_eq!(drain(&dealer), ["0", "1"].map(|n| Message::from(["", n])));
    assert_eq!(rep.stats().drops.full, 2);
}

#[test]
fn rep_takes_the_options_of_router_without_effect() {
    let context = TestContext::new();
    let rep = context.socket(SocketType::Rep);
    for name in ["ROUTER_MANDATORY", "ROUTER_HANDOVER", "ROUTER_RAW", "PROBE_ROUTER", "ROUTER_NOTIFY"] {
        rep.set_option(oxzmq::OptionInfo::by_name(name).unwrap(), 1).unwrap();
    }
    rep.set_connect_routing_id("x").unwrap();
    let req = context.socket(SocketType::Req);
    Transport::Tcp.join(&rep, &req);
    send(&req, "question");
    assert_eq!(recv(&rep), Message::from("question"));
    send(&rep, "answer");
    assert_eq!(recv(&req), Message::from("answer"));
}
