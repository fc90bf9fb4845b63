//! What the fuzz targets need of the inside; compiled for them alone.
#![allow(missing_docs, clippy::missing_errors_doc)]

use oxzmq_proto::{Frame, Message};

use crate::datagrams;
use crate::endpoint::HostPort;
use crate::security::{Decision, zap};
use crate::socks::{Credentials, Dialogue};

/// A datagram as group and body.
pub fn datagram(octets: &[u8]) -> Option<[Frame; 2]> {
    let message = datagrams::grouped(octets)?;
    Some([message[0].clone(), message[1].clone()])
}

/// An address as DGRAM takes it, written again.
pub fn datagram_address(octets: &[u8]) -> Option<String> {
    datagrams::address_of(octets).map(|address| address.to_string())
}

/// Whether an answer of a ZAP handler lets the peer in.
pub fn zap_lets_in(reply: &Message) -> bool {
    matches!(zap::judge(reply), Decision::Accept(_))
}

/// What a proxy says, in pieces of these sizes: what was said to it, and how many octets it had to say until the way was
/// free; `None` when that was never so.
pub fn socks(input: &[u8], mut piece: impl FnMut() -> usize) -> (Vec<u8>, Option<usize>) {
    let target = HostPort::parse_proxy("host.example:5555").expect("a name and a port");
    let credentials = Credentials { username: b"anna".to_vec(), password: b"secret".to_vec().into() };
    let mut dialogue = Dialogue::new(target, credentials);
    let mut said = Vec::new();
    let mut used = 0;
    loop {
        said.extend_from_slice(dialogue.output());
        dialogue.advance_output(dialogue.output().len());
        if dialogue.is_done() {
            return (said, Some(used));
        }
        assert!(dialogue.wants() > 0, "it waits for something");
        let next = dialogue.wants().min(piece().max(1)).min(input.len() - used);
        if next == 0 || dialogue.handle_input(&input[used..used + next]).is_err() {
            return (said, None);
        }
        used += next;
    }
}
