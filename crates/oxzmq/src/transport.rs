//! TCP and IPC: making descriptors that listen or connect. What travels on them is none of this file's
//! business.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use oxzmq_proto::Properties;
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use crate::endpoint::{Endpoint, Host, HostPort, IpcEndpoint};
use crate::error::{Error, ErrorKind, Result};
use crate::options::Options;
use crate::random;
use crate::websocket::Layer;

/// A descriptor that listens, its resolved address, and what to remove when it is closed.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) fd: OwnedFd,
    pub(crate) resolved: String,
    pub(crate) cleanup: Option<Cleanup>,
    pub(crate) layer: Layer,
}

/// The private directory of a wildcard IPC endpoint; removed with its socket when dropped.
#[derive(Debug)]
pub(crate) struct Cleanup {
    directory: PathBuf,
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.directory.join("socket"));
        let _ = std::fs::remove_dir(&self.directory);
    }
}

pub(crate) fn listen(endpoint: &Endpoint, options: &Options) -> Result<Listening> {
    match endpoint {
        Endpoint::Tcp(tcp) => {
            let (fd, local) = listen_tcp("tcp", &tcp.target, options)?;
            Ok(Listening { fd, resolved: format!("tcp://{local}"), cleanup: None, layer: Layer::None })
        }
        Endpoint::Ws(ws) => {
            let (fd, local) = listen_tcp(ws.scheme(), &ws.target, options)?;
            Ok(Listening { fd, resolved: ws.named(local), cleanup: None, layer: Layer::WebSocket })
        }
        Endpoint::Ipc(ipc) => listen_ipc(ipc, options),
        Endpoint::Udp(_) | Endpoint::Inproc(_) => {
            Err(Error::new(ErrorKind::IncompatibleTransport, "nobody listens on this transport"))
        }
    }
}

/// A descriptor that listens already, at the address that the endpoint's transport says it has.
pub(crate) fn adopt(endpoint: &Endpoint, fd: OwnedFd) -> Result<Listening> {
    let socket = Socket::from(fd);
    let attempt = || -> io::Result<SockAddr> {
        socket.set_cloexec(true)?;
        socket.set_nonblocking(true)?;
        if rustix::net::sockopt::socket_acceptconn(socket.as_fd())? {
            return socket.local_addr();
        }
        Err(Errno::INVAL.into())
    };
    let address = attempt().map_err(|error| Error::from_os(&error, "cannot use a descriptor that does not listen"))?;
    let resolved = match endpoint {
        Endpoint::Tcp(_) => address.as_socket().map(|local| format!("tcp://{local}")),
        Endpoint::Ws(ws) => address.as_socket().map(|local| ws.named(local)),
        Endpoint::Ipc(_) => {
            let path = address.as_pathname().map(|path| format!("ipc://{}", path.display()));
            path.or_else(|| Some(format!("ipc://@{}", String::from_utf8_lossy(address.as_abstract_namespace()?))))
        }
        Endpoint::Udp(_) | Endpoint::Inproc(_) => None,
    };
    let other = || Error::new(ErrorKind::InvalidArgument, "the descriptor listens on another transport");
    let layer = if matches!(endpoint, Endpoint::Ws(_)) { Layer::WebSocket } else { Layer::None };
    Ok(Listening { resolved: resolved.ok_or_else(other)?, fd: socket.into(), cleanup: None, layer })
}

fn backlog(options: &Options) -> i32 {
    i32::try_from(options.backlog).unwrap_or(i32::MAX)
}

fn listen_tcp(scheme: &str, target: &HostPort, options: &Options) -> Result<(OwnedFd, SocketAddr)> {
    let address = local_address(target, options.ipv6)?;
    let attempt = || -> io::Result<(OwnedFd, SocketAddr)> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        prepare_tcp(&socket, address, options)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(backlog(options))?;
        let local = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok((socket.into(), local))
    };
    attempt().map_err(|error| Error::from_os(&error, &format!("cannot bind {scheme}://{target}")))
}

/// The local address that a bind (or the source part of a connect) names.
fn local_address(target: &HostPort, ipv6: bool) -> Result<SocketAddr> {
    let missing = |why: &str| Error::new(ErrorKind::NoDevice, format!("cannot bind {target}: {why}"));
    if let Some(address) = target.host.literal(target.port, ipv6) {
        if address.is_ipv6() && !ipv6 {
            return Err(missing("IPv6 is off; switch it on with the IPv6 option"));
        }
        return Ok(address);
    }
    let Host::Name(name) = &target.host else { return Err(missing("no such address")) };
    if let Some(ip) = interface_address(name, ipv6) {
        return Ok(SocketAddr::new(ip, target.port));
    }
    resolve(name, target.port, ipv6)
        .ok()
        .and_then(|found| found.into_iter().next())
        .ok_or_else(|| missing("no such interface or host"))
}

/// The first address of a network interface. Linux shows the IPv4 address of an interface only through
/// a socket call, so a throw-away socket bound to the device asks for it.
pub(crate) fn interface_address(name: &str, ipv6: bool) -> Option<IpAddr> {
    let found = interface_addresses(name);
    let wanted = found.iter().find(|ip| ip.is_ipv4() != ipv6).or_else(|| found.first())?;
    match (ipv6, wanted) {
        (true, IpAddr::V4(v4)) => Some(v4.to_ipv6_mapped().into()),
        (false, IpAddr::V6(_)) => None,
        (_, ip) => Some(*ip),
    }
}

/// Addresses of an interface, from the kernel's own tables.
fn interface_addresses(name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    // The loopback interface, by far the most common, has well-known addresses.
    if name == "lo" {
        found.push(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
        found.push(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST));
        return found;
    }
    found.extend(device_ipv4(name));
    if let Ok(table) = std::fs::read_to_string("/proc/net/if_inet6") {
        for line in table.lines() {
            let mut fields = line.split_whitespace();
            if let (Some(hex), Some(device)) = (fields.next(), fields.last())
                && device == name
                && let Ok(bits) = u128::from_str_radix(hex, 16)
            {
                found.push(IpAddr::V6(bits.into()));
            }
        }
    }
    found
}

/// The IPv4 address that traffic bound to the device would leave from.
fn device_ipv4(name: &str) -> Option<IpAddr> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).ok()?;
    socket.bind_device(Some(name.as_bytes())).ok()?;
    // Connecting a datagram socket sends nothing; it only picks the source address.
    let anywhere: SocketAddr = ([192, 0, 2, 1], 9).into();
    socket.connect(&anywhere.into()).ok()?;
    let ip = socket.local_addr().ok()?.as_socket()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

fn listen_ipc(endpoint: &IpcEndpoint, options: &Options) -> Result<Listening> {
    let (address, resolved, cleanup) = match endpoint {
        IpcEndpoint::Path(path) => {
            // A socket left behind by a crash must not be in the way; libzmq replaces whatever is there, too, but
            // this removes sockets only and never a file that somebody may miss.
            remove_stale_socket(path)?;
            (unix_address(path)?, format!("ipc://{}", path.display()), None)
        }
        IpcEndpoint::Abstract(name) => {
            (abstract_address(name)?, format!("ipc://@{}", String::from_utf8_lossy(name)), None)
        }
        IpcEndpoint::Wildcard => {
            let cleanup = private_directory()?;
            let path = cleanup.directory.join("socket");
            (unix_address(&path)?, format!("ipc://{}", path.display()), Some(cleanup))
        }
    };
    let attempt = || -> io::Result<OwnedFd> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        socket.bind(&address)?;
        socket.listen(backlog(options))?;
        Ok(socket.into())
    };
    let fd = attempt().map_err(|error| Error::from_os(&error, &format!("cannot bind {resolved}")))?;
    Ok(Listening { fd, resolved, cleanup, layer: Layer::None })
}

fn remove_stale_socket(path: &Path) -> Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            let _ = std::fs::remove_file(path);
            Ok(())
        }
        Ok(_) => Err(Error::new(
            ErrorKind::AddressInUse,
            format!("cannot bind ipc://{}: a file that is not a socket is in the way", path.display()),
        )),
        Err(_) => Ok(()),
    }
}

fn private_directory() -> Result<Cleanup> {
    let base = ["TMPDIR", "TEMPDIR", "TMP"]
        .iter()
        .filter_map(std::env::var_os)
        .map(PathBuf::from)
        .find(|path| path.is_dir())
        .unwrap_or_else(std::env::temp_dir);
    let mut last = None;
    for _ in 0..16 {
        let directory = base.join(format!("oxzmq-{:012x}", random::u64() >> 16));
        match rustix::fs::mkdir(&directory, rustix::fs::Mode::RWXU) {
            Ok(()) => return Ok(Cleanup { directory }),
            Err(Errno::EXIST) => {}
            Err(error) => last = Some(error),
        }
    }
    let error = last.unwrap_or(Errno::EXIST).into();
    Err(Error::from_os(&error, &format!("cannot make a directory for ipc://* in {}", base.display())))
}

fn unix_address(path: &Path) -> Result<SockAddr> {
    SockAddr::unix(path).map_err(|error| Error::from_os(&error, &format!("cannot use ipc://{}", path.display())))
}

fn abstract_address(name: &[u8]) -> Result<SockAddr> {
    use std::os::unix::ffi::OsStrExt;
    let mut path = Vec::with_capacity(name.len() + 1);
    path.push(0);
    path.extend_from_slice(name);
    unix_address(Path::new(std::ffi::OsStr::from_bytes(&path)))
}

/// Starts to connect; the descriptor becomes writable when the attempt has ended.
pub(crate) fn connect_tcp(address: SocketAddr, source: Option<&HostPort>, options: &Options) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    prepare_tcp(&socket, address, options)?;
    if let Some(source) = source {
        let local = local_address(source, options.ipv6).map_err(io::Error::from)?;
        socket.set_reuse_address(true)?;
        socket.bind(&local.into())?;
    }
    tune_tcp(&socket, options)?;
    start(socket.connect(&address.into()))?;
    Ok(socket.into())
}

pub(crate) fn connect_ipc(endpoint: &IpcEndpoint) -> io::Result<OwnedFd> {
    let address = match endpoint {
        IpcEndpoint::Path(path) => unix_address(path),
        IpcEndpoint::Abstract(name) => abstract_address(name),
        IpcEndpoint::Wildcard => return Err(Errno::INVAL.into()),
    };
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&address.map_err(io::Error::from)?)?;
    Ok(socket.into())
}

fn start(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => Ok(()),
        other => other,
    }
}

/// How an attempt to connect ended.
pub(crate) fn connect_result(fd: impl AsFd) -> io::Result<()> {
    match rustix::net::sockopt::socket_error(fd)? {
        Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Options of an accepted descriptor.
pub(crate) fn tune_accepted(socket: &Socket, options: &Options) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    match socket.domain()? {
        Domain::UNIX => Ok(()),
        _ => tune_tcp(socket, options),
    }
}

fn tune_tcp(socket: &Socket, options: &Options) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    match options.keepalive {
        None => {}
        Some(false) => socket.set_keepalive(false)?,
        Some(true) => socket.set_tcp_keepalive(&keepalive(options))?,
    }
    if options.tcp_timeout > 0 {
        socket.set_tcp_user_timeout(Some(Duration::from_millis(options.tcp_timeout.into())))?;
    }
    Ok(())
}

fn keepalive(options: &Options) -> TcpKeepalive {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let mut keepalive = TcpKeepalive::new();
    if let Some(idle) = options.keepalive_idle {
        keepalive = keepalive.with_time(seconds(idle));
    }
    if let Some(interval) = options.keepalive_interval {
        keepalive = keepalive.with_interval(seconds(interval));
    }
    if let Some(count) = options.keepalive_count {
        keepalive = keepalive.with_retries(count);
    }
    keepalive
}

/// Options of a TCP socket before it is bound or connected. What is accepted inherits them.
fn prepare_tcp(socket: &Socket, address: SocketAddr, options: &Options) -> io::Result<()> {
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    set_buffers(socket, options)?;
    if options.type_of_service > 0 {
        if address.is_ipv6() {
            socket.set_tclass_v6(options.type_of_service)?;
        } else {
            socket.set_tos_v4(options.type_of_service)?;
        }
    }
    if options.priority > 0 {
        socket.set_priority(options.priority)?;
    }
    if let Ok(microseconds @ 1..) = u32::try_from(options.busy_poll) {
        socket.set_busy_poll(microseconds)?;
    }
    if !options.device.is_empty() {
        socket.bind_device(Some(&options.device))?;
    }
    Ok(())
}

pub(crate) fn set_buffers(socket: &Socket, options: &Options) -> io::Result<()> {
    if let Some(size) = options.send_buffer {
        socket.set_send_buffer_size(size as usize)?;
    }
    if let Some(size) = options.recv_buffer {
        socket.set_recv_buffer_size(size as usize)?;
    }
    Ok(())
}

/// Looks a host name up. Blocks for as long as the resolver takes: never on an I/O thread.
pub(crate) fn resolve(name: &str, port: u16, ipv6: bool) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> = (name, port).to_socket_addrs()?.collect();
    let (v6, v4): (Vec<_>, Vec<_>) = found.into_iter().partition(SocketAddr::is_ipv6);
    let usable: Vec<_> = if ipv6 {
        let mapped = v4.into_iter().map(|address| match address.ip() {
            IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), port),
            IpAddr::V6(_) => address,
        });
        v6.into_iter().chain(mapped).collect()
    } else {
        v4
    };
    if usable.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("`{name}` has no usable address")));
    }
    Ok(usable)
}

/// What the transport knows of a connection's peer: the value of the `Peer-Address` property, and an
/// address for people.
pub(crate) fn describe_peer(socket: &Socket) -> (Bytes, String) {
    if let Ok(address) = socket.peer_addr()
        && let Some(address) = address.as_socket()
    {
        let ip = match address.ip() {
            IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4),
            ip @ IpAddr::V4(_) => ip,
        };
        return (ip.to_string().into(), format!("tcp://{address}"));
    }
    match rustix::net::sockopt::socket_peercred(socket) {
        Ok(peer) => {
            let text = format!("localhost:{}:{}:{}", peer.uid.as_raw(), peer.gid.as_raw(), peer.pid.as_raw_nonzero());
            (text.into(), "ipc://".to_owned())
        }
        Err(_) => (Bytes::new(), String::new()),
    }
}

/// Adds what the transport knows to what the peer told in its handshake. The transport's word counts.
pub(crate) fn with_peer_address(told: &Properties, address: Bytes) -> Properties {
    let mut properties = Properties::new();
    properties.insert("Peer-Address", address);
    for (name, value) in told.iter() {
        properties.insert(name, value);
    }
    properties
}
