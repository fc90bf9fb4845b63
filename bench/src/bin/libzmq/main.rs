//! Libraries with libzmq's C interface: libzmq 4.3.5 as built from its crate, or the shared library that the environment variable
//! `OXZMQ_BENCH_LIBRARY` names.
//!
//! Small messages go out by `zmq_send`, which copies; from 8 KiB on by `zmq_msg_init_data`, which does not.
//! `zmq_msg_recv` hands bodies over without copying them; where small ones come in large numbers `zmq_recv` does, which copies.

mod zmq_h;

use std::future::Future;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use oxzmq_bench::{Kind, Kit, Socket, contend, run_blocking};

struct Libzmq(Arc<zmq_h::Context>);

struct LibzmqSocket {
    socket: zmq_h::Socket,
    /// What came last was so small that the next is received by copying.
    small: bool,
}

/// Copying up to here costs less than sharing.
const SHARE: usize = 8 * 1024;

/// Bodies up to here are received by copying.
const COPIED: usize = 256;

impl Kit for Libzmq {
    type Socket = LibzmqSocket;

    fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        run_blocking(future)
    }

    fn open(&self, kind: Kind, _peers: usize) -> Result<LibzmqSocket> {
        let number = match kind {
            Kind::Pub => 1,
            Kind::Sub => 2,
            Kind::Req => 3,
            Kind::Rep => 4,
            Kind::Dealer => 5,
            Kind::Router => 6,
            Kind::Pull => 7,
            Kind::Push => 8,
        };
        self.0.socket(number).map(|socket| LibzmqSocket { socket, small: false })
    }

    const PROXY: bool = true;

    async fn proxy(&self, router: LibzmqSocket, dealer: LibzmqSocket) -> Result<()> {
        zmq_h::proxy(&router.socket, &dealer.socket)
    }

    fn poll(&self, sockets: &[LibzmqSocket], mut enough: impl FnMut() -> bool) -> Result<()> {
        let mut items: Vec<_> = sockets.iter().map(|socket| socket.socket.poll_item()).collect();
        loop {
            anyhow::ensure!(self.0.poll(&mut items)? == 1, "one socket has a message");
            if enough() {
                return Ok(());
            }
        }
    }
}

impl Socket for LibzmqSocket {
    async fn bind(&mut self, endpoint: &str) -> Result<String> {
        self.socket.bind(endpoint)
    }

    async fn connect(&mut self, endpoint: &str) -> Result<()> {
        self.socket.connect(endpoint)
    }

    fn encrypt(&mut self, server: bool) -> Result<()> {
        self.socket.encrypt(server)
    }

    async fn subscribe(&mut self, topic: &[u8]) -> Result<()> {
        self.socket.subscribe(topic)
    }

    async fn send(&mut self, payload: &Bytes) -> Result<()> {
        if payload.len() < SHARE { self.socket.send(payload) } else { self.socket.send_shared(payload.clone()) }
    }

    async fn recv_with<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R> {
        loop {
            let message = self.socket.recv()?;
            if !message.more() {
                return Ok(look(message.body()));
            }
        }
    }

    async fn recv_some(&mut self, look: &mut impl FnMut(&[u8])) -> Result<usize> {
        if self.small {
            let mut body = [0; COPIED];
            let size = self.socket.recv_copied(&mut body)?;
            look(body.get(..size).context("the messages of one case are of one size")?);
        } else {
            self.small = self
                .recv_with(|body| {
                    look(body);
                    body.len() <= COPIED
                })
                .await?;
        }
        Ok(1)
    }

    async fn echo(&mut self) -> Result<()> {
        loop {
            let message = self.socket.recv()?;
            let more = message.more();
            self.socket.send_message(message, more)?;
            if !more {
                return Ok(());
            }
        }
    }
}

fn main() -> Result<()> {
    let library = match std::env::var("OXZMQ_BENCH_LIBRARY") {
        Ok(name) => zmq_h::Functions::load(&name)?,
        Err(_) => zmq_h::Functions::linked()?,
    };
    contend(&Libzmq(zmq_h::Context::new(library)?))
}
