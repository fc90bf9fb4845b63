//! Who is connected to a socket, and waiting until somebody is.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oxzmq_proto::{Properties, SocketType};

use crate::asynch::Waiting;
use crate::core::{Core, Until};
use crate::error::{Error, ErrorKind, Result};
use crate::pattern::{self, Pattern};
use crate::peers::{FarEnd, PeerId, Peers};
use crate::security::Mechanism;
use crate::socket::Socket;

/// One peer of a socket at the moment of asking; see [`Socket::peers`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Names the peer for [`Socket::disconnect_peer`].
    pub key: PeerKey,
    /// The endpoint of this socket that it came to, or was connected by.
    pub endpoint: String,
    /// It came to an endpoint that this socket has bound; otherwise this socket has connected to it.
    pub accepted: bool,
    /// It is there. False while its connection is being made for the first time or anew.
    pub connected: bool,
    /// It is none of those that the socket speaks with, for as long as its connection lasts: a second peer of a PAIR or
    /// CHANNEL, a second peer of one routing id of a ROUTER, and one that a STREAM is closing.
    pub refused: bool,
    /// What ROUTER knows it by, or what it announced; empty where there is none.
    pub routing_id: Bytes,
    /// The mechanism of its connection; NULL for inproc and STREAM.
    pub mechanism: Mechanism,
    /// What the handshake told of it, as on every message that it sends; `None` before the first handshake and for
    /// inproc.
    pub properties: Option<Arc<Properties>>,
    /// Messages that wait to be sent to it.
    pub queued_out: usize,
    /// Messages that have come from it and wait to be received.
    pub queued_in: usize,
    /// Messages for it so far, subscriptions and those that still wait included.
    pub messages_out: u64,
    /// Messages that have come from it so far, subscriptions included.
    pub messages_in: u64,
    /// Octets written to its connections so far, framing included, handshakes not; 0 for inproc.
    pub octets_out: u64,
    /// Octets read from its connections so far, framing included, handshakes not; 0 for inproc.
    pub octets_in: u64,
    /// Messages for it that were dropped because its queue was full.
    pub dropped: u64,
}

impl PeerInfo {
    /// Its address: an IP address, or `localhost:UID:GID:PID` for ipc. `None` where there is none or none yet.
    pub fn address(&self) -> Option<&str> {
        self.property("Peer-Address")
    }

    /// Its socket type, where its handshake has told it.
    pub fn socket_type(&self) -> Option<SocketType> {
        self.property("Socket-Type").and_then(|name| SocketType::from_name(name.as_bytes()))
    }

    /// Whom the authenticator took it for, if it was asked.
    pub fn user_id(&self) -> Option<&str> {
        self.property("User-Id")
    }

    fn property(&self, name: &str) -> Option<&str> {
        self.properties.as_ref().and_then(|properties| properties.get_str(name))
    }
}

/// Names one peer of one socket, also after it has gone: it is never used for another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerKey(PeerId);

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerKey({:#x})", self.0.token())
    }
}

/// A way of naming a peer: see [`Socket::disconnect_peer`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum WhichPeer<'a> {
    /// By the key of [`Socket::peers`].
    Key(PeerKey),
    /// SERVER, PEER: by the number that its messages bear.
    Number(u32),
    /// By the routing id that ROUTER and STREAM show, or that it announced.
    RoutingId(&'a [u8]),
}

impl From<PeerKey> for WhichPeer<'_> {
    fn from(key: PeerKey) -> Self {
        Self::Key(key)
    }
}

impl From<u32> for WhichPeer<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number)
    }
}

impl<'a> From<&'a [u8]> for WhichPeer<'a> {
    fn from(routing_id: &'a [u8]) -> Self {
        Self::RoutingId(routing_id)
    }
}

/// What was not delivered to one peer; see [`Socket::close_within`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unsent {
    /// The endpoint of the socket that the peer came to, or was connected by.
    pub endpoint: String,
    /// The peer's routing id; empty where there is none.
    pub routing_id: Bytes,
    /// Messages that were queued for it or being written. Of the latter, at most 128 KiB and one message more, some may
    /// have gone out whole.
    pub messages: u64,
}

/// What a far end knows of itself.
#[derive(Default)]
pub(crate) struct Description {
    pub(crate) endpoint: String,
    pub(crate) accepted: bool,
    pub(crate) mechanism: Mechanism,
    /// Taken from the queue and not yet on their way.
    pub(crate) in_hand: usize,
    pub(crate) octets_out: u64,
    pub(crate) octets_in: u64,
}

/// Who is there, and waiting for them.
impl Socket {
    /// The socket's peers: connections, inproc partners, and endpoints whose connection is still being made.
    ///
    /// ```
    /// use oxzmq::{Context, SocketType};
    ///
    /// # fn main() -> oxzmq::Result<()> {
    /// let context = Context::new();
    /// let pull = context.socket(SocketType::Pull)?;
    /// let endpoint = pull.bind("tcp://127.0.0.1:*")?;
    /// let push = context.socket(SocketType::Push)?;
    /// push.connect(&endpoint)?;
    /// push.wait_for_peers(1, None)?;
    ///
    /// let peers = push.peers();
    /// assert_eq!(peers[0].socket_type(), Some(SocketType::Pull));
    /// assert_eq!(peers[0].address(), Some("127.0.0.1"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn peers(&self) -> Vec<PeerInfo> {
        let known = self.core().with_peers(|peers| {
            let live = peers.ids().filter_map(|id| Some((id, peers.get(id)?))).filter(|(_, peer)| !peer.gone);
            let collect = |(id, peer): (PeerId, &crate::peers::Peer)| {
                let info = PeerInfo {
                    key: PeerKey(id),
                    endpoint: String::new(),
                    accepted: false,
                    connected: peer.linked,
                    refused: peer.refused,
                    routing_id: peer.routing_id.clone(),
                    mechanism: Mechanism::Null,
                    properties: peer.properties.clone(),
                    queued_out: peer.queued(),
                    queued_in: peer.unread(),
                    messages_out: peer.sent(),
                    messages_in: peer.inbound.pushed(),
                    octets_out: 0,
                    octets_in: 0,
                    dropped: peer.dropped,
                };
                (info, Arc::clone(&peer.far))
            };
            live.map(collect).collect::<Vec<_>>()
        });
        // What is behind the queues has locks of its own, which come before the socket's.
        known.into_iter().map(|(info, far)| described(info, &*far)).collect()
    }

    /// Ends the connection to one peer, named by its [key](PeerInfo::key), by its number (SERVER, PEER), or by its
    /// routing id. What is queued for it lingers; what came from it can still be received. It is not connected to
    /// again by this socket, but may itself come again.
    ///
    /// # Errors
    /// [`ErrorKind::HostUnreachable`] when there is no such peer, [`ErrorKind::NotSupported`] for a number on a socket
    /// of another type.
    pub fn disconnect_peer<'a>(&self, peer: impl Into<WhichPeer<'a>>) -> Result<()> {
        let which = peer.into();
        let numbered = matches!(self.socket_type(), SocketType::Server | SocketType::Peer);
        if matches!(which, WhichPeer::Number(_)) && !numbered {
            return Err(ErrorKind::NotSupported.into());
        }
        let found = self.core().with_peers(|peers| {
            let is_meant = |&id: &PeerId| match which {
                WhichPeer::Key(key) => key.0 == id,
                WhichPeer::Number(number) => pattern::number_of(peers, id) == number,
                WhichPeer::RoutingId(wanted) => peers.get(id).is_some_and(|peer| peer.is_named(wanted)),
            };
            // One that takes no more is on its way out.
            let stays = |&id: &PeerId| peers.get(id).is_some_and(|peer| !peer.gone && !peer.outbound.is_closed());
            peers.ids().filter(stays).find(is_meant)
        });
        self.core().close_peer(found.ok_or(ErrorKind::HostUnreachable)?);
        Ok(())
    }

    /// Closes the socket, waits until what it had queued is delivered or `linger` is over (`None`: however long it takes),
    /// and tells what was not delivered: nothing, if all is well. Delivered means handed to the system, or to the other
    /// socket over inproc; whether the peer has read it only the peer can tell.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use oxzmq::{Context, SocketType};
    ///
    /// # fn main() -> oxzmq::Result<()> {
    /// let context = Context::new();
    /// let push = context.socket(SocketType::Push)?;
    /// push.connect("tcp://127.0.0.1:1")?; // nobody is there
    /// push.send("one")?;
    /// push.send("two")?;
    /// let unsent = push.close_within(Some(Duration::from_millis(10)));
    /// assert_eq!((unsent[0].endpoint.as_str(), unsent[0].messages), ("tcp://127.0.0.1:1", 2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn close_within(&self, linger: Option<Duration>) -> Vec<Unsent> {
        // Where the context is shut down already the option cannot be set, and stays as it is.
        let _ = self.set_linger(linger);
        self.close();
        self.core().wait_for_the_end()
    }

    /// Waits until at least `count` peers are connected, and returns how many are. Those that the socket does not speak
    /// with ([`PeerInfo::refused`]) do not count. `None` waits for ever.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`], [`ErrorKind::Terminated`], [`ErrorKind::Closed`].
    pub fn wait_for_peers(&self, count: usize, timeout: Option<Duration>) -> Result<usize> {
        let mut found = 0;
        let result = self.core().watch(true, Until::within(timeout), |_, peers| {
            found = peers.connected();
            (found >= count).then_some(found)
        });
        result.map_err(|error| too_few(error, found, count, "peers are connected"))
    }

    /// As [`Socket::wait_for_peers`], without blocking the thread. The future may be dropped at any time.
    ///
    /// # Errors
    /// [`ErrorKind::Terminated`], [`ErrorKind::Closed`].
    pub fn wait_for_peers_async(&self, count: usize) -> impl Future<Output = Result<usize>> + Send + '_ {
        watched(self.core(), move |_, peers| Some(peers.connected()).filter(|&found| found >= count))
    }

    /// PUB, XPUB: waits until at least `count` peers have subscriptions that match `topic`, and returns how many have;
    /// a message sent then is for all of them. RADIO: the same for members of a group; over udp it knows of none. `None`
    /// waits for ever.
    ///
    /// Peers that are not there now do not count. Whoever comes to the place of an endpoint that this socket has connected
    /// to has at once the subscriptions that were made there before, which count as they do when a message is sent.
    ///
    /// ```
    /// use oxzmq::{Context, SocketType};
    ///
    /// # fn main() -> oxzmq::Result<()> {
    /// let context = Context::new();
    /// let publisher = context.socket(SocketType::Pub)?;
    /// let endpoint = publisher.bind("tcp://127.0.0.1:*")?;
    /// let subscriber = context.socket(SocketType::Sub)?;
    /// subscriber.subscribe("weather.")?;
    /// subscriber.connect(&endpoint)?;
    ///
    /// publisher.wait_for_subscribers("weather.10000", 1, None)?;
    /// publisher.send("weather.10000 is fine")?;
    /// assert_eq!(subscriber.recv()?.to_text_lossy(), "weather.10000 is fine");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`], [`ErrorKind::NotSupported`] on other types, [`ErrorKind::Terminated`],
    /// [`ErrorKind::Closed`].
    pub fn wait_for_subscribers(
        &self,
        topic: impl AsRef<[u8]>,
        count: usize,
        timeout: Option<Duration>,
    ) -> Result<usize> {
        let mut found = 0;
        let result = self.core().watch(true, Until::within(timeout), |pattern, peers| {
            let Some(now) = pattern.subscribers(peers, topic.as_ref()) else {
                return Some(Err(ErrorKind::NotSupported.into()));
            };
            found = now;
            (found >= count).then_some(Ok(found))
        });
        result.map_err(|error| too_few(error, found, count, "peers have subscribed"))?
    }

    /// As [`Socket::wait_for_subscribers`], without blocking the thread. The future may be dropped at any time.
    ///
    /// # Errors
    /// [`ErrorKind::NotSupported`] on other types, [`ErrorKind::Terminated`], [`ErrorKind::Closed`].
    pub fn wait_for_subscribers_async(
        &self,
        topic: impl AsRef<[u8]>,
        count: usize,
    ) -> impl Future<Output = Result<usize>> + Send + '_ {
        let topic = topic.as_ref().to_owned();
        let wait = watched(self.core(), move |pattern, peers| match pattern.subscribers(peers, &topic) {
            None => Some(Err(ErrorKind::NotSupported.into())),
            Some(found) => (found >= count).then_some(Ok(found)),
        });
        async { wait.await? }
    }
}

fn described(mut info: PeerInfo, far: &dyn FarEnd) -> PeerInfo {
    let Description { endpoint, accepted, mechanism, in_hand, octets_out, octets_in } = far.describe();
    info.queued_out += in_hand;
    PeerInfo { endpoint, accepted, mechanism, octets_out, octets_in, ..info }
}

fn too_few(error: Error, found: usize, count: usize, what: &str) -> Error {
    if error.kind() == ErrorKind::TimedOut {
        return Error::new(ErrorKind::TimedOut, format!("{found} of {count} {what}"));
    }
    error
}

fn watched<'a, T: Send + 'a>(
    core: &'a Arc<Core>,
    mut look: impl FnMut(&mut dyn Pattern, &mut Peers) -> Option<T> + Send + 'a,
) -> impl Future<Output = Result<T>> + Send + 'a {
    let mut waiting = Waiting::at(core);
    poll_fn(move |cx| waiting.poll_watch(cx, &mut look))
}
