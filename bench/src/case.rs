//! The cases, as they are named on the command line.

use std::fmt;
use std::str::FromStr;

use anyhow::{Error, bail};

/// What is measured; README.md says what each figure means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    /// PUSH to PULL, one connection: messages per second.
    Throughput,
    /// REQ to REP and back: microseconds.
    Latency,
    /// One PUB to so many SUBs in one process: messages delivered per second.
    Pubsub(usize),
    /// One ROUTER that answers so many DEALERs of one process: requests per second, the server's memory.
    Router(usize),
    /// [`Case::Latency`] while PUSH floods PULL between the same two contexts.
    Flooded,
    /// PUB to a SUB with so many subscriptions, each message matched by one of them: messages per second.
    Subscriptions(usize),
    /// Connect, one round trip, close, one after another: connections per second.
    Handshakes,
    /// [`Case::Latency`] through a proxy of ROUTER and DEALER in the other process.
    Proxy,
    /// One call that waits for so many PULLs, of which the last has a message: microseconds.
    Poll(usize),
    /// PUSH to PULL at so many messages per second: microseconds from when each was due to its receipt.
    Paced(u64),
}

impl Case {
    /// Whether the figure is a time, of which less is better, and not a rate.
    pub fn is_time(self) -> bool {
        matches!(self, Case::Latency | Case::Flooded | Case::Proxy | Case::Poll(_) | Case::Paced(_))
    }

    pub fn unit(self) -> &'static str {
        match self {
            Case::Throughput | Case::Pubsub(_) | Case::Subscriptions(_) => "messages/s",
            Case::Router(_) => "requests/s",
            Case::Handshakes => "connections/s",
            Case::Latency | Case::Flooded | Case::Proxy => "us round trip",
            Case::Poll(_) => "us per call",
            Case::Paced(_) => "us one way",
        }
    }
}

impl FromStr for Case {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number.parse()?)),
            None => (text, None),
        };
        Ok(match (name, number) {
            ("throughput", None) => Case::Throughput,
            ("latency", None) => Case::Latency,
            ("pubsub", number) => Case::Pubsub(number.unwrap_or(8)),
            ("router", number) => Case::Router(number.unwrap_or(1000)),
            ("flooded", None) => Case::Flooded,
            ("subscriptions", number) => Case::Subscriptions(number.unwrap_or(100_000)),
            ("handshakes", None) => Case::Handshakes,
            ("proxy", None) => Case::Proxy,
            ("poll", number) => Case::Poll(number.unwrap_or(100)),
            ("paced", number) => Case::Paced(number.unwrap_or(50_000) as u64),
            _ => bail!("no case `{text}`"),
        })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Case::Throughput => f.write_str("throughput"),
            Case::Latency => f.write_str("latency"),
            Case::Pubsub(peers) => write!(f, "pubsub:{peers}"),
            Case::Router(peers) => write!(f, "router:{peers}"),
            Case::Flooded => f.write_str("flooded"),
            Case::Subscriptions(count) => write!(f, "subscriptions:{count}"),
            Case::Handshakes => f.write_str("handshakes"),
            Case::Proxy => f.write_str("proxy"),
            Case::Poll(sockets) => write!(f, "poll:{sockets}"),
            Case::Paced(rate) => write!(f, "paced:{rate}"),
        }
    }
}
