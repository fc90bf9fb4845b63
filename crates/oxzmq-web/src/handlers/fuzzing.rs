//! See [`crate::fuzzing`].
#![allow(missing_docs)]

use std::time::Instant;

use hyper::Method;
use oxzmq::Message;
use tokio::sync::mpsc;

use super::majordomo::{Broker, Job};
use super::raw;

/// Whom a Mongrel2 handler's reply is for, and where what they get begins.
pub fn mongrel2(message: &[u8]) -> Option<(Vec<u64>, usize)> {
    super::mongrel2::decode(message).map(|delivery| (delivery.ids, delivery.raw))
}

/// What two Majordomo workers say, with a request on its way; the number of messages to them.
pub fn majordomo(messages: impl Iterator<Item = (bool, Message)>) -> usize {
    let (mut broker, now) = (Broker::new("echo"), Instant::now());
    let mut sent = 0;
    for (n, (first, message)) in messages.enumerate() {
        let worker = if first { "a" } else { "b" };
        broker.handle(&worker.into(), message, now);
        let (client, _receiver) = mpsc::channel(1);
        let id = n as u64;
        broker.submit(Job { id, frames: vec!["GET".into()], client, repeatable: true, tries: 0, began: false }, now);
        while broker.poll_outbox().is_some() {
            sent += 1;
        }
    }
    sent
}

/// Where the body of a handler's response begins, if that is a response and whole.
pub fn response(octets: &[u8], head: bool) -> Option<usize> {
    let method = if head { Method::HEAD } else { Method::GET };
    raw::parse(octets, &method).ok().flatten().map(|head| head.end)
}
