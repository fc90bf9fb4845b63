//! How requests get to the handlers of a route, and their replies back: one task per route owns its sockets.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use oxzmq::{Context, ErrorKind, Message, Socket, SocketType};
use tokio::sync::mpsc;

use crate::error::{Error, Result};

use super::majordomo::{Broker, Job};
use super::mongrel2::{Form, Request, decode, departure};
use super::{Handlers, Route};

/// Replies that may wait for a client. One that is further behind is cut off: handlers are not told to wait.
const BACKLOG: usize = 256;
/// How often a broker is told that time passes.
const TICK: Duration = Duration::from_millis(500);
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
    route: Arc<Route>,
    sockets: Sockets,
}

enum Sockets {
    Mongrel2 { requests: Socket, replies: Socket },
    Majordomo(Socket),
}

/// Binds a route's endpoints.
///
/// # Errors
/// [`Error::Endpoint`] when one cannot be bound.
pub(crate) fn bind(context: &Context, route: &Route) -> Result<Bound> {
    let bound = |kind, endpoint: &str| {
        let socket = context.socket(kind)?;
        socket.set_linger(Some(Duration::ZERO))?;
        socket.set_max_message_size(Some(MESSAGE_MAX))?;
        socket.set_max_total_size(Some(MESSAGE_MAX))?;
        socket.bind(endpoint).map_err(|source| Error::Endpoint { endpoint: endpoint.to_owned(), source })?;
        Ok::<_, Error>(socket)
    };
    let sockets = match &route.to {
        Handlers::Mongrel2 { requests, replies, .. } => {
            let (requests, replies) = (bound(SocketType::Push, requests)?, bound(SocketType::Sub, replies)?);
            replies.subscribe("")?;
            Sockets::Mongrel2 { requests, replies }
        }
        Handlers::Majordomo { endpoint, .. } => {
            let router = bound(SocketType::Router, endpoint)?;
            router.set_router_mandatory(true)?;
            Sockets::Majordomo(router)
        }
    };
    Ok(Bound { route: Arc::new(route.clone()), sockets })
}

impl Bound {
    /// Starts the task. It ends with the last [`Gate`].
    pub(crate) fn start(self) -> Gate {
        let (commands, receiver) = mpsc::unbounded_channel();
        let Self { route, sockets } = self;
        let gate = Gate { route: Arc::clone(&route), commands, ids: Arc::new(AtomicU64::new(1)) };
        tokio::spawn(async move {
            let ended = match (sockets, &route.to) {
                (Sockets::Mongrel2 { requests, replies }, Handlers::Mongrel2 { ident, form, .. }) => {
                    let (prefix, ident) = (route.prefix.clone(), ident.clone());
                    Pusher { prefix, ident, form: *form, requests, replies, waiting: HashMap::new() }
                        .run(receiver)
                        .await
                }
                (Sockets::Majordomo(router), Handlers::Majordomo { service, .. }) => {
                    Brokerage { prefix: route.prefix.clone(), router, broker: Broker::new(service) }.run(receiver).await
                }
                _ => Ok(()), // `bind` made the sockets for the route
            };
            if let Err(error) = ended {
                tracing::error!(%error, route = route.prefix, "handlers cannot be reached any more");
            }
        });
        gate
    }
}

/// Mongrel2's half: requests are pushed, replies are subscribed to.
struct Pusher {
    prefix: String,
    ident: String,
    form: Form,
    requests: Socket,
    replies: Socket,
    waiting: HashMap<u64, mpsc::Sender<Bytes>>,
}

impl Pusher {
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
                let message = request.encode(&self.ident, id, &self.prefix, self.form);
                // Without a handler, or with too many requests queued, the client's end is dropped.
                if self.push(message)? {
                    self.waiting.insert(id, client);
                }
            }
            Command::Gone { id, finished } => {
                if self.waiting.remove(&id).is_some() && !finished {
                    self.push(departure(&self.ident, id))?;
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
            tracing::warn!(route = self.prefix, "a handler's reply makes no sense");
            return Ok(());
        };
        let raw = reply.slice(delivery.raw..);
        for id in delivery.ids {
            let Some(client) = self.waiting.get(&id) else {
                self.push(departure(&self.ident, id))?;
                continue;
            };
            if raw.is_empty() || client.try_send(raw.clone()).is_err() {
                self.waiting.remove(&id);
            }
        }
        Ok(())
    }
}

/// Majordomo's half: a broker on a ROUTER.
struct Brokerage {
    prefix: String,
    router: Socket,
    broker: Broker,
}

impl Brokerage {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) -> oxzmq::Result<()> {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return Ok(()),
                },
                message = self.router.recv_async() => {
                    let mut message = message?;
                    if let Some(from) = message.pop_front() {
                        self.broker.handle(&from.into_bytes(), message, Instant::now());
                    }
                }
                _ = ticks.tick() => self.broker.tick(Instant::now()),
            }
            while let Some((to, mut message)) = self.broker.poll_outbox() {
                message.push_front(to.clone());
                match self.router.try_send(message) {
                    Ok(()) => {}
                    Err(error) if matches!(error.kind(), ErrorKind::HostUnreachable | ErrorKind::WouldBlock) => {
                        self.broker.lose(&to, false, Instant::now());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open(id, request, client) => {
                let headers = serde_json::Value::Object(request.headers(&self.prefix)).to_string();
                let repeatable = ["GET", "HEAD", "OPTIONS"].contains(&request.method.as_str());
                let target = request.target();
                let frames = vec![request.method.into(), target.into(), headers.into(), request.body.into()];
                let job = Job { id, frames, client, repeatable, tries: 0, began: false };
                self.broker.submit(job, Instant::now());
            }
            Command::Gone { id, .. } => self.broker.cancel(id),
        }
    }
}
