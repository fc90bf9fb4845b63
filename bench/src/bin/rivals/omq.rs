//! omq-tokio: its context with I/O threads of its own and batches where they are taken, or, where the environment variable
//! `OXZMQ_BENCH_MODE` is `exclusive`, its sockets of that name, which have one peer, over TCP.

use std::future::Future;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use omq_tokio::{Context, Message, Options, SocketType, exclusive};
use oxzmq_bench::{Kind, Kit, Socket, UNSUPPORTED, contend, run_tokio};

/// Messages that one call may bring.
const BATCH: usize = 256;

struct Omq {
    context: Context,
    exclusive: bool,
}

// One per process: what it takes on the stack is of no interest.
#[allow(clippy::large_enum_variant)]
enum Inner {
    Shared(omq_tokio::Socket),
    /// Before and after it has an endpoint.
    Exclusive(SocketType, Option<exclusive::Socket>),
}

struct OmqSocket {
    inner: Inner,
    batch: Vec<Message>,
}

impl Kit for Omq {
    type Socket = OmqSocket;

    fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        run_tokio(future)
    }

    fn open(&self, kind: Kind, peers: usize) -> Result<OmqSocket> {
        let kind_of_theirs = match kind {
            Kind::Push => SocketType::Push,
            Kind::Pull => SocketType::Pull,
            Kind::Req => SocketType::Req,
            Kind::Rep => SocketType::Rep,
            Kind::Pub => SocketType::Pub,
            Kind::Sub => SocketType::Sub,
            Kind::Dealer => SocketType::Dealer,
            Kind::Router => SocketType::Router,
        };
        let inner = if self.exclusive {
            let can = matches!(kind, Kind::Req | Kind::Rep | Kind::Dealer | Kind::Router) && peers == 1;
            ensure!(can, "{UNSUPPORTED} {kind:?} with {peers} peers as an exclusive socket");
            Inner::Exclusive(kind_of_theirs, None)
        } else {
            Inner::Shared(self.context.socket(kind_of_theirs, Options::default()))
        };
        Ok(OmqSocket { inner, batch: Vec::with_capacity(BATCH) })
    }

    async fn breathe(&self) {
        tokio::task::yield_now().await;
    }
}

impl OmqSocket {
    async fn put(&mut self, message: Message) -> Result<()> {
        let sent = match &mut self.inner {
            Inner::Shared(socket) => socket.send(message).await,
            Inner::Exclusive(_, socket) => socket.as_mut().context("no endpoint")?.send(&message).await,
        };
        Ok(sent?)
    }

    async fn take(&mut self) -> Result<Message> {
        Ok(match &mut self.inner {
            Inner::Shared(socket) => socket.recv().await?,
            Inner::Exclusive(_, socket) => socket.as_mut().context("no endpoint")?.recv().await?,
        })
    }
}

impl Socket for OmqSocket {
    async fn bind(&mut self, endpoint: &str) -> Result<String> {
        let endpoint = endpoint.replace(":*", ":0");
        Ok(match &mut self.inner {
            Inner::Shared(socket) => socket.bind(endpoint.as_str()).await?.to_string(),
            Inner::Exclusive(kind, socket) => {
                ensure!(endpoint.starts_with("tcp:"), "{UNSUPPORTED} {endpoint} as an exclusive socket");
                let (made, bound) = exclusive::Socket::bind(*kind, endpoint.as_str(), Default::default()).await?;
                *socket = Some(made);
                bound.to_string()
            }
        })
    }

    async fn connect(&mut self, endpoint: &str) -> Result<()> {
        match &mut self.inner {
            Inner::Shared(socket) => socket.connect(endpoint).await?,
            Inner::Exclusive(kind, socket) => {
                *socket = Some(exclusive::Socket::connect(*kind, endpoint, Default::default()).await?);
            }
        }
        Ok(())
    }

    async fn subscribe(&mut self, topic: &[u8]) -> Result<()> {
        let Inner::Shared(socket) = &self.inner else { bail!("no SUB") };
        Ok(socket.subscribe(topic.to_vec()).await?)
    }

    async fn send(&mut self, payload: &Bytes) -> Result<()> {
        self.put(Message::single(payload.clone())).await
    }

    async fn recv_with<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let message = self.take().await?;
        Ok(look(&message[message.len() - 1]))
    }

    async fn recv_some(&mut self, look: &mut impl FnMut(&[u8])) -> Result<usize> {
        let Inner::Shared(socket) = &self.inner else {
            self.recv_with(look).await?;
            return Ok(1);
        };
        let count = socket.recv_many_into(BATCH, &mut self.batch).await?;
        for message in self.batch.drain(..) {
            look(&message[message.len() - 1]);
        }
        Ok(count)
    }

    async fn echo(&mut self) -> Result<()> {
        let message = self.take().await?;
        self.put(message).await
    }
}

fn main() -> Result<()> {
    let exclusive = std::env::var("OXZMQ_BENCH_MODE").is_ok_and(|mode| mode == "exclusive");
    contend(&Omq { context: Context::new(), exclusive })
}
