//! The socket types, their names and codes on the wire, and who may talk to whom.

use std::fmt;

/// A socket's type. The numbers are those of the ZMTP 2.0 greeting (RFC 15) and of the C API.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
#[allow(missing_docs)] // The RFCs define them; `name` is the only thing to say about each here.
pub enum SocketType {
    Pair = 0,
    Pub = 1,
    Sub = 2,
    Req = 3,
    Rep = 4,
    Dealer = 5,
    Router = 6,
    Pull = 7,
    Push = 8,
    Xpub = 9,
    Xsub = 10,
    Stream = 11,
    Server = 12,
    Client = 13,
    Radio = 14,
    Dish = 15,
    Gather = 16,
    Scatter = 17,
    Dgram = 18,
    Peer = 19,
    Channel = 20,
}

impl SocketType {
    /// All types, at the index of their code.
    const ALL: [SocketType; 21] = {
        use SocketType::*;
        [
            Pair, Pub, Sub, Req, Rep, Dealer, Router, Pull, Push, Xpub, Xsub, Stream, Server, Client, Radio, Dish,
            Gather, Scatter, Dgram, Peer, Channel,
        ]
    };

    /// The name as it travels in the `Socket-Type` property, such as `PAIR`.
    pub const fn name(self) -> &'static str {
        use SocketType::*;
        match self {
            Pair => "PAIR",
            Pub => "PUB",
            Sub => "SUB",
            Req => "REQ",
            Rep => "REP",
            Dealer => "DEALER",
            Router => "ROUTER",
            Pull => "PULL",
            Push => "PUSH",
            Xpub => "XPUB",
            Xsub => "XSUB",
            Stream => "STREAM",
            Server => "SERVER",
            Client => "CLIENT",
            Radio => "RADIO",
            Dish => "DISH",
            Gather => "GATHER",
            Scatter => "SCATTER",
            Dgram => "DGRAM",
            Peer => "PEER",
            Channel => "CHANNEL",
        }
    }

    /// The type with exactly this name; the case counts, as it does for deployed peers.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().as_bytes() == name)
    }

    /// The type with this code of the ZMTP 2.0 greeting.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Whether a socket of this type may talk to a `peer` of that type (RFCs 28 to 31, 41, 48, 49,
    /// 51, 52). STREAM and DGRAM have no ZMTP peers.
    pub const fn accepts(self, peer: SocketType) -> bool {
        use SocketType::*;
        match self {
            Req => matches!(peer, Rep | Router),
            Rep => matches!(peer, Req | Dealer),
            Dealer => matches!(peer, Rep | Dealer | Router),
            Router => matches!(peer, Req | Dealer | Router),
            Push => matches!(peer, Pull),
            Pull => matches!(peer, Push),
            Pub | Xpub => matches!(peer, Sub | Xsub),
            Sub | Xsub => matches!(peer, Pub | Xpub),
            Pair => matches!(peer, Pair),
            Server => matches!(peer, Client),
            Client => matches!(peer, Server),
            Radio => matches!(peer, Dish),
            Dish => matches!(peer, Radio),
            Scatter => matches!(peer, Gather),
            Gather => matches!(peer, Scatter),
            Peer => matches!(peer, Peer),
            Channel => matches!(peer, Channel),
            Stream | Dgram => false,
        }
    }

    /// Whether READY carries an `Identity` property, even an empty one: REQ, DEALER and ROUTER.
    pub const fn sends_identity(self) -> bool {
        matches!(self, SocketType::Req | SocketType::Dealer | SocketType::Router)
    }

    /// Whether the type is still a draft, whose peers must be built with drafts as well.
    pub const fn is_draft(self) -> bool {
        self as u8 >= SocketType::Server as u8
    }
}

impl fmt::Display for SocketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_lead_back() {
        for code in 0..=20 {
            let kind = SocketType::from_code(code).unwrap();
            assert_eq!(kind as u8, code);
            assert_eq!(SocketType::from_name(kind.name().as_bytes()), Some(kind));
        }
        assert_eq!(SocketType::from_code(21), None);
        assert_eq!(SocketType::from_name(b"pair"), None);
        assert_eq!(SocketType::from_name(b""), None);
    }

    #[test]
    fn who_accepts_whom_is_mutual() {
        let mut pairs = 0;
        for ours in SocketType::ALL {
            for theirs in SocketType::ALL {
                assert_eq!(ours.accepts(theirs), theirs.accepts(ours), "{ours} {theirs}");
                pairs += usize::from(ours.accepts(theirs));
            }
        }
        assert_eq!(pairs, 10 + 2 + 8 + 1 + 2 * 3 + 2);
    }
}
