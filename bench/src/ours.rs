//! oxzmq, with blocking calls or with their asynchronous twins on Tokio: both programs share this.

use std::future::Future;

use anyhow::Result;
use bytes::Bytes;
use oxzmq::curve::KeyPair;
use oxzmq::{Context, Security, SocketType};

use crate::{Kind, Kit, Socket, curve, run_blocking, run_tokio};

/// oxzmq; `TOKIO` chooses the asynchronous calls.
pub struct Oxzmq<const TOKIO: bool>(Context);

/// A socket of [`Oxzmq`].
pub struct OxzmqSocket<const TOKIO: bool>(oxzmq::Socket);

impl<const TOKIO: bool> Default for Oxzmq<TOKIO> {
    fn default() -> Self {
        Oxzmq(Context::new())
    }
}

impl<const TOKIO: bool> Kit for Oxzmq<TOKIO> {
    type Socket = OxzmqSocket<TOKIO>;

    const PROXY: bool = true;

    fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        if TOKIO { run_tokio(future) } else { run_blocking(future) }
    }

    fn open(&self, kind: Kind, _peers: usize) -> Result<OxzmqSocket<TOKIO>> {
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

    /// A blocking call in either program: it has its thread for itself.
    async fn proxy(&self, router: OxzmqSocket<TOKIO>, dealer: OxzmqSocket<TOKIO>) -> Result<()> {
        Ok(oxzmq::proxy(&router.0, &dealer.0, None)?)
    }

    /// Blocking in either program, as the proxy is.
    fn poll(&self, sockets: &[OxzmqSocket<TOKIO>], mut enough: impl FnMut() -> bool) -> Result<()> {
        let mut poller = oxzmq::Poller::new();
        for (number, socket) in sockets.iter().enumerate() {
            poller.add(&socket.0, oxzmq::Interest::READABLE, number);
        }
        loop {
            anyhow::ensure!(poller.wait(None)?.len() == 1, "one socket has a message");
            if enough() {
                return Ok(());
            }
        }
    }

    async fn breathe(&self) {
        if TOKIO {
            tokio::task::yield_now().await;
        }
    }
}

impl<const TOKIO: bool> Socket for OxzmqSocket<TOKIO> {
    async fn bind(&mut self, endpoint: &str) -> Result<String> {
        Ok(self.0.bind(endpoint)?)
    }

    async fn connect(&mut self, endpoint: &str) -> Result<()> {
        Ok(self.0.connect(endpoint)?)
    }

    fn encrypt(&mut self, server: bool) -> Result<()> {
        self.0.set_security(if server {
            Security::CurveServer(KeyPair::from_secret_z85(curve::SERVER_SECRET)?)
        } else {
            let keys = KeyPair::from_secret_z85(curve::CLIENT_SECRET)?;
            Security::CurveClient { server: curve::SERVER_PUBLIC.parse()?, keys }
        })?;
        Ok(())
    }

    async fn subscribe(&mut self, topic: &[u8]) -> Result<()> {
        Ok(self.0.subscribe(topic)?)
    }

    async fn send(&mut self, payload: &Bytes) -> Result<()> {
        let payload = payload.clone();
        let sent = if TOKIO { self.0.send_async(payload).await } else { self.0.send(payload) };
        Ok(sent?)
    }

    async fn recv_with<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let message = if TOKIO { self.0.recv_async().await? } else { self.0.recv()? };
        Ok(look(&message[message.len() - 1]))
    }

    async fn echo(&mut self) -> Result<()> {
        let sent = if TOKIO {
            let message = self.0.recv_async().await?;
            self.0.send_async(message).await
        } else {
            let message = self.0.recv()?;
            self.0.send(message)
        };
        Ok(sent?)
    }
}
