//! nng 1, by its safe wrapper, with blocking calls: PUSH/PULL, REQ/REP and PUB/SUB.

use std::future::Future;

use anyhow::{Result, bail};
use bytes::Bytes;
use nng::options::{Options, protocol::pubsub::Subscribe};
use nng::{Message, Protocol};
use oxzmq_bench::{Kind, Kit, Socket, UNSUPPORTED, contend, run_blocking, with_port};

struct Nng;

struct NngSocket(nng::Socket);

impl Kit for Nng {
    type Socket = NngSocket;

    fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        run_blocking(future)
    }

    fn open(&self, kind: Kind, _peers: usize) -> Result<NngSocket> {
        Ok(NngSocket(nng::Socket::new(match kind {
            Kind::Push => Protocol::Push0,
            Kind::Pull => Protocol::Pull0,
            Kind::Req => Protocol::Req0,
            Kind::Rep => Protocol::Rep0,
            Kind::Pub => Protocol::Pub0,
            Kind::Sub => Protocol::Sub0,
            Kind::Dealer | Kind::Router => bail!("{UNSUPPORTED} {kind:?}"),
        })?))
    }
}

impl NngSocket {
    fn put(&self, message: Message) -> Result<()> {
        self.0.send(message).map_err(|(_, error)| error.into())
    }
}

impl Socket for NngSocket {
    async fn bind(&mut self, endpoint: &str) -> Result<String> {
        let endpoint = with_port(endpoint)?;
        self.0.listen(&endpoint)?;
        Ok(endpoint)
    }

    async fn connect(&mut self, endpoint: &str) -> Result<()> {
        Ok(self.0.dial(endpoint)?)
    }

    async fn subscribe(&mut self, topic: &[u8]) -> Result<()> {
        Ok(self.0.set_opt::<Subscribe>(topic.to_vec())?)
    }

    async fn send(&mut self, payload: &Bytes) -> Result<()> {
        self.put(Message::from(&payload[..]))
    }

    async fn recv_with<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R> {
        Ok(look(&self.0.recv()?))
    }

    async fn echo(&mut self) -> Result<()> {
        self.put(self.0.recv()?)
    }
}

fn main() -> Result<()> {
    contend(&Nng)
}
