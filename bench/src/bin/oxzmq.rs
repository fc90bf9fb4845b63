//! oxzmq with blocking calls.

use std::future::Future;

use anyhow::Result;
use bytes::Bytes;
use oxzmq::{Context, SocketType};
use oxzmq_bench::{Kind, Kit, Socket, contend, run_blocking};

struct Oxzmq(Context);

struct OxzmqSocket(oxzmq::Socket);

impl Kit for Oxzmq {
    type Socket = OxzmqSocket;

    fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        run_blocking(future)
    }

    fn open(&self, kind: Kind, _peers: usize) -> Result<OxzmqSocket> {
        let socket = self.0.socket(match kind {
            Kind::Push => SocketType::Push,
            Kind::Pull => SocketType::Pull,
            Kind::Req => SocketType::Req,
            Kind::Rep => SocketType::Rep,
            Kind::Pub => SocketType::Pub,
            Kind::Sub => SocketType::Sub,
            Kind::Dealer => SocketType::Dealer,
            Kind::Router => SocketType::Router,
        })?;
        Ok(OxzmqSocket(socket))
    }

    async fn proxy(&self, router: OxzmqSocket, dealer: OxzmqSocket) -> Result<()> {
        Ok(oxzmq::proxy(&router.0, &dealer.0, None)?)
    }
}

impl Socket for OxzmqSocket {
    async fn bind(&mut self, endpoint: &str) -> Result<String> {
        Ok(self.0.bind(endpoint)?)
    }

    async fn connect(&mut self, endpoint: &str) -> Result<()> {
        Ok(self.0.connect(endpoint)?)
    }

    async fn subscribe(&mut self, topic: &[u8]) -> Result<()> {
        Ok(self.0.subscribe(topic)?)
    }

    async fn send(&mut self, payload: &Bytes) -> Result<()> {
        Ok(self.0.send(payload.clone())?)
    }

    async fn recv_with<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let message = self.0.recv()?;
        Ok(look(&message[message.len() - 1]))
    }

    async fn echo(&mut self) -> Result<()> {
        let message = self.0.recv()?;
        Ok(self.0.send(message)?)
    }
}

fn main() -> Result<()> {
    contend(&Oxzmq(Context::new()))
}
