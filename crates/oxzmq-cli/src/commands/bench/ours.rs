//! The candidate that this is about: oxzmq, by its blocking or its asynchronous interface.

use std::future::Future;

use anyhow::{Context as _, Result};
use oxzmq::{Context, Socket, SocketType};

use super::keys;
use super::link::{End, Kit, PATIENCE, Part};

/// Calls that block the thread.
pub(crate) struct Blocking {
    context: Context,
    curve: bool,
}

pub(crate) struct BlockingEnd(Socket);

/// Futures on a Tokio runtime of one thread.
pub(crate) struct Async {
    context: Context,
    curve: bool,
    runtime: tokio::runtime::Runtime,
}

pub(crate) struct AsyncEnd(Socket);

impl Blocking {
    pub(crate) fn new(curve: bool) -> Self {
        Blocking { context: Context::new(), curve }
    }
}

impl Async {
    pub(crate) fn new(curve: bool) -> Result<Self> {
        Ok(Async {
            context: Context::new(),
            curve,
            runtime: tokio::runtime::Builder::new_current_thread().enable_time().build().context("starting Tokio")?,
        })
    }
}

fn socket(context: &Context, part: Part) -> Result<Socket> {
    let socket = context.socket(match part {
        Part::Push => SocketType::Push,
        Part::Pull => SocketType::Pull,
        Part::Req => SocketType::Req,
        Part::Rep => SocketType::Rep,
    })?;
    // Nobody waits for what was still under way when a measurement ended.
    socket.set_linger(Some(std::time::Duration::ZERO))?;
    socket.set_send_timeout(Some(PATIENCE))?;
    socket.set_recv_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn bound(context: &Context, curve: bool, endpoint: &str, part: Part) -> Result<(Socket, String)> {
    let socket = socket(context, part)?;
    socket.set_security(keys::security(curve, true))?;
    let endpoint = socket.bind(endpoint)?;
    Ok((socket, endpoint))
}

fn connected(context: &Context, curve: bool, endpoint: &str, part: Part) -> Result<Socket> {
    let socket = socket(context, part)?;
    socket.set_security(keys::security(curve, false))?;
    socket.connect(endpoint)?;
    Ok(socket)
}

impl Kit for Blocking {
    type Listener = Socket;
    type End = BlockingEnd;

    fn listen(&self, endpoint: &str, part: Part) -> Result<(Socket, String)> {
        bound(&self.context, self.curve, endpoint, part)
    }

    fn accept(&self, listener: Socket) -> Result<BlockingEnd> {
        Ok(BlockingEnd(listener))
    }

    fn connect(&self, endpoint: &str, part: Part) -> Result<BlockingEnd> {
        connected(&self.context, self.curve, endpoint, part).map(BlockingEnd)
    }
}

impl End for BlockingEnd {
    async fn send(&mut self, payload: &[u8]) -> Result<()> {
        self.0.send(payload).context("sending")
    }

    async fn recv(&mut self) -> Result<usize> {
        Ok(self.0.recv().context("receiving")?.byte_len())
    }
}

impl Kit for Async {
    type Listener = Socket;
    type End = AsyncEnd;

    fn listen(&self, endpoint: &str, part: Part) -> Result<(Socket, String)> {
        bound(&self.context, self.curve, endpoint, part)
    }

    fn accept(&self, listener: Socket) -> Result<AsyncEnd> {
        Ok(AsyncEnd(listener))
    }

    fn connect(&self, endpoint: &str, part: Part) -> Result<AsyncEnd> {
        connected(&self.context, self.curve, endpoint, part).map(AsyncEnd)
    }

    fn block_on<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(future)
    }
}

impl End for AsyncEnd {
    async fn send(&mut self, payload: &[u8]) -> Result<()> {
        self.0.send_async(payload).await.context("sending")
    }

    async fn recv(&mut self) -> Result<usize> {
        Ok(self.0.recv_async().await.context("receiving")?.byte_len())
    }
}
