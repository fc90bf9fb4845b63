//! Who may connect: addresses for tcp, processes, users and groups for ipc.

use std::fs;
use std::net::IpAddr;

use socket2::Socket;

use crate::error::{Error, ErrorKind, Result};

/// Which peers a bound endpoint accepts; the empty filter accepts all. A peer that is not accepted is disconnected
/// before it can say anything, and a monitor tells of it (`AcceptFailed`).
///
/// Keys say more about a peer than its address does: prefer CURVE where that is possible.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptFilter {
    networks: Vec<Network>,
    processes: Vec<i32>,
    users: Vec<u32>,
    groups: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) if bits.bytes().all(|octet| octet.is_ascii_digit()) => bits.parse().ok()?,
            Some(_) => return None,
            None => most,
        };
        (bits <= most).then_some(Self { address, bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl AcceptFilter {
    /// Accepts everybody.
    pub fn new() -> Self {
        Self::default()
    }

    /// tcp: accepts peers of this address or network, `192.0.2.1`, `192.0.2.0/24` or `2001:db8::/32`, besides those
    /// named before. ZMQ_TCP_ACCEPT_FILTER.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for what is no address or network; names are not looked up.
    pub fn allow_network(&mut self, network: &str) -> Result<()> {
        let parsed = Network::parse(network).ok_or_else(|| {
            let what = format!("`{}` is no address or network, such as 192.0.2.0/24", network.escape_debug());
            Error::new(ErrorKind::InvalidArgument, what)
        })?;
        self.networks.push(parsed);
        Ok(())
    }

    /// ipc: accepts the process of this id. ZMQ_IPC_FILTER_PID.
    pub fn allow_process(&mut self, process: i32) {
        self.processes.push(process);
    }

    /// ipc: accepts processes of this user. ZMQ_IPC_FILTER_UID.
    pub fn allow_user(&mut self, user: u32) {
        self.users.push(user);
    }

    /// ipc: accepts processes whose first group this is, and those of users who are members of it by `/etc/group`.
    /// ZMQ_IPC_FILTER_GID.
    pub fn allow_group(&mut self, group: u32) {
        self.groups.push(group);
    }

    pub(super) fn allow_every_network(&mut self) {
        self.networks.clear();
    }

    pub(super) fn allow_every_process(&mut self) {
        self.processes.clear();
    }

    pub(super) fn allow_every_user(&mut self) {
        self.users.clear();
    }

    pub(super) fn allow_every_group(&mut self) {
        self.groups.clear();
    }

    /// Whether a peer that has just been accepted may stay.
    pub(crate) fn admits(&self, socket: &Socket) -> bool {
        if *self == Self::default() {
            return true;
        }
        if let Some(address) = socket.peer_addr().ok().and_then(|address| address.as_socket()) {
            return self.networks.is_empty() || self.admits_address(address.ip());
        }
        if self.processes.is_empty() && self.users.is_empty() && self.groups.is_empty() {
            return true;
        }
        rustix::net::sockopt::socket_peercred(socket).is_ok_and(|peer| {
            self.processes.contains(&peer.pid.as_raw_nonzero().get())
                || self.users.contains(&peer.uid.as_raw())
                || self.groups.contains(&peer.gid.as_raw())
                || (!self.groups.is_empty() && self.has_member(peer.uid.as_raw()))
        })
    }

    /// By the system's files: what the peer's process itself says may be another's by the time that it is asked.
    fn has_member(&self, user: u32) -> bool {
        let [users, groups] = ["/etc/passwd", "/etc/group"].map(|path| fs::read_to_string(path).unwrap_or_default());
        is_member(&users, &groups, user, &self.groups)
    }

    fn admits_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(address))
    }
}

/// Whether a user, by number, is named as a member of one of these groups in texts of the form of `passwd(5)` and
/// `group(5)`.
fn is_member(users: &str, groups: &str, user: u32, wanted: &[u32]) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u32>().ok());
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (number(fields.nth(1)) == Some(user)).then_some(name)
    });
    let Some(name) = name else { return false };
    groups.lines().any(|line| {
        let mut fields = line.split(':').skip(2);
        number(fields.next()).is_some_and(|group| wanted.contains(&group))
            && fields.next().is_some_and(|members| members.split(',').any(|member| member == name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_a_group_are_those_that_the_system_names() {
        let users = "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\nbroken\n:::\n";
        let groups = "root:x:0:\nadm:x:4:syslog,anna\nann:x:5:ann,annabel\nbroken\n";
        assert!(is_member(users, groups, 1000, &[7, 4]));
        for (user, group) in [(1000, 5), (1000, 0), (0, 4), (0, 0), (77, 4)] {
            assert!(!is_member(users, groups, user, &[group]), "{user} in {group}");
        }
    }

    #[test]
    fn networks_are_numbers() {
        for network in ["127.0.0.1", "127.0.0.1/0", "10.0.0.0/8", "::1", "2001:db8::/32", "::/0"] {
            assert!(Network::parse(network).is_some(), "{network}");
        }
        for network in
            ["127.0.0.1/33", "127.0.0.1/", "localhost", "*", "", "::1/129", "127.0.0.1/-1", "127.0.0.1/+1", "1.2.3"]
        {
            assert!(Network::parse(network).is_none(), "{network}");
        }
    }

    #[test]
    fn an_address_is_in_a_network_if_its_first_bits_are_the_networks() {
        let admits = |network, address: &str| {
            let mut filter = AcceptFilter::new();
            filter.allow_network(network).unwrap();
            filter.admits_address(address.parse().unwrap())
        };
        for (network, address) in [
            ("10.0.0.0/8", "10.255.1.2"),
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3", "::ffff:10.1.2.3"),
            ("1.2.3.4/0", "9.9.9.9"),
            ("2001:db8::/32", "2001:db8:1::1"),
            ("::/0", "2001:db8::1"),
        ] {
            assert!(admits(network, address), "{address} in {network}");
        }
        for (network, address) in [
            ("10.0.0.0/8", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.2"),
            ("::/0", "10.0.0.1"),
            ("2001:db8::/32", "2001:db9::"),
        ] {
            assert!(!admits(network, address), "{address} not in {network}");
        }
    }
}
