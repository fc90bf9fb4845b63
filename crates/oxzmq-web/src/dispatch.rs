//! The task that owns the ROUTER and the pool, and the handle by which HTTP connections reach it.
//!
//! Commands come through one channel, answers go out through one channel per request. Neither needs a bound
//! of its own: a connection has one request at a time, which makes one submission, one cancellation, and no
//! more commands and pieces of content than fit the window of credit; and connections are bounded.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use oxzmq::{Driver, ErrorKind, EventKind, Message, Monitor, Socket};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Sleep;

use crate::envelope::{Head, Order, ToMaster};
use crate::pool::{Client, Failure, Limits, News, Pool, Snapshot, Source, Ticket};
use crate::system;

/// How often workers are probed when one was disconnected.
const PROBE: Duration = Duration::from_millis(50);
/// An alarm that rings within this time need not be set to an earlier one.
const SOON: Duration = Duration::from_millis(50);
/// Commands and messages handled before the other kind gets its turn.
const BATCH: usize = 64;
/// Looks at the workers' connections before others get their turn.
const ROUNDS: usize = 4;
/// Messages handled at once when a worker is lost, to get at what it sent last.
const LAST_WORDS: usize = 4096;
/// How long workers may take to say good-bye.
const FAREWELL: Duration = Duration::from_secs(3);
/// Ticks after a disconnection during which workers are probed: the connection's end is announced a moment
/// before its route is gone.
const PROBES: u32 = 3;

enum Command {
    Submit(Ticket, Order, Waiting),
    Consumed(Ticket, u64),
    Cancel(Ticket),
    Look(oneshot::Sender<Snapshot>),
}

/// Reaches the dispatcher. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    tickets: Arc<AtomicU64>,
}

/// Why there is no answer, and who was the last to fail to give one.
pub(crate) type Refusal = (Failure, Option<Source>);

/// A worker's answer.
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) source: Source,
    /// The first piece.
    pub(crate) content: Bytes,
    /// Where the other pieces come from, if there are any.
    pub(crate) rest: Option<Rest>,
}

/// The rest of an answer's content. Dropping it tells the worker that no more is wanted.
pub(crate) struct Rest {
    request: OnTheWay,
    pieces: mpsc::UnboundedReceiver<Result<Bytes, Failure>>,
}

impl Rest {
    /// The next piece; `None` after the last.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        self.pieces.poll_recv(cx)
    }

    /// So much was passed on, and can be followed by as much.
    pub(crate) fn consumed(&self, octets: usize) {
        self.request.handle.command(Command::Consumed(self.request.ticket, octets as u64));
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        // The pool lets go of its end with the last piece: then there is nothing to cancel.
        self.request.over |= self.pieces.is_closed();
    }
}

/// A request that is cancelled when it is dropped before it is over.
struct OnTheWay {
    ticket: Ticket,
    handle: Handle,
    over: bool,
}

impl Drop for OnTheWay {
    fn drop(&mut self) {
        if !self.over {
            self.handle.command(Command::Cancel(self.ticket));
        }
    }
}

impl Handle {
    /// Has a worker carry out `order`. Dropping the future cancels the request.
    pub(crate) async fn fetch(&self, order: Order) -> Result<Answer, Refusal> {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (sender, first) = oneshot::channel();
        let mut request = OnTheWay { ticket, handle: self.clone(), over: false };
        self.command(Command::Submit(ticket, order, Waiting::AnswerDue(sender)));
        let first = first.await.unwrap_or(Err((Failure::Stopping, None)));
        request.over = true;
        let First { head, source, content, pieces } = first?;
        let rest = pieces.map(|pieces| {
            request.over = false;
            Rest { request, pieces }
        });
        Ok(Answer { head, source, content, rest })
    }

    /// How things stand; `None` once the dispatcher has ended.
    pub(crate) async fn look(&self) -> Option<Snapshot> {
        let (viewer, snapshot) = oneshot::channel();
        self.command(Command::Look(viewer));
        snapshot.await.ok()
    }

    fn command(&self, command: Command) {
        // Without a dispatcher the process is about to end; requests find their channel closed.
        let _ = self.commands.send(command);
    }
}

/// The beginning of an answer, and the channel for the rest if there is one.
struct First {
    head: Head,
    source: Source,
    content: Bytes,
    pieces: Option<mpsc::UnboundedReceiver<Result<Bytes, Failure>>>,
}

/// The pool's end of a request.
enum Waiting {
    AnswerDue(oneshot::Sender<Result<First, Refusal>>),
    Streaming(mpsc::UnboundedSender<Result<Bytes, Failure>>),
    /// Everything was delivered.
    Done,
}

// Whoever is not there any more has sent a cancellation, so failures to deliver need no care.
impl Client for Waiting {
    fn head(&mut self, head: Head, source: Source, content: Bytes) {
        let (next, pieces) = if content.len() as u64 == head.length {
            (Self::Done, None)
        } else {
            let (sender, pieces) = mpsc::unbounded_channel();
            (Self::Streaming(sender), Some(pieces))
        };
        if let Self::AnswerDue(answer) = std::mem::replace(self, next) {
            let _ = answer.send(Ok(First { head, source, content, pieces }));
        }
    }

    fn chunk(&mut self, content: Bytes) {
        if let Self::Streaming(pieces) = self {
            let _ = pieces.send(Ok(content));
        }
    }

    fn fail(&mut self, failure: Failure, last: Option<Source>) {
        match std::mem::replace(self, Self::Done) {
            Self::AnswerDue(answer) => drop(answer.send(Err((failure, last)))),
            Self::Streaming(pieces) => drop(pieces.send(Err(failure))),
            Self::Done => {}
        }
    }
}

/// How far the master has come with stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// At work.
    Serving,
    /// Nobody new is let in, and each answer is the last on its connection.
    Closing,
    /// Answers under way are finished.
    Draining,
    /// Nobody waits for answers any more: workers are told to leave.
    Leaving,
}

/// The task's state.
pub(crate) struct Dispatcher {
    router: Arc<Socket>,
    /// The workers' connections: this task does their input and output, so nobody has to wake it for a message.
    driver: AsyncFd<Driver>,
    monitor: Monitor,
    pool: Pool<Waiting>,
    commands: mpsc::UnboundedReceiver<Command>,
    stage: watch::Receiver<Stage>,
    news: mpsc::UnboundedSender<News>,
    /// Times that are still to be probed.
    probes: u32,
    /// When the pool is to be told that time has passed, or workers are probed. It ticks while there are requests,
    /// and follows the signs of life otherwise: an idle master wakes once a second.
    alarm: Alarm,
    /// Keeps the channel of commands open.
    _handle: Handle,
}

/// Makes the task and its handle. News of workers go to `news`. The router is bound, and a runtime entered.
///
/// # Errors
/// What the library says of a socket that cannot be driven, or the system of a descriptor that cannot be watched.
pub(crate) fn new(
    router: Arc<Socket>,
    monitor: Monitor,
    limits: Limits,
    stage: watch::Receiver<Stage>,
    news: mpsc::UnboundedSender<News>,
) -> io::Result<(Dispatcher, Handle)> {
    router.set_gathering(true); // what is sent is written by `flush`
    let driver = watched(Driver::new(&router)?)?;
    let (sender, commands) = mpsc::unbounded_channel();
    let handle = Handle { commands: sender, tickets: Arc::default() };
    let pool = Pool::new(limits, system::random());
    let dispatcher = Dispatcher {
        router,
        driver,
        monitor,
        pool,
        commands,
        stage,
        news,
        probes: 0,
        alarm: Alarm::default(),
        _handle: handle.clone(),
    };
    Ok((dispatcher, handle))
}

impl Dispatcher {
    /// Works until the stage is [`Stage::Leaving`] and the workers have left.
    pub(crate) async fn run(mut self) -> oxzmq::Result<()> {
        let mut batch = Vec::with_capacity(BATCH);
        let mut deadline = None;
        loop {
            let Self { router, driver, monitor, commands, stage, alarm, .. } = &mut self;
            tokio::select! {
                _ = commands.recv_many(&mut batch, BATCH) => {
                    for command in batch.drain(..) {
                        self.obey(command);
                    }
                }
                message = router.recv_async() => {
                    self.handle(message?, Instant::now());
                    self.receive_waiting(BATCH)?;
                }
                () = readable(driver) => self.drive()?,
                event = monitor.recv_async() => self.event(event?.kind),
                () = alarm.ring() => self.tick(),
                changed = stage.changed(), if deadline.is_none() => {
                    // Nobody left to say so: the master is gone.
                    let stage = changed.map_or(Stage::Leaving, |()| *self.stage.borrow_and_update());
                    deadline = self.enter(stage).then(|| Instant::now() + FAREWELL);
                }
            }
            self.flush()?;
            if !self.alarm.is_soon() {
                self.set_alarm(deadline);
            }
            if deadline.is_some_and(|deadline| self.pool.workers() == 0 || Instant::now() >= deadline) {
                return Ok(());
            }
        }
    }

    fn obey(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Submit(ticket, order, waiting) => self.pool.submit(ticket, order, waiting, now),
            Command::Consumed(ticket, octets) => self.pool.consumed(ticket, octets, now),
            Command::Cancel(ticket) => self.pool.cancel(ticket),
            Command::Look(viewer) => drop(viewer.send(self.pool.snapshot(now))),
        }
    }

    /// Reads what workers have sent, and handles it.
    fn drive(&mut self) -> oxzmq::Result<()> {
        for _ in 0..ROUNDS {
            let drive = |driver: &Driver| if driver.drive() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) };
            let found = self.driver.try_io(Interest::READABLE, drive).is_ok();
            self.receive_waiting(BATCH)?;
            if !found {
                break;
            }
        }
        Ok(())
    }

    /// Handles messages that are here already, so many at most.
    fn receive_waiting(&mut self, most: usize) -> oxzmq::Result<()> {
        let now = Instant::now();
        for _ in 0..most {
            match self.router.try_recv() {
                Ok(message) => self.handle(message, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn handle(&mut self, mut message: Message, now: Instant) {
        let Some(identity) = message.pop_front() else { return };
        let from = identity.into_bytes();
        match ToMaster::decode(message) {
            Ok(message) => self.pool.handle(&from, message, now),
            Err(what) => self.pool.misbehaved(&from, &what.to_string(), now),
        }
    }

    fn event(&mut self, kind: EventKind) {
        if kind == EventKind::Disconnected {
            self.probes = PROBES;
            self.pool.probe();
        }
    }

    fn tick(&mut self) {
        self.pool.tick(Instant::now());
        if self.probes > 0 {
            self.probes -= 1;
            self.pool.probe();
        }
        self.alarm.off();
    }

    /// Does not wait for longer than until `deadline`.
    fn set_alarm(&mut self, deadline: Option<Instant>) {
        let now = Instant::now();
        let probe = (self.probes > 0).then(|| now + PROBE);
        if let Some(next) = self.pool.next_tick(now).into_iter().chain(probe).chain(deadline).min() {
            self.alarm.set(next, now);
        }
    }

    /// True once the workers are to leave.
    fn enter(&mut self, stage: Stage) -> bool {
        match stage {
            Stage::Serving | Stage::Closing => false,
            Stage::Draining => {
                self.pool.stop();
                false
            }
            Stage::Leaving => {
                self.pool.stop_workers();
                true
            }
        }
    }

    /// Sends what the pool has to say. A worker that cannot be reached is lost, which may give the pool more
    /// to say; but what it sent before its end is here already, and still counts.
    fn flush(&mut self) -> oxzmq::Result<()> {
        loop {
            let mut lost = Vec::new();
            while let Some((to, message)) = self.pool.poll_outbox() {
                let mut message = message.encode();
                message.push_front(to.clone());
                match self.router.try_send(message) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::HostUnreachable => lost.push((to, "connection closed")),
                    // More messages are queued than a worker that keeps to the protocol ever has.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => lost.push((to, "reads no messages")),
                    Err(error) => return Err(error.into()),
                }
            }
            if lost.is_empty() {
                break;
            }
            self.receive_waiting(LAST_WORDS)?;
            for (worker, why) in lost {
                self.pool.unreachable(&worker, why, Instant::now());
            }
        }
        self.router.flush();
        while let Some(news) = self.pool.poll_news() {
            let _ = self.news.send(news);
        }
        Ok(())
    }
}

/// Has the runtime watch the workers' connections.
#[allow(deprecated, reason = "a driver has one descriptor for as long as it lives, and keeps it open")]
fn watched(driver: Driver) -> io::Result<AsyncFd<Driver>> {
    AsyncFd::with_interest(driver, Interest::READABLE)
}

/// Waits until workers' connections have something.
async fn readable(driver: &AsyncFd<Driver>) {
    if driver.readable().await.is_err() {
        std::future::pending().await // the runtime is about to end, and this task with it
    }
}

/// Rings once at a time that may be moved forward.
#[derive(Default)]
struct Alarm {
    /// Made when it is first set.
    sleep: Option<Pin<Box<Sleep>>>,
    /// When it rings, if it is set.
    at: Option<Instant>,
    /// It was set to ring within [`SOON`]: nothing can be so urgent that it has to ring before.
    soon: bool,
}

impl Alarm {
    fn is_soon(&self) -> bool {
        self.soon
    }

    /// Sets it, unless it rings before that.
    fn set(&mut self, at: Instant, now: Instant) {
        if self.at.is_some_and(|before| before <= at) {
            return;
        }
        self.soon = at <= now + SOON;
        self.at = Some(at);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at.into()),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at.into()))),
        }
    }

    fn off(&mut self) {
        (self.at, self.soon) = (None, false);
    }

    async fn ring(&mut self) {
        match (&mut self.sleep, self.at) {
            (Some(sleep), Some(_)) => sleep.as_mut().await,
            _ => std::future::pending().await,
        }
    }
}
