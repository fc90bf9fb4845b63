//! Endpoint strings: `transport://address`, parsed once into what the transports need.
//!
//! Syntax and errors follow `zmq_tcp(7)`, `zmq_ipc(7)` and `zmq_inproc(7)`. Where libzmq parses laxly
//! (ports modulo 65536, trailing junk after a port) this parser refuses and says what was wrong.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};
use crate::websocket::WsEndpoint;

/// Longest path of a UNIX socket on Linux: 108 bytes with the terminating zero.
const IPC_PATH_MAX: usize = 107;

/// A parsed endpoint. `Display` gives the canonical text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    Tcp(TcpEndpoint),
    Ipc(IpcEndpoint),
    Ws(WsEndpoint),
    Udp(UdpEndpoint),
    Inproc(String),
}

/// `tcp://host:port`, before any name is resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TcpEndpoint {
    /// Local address to connect from (`tcp://source;host:port`).
    pub(crate) source: Option<HostPort>,
    pub(crate) target: HostPort,
}

/// `udp://host:port` or, for a multicast group, `udp://interface;group:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UdpEndpoint {
    pub(crate) interface: Option<Host>,
    pub(crate) target: HostPort,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HostPort {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// `*`: every interface.
    Any,
    Ip(IpAddr, /* IPv6 zone */ u32),
    /// A DNS name or, when binding, perhaps the name of an interface.
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum IpcEndpoint {
    Path(PathBuf),
    /// Linux's abstract namespace: `ipc://@name`.
    Abstract(Vec<u8>),
    /// `ipc://*`: a fresh private path.
    Wildcard,
}

/// Which call the endpoint is for: the two accept different forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Bind,
    Connect,
}

pub(crate) fn invalid(endpoint: &str, why: &str) -> Error {
    Error::new(ErrorKind::InvalidEndpoint, format!("invalid endpoint `{endpoint}`: {why}"))
}

impl Endpoint {
    pub(crate) fn parse(text: &str, role: Role) -> Result<Self> {
        let Some((scheme, address)) = text.split_once("://") else {
            return Err(invalid(text, "expected transport://address, for example tcp://127.0.0.1:5555"));
        };
        if scheme.is_empty() || address.is_empty() {
            return Err(invalid(text, "the transport or the address is empty"));
        }
        if address.contains('\0') {
            return Err(invalid(text, "the address contains a zero byte"));
        }
        match scheme {
            "tcp" => TcpEndpoint::parse(text, address, role).map(Self::Tcp),
            "ipc" => IpcEndpoint::parse(text, address, role).map(Self::Ipc),
            _ if WsEndpoint::SCHEMES.contains(&scheme) => WsEndpoint::parse(text, address, role).map(Self::Ws),
            "udp" => UdpEndpoint::parse(text, address, role).map(Self::Udp),
            "inproc" => Ok(Self::Inproc(address.to_owned())),
            _ => Err(Error::new(
                ErrorKind::UnknownTransport,
                format!(
                    "unknown transport `{scheme}` in `{text}`: this build speaks tcp, ipc, ws, wss, udp and inproc"
                ),
            )),
        }
    }
}

impl TcpEndpoint {
    fn parse(text: &str, address: &str, role: Role) -> Result<Self> {
        match role {
            Role::Bind => {
                // libzmq ignores a path behind the port when binding.
                let address = address.split_once('/').map_or(address, |(address, _)| address);
                Ok(Self { source: None, target: HostPort::parse(text, address, true)? })
            }
            Role::Connect => {
                let (source, target) = match address.split_once(';') {
                    Some((source, target)) => (Some(source), target),
                    None => (None, address),
                };
                let source = source.map(|s| HostPort::parse(text, s, true)).transpose()?;
                if matches!(source, Some(HostPort { host: Host::Any, .. })) {
                    return Err(invalid(text, "the source address must not be `*`"));
                }
                let target = HostPort::parse(text, target, false)?;
                if target.host == Host::Any {
                    return Err(invalid(text, "`*` names no host to connect to"));
                }
                Ok(Self { source, target })
            }
        }
    }
}

impl UdpEndpoint {
    fn parse(text: &str, address: &str, role: Role) -> Result<Self> {
        let (interface, target) = match address.split_once(';') {
            Some((interface, target)) => (Some(Host::parse(text, interface)?), target),
            None => (None, address),
        };
        let target = HostPort::parse(text, target, true)?;
        let is_group = |host: &Host| matches!(host, Host::Ip(ip, _) if ip.is_multicast());
        if role == Role::Connect && target.host == Host::Any {
            return Err(invalid(text, "`*` names no host to send to"));
        }
        if role == Role::Connect && target.port == 0 {
            return Err(invalid(text, "there is no port to send to"));
        }
        if let Some(interface) = &interface
            && (is_group(interface) || !is_group(&target.host))
        {
            return Err(invalid(text, "an interface stands before `;`, and a multicast group behind it"));
        }
        Ok(Self { interface, target })
    }

    /// The address of the interface for multicast over IPv4; the unspecified one leaves it to the system.
    pub(crate) fn interface_v4(&self, ipv6: bool) -> io::Result<Ipv4Addr> {
        let found = match &self.interface {
            None | Some(Host::Any) => return Ok(Ipv4Addr::UNSPECIFIED),
            Some(Host::Ip(IpAddr::V4(ip), _)) => Some(*ip),
            Some(Host::Ip(IpAddr::V6(_), _)) => None,
            Some(Host::Name(name)) => match crate::transport::interface_address(name, ipv6) {
                Some(IpAddr::V4(ip)) => Some(ip),
                Some(IpAddr::V6(ip)) => ip.to_ipv4_mapped(),
                None => None,
            },
        };
        found.ok_or_else(|| rustix::io::Errno::NODEV.into())
    }

    /// The number of the interface for multicast over IPv6; 0 leaves it to the system.
    pub(crate) fn interface_v6(&self) -> io::Result<u32> {
        match &self.interface {
            None | Some(Host::Any) => Ok(0),
            Some(Host::Name(name)) => zone_index(name).ok_or_else(|| rustix::io::Errno::NODEV.into()),
            Some(Host::Ip(..)) => Err(rustix::io::Errno::NODEV.into()),
        }
    }
}

impl HostPort {
    /// The address of a proxy, `host:port`.
    pub(crate) fn parse_proxy(text: &str) -> Result<Self> {
        match Self::parse(text, text, false)? {
            Self { host: Host::Any, .. } => Err(invalid(text, "`*` names no proxy")),
            proxy => Ok(proxy),
        }
    }

    pub(crate) fn parse(text: &str, address: &str, wildcard: bool) -> Result<Self> {
        let Some((host, port)) = address.rsplit_once(':') else {
            return Err(invalid(text, "the port is missing"));
        };
        let port = match port {
            "*" if wildcard => 0,
            _ if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) => {
                return Err(invalid(text, "the port is not a number"));
            }
            _ => port.parse().map_err(|_| invalid(text, "the port is above 65535"))?,
        };
        Ok(Self { host: Host::parse(text, host)?, port })
    }
}

impl Host {
    fn parse(text: &str, host: &str) -> Result<Self> {
        if host == "*" {
            return Ok(Self::Any);
        }
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let literal = bracketed.unwrap_or(host);
        let (address, zone) = match literal.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (literal, None),
        };
        if let Ok(ip) = address.parse::<IpAddr>() {
            let zone = match zone {
                None => 0,
                Some(zone) => zone_index(zone).ok_or_else(|| invalid(text, "unknown IPv6 zone"))?,
            };
            return Ok(Self::Ip(ip, zone));
        }
        if bracketed.is_some() {
            return Err(invalid(text, "not an IP address between the brackets"));
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if !host.bytes().all(plain) || !host.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(invalid(text, "the host is neither an IP address nor a name"));
        }
        Ok(Self::Name(host.to_owned()))
    }

    /// The address when it needs no look-up.
    pub(crate) fn literal(&self, port: u16, ipv6: bool) -> Option<SocketAddr> {
        match *self {
            Self::Any if ipv6 => Some((Ipv6Addr::UNSPECIFIED, port).into()),
            Self::Any => Some((Ipv4Addr::UNSPECIFIED, port).into()),
            // With IPv6 on, sockets are dual-stack and IPv4 addresses appear in their mapped form.
            Self::Ip(IpAddr::V4(ip), _) if ipv6 => Some((ip.to_ipv6_mapped(), port).into()),
            Self::Ip(IpAddr::V4(ip), _) => Some((ip, port).into()),
            Self::Ip(IpAddr::V6(ip), zone) => Some(SocketAddrV6::new(ip, port, 0, zone).into()),
            Self::Name(_) => None,
        }
    }
}

fn zone_index(zone: &str) -> Option<u32> {
    if let Ok(index) = zone.parse() {
        return Some(index);
    }
    std::fs::read_to_string(format!("/sys/class/net/{}/ifindex", safe_interface(zone)?)).ok()?.trim().parse().ok()
}

/// Interface names become part of a path: nothing that could leave the directory is let through.
fn safe_interface(name: &str) -> Option<&str> {
    (!name.is_empty() && name.len() < 16 && !name.contains('/') && !name.starts_with('.')).then_some(name)
}

impl IpcEndpoint {
    fn parse(text: &str, address: &str, role: Role) -> Result<Self> {
        if let Some(name) = address.strip_prefix('@') {
            if name.is_empty() {
                return Err(invalid(text, "the abstract name is empty"));
            }
            if name.len() > IPC_PATH_MAX {
                return Err(too_long(text, name.len()));
            }
            return Ok(Self::Abstract(name.as_bytes().to_vec()));
        }
        if address.starts_with('*') && role == Role::Bind {
            return Ok(Self::Wildcard);
        }
        if address.len() > IPC_PATH_MAX {
            return Err(too_long(text, address.len()));
        }
        Ok(Self::Path(PathBuf::from(address)))
    }
}

fn too_long(text: &str, len: usize) -> Error {
    Error::new(
        ErrorKind::NameTooLong,
        format!("the path of `{text}` has {len} bytes; a UNIX socket's may have {IPC_PATH_MAX}"),
    )
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(TcpEndpoint { source: Some(source), target }) => write!(f, "tcp://{source};{target}"),
            Self::Tcp(TcpEndpoint { source: None, target }) => write!(f, "tcp://{target}"),
            Self::Ipc(IpcEndpoint::Path(path)) => write!(f, "ipc://{}", path.display()),
            Self::Ipc(IpcEndpoint::Abstract(name)) => write!(f, "ipc://@{}", String::from_utf8_lossy(name)),
            Self::Ipc(IpcEndpoint::Wildcard) => f.write_str("ipc://*"),
            Self::Ws(ws) => ws.fmt(f),
            Self::Udp(UdpEndpoint { interface: Some(interface), target }) => write!(f, "udp://{interface};{target}"),
            Self::Udp(UdpEndpoint { interface: None, target }) => write!(f, "udp://{target}"),
            Self::Inproc(name) => write!(f, "inproc://{name}"),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Ip(IpAddr::V6(ip), 0) => write!(f, "[{ip}]"),
            Self::Ip(IpAddr::V6(ip), zone) => write!(f, "[{ip}%{zone}]"),
            Self::Ip(ip, _) => write!(f, "{ip}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str, role: Role) -> ErrorKind {
        Endpoint::parse(text, role).expect_err(text).kind()
    }

    #[test]
    fn valid_endpoints_print_their_canonical_form() {
        for (text, role, canonical) in [
            ("tcp://*:5555", Role::Bind, "tcp://*:5555"),
            ("tcp://127.0.0.1:*", Role::Bind, "tcp://127.0.0.1:0"),
            ("tcp://lo:80/path", Role::Bind, "tcp://lo:80"),
            ("tcp://[::1]:5", Role::Connect, "tcp://[::1]:5"),
            ("tcp://::1:5", Role::Connect, "tcp://[::1]:5"),
            ("tcp://[127.0.0.1]:5", Role::Connect, "tcp://127.0.0.1:5"),
            ("tcp://127.0.0.1:0;server.example:9", Role::Connect, "tcp://127.0.0.1:0;server.example:9"),
            ("ipc:///tmp/x", Role::Bind, "ipc:///tmp/x"),
            ("ipc://@name", Role::Connect, "ipc://@name"),
            ("ipc://*", Role::Bind, "ipc://*"),
            ("inproc://a b", Role::Bind, "inproc://a b"),
            ("ws://*:80", Role::Bind, "ws://*:80/"),
            ("ws://127.0.0.1:*/chat", Role::Bind, "ws://127.0.0.1:0/chat"),
            ("wss://*:443/x", Role::Bind, "wss://*:443/x"),
            ("ws://[::1]:5/a/b?c=d", Role::Connect, "ws://[::1]:5/a/b?c=d"),
        ] {
            assert_eq!(Endpoint::parse(text, role).expect(text).to_string(), canonical);
        }
    }

    #[test]
    fn invalid_endpoints_name_their_kind_of_error() {
        for text in [
            "",
            "tcp",
            "tcp://",
            "://x",
            "tcp:/x",
            "tcp://127.0.0.1",
            "tcp://127.0.0.1:",
            "tcp://:80x",
            "tcp://127.0.0.1:80x1",
            "tcp://127.0.0.1:99999",
            "tcp://127.0.0.1:-1",
            "tcp://127.0.0.1:!",
            "ipc://@",
            "inproc://",
            "tcp://a b:1",
            "tcp://[x]:1",
            "ws://127.0.0.1",
            "ws://127.0.0.1/x",
            "ws://127.0.0.1:80/a b",
            "ws://127.0.0.1:80/a\r\nHost: x",
        ] {
            assert_eq!(kind(text, Role::Bind), ErrorKind::InvalidEndpoint, "{text}");
        }
        for text in [
            "tcp://*:5999",
            "tcp://127.0.0.1:*",
            "tcp://127.0.0.1:80/x",
            "tcp://-a:1",
            "tcp://*:1;h:2",
            "ws://*:1/",
            "ws://h:*",
        ] {
            assert_eq!(kind(text, Role::Connect), ErrorKind::InvalidEndpoint, "{text}");
        }
        assert_eq!(kind("TCP://127.0.0.1:1", Role::Bind), ErrorKind::UnknownTransport);
        assert_eq!(kind(&format!("ipc:///{}", "x".repeat(107)), Role::Bind), ErrorKind::NameTooLong);
    }
}
