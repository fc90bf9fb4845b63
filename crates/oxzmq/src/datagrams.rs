//! `udp://`: a descriptor whose every datagram is one message. There is no connection and no handshake, so there is one
//! peer for each endpoint: everybody who can be reached through it.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::OnceLock;

use oxzmq_proto::{Frame, Message, SocketType};
use parking_lot::{Mutex, RwLock};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, Socket, Type};

use crate::core::Core;
use crate::endpoint::{Host, Role, UdpEndpoint};
use crate::error::{Error, ErrorKind, Result};
use crate::monitor::{Event, EventKind};
use crate::options::Options;
use crate::peer_info::Description;
use crate::peers::{FarEnd, Peer, PeerId};
use crate::queue::{Push, Queue};
use crate::reactor::Reactor;
use crate::sys::Interest;
use crate::transport;

/// Largest datagram of RADIO and DISH, the group and its length included.
const LARGEST: usize = 8192;

/// Room for every datagram that there is.
const ROOM: usize = 65_536;

/// Datagrams read before others get their turn.
const READS_PER_VISIT: usize = 64;

/// Datagrams sent before others get their turn: whoever fills the queue meanwhile must not keep this thread for ever.
const SENDS_PER_VISIT: usize = 1024;

thread_local! {
    static READ: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(crate) struct Datagrams {
    core: Arc<Core>,
    /// What the endpoint can be removed by.
    pub(crate) name: String,
    accepted: bool,
    /// `None` once it is closed, which waits until nobody uses it. Locked before the socket's state.
    fd: RwLock<Option<OwnedFd>>,
    /// Where messages go that bear no address of their own.
    target: Option<SocketAddr>,
    reactor: Arc<Reactor>,
    outbound: Arc<Queue>,
    inbound: Arc<Queue>,
    peer: OnceLock<PeerId>,
    sending: Mutex<Sending>,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Sending {
    /// Taken from the queue and not yet sent.
    local: std::collections::VecDeque<Message>,
    /// Sent and not yet reported to the queue as read.
    done: usize,
    octets_out: u64,
}

#[derive(Default)]
struct Watched {
    /// The I/O thread's name for the descriptor; `None` before it has one and after the end.
    token: Option<u64>,
    interest: Interest,
    octets_in: u64,
}

/// Binds (DISH, DGRAM) or connects (RADIO), and returns the endpoint with its resolved name.
pub(crate) fn open(core: &Arc<Core>, endpoint: &UdpEndpoint, text: &str, role: Role) -> Result<Arc<Datagrams>> {
    if check_type(core.socket_type)? != role {
        return Err(other_use());
    }
    let reactor = Arc::clone(&core.net()?.reactor);
    let options = core.options(Clone::clone);
    let address = resolve(&endpoint.target.host, endpoint.target.port, &options)?;
    let failed = |error: io::Error| Error::from_os(&error, &format!("cannot use {text}"));
    let (fd, name, target) = match role {
        Role::Bind => {
            let (fd, local) = bind(endpoint, address, &options).map_err(failed)?;
            (fd, format!("udp://{local}"), None)
        }
        Role::Connect => (connect(endpoint, address, &options).map_err(failed)?, text.to_owned(), Some(address)),
    };
    let outbound = Arc::new(Queue::new(options.send_hwm as usize, false));
    let inbound = Arc::new(Queue::new(options.recv_hwm as usize, false));
    let datagrams = Arc::new(Datagrams {
        core: Arc::clone(core),
        name,
        accepted: role == Role::Bind,
        fd: RwLock::new(Some(fd)),
        target,
        reactor,
        outbound: Arc::clone(&outbound),
        inbound: Arc::clone(&inbound),
        peer: OnceLock::new(),
        sending: Mutex::default(),
        watched: Mutex::new(Watched { interest: Interest::READ, ..Watched::default() }),
    });
    let far: Arc<dyn FarEnd> = Arc::clone(&datagrams) as _;
    let mut peer = Peer::new(outbound, inbound, far, options.recv_hwm as usize);
    peer.hears_changes = false;
    peer.takes_every_group = true;
    let id = core.attach(peer, None).ok_or(ErrorKind::Closed)?;
    if core.with_peers(|peers| peers.get(id).is_some_and(|peer| peer.refused)) {
        core.discard(id);
        let why = "a DGRAM socket has one endpoint, and is bound already: unbind that one first";
        return Err(Error::new(ErrorKind::InvalidState, why));
    }
    let _ = datagrams.peer.set(id);
    core.link(id, &bytes::Bytes::new(), None, None);
    let kind = if role == Role::Bind { EventKind::Listening } else { EventKind::Connected };
    core.raise(Event::new(kind, &datagrams.name));
    datagrams.reactor.watch_datagrams(&datagrams);
    Ok(datagrams)
}

/// What a socket of this type does with udp.
pub(crate) fn check_type(socket_type: SocketType) -> Result<Role> {
    match socket_type {
        SocketType::Dish | SocketType::Dgram => Ok(Role::Bind),
        SocketType::Radio => Ok(Role::Connect),
        _ => Err(other_use()),
    }
}

fn other_use() -> Error {
    let why = "udp is for RADIO, which connects, and for DISH and DGRAM, which bind";
    Error::new(ErrorKind::IncompatibleTransport, why)
}

/// Looks the host up, in this thread. Interfaces have names, too.
fn resolve(host: &Host, port: u16, options: &Options) -> Result<SocketAddr> {
    if let Some(address) = host.literal(port, false) {
        return Ok(address);
    }
    let Host::Name(name) = host else { return Ok((Ipv4Addr::UNSPECIFIED, port).into()) };
    if let Some(ip) = transport::interface_address(name, options.ipv6) {
        return Ok((ip, port).into());
    }
    let found = transport::resolve(name, port, options.ipv6).ok().and_then(|found| found.into_iter().next());
    found.ok_or_else(|| Error::new(ErrorKind::NoDevice, format!("no such interface or host: {name}")))
}

fn new_socket(address: SocketAddr, options: &Options) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if !options.device.is_empty() {
        socket.bind_device(Some(&options.device))?;
    }
    transport::set_buffers(&socket, options)?;
    Ok(socket)
}

fn bind(endpoint: &UdpEndpoint, address: SocketAddr, options: &Options) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = new_socket(address, options)?;
    let place = match address.ip() {
        IpAddr::V4(ip) if ip.is_multicast() => SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())),
        IpAddr::V6(ip) if ip.is_multicast() => SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, address.port())),
        _ => address,
    };
    if address.ip().is_multicast() {
        // Several receivers on one machine.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&place.into())?;
    match address.ip() {
        IpAddr::V4(group) if group.is_multicast() => {
            // Only what is meant for this group, and not for those that others on this machine have joined.
            socket.set_multicast_all_v4(false)?;
            socket.join_multicast_v4(&group, &endpoint.interface_v4(options.ipv6)?)?;
        }
        IpAddr::V6(group) if group.is_multicast() => {
            socket.join_multicast_v6(&group, endpoint.interface_v6()?)?;
        }
        _ => {}
    }
    let port = socket.local_addr()?.as_socket().map_or(0, |local| local.port());
    Ok((socket.into(), SocketAddr::new(address.ip(), port)))
}

fn connect(endpoint: &UdpEndpoint, address: SocketAddr, options: &Options) -> io::Result<OwnedFd> {
    let socket = new_socket(address, options)?;
    match address.ip() {
        IpAddr::V4(group) if group.is_multicast() => {
            socket.set_multicast_ttl_v4(options.multicast_hops.min(255))?;
            socket.set_multicast_loop_v4(options.multicast_loop)?;
            socket.set_multicast_if_v4(&endpoint.interface_v4(options.ipv6)?)?;
        }
        IpAddr::V6(group) if group.is_multicast() => {
            socket.set_multicast_hops_v6(options.multicast_hops.min(255))?;
            socket.set_multicast_loop_v6(options.multicast_loop)?;
            socket.set_multicast_if_v6(endpoint.interface_v6()?)?;
        }
        _ => {}
    }
    Ok(socket.into())
}

impl Datagrams {
    /// Runs `f` with the descriptor, unless it is closed.
    pub(crate) fn with_fd<T>(&self, f: impl FnOnce(&OwnedFd) -> T) -> Option<T> {
        self.fd.read().as_ref().map(f)
    }

    /// The I/O thread watches it from now on, under this name: for what may have changed before, and changes later only
    /// under the same lock.
    pub(crate) fn watched_as(&self, fd: &OwnedFd, token: u64) -> io::Result<()> {
        let mut watched = self.watched.lock();
        watched.token = Some(token);
        self.reactor.watch_fd(fd, token, watched.interest)
    }

    fn watch(&self, fd: &OwnedFd, change: impl FnOnce(Interest) -> Interest) {
        let mut watched = self.watched.lock();
        let after = change(watched.interest);
        if watched.interest != after {
            watched.interest = after;
            if let Some(token) = watched.token {
                // A descriptor that is there can be watched; the level-triggered set tells of what was missed.
                let _ = self.reactor.watch_fd(fd, token, after);
            }
        }
    }

    /// The I/O thread's turn.
    pub(crate) fn ready(&self) {
        self.with_fd(|fd| self.watch(fd, |interest| Interest { write: false, ..interest }));
        self.flush();
        if self.with_fd(|fd| self.receive(fd)) == Some(true)
            && let Some(&id) = self.peer.get()
        {
            self.core.peer_readable(id);
        }
    }

    /// True when the socket has to be told.
    fn receive(&self, fd: &OwnedFd) -> bool {
        let mut buffer = READ.take();
        buffer.resize(ROOM, 0);
        let wake = self.receive_into(fd, &mut buffer);
        READ.set(buffer);
        wake
    }

    fn receive_into(&self, fd: &OwnedFd, buffer: &mut [u8]) -> bool {
        let (mut wake, mut octets) = (false, 0);
        for _ in 0..READS_PER_VISIT {
            // What there is no room for waits in the kernel, which drops what it has no room for either.
            if !self.inbound.has_room() {
                self.watch(fd, |interest| Interest { read: false, ..interest });
                // Room that came between the two has told, and in vain; room that comes after this look tells again.
                if self.inbound.has_room() {
                    self.watch(fd, |interest| Interest { read: true, ..interest });
                }
                break;
            }
            let (got, from) = match rustix::net::recvfrom(fd, &mut *buffer, RecvFlags::empty()) {
                Ok((got, _, from)) => (got, from.and_then(|from| SocketAddr::try_from(from).ok())),
                Err(Errno::AGAIN) => break,
                // One that could not be delivered, say: it concerns what was sent.
                Err(_) => continue,
            };
            octets += got as u64;
            match self.message(&buffer[..got], from) {
                Some(mut message) => {
                    if let Push::Queued { wake: first } = self.inbound.push(&mut message) {
                        wake |= first;
                    }
                }
                // Before what follows it can be received.
                None => self.core.count_drops(|drops| drops.malformed += 1),
            }
        }
        self.watched.lock().octets_in += octets;
        wake
    }

    /// A datagram as the patterns know it.
    fn message(&self, datagram: &[u8], from: Option<SocketAddr>) -> Option<Message> {
        if self.core.socket_type == SocketType::Dgram {
            let address = format!("{}\0", from?);
            return Some(Message::from([address.into_bytes(), datagram.to_vec()]));
        }
        grouped(datagram)
    }

    /// Sends what is queued, until the kernel takes no more.
    fn flush(&self) {
        if self.with_fd(|fd| self.send_queued(fd)) == Some(true)
            && let Some(&id) = self.peer.get()
        {
            self.core.peer_writable(id);
        }
    }

    /// True when the socket has to be told that there is room.
    fn send_queued(&self, fd: &OwnedFd) -> bool {
        let mut room = false;
        let mut sending = self.sending.lock();
        for _ in 0..SENDS_PER_VISIT {
            if sending.local.is_empty() {
                let done = std::mem::take(&mut sending.done);
                room |= self.outbound.take(&mut sending.local, done);
            }
            let Some(message) = sending.local.front() else { return room };
            match self.send(fd, message) {
                Ok(octets) => sending.octets_out += octets,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                // Nobody is told whether a datagram has arrived; here it has not even left.
                Err(_) => self.core.count_drops(|drops| drops.lost += 1),
            }
            sending.local.pop_front();
            sending.done += 1;
        }
        self.watch(fd, |interest| Interest { write: true, ..interest });
        room
    }

    fn send(&self, fd: &OwnedFd, message: &Message) -> Result<u64, Errno> {
        let [first, body, ..] = message.frames() else { return Ok(0) };
        let sent = match self.target {
            // The group, and who is there.
            Some(target) => {
                let datagram = [&[first.len() as u8][..], first, body].concat(); // RADIO keeps groups to 255 octets
                if datagram.len() > LARGEST {
                    return Err(Errno::MSGSIZE);
                }
                rustix::net::sendto(fd, &datagram, SendFlags::empty(), &target)?
            }
            None => {
                let target = address_of(first).ok_or(Errno::DESTADDRREQ)?;
                rustix::net::sendto(fd, body, SendFlags::empty(), &SocketAddr::V4(target))?
            }
        };
        Ok(sent as u64)
    }

    /// Ends the endpoint: its address is free when this returns. What is queued is sent as far as the kernel takes it at
    /// once.
    pub(crate) fn end(self: &Arc<Self>) {
        self.outbound.close();
        self.flush();
        if self.fd.write().take().is_none() {
            return;
        }
        self.core.count_lost((self.sending.lock().local.len() + self.outbound.len()) as u64);
        self.reactor.forget_datagrams(self);
        if let Some(&id) = self.peer.get() {
            self.core.detach(id);
        }
        self.core.raise(Event::new(EventKind::Closed, &self.name));
    }
}

/// A RADIO's datagram as group and body.
pub(crate) fn grouped(datagram: &[u8]) -> Option<Message> {
    let (&length, rest) = datagram.split_first().filter(|_| datagram.len() <= LARGEST)?;
    let (group, body) = rest.split_at_checked(length.into())?;
    Some(Message::from([Frame::copy_from_slice(group), Frame::copy_from_slice(body)]))
}

/// The address that a DGRAM message goes to: text, with or without a zero behind it.
pub(crate) fn address_of(text: &[u8]) -> Option<SocketAddrV4> {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    std::str::from_utf8(text).ok()?.parse().ok().filter(|address: &SocketAddrV4| address.port() > 0)
}

impl FarEnd for Datagrams {
    fn data_ready(self: Arc<Self>) {
        self.flush();
    }

    fn room_ready(self: Arc<Self>) {
        self.with_fd(|fd| self.watch(fd, |interest| Interest { read: true, ..interest }));
    }

    fn close(self: Arc<Self>) {
        self.end();
    }

    fn describe(&self) -> Description {
        let (in_hand, octets_out) = {
            let sending = self.sending.lock();
            (sending.local.len(), sending.octets_out)
        };
        let octets_in = self.watched.lock().octets_in;
        let (endpoint, accepted) = (self.name.clone(), self.accepted);
        Description { endpoint, accepted, in_hand, octets_out, octets_in, ..Description::default() }
    }
}
