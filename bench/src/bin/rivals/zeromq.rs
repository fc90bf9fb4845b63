//! The crate `zeromq` (zmq.rs) on Tokio.

use std::future::Future;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use oxzmq_bench::{Kind, Kit, Socket, UNSUPPORTED, contend, run_tokio};
use zeromq::{
    DealerSocket, PubSocket, PullSocket, PushSocket, RepSocket, ReqSocket, RouterSocket, Socket as _, SocketRecv as _,
    SocketSend as _, SubSocket, ZmqMessage,
};

struct Zeromq;

enum ZeromqSocket {
    Push(PushSocket),
    Pull(PullSocket),
    Req(ReqSocket),
    Rep(RepSocket),
    Pub(PubSocket),
    Sub(SubSocket),
    Dealer(DealerSocket),
    Router(RouterSocket),
}

impl Kit for Zeromq {
    type Socket = ZeromqSocket;

    fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        run_tokio(future)
    }

    fn open(&self, kind: Kind, _peers: usize) -> Result<ZeromqSocket> {
        Ok(match kind {
            Kind::Push => ZeromqSocket::Push(PushSocket::new()),
            Kind::Pull => ZeromqSocket::Pull(PullSocket::new()),
            Kind::Req => ZeromqSocket::Req(ReqSocket::new()),
            Kind::Rep => ZeromqSocket::Rep(RepSocket::new()),
            Kind::Pub => ZeromqSocket::Pub(PubSocket::new()),
            Kind::Sub => ZeromqSocket::Sub(SubSocket::new()),
            Kind::Dealer => ZeromqSocket::Dealer(DealerSocket::new()),
            Kind::Router => ZeromqSocket::Router(RouterSocket::new()),
        })
    }

    async fn breathe(&self) {
        tokio::task::yield_now().await;
    }
}

/// The same call on whichever kind it is.
macro_rules! each {
    ($socket:expr, $inner:ident => $call:expr) => {
        match $socket {
            ZeromqSocket::Push($inner) => $call,
            ZeromqSocket::Pull($inner) => $call,
            ZeromqSocket::Req($inner) => $call,
            ZeromqSocket::Rep($inner) => $call,
            ZeromqSocket::Pub($inner) => $call,
            ZeromqSocket::Sub($inner) => $call,
            ZeromqSocket::Dealer($inner) => $call,
            ZeromqSocket::Router($inner) => $call,
        }
    };
}

impl ZeromqSocket {
    async fn put(&mut self, message: ZmqMessage) -> Result<()> {
        let sent = match self {
            ZeromqSocket::Push(socket) => socket.send(message).await,
            ZeromqSocket::Req(socket) => socket.send(message).await,
            ZeromqSocket::Rep(socket) => socket.send(message).await,
            ZeromqSocket::Pub(socket) => socket.send(message).await,
            ZeromqSocket::Dealer(socket) => socket.send(message).await,
            ZeromqSocket::Router(socket) => socket.send(message).await,
            ZeromqSocket::Pull(_) | ZeromqSocket::Sub(_) => bail!("a kind that only receives"),
        };
        Ok(sent?)
    }

    async fn take(&mut self) -> Result<ZmqMessage> {
        Ok(match self {
            ZeromqSocket::Pull(socket) => socket.recv().await?,
            ZeromqSocket::Req(socket) => socket.recv().await?,
            ZeromqSocket::Rep(socket) => socket.recv().await?,
            ZeromqSocket::Sub(socket) => socket.recv().await?,
            ZeromqSocket::Dealer(socket) => socket.recv().await?,
            ZeromqSocket::Router(socket) => socket.recv().await?,
            ZeromqSocket::Push(_) | ZeromqSocket::Pub(_) => bail!("a kind that only sends"),
        })
    }
}

impl Socket for ZeromqSocket {
    async fn bind(&mut self, endpoint: &str) -> Result<String> {
        ensure!(!endpoint.starts_with("inproc:"), "{UNSUPPORTED} inproc");
        let endpoint = endpoint.replace(":*", ":0");
        Ok(each!(self, socket => socket.bind(&endpoint).await)?.to_string())
    }

    async fn connect(&mut self, endpoint: &str) -> Result<()> {
        Ok(each!(self, socket => socket.connect(endpoint).await)?)
    }

    async fn subscribe(&mut self, topic: &[u8]) -> Result<()> {
        let ZeromqSocket::Sub(socket) = self else { bail!("no SUB") };
        Ok(socket.subscribe(std::str::from_utf8(topic)?).await?)
    }

    async fn send(&mut self, payload: &Bytes) -> Result<()> {
        self.put(payload.clone().into()).await
    }

    async fn recv_with<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let message = self.take().await?;
        Ok(look(message.get(message.len() - 1).context("an empty message")?))
    }

    async fn echo(&mut self) -> Result<()> {
        let message = self.take().await?;
        self.put(message).await
    }
}

fn main() -> Result<()> {
    contend(&Zeromq)
}
