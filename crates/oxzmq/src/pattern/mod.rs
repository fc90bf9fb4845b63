//! What makes a PUB a PUB: one small type for each socket type, over the peers' queues.
//!
//! A pattern decides which peer gets a message and whose message is read next. It runs under the
//! socket's lock, never waits, and knows nothing of transports. A new socket type is one file here and
//! one line in [`new`].

mod correlated;
mod dealer;
mod dgram;
mod dish;
mod pair;
mod publish;
mod pull;
mod push;
mod radio;
mod rep;
mod req;
mod router;
mod server;
mod single;
mod stream;
mod subscribe;

pub(crate) use self::server::number_of;
use oxzmq_proto::{Frame, Message, SocketType};

use crate::error::{Error, ErrorKind, Result};
use crate::peers::{PeerId, Peers};

/// Why a pattern did not take a message, which is as it was.
#[derive(Debug)]
pub(crate) enum NotSent {
    /// Nobody has room; try again when a peer becomes writable.
    Full,
    /// It never will be sent in this state.
    Refused(ErrorKind),
}

/// The error of a message that never will be sent, by a socket of this type.
#[cold]
pub(crate) fn refusal(socket_type: SocketType, kind: ErrorKind) -> Error {
    if kind != ErrorKind::InvalidArgument {
        return kind.into();
    }
    let why = match socket_type {
        SocketType::Stream => "a message of STREAM is two frames: the routing id and octets",
        SocketType::Dgram => "a message of DGRAM is two frames: the address and the datagram",
        SocketType::Radio => "a message of RADIO is one frame, in a group whose name has at most 255 octets",
        _ => "a message of this socket type is one frame",
    };
    Error::new(kind, why)
}

pub(crate) trait Pattern: Send {
    /// A peer was added. There may be nobody behind it yet (a connection still being made).
    fn attached(&mut self, peers: &mut Peers, id: PeerId);

    /// Somebody is behind the peer's queues now and its routing id is known. Called again after each
    /// reconnection.
    fn linked(&mut self, _peers: &mut Peers, _id: PeerId) {}

    /// There is nobody behind the peer's queues for now.
    fn unlinked(&mut self, _peers: &mut Peers, _id: PeerId) {}

    /// The peer is gone for good. Messages already received from it can still be read.
    fn detached(&mut self, peers: &mut Peers, id: PeerId);

    /// The peer's inbound queue, found empty before, has messages.
    fn readable(&mut self, peers: &mut Peers, id: PeerId);

    /// The peer's outbound queue, found full before, has room.
    fn writable(&mut self, _peers: &mut Peers, _id: PeerId) {}

    /// Sends one message: what is left in its place means nothing.
    ///
    /// Messages are handed on in place, here and below, because every other way writes and reads them once
    /// more, which at millions a second is what a call costs.
    fn send(&mut self, peers: &mut Peers, message: &mut Message) -> Result<(), NotSent>;

    /// What a send of a message of several frames, of which this is the first, would find now. The C API, where parts
    /// come one by one, asks when the first one is there: later ones do not fail.
    fn begin(&mut self, peers: &mut Peers, _first: &Frame) -> Result<(), NotSent> {
        if self.can_send(peers) { Ok(()) } else { Err(NotSent::Full) }
    }

    /// Receives one message in place of `message`; false when there is none yet.
    fn recv(&mut self, peers: &mut Peers, message: &mut Message) -> Result<bool>;

    /// True when a send would be taken now.
    fn can_send(&mut self, peers: &mut Peers) -> bool;

    /// True when two sends may wait for different peers, so that neither can stand for the other.
    fn senders_differ(&self) -> bool {
        false
    }

    /// True when a receive may find something now.
    fn can_recv(&mut self, peers: &mut Peers) -> bool;

    /// Adds (or removes) a subscription.
    fn subscribe(&mut self, _peers: &mut Peers, _prefix: Frame, _add: bool) -> Result<()> {
        Err(Error::new(ErrorKind::InvalidArgument, "only SUB sockets subscribe by call"))
    }

    /// Sends a request with a number, which is returned, and by which its reply is known.
    fn request(&mut self, _peers: &mut Peers, _message: &mut Message) -> Result<u32, NotSent> {
        Err(NotSent::Refused(ErrorKind::NotSupported))
    }

    /// The reply to a request, if it is there: then the request is over.
    fn take_reply(&mut self, _peers: &mut Peers, _number: u32) -> Option<Message> {
        None
    }

    /// Nobody waits for the reply to this request any more.
    fn give_up(&mut self, _number: u32) {}

    /// Number of different topics that are subscribed to; `None` where there are no subscriptions.
    fn topics(&self) -> Option<usize> {
        None
    }

    /// Number of peers that a message of this topic or group is for; `None` where peers do not choose.
    fn subscribers(&mut self, _peers: &mut Peers, _topic: &[u8]) -> Option<usize> {
        None
    }

    /// Joins (or leaves) a group.
    fn join(&mut self, _peers: &mut Peers, _group: Frame, _add: bool) -> Result<()> {
        not_supported()
    }
}

/// The pattern of a socket type.
pub(crate) fn new(socket_type: SocketType) -> Result<Box<dyn Pattern>> {
    Ok(match socket_type {
        SocketType::Pair => Box::<pair::Pair>::default(),
        SocketType::Pub => Box::new(publish::Publisher::new(false)),
        SocketType::Xpub => Box::new(publish::Publisher::new(true)),
        SocketType::Sub => Box::new(subscribe::Subscriber::new(true)),
        SocketType::Xsub => Box::new(subscribe::Subscriber::new(false)),
        SocketType::Req => Box::new(req::Req::new()),
        SocketType::Rep => Box::<rep::Rep>::default(),
        SocketType::Dealer => Box::new(correlated::Correlated::by_envelope(dealer::Dealer::default())),
        SocketType::Router => Box::new(router::Router::new()),
        SocketType::Pull => Box::<pull::Pull>::default(),
        SocketType::Push => Box::<push::Push>::default(),
        SocketType::Stream => Box::new(stream::Stream::new()),
        SocketType::Radio => Box::<radio::Radio>::default(),
        SocketType::Dish => Box::<dish::Dish>::default(),
        SocketType::Dgram => Box::<dgram::Dgram>::default(),
        SocketType::Scatter => Box::<single::Single<push::Push>>::default(),
        SocketType::Gather => Box::<single::Single<pull::Pull>>::default(),
        SocketType::Channel => Box::<single::Single<pair::Pair>>::default(),
        SocketType::Client => Box::new(correlated::Correlated::by_prefix(single::Single::of(dealer::Dealer::client()))),
        SocketType::Server | SocketType::Peer => Box::new(single::Single::of(server::Server::new())),
    })
}

/// The error of the direction that a one-way socket type lacks.
fn not_supported<T>() -> Result<T> {
    Err(ErrorKind::NotSupported.into())
}
