//! The task that owns a route's sockets: requests out, replies in, and who waits for which.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use oxzmq::{Context, ErrorKind, Message, Socket, SocketType};
use tokio::sync::mpsc;

use crate::error::{Error, Result};

use super::Route;
use super::mongrel2::{Request, decode, departure};

/// Replies that may wait for a client. One that is further behind is cut off: handlers are not told to wait.
const BACKLOG: usize = 256;
/// Longest reply.
const MESSAGE_MAX: u64 = 16 * 1024 * 1024;

enum Command {
    Open(u64, Box<Request>, mpsc::Sender<Bytes>),
    Gone { id: u64, finished: bool },
}

/// Reaches the handlers of one route.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) route: Arc<Route>,
    commands: mpsc::UnboundedSender<Command>,
    ids: Arc<AtomicU64>,
}

/// A request that handlers have. Dropping it tells them that the client has left.
pub(crate) struct Call {
    id: u64,
    pieces: mpsc::Receiver<Bytes>,
    commands: mpsc::UnboundedSender<Command>,
    finished: bool,
}

impl Call {
    /// What a handler sent next, as it is; `None` once it has closed, cannot be reached, or was too fast.
    pub(crate) fn poll_next(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Bytes>> {
        self.pieces.poll_recv(cx)
    }

    /// The response is complete: the client does not count as one that has left.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    /// The same as a future.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        self.pieces.recv().await
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Gone { id: self.id, finished: self.finished });
    }
}

impl Gate {
    /// Hands a request to a handler.
    pub(crate) fn call(&self, request: Request) -> Call {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let (sender, pieces) = mpsc::channel(BACKLOG);
        let _ = self.commands.send(Command::Open(id, Box::new(request), sender));
        Call { id, pieces, commands: self.commands.clone(), finished: false }
    }
}

/// A route's sockets, bound.
pub(crate) struct Bound {
    route: Route,
    requests: Socket,
    replies: Socket,
}

/// Binds a route's endpoints.
///
/// # Errors
/// [`Error::Endpoint`] when one cannot be bound.
pub(crate) fn bind(context: &Context, route: &Route) -> Result<Bound> {
    let at = |endpoint: &str| {
        let endpoint = endpoint.to_owned();
        move |source| Error::Endpoint { endpoint, source }
    };
    let requests = context.socket(SocketType::Push)?;
    requests.set_linger(Some(std::time::Duration::ZERO))?;
    requests.bind(&route.requests).map_err(at(&route.requests))?;
    let replies = context.socket(SocketType::Sub)?;
    replies.set_max_message_size(Some(MESSAGE_MAX))?;
    replies.subscribe("")?;
    replies.bind(&route.replies).map_err(at(&route.replies))?;
    Ok(Bound { route: route.clone(), requests, replies })
}

impl Bound {
    /// Starts the task. It ends with the last [`Gate`].
    pub(crate) fn start(self) -> Gate {
        let (commands, receiver) = mpsc::unbounded_channel();
        let Self { route, requests, replies } = self;
        let route = Arc::new(route);
        let task = Task { route: Arc::clone(&route), requests, replies, waiting: HashMap::new() };
        tokio::spawn(async move {
            if let Err(error) = task.run(receiver).await {
                tracing::error!(%error, "handlers cannot be reached any more");
            }
        });
        Gate { route, commands, ids: Arc::new(AtomicU64::new(1)) }
    }
}

struct Task {
    route: Arc<Route>,
    requests: Socket,
    replies: Socket,
    waiting: HashMap<u64, mpsc::Sender<Bytes>>,
}

impl Task {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) -> oxzmq::Result<()> {
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command)?,
                    None => return Ok(()),
                },
                reply = self.replies.recv_async() => self.deliver(reply?)?,
            }
        }
    }

    fn obey(&mut self, command: Command) -> oxzmq::Result<()> {
        match command {
            Command::Open(id, request, client) => {
                let message = request.encode(&self.route.ident, id, &self.route.prefix, self.route.form);
                // Without a handler, or with too many requests queued, the client's end is dropped.
                if self.push(message)? {
                    self.waiting.insert(id, client);
                }
            }
            Command::Gone { id, finished } => {
                if self.waiting.remove(&id).is_some() && !finished {
                    self.push(departure(&self.route.ident, id))?;
                }
            }
        }
        Ok(())
    }

    fn push(&self, message: Vec<u8>) -> oxzmq::Result<bool> {
        match self.requests.try_send(message) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn deliver(&mut self, mut reply: Message) -> oxzmq::Result<()> {
        let Some(reply) = reply.pop_front().map(oxzmq::Frame::into_bytes) else { return Ok(()) };
        let Some(delivery) = decode(&reply) else {
            tracing::warn!(route = self.route.prefix, "a handler's reply makes no sense");
            return Ok(());
        };
        let raw = reply.slice(delivery.raw..);
        for id in delivery.ids {
            let Some(client) = self.waiting.get(&id) else {
                self.push(departure(&self.route.ident, id))?;
                continue;
            };
            if raw.is_empty() || client.try_send(raw.clone()).is_err() {
                self.waiting.remove(&id);
            }
        }
        Ok(())
    }
}
