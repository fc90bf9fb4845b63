//! One connection to the master, from READY to the end.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use oxzmq::{ErrorKind, EventKind, Monitor, Socket, SocketType};

use crate::envelope::{CHUNK_MIN, Head, Introduction, Order, PATH_MAX, Status, ToMaster, ToWorker, Version};
use crate::error::{Error, Result};
use crate::files::{self, Found};
use crate::{mime, system, welcome};

use super::source::Source;
use super::{Notice, Worker, listing};

/// Content of one message.
const PIECE: u64 = 128 * 1024;
/// How often a worker that waits for its master looks whether it was stopped.
const TICK: Duration = Duration::from_secs(1);
/// How long a master may take to answer READY.
const WELCOME_WAIT: Duration = Duration::from_secs(3);
/// Answers that are written together, and how long the first may wait for the others.
const PORTION: u32 = 8;
const GATHER: Duration = Duration::from_micros(200);
/// How long the last words may take.
const LINGER: Duration = Duration::from_secs(1);

/// How a session ended.
pub(super) enum Ending {
    /// The worker was told to stop, and has.
    Left,
    /// The worker should begin a new one.
    Again { why: &'static str, welcome: bool },
}

/// What stops the loop: an ending or an error.
type Step<T = ()> = Result<T, Stop>;

enum Stop {
    Ending(Ending),
    Error(Error),
}

impl From<oxzmq::Error> for Stop {
    fn from(error: oxzmq::Error) -> Self {
        Self::Error(error.into())
    }
}

/// A download under way.
struct Download {
    source: Source,
    offset: u64,
    left: u64,
    credit: u64,
}

/// See the [module](self).
pub(super) struct Session<'a> {
    worker: &'a Worker,
    notice: &'a dyn Fn(Notice),
    socket: Arc<Socket>,
    /// Tells whether the master refuses this worker; until it is connected.
    door: Option<Monitor>,
    downloads: HashMap<u64, Download>,
    /// What the master dictated; unknown before WELCOME.
    interval: Option<Duration>,
    last_heard: Instant,
    last_sent: Instant,
    /// Messages that gather, and since when.
    gathered: u32,
    gathers_since: Instant,
    stopping: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(worker: &'a Worker, master: &str, notice: &'a dyn Fn(Notice)) -> Result<Self> {
        let socket = worker.context.socket(SocketType::Dealer)?;
        socket.set_routing_id(format!("{}-{:016x}", worker.name, system::random()))?;
        socket.set_linger(Some(Duration::ZERO))?;
        socket.set_security(worker.config.security.clone())?;
        // Without a connection nothing is queued: what was meant for a lost master is of no use to the next.
        socket.set_immediate(true)?;
        // Answers to requests that came together are written together.
        socket.set_gathering(true);
        socket.set_reconnect_interval(Some(Duration::from_millis(100)))?;
        socket.set_reconnect_interval_max(Duration::from_secs(2))?;
        socket.set_max_message_size(Some(PATH_MAX as u64 * 2))?;
        socket.set_max_total_size(Some(PATH_MAX as u64 * 2))?;
        let door = Some(socket.monitor()?);
        socket.connect(master).map_err(|source| Error::Endpoint { endpoint: master.to_owned(), source })?;
        let now = Instant::now();
        Ok(Self {
            worker,
            notice,
            socket: Arc::new(socket),
            door,
            downloads: HashMap::new(),
            interval: None,
            last_heard: now,
            last_sent: now,
            gathered: 0,
            gathers_since: now,
            stopping: false,
        })
    }

    pub(super) fn socket(&self) -> Arc<Socket> {
        Arc::clone(&self.socket)
    }

    pub(super) fn run(&mut self) -> Result<Ending> {
        let stop = match self.introduce().and_then(|()| self.serve()) {
            Ok(never) => match never {},
            Err(stop) => stop,
        };
        match stop {
            Stop::Ending(ending) => Ok(ending),
            Stop::Error(error) => Err(error),
        }
    }

    /// Waits for the connection, for as long as it takes, and says READY.
    fn introduce(&mut self) -> Step {
        let me = Introduction {
            pid: std::process::id(),
            slots: self.worker.config.slots,
            name: self.worker.name.clone(),
            host: system::host(),
            root: self.worker.root.path().to_string_lossy().into_owned(),
        };
        let mut tries = 0_u32;
        loop {
            match self.socket.send_deadline(ToMaster::Ready(me.clone()).encode(), Instant::now() + TICK) {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(error) => return Err(Stop::Error(Error::Socket(error.into()))),
            }
            if self.worker.is_stopped() {
                return Err(Stop::Ending(Ending::Left));
            }
            // That connection is over for good, and who made the list of keys may change it: begin anew.
            if self.is_refused() {
                return self
                    .again("the master refuses this worker: is its key in the directory of keys that are allowed?");
            }
            tries = tries.saturating_add(1);
            if tries == 2 {
                (self.notice)(Notice::Waiting);
            }
        }
        self.door = None;
        self.last_heard = Instant::now();
        self.last_sent = self.last_heard;
        Ok(())
    }

    fn is_refused(&self) -> bool {
        let events = std::iter::from_fn(|| self.door.as_ref()?.try_recv().ok());
        events.into_iter().any(|event| event.kind == EventKind::HandshakeFailedAuth)
    }

    fn serve(&mut self) -> Step<std::convert::Infallible> {
        loop {
            match self.socket.recv_deadline(self.wake_time()) {
                Ok(message) => {
                    self.last_heard = Instant::now();
                    let Ok(message) = ToWorker::decode(message) else {
                        return self.again("the master does not speak this protocol");
                    };
                    self.handle(message)?;
                }
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(error) => return Err(error.into()),
            }
            self.look_at_the_clock()?;
        }
    }

    fn wake_time(&self) -> Instant {
        match self.interval {
            Some(interval) => self.last_sent + interval,
            None => Instant::now() + TICK,
        }
    }

    fn look_at_the_clock(&mut self) -> Step {
        let now = Instant::now();
        let silence = now.duration_since(self.last_heard);
        let Some(interval) = self.interval else {
            return if self.worker.is_stopped() {
                self.leave()
            } else if silence > WELCOME_WAIT {
                self.again("the master did not answer READY")
            } else {
                Ok(())
            };
        };
        if silence > interval * 3 {
            return self.again("the master gave no sign of life");
        }
        if (self.stopping || self.worker.is_stopped()) && self.downloads.is_empty() {
            return self.leave();
        }
        if now.duration_since(self.last_sent) >= interval {
            self.send(ToMaster::Pulse)?;
        }
        Ok(())
    }

    fn handle(&mut self, message: ToWorker) -> Step {
        match message {
            ToWorker::Welcome(interval) => {
                self.interval = Some(interval);
                (self.notice)(Notice::AtWork);
                // A stop that came before the master knew this worker was not heard.
                if self.worker.is_stopped() { self.send(ToMaster::Draining) } else { Ok(()) }
            }
            ToWorker::Request(id, order, credit) => self.request(id, &order, credit.into()),
            ToWorker::Grant(id, octets) => {
                if let Some(download) = self.downloads.get_mut(&id) {
                    download.credit = download.credit.saturating_add(octets.into());
                }
                self.pump(id)
            }
            ToWorker::Cancel(id) => {
                self.downloads.remove(&id);
                self.send(ToMaster::End(id, "cancelled".to_owned()))
            }
            // Answered at once if ours is due soon: both processes wake once then, instead of twice.
            ToWorker::Pulse => match self.interval {
                Some(interval) if self.last_sent.elapsed() >= interval / 2 => self.send(ToMaster::Pulse),
                _ => Ok(()),
            },
            ToWorker::Stop => {
                self.stopping = true;
                Ok(())
            }
            ToWorker::Bye => self.again("the master does not know this worker"),
        }
    }

    fn request(&mut self, id: u64, order: &Order, credit: u64) -> Step {
        let (head, source) = self.find(order);
        let Some(source) = source else { return self.send(ToMaster::Head(id, head, Bytes::new())) };
        let first = head.length.min(credit).min(PIECE);
        let content = match source.read(head.offset, usize::try_from(first).unwrap_or(0)) {
            Ok(content) => content,
            Err(error) => {
                let head = Head::without_file(Status::Failed, error.to_string());
                return self.send(ToMaster::Head(id, head, Bytes::new()));
            }
        };
        let (offset, left) = (head.offset + first, head.length - first);
        self.send(ToMaster::Head(id, head, content))?;
        if left == 0 {
            return Ok(());
        }
        self.downloads.insert(id, Download { source, offset, left, credit: credit - first });
        self.pump(id)
    }

    /// What is at the path, and where its content comes from if it is wanted.
    fn find(&self, order: &Order) -> (Head, Option<Source>) {
        let without = |status, reason: String| (Head::without_file(status, reason), None);
        let root = &self.worker.root;
        match root.find(&order.path) {
            Found::File(file, version) => self.file(order, file, version),
            Found::EmptyRoot => {
                let modified = root.modified().map(|facts| files::version(&facts));
                made(order, Bytes::from_static(welcome::EMPTY_ROOT.as_bytes()), modified)
            }
            Found::Listing(directory, version) => match listing::page(root, &directory, &order.path) {
                Ok(page) => made(order, page, Some(version)),
                Err(error) => without(Status::Failed, error.to_string()),
            },
            Found::Directory => without(Status::Directory, String::new()),
            Found::NotFound => without(Status::NotFound, String::new()),
            Found::Forbidden => without(Status::Forbidden, String::new()),
            Found::Failed(error) => without(Status::Failed, error.to_string()),
        }
    }

    /// The file, or its compressed sibling where there is one that the client takes.
    fn file(&self, order: &Order, file: File, version: Version) -> (Head, Option<Source>) {
        let kind = mime::of(&typed(&order.path));
        let varies = self.worker.config.precompressed && mime::is_compressible(kind);
        let coded = if varies && !order.accepts.is_empty() {
            self.worker.root.find_coded(&order.path, &version, order.accepts)
        } else {
            None
        };
        let (coding, file, version) = match coded {
            Some((coding, file, version)) => (Some(coding), file, version),
            None => (None, file, version),
        };
        let (head, source) = part(order, Source::File(file), version, kind);
        (Head { coding, varies, ..head }, source)
    }

    /// Sends what there is credit for.
    fn pump(&mut self, id: u64) -> Step {
        while let Some(download) = self.downloads.get_mut(&id) {
            let piece = download.left.min(download.credit).min(PIECE);
            if piece < download.left.min(CHUNK_MIN as u64) {
                break; // wait for credit
            }
            match download.source.read(download.offset, usize::try_from(piece).unwrap_or(0)) {
                Ok(content) => {
                    download.offset += piece;
                    download.left -= piece;
                    download.credit -= piece;
                    if download.left == 0 {
                        self.downloads.remove(&id);
                    }
                    self.send(ToMaster::Chunk(id, content))?;
                }
                Err(error) => {
                    self.downloads.remove(&id);
                    self.send(ToMaster::End(id, error.to_string()))?;
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, message: ToMaster) -> Step {
        let now = Instant::now();
        let patience = self.interval.unwrap_or(TICK) * 3;
        match self.socket.send_deadline(message.encode(), now + patience) {
            Ok(()) => {
                self.last_sent = now;
                self.sent(now);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => self.again("the connection was lost"),
            Err(error) => Err(Stop::Error(Error::Socket(error.into()))),
        }
    }

    /// What has gathered is written when there is nothing more to answer, which the socket sees to; but others work
    /// meanwhile if it comes to them in portions, and nobody is to wait for a slow disk.
    fn sent(&mut self, now: Instant) {
        if self.gathered == 0 {
            self.gathers_since = now;
        }
        self.gathered += 1;
        if self.gathered >= PORTION || now.duration_since(self.gathers_since) >= GATHER {
            self.socket.flush();
            self.gathered = 0;
        }
    }

    fn again<T>(&self, why: &'static str) -> Step<T> {
        Err(Stop::Ending(Ending::Again { why, welcome: self.interval.is_some() }))
    }

    /// Says good-bye. If that fails the master notices the closed connection all the same.
    fn leave(&mut self) -> Step {
        let _ = self.socket.set_linger(Some(LINGER));
        let _ = self.socket.try_send(ToMaster::Bye.encode());
        self.socket.flush();
        if self.worker.config.stay && !self.worker.is_stopped() {
            return self.again("the master has stopped");
        }
        Err(Stop::Ending(Ending::Left))
    }
}

/// A page that was made for this answer; `modified` is when what it tells of was.
fn made(order: &Order, page: Bytes, modified: Option<Version>) -> (Head, Option<Source>) {
    let (mtime_s, mtime_ns) = modified.map_or((0, 0), |version| (version.mtime_s, version.mtime_ns));
    let version = Version { size: page.len() as u64, mtime_s, mtime_ns };
    part(order, Source::Page(page), version, mime::of(b"index.html"))
}

/// Which part of the file is meant.
fn part(order: &Order, source: Source, version: Version, kind: &str) -> (Head, Option<Source>) {
    if order.version.is_some_and(|wanted| wanted != version) {
        return (Head::without_file(Status::Changed, ""), None);
    }
    let there = version.size.saturating_sub(order.offset);
    let length = if order.head_only { 0 } else { order.length.unwrap_or(u64::MAX).min(there) };
    (Head::part(version, order.offset, length, kind), Some(source))
}

/// A directory's path stands for its index.
fn typed(path: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if path.ends_with(b"/") { b"index.html".as_slice().into() } else { path.into() }
}
