//! Connections through a SOCKS5 proxy: from a connection to the proxy to one to the target.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::connecting::attempt_failed;
use super::{Source, Worker};
use crate::connector::Connector;
use crate::endpoint::Endpoint;
use crate::socks::Dialogue;
use crate::sys::Interest;

pub(super) struct Proxying {
    pub(super) connector: Arc<Connector>,
    fd: OwnedFd,
    dialogue: Dialogue,
}

impl Worker {
    /// There is a connection to the endpoint's proxy.
    pub(super) fn start_proxying(&mut self, connector: Arc<Connector>, fd: OwnedFd) {
        let Endpoint::Tcp(tcp) = &connector.endpoint else { return };
        let dialogue = Dialogue::new(tcp.target.clone(), connector.options.socks_credentials());
        let limit = connector.options.handshake_interval.filter(|interval| !interval.is_zero());
        match self.add_source(&fd, Interest::READ) {
            Ok(token) => {
                self.expire_after(token, limit);
                self.proxy_ready(token, Proxying { connector, fd, dialogue });
            }
            Err(error) => attempt_failed(&connector, &error, None),
        }
    }

    pub(super) fn proxy_ready(&mut self, token: u64, mut attempt: Proxying) {
        match attempt.step() {
            Ok(true) => {
                let _ = self.reactor.set.remove(&attempt.fd);
                self.connected(attempt.connector, attempt.fd);
            }
            Ok(false) => {
                let write = !attempt.dialogue.output().is_empty();
                let _ = self.reactor.set.modify(&attempt.fd, token, Interest { read: true, write });
                self.sources.insert(token, Source::Proxying(Box::new(attempt)));
            }
            Err(error) => attempt_failed(&attempt.connector, &error, None),
        }
    }
}

impl Proxying {
    /// Writes and reads as much as goes; true once the proxy has connected.
    fn step(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 512];
        loop {
            while !self.dialogue.output().is_empty() {
                match rustix::net::send(&self.fd, self.dialogue.output(), SendFlags::NOSIGNAL) {
                    Ok(written) => self.dialogue.advance_output(written),
                    Err(Errno::AGAIN) => return Ok(false),
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if self.dialogue.is_done() {
                return Ok(true);
            }
            let most = self.dialogue.wants().min(buffer.len());
            match rustix::net::recv(&self.fd, &mut buffer[..most], RecvFlags::empty()).map(|(got, _)| got) {
                Ok(0) => return Err(proxy_error("it closed the connection")),
                Ok(got) => self.dialogue.handle_input(&buffer[..got]).map_err(|why| proxy_error(&why))?,
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn proxy_error(why: &str) -> io::Error {
    io::Error::other(format!("the SOCKS proxy does not connect: {why}"))
}
