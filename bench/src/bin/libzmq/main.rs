//! Libraries with libzmq's C interface: libzmq 4.3.5 as built from its crate, or the shared library that the environment variable
//! `OXZMQ_BENCH_LIBRARY` names.
//!
//! Small messages go out by `zmq_send`, which copies; from 8 KiB on by `zmq_msg_init_data`, which does not.
//! `zmq_msg_recv` hands bodies over without copying them.

mod zmq_h;

use std::future::Future;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use oxzmq_bench::{Kind, Kit, Socket, contend, run_blocking};

struct Libzmq(Arc<zmq_h::Context>);

struct LibzmqSocket(zmq_h::Socket);

/// Copying up to here costs less than sharing.
const SHARE: usize = 8 * 1024;

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
        self.0.socket(number).map(LibzmqSocket)
    }

    const PROXY: bool = true;

    async fn proxy(&self, router: LibzmqSocket, dealer: LibzmqSocket) -> Result<()> {
        zmq_h::proxy(&router.0, &dealer.0)
    }

    fn poll(&self, sockets: &[LibzmqSocket], mut enough: impl FnMut() -> bool) -> Result<()> {
        let mut items: Vec<_> = sockets.iter().map(|socket| socket.0.poll_item()).collect();
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
        self.0.bind(endpoint)
    }

    async fn connect(&mut self, endpoint: &str) -> Result<()> {
        self.0.connect(endpoint)
    }

    async fn subscribe(&mut self, topic: &[u8]) -> Result<()> {
        self.0.subscribe(topic)
    }

    async fn send(&mut self, payload: &Bytes) -> Result<()> {
        if payload.len() < SHARE { self.0.send(payload) } else { self.0.send_shared(payload.clone()) }
    }

    async fn recv_with<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R> {
        loop {
            let message = self.0.recv()?;
            if !message.more() {
                return Ok(look(message.body()));
            }
        }
    }

    async fn echo(&mut self) -> Result<()> {
        loop {
            let message = self.0.recv()?;
            let more = message.more();
            self.0.send_message(message, more)?;
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
