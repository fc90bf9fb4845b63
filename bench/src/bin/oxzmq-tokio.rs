//! oxzmq with asynchronous calls, on a Tokio runtime of one thread.

use std::future::Future;

use anyhow::Result;
use bytes::Bytes;
use oxzmq::{Context, SocketType};
use oxzmq_bench::{Kind, Kit, Socket, contend};

struct Oxzmq(Context);

struct OxzmqSocket(oxzmq::Socket);

impl Kit for Oxzmq {
    type Socket = OxzmqSocket;

    fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::runtime::Builder::new_current_thread().build()?.block_on(future)
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

    async fn breathe(&self) {
        tokio::task::yield_now().await;
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
        Ok(self.0.send_async(payload.clone()).await?)
    }

    async fn recv_with<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let message = self.0.recv_async().await?;
        Ok(look(&message[message.len() - 1]))
    }

    async fn echo(&mut self) -> Result<()> {
        let message = self.0.recv_async().await?;
        Ok(self.0.send_async(message).await?)
    }
}

fn main() -> Result<()> {
    contend(&Oxzmq(Context::new()))
}
