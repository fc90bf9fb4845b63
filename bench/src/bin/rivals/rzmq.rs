//! rzmq on Tokio, without io_uring.

use std::future::Future;
use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use oxzmq_bench::{Kind, Kit, Socket, contend, run_tokio, with_port};
use rzmq::{Context, Msg, SocketType};

/// Made within the runtime, where it starts its tasks.
struct Rzmq(OnceLock<Context>);

struct RzmqSocket {
    socket: rzmq::Socket,
    /// ROUTER, whose messages have several parts.
    parts: bool,
}

impl Kit for Rzmq {
    type Socket = RzmqSocket;

    fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        run_tokio(future)
    }

    fn open(&self, kind: Kind, _peers: usize) -> Result<RzmqSocket> {
        let context = match self.0.get() {
            Some(context) => context,
            None => {
                let made = Context::new()?;
                self.0.get_or_init(|| made)
            }
        };
        let socket = context.socket(match kind {
            Kind::Push => SocketType::Push,
            Kind::Pull => SocketType::Pull,
            Kind::Req => SocketType::Req,
            Kind::Rep => SocketType::Rep,
            Kind::Pub => SocketType::Pub,
            Kind::Sub => SocketType::Sub,
            Kind::Dealer => SocketType::Dealer,
            Kind::Router => SocketType::Router,
        })?;
        Ok(RzmqSocket { socket, parts: kind == Kind::Router })
    }

    async fn breathe(&self) {
        tokio::task::yield_now().await;
    }
}

impl Socket for RzmqSocket {
    async fn bind(&mut self, endpoint: &str) -> Result<String> {
        let endpoint = with_port(endpoint)?;
        self.socket.bind(&endpoint).await?;
        Ok(endpoint)
    }

    async fn connect(&mut self, endpoint: &str) -> Result<()> {
        Ok(self.socket.connect(endpoint).await?)
    }

    async fn subscribe(&mut self, topic: &[u8]) -> Result<()> {
        Ok(self.socket.set_option_raw(rzmq::socket::SUBSCRIBE, topic).await?)
    }

    async fn send(&mut self, payload: &Bytes) -> Result<()> {
        Ok(self.socket.send(Msg::from_bytes(payload.clone())).await?)
    }

    async fn recv_with<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let message = self.socket.recv().await?;
        Ok(look(message.data().context("an empty message")?))
    }

    async fn echo(&mut self) -> Result<()> {
        if self.parts {
            let parts = self.socket.recv_multipart().await?;
            return Ok(self.socket.send_multipart(parts).await?);
        }
        let message = self.socket.recv().await?;
        Ok(self.socket.send(message).await?)
    }
}

fn main() -> Result<()> {
    contend(&Rzmq(OnceLock::new()))
}
