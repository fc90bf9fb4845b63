//! One line per request on standard output, written by a thread of its own.
//!
//! ```text
//! 127.0.0.1 - - [23/Nov/2026:07:22:26 +0000] "GET /style.css HTTP/1.1" 200 1841 0.000312 worker=mill-4711 tries=1
//! ```
//!
//! It begins like the common log format; after the octets of the body that were handed to the client's
//! connection follow the seconds until then, the worker and how many were tried, and a remark when the answer
//! was not complete. A request that is none of HTTP, and was refused, is a dash. A reader of the log that is too slow never slows the server: lines are left out then,
//! and their number is logged.

use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;

use crate::http::half::Debt;
use crate::pool::Source;
use crate::stats::Stats;

/// Lines waiting to be written.
const CAPACITY: usize = 8192;
/// How long the thread collects lines before it writes them. Waking it for each would cost more than the line.
const COLLECT: Duration = Duration::from_millis(10);
/// Longest request target that is written; the rest is cut.
const TARGET_MAX: usize = 2048;

/// Collects lines. Cheap to clone; the last clone's end flushes the log.
#[derive(Clone)]
pub(crate) struct AccessLog {
    lines: SyncSender<Line>,
    left_out: Arc<AtomicU64>,
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
            remark: "client left",
        }
    }
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
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.line.took = self.began.elapsed();
        let Line { status, octets, took, remark, .. } = self.line;
        self.stats.request(status, octets, remark.is_empty(), took);
        let Some(log) = self.log.take() else { return };
        let nothing = Line { method: String::new(), target: String::new(), source: None, ..self.line };
        log.write(std::mem::replace(&mut self.line, nothing));
    }
}

impl AccessLog {
    /// Starts the thread, which ends when the last clone is gone; the channel closes then. A thread that hangs because
    /// nobody reads what it writes is left to the process's end.
    pub(crate) fn start(out: impl Write + Send + 'static) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (lines, receiver) = sync_channel(CAPACITY);
        let left_out = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&left_out);
        let (written, end) = oneshot::channel();
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            // A log that nobody reads any more is no reason to stop.
            let _ = write_all(BufWriter::new(out), &receiver, &counter);
            drop::<oneshot::Sender<()>>(written);
        })?;
        Ok((Self { lines, left_out }, end))
    }

    fn write(&self, line: Line) {
        if self.lines.try_send(line).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_all(mut out: impl Write, lines: &Receiver<Line>, left_out: &AtomicU64) -> io::Result<()> {
    while let Ok(first) = lines.recv() {
        write_line(&mut out, &first)?;
        std::thread::sleep(COLLECT);
        while let Ok(next) = lines.try_recv() {
            write_line(&mut out, &next)?;
        }
        let missing = left_out.swap(0, Ordering::Relaxed);
        if missing > 0 {
            writeln!(out, "# {missing} lines left out: the log is read too slowly")?;
        }
        out.flush()?;
    }
    Ok(())
}

fn write_line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    let date = date(SystemTime::now());
    write!(out, "{} - - [{date}] ", line.client)?;
    if line.method.is_empty() {
        write!(out, "\"-\" ")?;
    } else {
        write!(out, "\"{} {} {}\" ", line.method, quote(&line.target), line.version)?;
    }
    write!(out, "{} {} {:.6}", line.status, line.octets, line.took.as_secs_f64())?;
    match &line.source {
        Some(source) => write!(out, " worker={} tries={}", source.worker, source.tries)?,
        None => write!(out, " worker=- tries=0")?,
    }
    if line.remark.is_empty() { writeln!(out) } else { writeln!(out, " ({})", line.remark) }
}

/// `23/Nov/2026:07:22:26 +0000`
fn date(now: SystemTime) -> String {
    let http = httpdate::fmt_http_date(now); // Mon, 23 Nov 2026 07:22:26 GMT
    let mut words = http.split(' ').skip(1);
    let mut next = || words.next().unwrap_or("?");
    let (day, month, year, time) = (next(), next(), next(), next());
    format!("{day}/{month}/{year}:{time} +0000")
}

/// What a client wrote, fit for a line of text.
fn quote(target: &str) -> String {
    let mut quoted = String::with_capacity(target.len());
    for c in target.chars().take(TARGET_MAX) {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_ascii_graphic() => quoted.push(c),
            c => quoted.extend(c.escape_default()),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_happened_and_cannot_be_forged() {
        let line = Line {
            client: IpAddr::from([127, 0, 0, 1]),
            method: "GET".to_owned(),
            target: "/a\"\r\n%20é".to_owned(),
            version: "HTTP/1.1",
            status: 200,
            octets: 5,
            took: Duration::from_micros(1500),
            source: Some(Source { worker: "w".into(), tries: 2 }),
            remark: "client left",
        };
        let mut out = Vec::new();
        write_line(&mut out, &line).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("127.0.0.1 - - ["), "{text}");
        let end = "\"GET /a\\\"\\r\\n%20\\u{e9} HTTP/1.1\" 200 5 0.001500 worker=w tries=2 (client left)\n";
        assert!(text.ends_with(end), "{text}");
        let line = Line { status: 400, remark: "", ..Line::begin(([127, 0, 0, 1], 1).into()) };
        let mut out = Vec::new();
        write_line(&mut out, &line).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("] \"-\" 400 0 0.000000 worker=- tries=0\n"), "{text}");
    }

    #[test]
    fn dates_are_in_common_log_format() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(date(time), "06/Nov/1994:08:49:37 +0000");
    }
}
