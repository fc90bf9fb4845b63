//! One line per request on standard output, written by a thread of its own. What a line looks like is in `format`.
//!
//! A reader of the log that is too slow never slows the server: lines are left out then, and their number is logged.

mod format;

use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use hyper::Request;
use hyper::header::{HeaderName, REFERER, USER_AGENT};
use tokio::sync::oneshot;

use crate::http::half::Debt;
use crate::http::version_name;
use crate::pool::Source;
use crate::stats::Stats;
use crate::system;

pub use format::LogFormat;

/// Lines waiting to be written.
const CAPACITY: usize = 8192;
/// How long the thread collects lines before it writes them. Waking it for each would cost more than the line.
const COLLECT: Duration = Duration::from_millis(10);
/// Longest text of a client's that is written; the rest is cut.
const TEXT_MAX: usize = 2048;

/// Collects lines. Cheap to clone; the last clone's end flushes the log.
#[derive(Clone)]
pub(crate) struct AccessLog {
    lines: SyncSender<Line>,
    left_out: Arc<AtomicU64>,
    format: LogFormat,
}

/// What is known of a request.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) client: IpAddr,
    /// Empty when nobody could make sense of the request.
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: &'static str,
    /// 0 as long as there is no answer.
    pub(crate) status: u16,
    pub(crate) octets: u64,
    pub(crate) took: Duration,
    pub(crate) source: Option<Source>,
    /// What the client says of itself and of where it comes from, if the format has it.
    pub(crate) said: Option<Box<Said>>,
    /// Why the answer is not complete; empty when it is.
    pub(crate) remark: &'static str,
}

impl Line {
    /// That of a request of which nothing is known yet.
    pub(crate) fn begin(client: SocketAddr) -> Self {
        Self {
            client: client.ip(),
            method: String::new(),
            target: String::new(),
            version: "",
            status: 0,
            octets: 0,
            took: Duration::ZERO,
            source: None,
            said: None,
            remark: "client left",
        }
    }
}

/// A client's own words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    referer: String,
    agent: String,
}

/// A line in the making. It is written when this is dropped.
pub(crate) struct Entry {
    log: Option<AccessLog>,
    stats: Arc<Stats>,
    began: Instant,
    pub(crate) line: Line,
    /// Also ends with this.
    _debt: Option<Debt>,
}

impl Entry {
    pub(crate) fn new(log: Option<AccessLog>, stats: Arc<Stats>, line: Line, debt: Option<Debt>) -> Self {
        Self { log, stats, began: Instant::now(), line, _debt: debt }
    }

    /// Takes note of what a line has of the request, if one is to be written.
    pub(crate) fn note<B>(&mut self, request: &Request<B>) {
        let Some(log) = &self.log else { return };
        self.line.method = request.method().to_string();
        self.line.target = request.uri().to_string();
        self.line.version = version_name(request.version());
        if log.format.has_headers() {
            let headers = request.headers();
            let text = |name: HeaderName| {
                let octets = headers.get(name).map(|value| &value.as_bytes()[..value.len().min(TEXT_MAX)]);
                octets.map(|octets| String::from_utf8_lossy(octets).into_owned()).unwrap_or_default()
            };
            self.line.said = Some(Box::new(Said { referer: text(REFERER), agent: text(USER_AGENT) }));
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.line.took = self.began.elapsed();
        let Line { status, octets, took, remark, .. } = self.line;
        self.stats.request(status, octets, remark.is_empty(), took);
        let Some(log) = self.log.take() else { return };
        let nothing = Line { method: String::new(), target: String::new(), source: None, said: None, ..self.line };
        log.write(std::mem::replace(&mut self.line, nothing));
    }
}

impl AccessLog {
    /// Starts the thread, which ends when the last clone is gone; the channel closes then. A thread that hangs because
    /// nobody reads what it writes is left to the process's end.
    pub(crate) fn start(
        format: LogFormat,
        out: impl Write + Send + 'static,
    ) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (lines, receiver) = sync_channel(CAPACITY);
        let left_out = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&left_out);
        // Numbers the lines, from anywhere on, so that two runs of a master hardly share a number.
        let ids = system::random() << 24;
        let (written, end) = oneshot::channel();
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            // A log that nobody reads any more is no reason to stop.
            let _ = write_all(BufWriter::new(out), format, &receiver, &counter, ids);
            drop::<oneshot::Sender<()>>(written);
        })?;
        Ok((Self { lines, left_out, format }, end))
    }

    fn write(&self, line: Line) {
        if self.lines.try_send(line).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_all(
    mut out: impl Write,
    format: LogFormat,
    lines: &Receiver<Line>,
    left_out: &AtomicU64,
    mut id: u64,
) -> io::Result<()> {
    while let Ok(first) = lines.recv() {
        let mut next = Some(first);
        let mut collected = false;
        while let Some(line) = next {
            id = id.wrapping_add(1);
            format.write(&mut out, &line, id, SystemTime::now())?;
            if !std::mem::replace(&mut collected, true) {
                std::thread::sleep(COLLECT);
            }
            next = lines.try_recv().ok();
        }
        let missing = left_out.swap(0, Ordering::Relaxed);
        if missing > 0 {
            format.write_missing(&mut out, missing)?;
        }
        out.flush()?;
    }
    Ok(())
}
