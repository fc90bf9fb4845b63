//! The yardstick: ZeroMQ's frames by hand over a bare TCP or Unix stream, or, inside one process, a
//! bounded channel of the standard library.
//!
//! A frame is a flag byte, a length of one byte or (from 256 bytes on) eight, and the body. Senders that flood
//! gather 64 KiB before they write; larger bodies go out from where they are. Whoever asks or answers writes each
//! message at once. The ROUTER is one epoll loop that answers what it has read with one write.

use std::collections::HashMap;
use std::future::Future;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use oxzmq_bench::{Kind, Kit, Socket, UNSUPPORTED, contend, run_blocking};
use rustix::event::epoll;

/// Gather and write this much at a time.
const WRITE: usize = 64 * 1024;
/// Messages that a channel holds: as many as a ZeroMQ socket does by default on each side.
const CHANNEL: usize = 2000;

#[derive(Default)]
struct Bare {
    /// The other ends of channels, until they are fetched.
    channels: Mutex<HashMap<String, Channel>>,
}

struct Channel {
    outgoing: SyncSender<Bytes>,
    incoming: Receiver<Bytes>,
}

struct BareSocket<'a> {
    kit: &'a Bare,
    kind: Kind,
    peers: usize,
    listener: Option<Listener>,
    streams: Vec<Framed>,
    channel: Option<Channel>,
    /// What a flood has gathered.
    outgoing: Vec<u8>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection's input.
struct Framed {
    stream: Stream,
    incoming: Vec<u8>,
    /// What is in `incoming` and not yet taken.
    start: usize,
    end: usize,
}

impl Kit for &'static Bare {
    type Socket = BareSocket<'static>;

    fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        run_blocking(future)
    }

    fn open(&self, kind: Kind, peers: usize) -> Result<BareSocket<'static>> {
        Ok(BareSocket { kit: self, kind, peers, listener: None, streams: vec![], channel: None, outgoing: vec![] })
    }
}

impl Bare {
    fn channels(&self) -> std::sync::MutexGuard<'_, HashMap<String, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BareSocket<'_> {
    /// Wait for the peers, before the first message.
    fn accept(&mut self) -> Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        while self.streams.len() < self.peers {
            let stream = match listener {
                Listener::Tcp(listener) => tcp(listener.accept()?.0)?,
                Listener::Unix(listener) => Stream::Unix(listener.accept()?.0),
            };
            self.streams.push(Framed::new(stream));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        for framed in &mut self.streams {
            framed.stream.write_all(&self.outgoing)?;
        }
        self.outgoing.clear();
        Ok(())
    }

    /// REP: connections come and go.
    fn answer(&mut self) -> Result<()> {
        loop {
            self.accept()?;
            if self.streams[0].echo()? || self.listener.is_none() {
                return Ok(());
            }
            self.streams.clear();
        }
    }

    /// ROUTER: forever.
    fn route(&mut self) -> Result<()> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (number, framed) in self.streams.iter().enumerate() {
            let data = epoll::EventData::new_u64(number as u64);
            match &framed.stream {
                Stream::Tcp(stream) => epoll::add(&epoll, stream, data, epoll::EventFlags::IN)?,
                Stream::Unix(stream) => epoll::add(&epoll, stream, data, epoll::EventFlags::IN)?,
            }
        }
        let mut events = Vec::with_capacity(256);
        loop {
            events.clear();
            epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
            for event in &events {
                if !self.streams[event.data.u64() as usize].echo()? {
                    return Ok(());
                }
            }
        }
    }
}

fn tcp(stream: TcpStream) -> Result<Stream> {
    stream.set_nodelay(true)?;
    Ok(Stream::Tcp(stream))
}

impl Socket for BareSocket<'_> {
    async fn bind(&mut self, endpoint: &str) -> Result<String> {
        if let Some(address) = endpoint.strip_prefix("tcp://") {
            let listener = TcpListener::bind(address.replace(":*", ":0"))?;
            // A thousand connect at once, before the first is accepted.
            rustix::net::listen(&listener, 4096)?;
            let bound = format!("tcp://{}", listener.local_addr()?);
            self.listener = Some(Listener::Tcp(listener));
            Ok(bound)
        } else if let Some(path) = endpoint.strip_prefix("ipc://") {
            let listener = UnixListener::bind(path)?;
            rustix::net::listen(&listener, 4096)?;
            self.listener = Some(Listener::Unix(listener));
            Ok(endpoint.to_owned())
        } else {
            ensure!(matches!(self.kind, Kind::Pull | Kind::Rep), "{UNSUPPORTED} {:?} over a channel", self.kind);
            let (there, incoming) = sync_channel(CHANNEL);
            let (outgoing, here) = sync_channel(CHANNEL);
            self.kit.channels().insert(endpoint.to_owned(), Channel { outgoing: there, incoming: here });
            self.channel = Some(Channel { outgoing, incoming });
            Ok(endpoint.to_owned())
        }
    }

    async fn connect(&mut self, endpoint: &str) -> Result<()> {
        let stream = if let Some(address) = endpoint.strip_prefix("tcp://") {
            tcp(TcpStream::connect(address)?)?
        } else if let Some(path) = endpoint.strip_prefix("ipc://") {
            Stream::Unix(UnixStream::connect(path)?)
        } else {
            let channel = self.kit.channels().remove(endpoint);
            self.channel = Some(channel.context("nobody listens")?);
            return Ok(());
        };
        self.streams.push(Framed::new(stream));
        Ok(())
    }

    /// Every message matches.
    async fn subscribe(&mut self, topic: &[u8]) -> Result<()> {
        ensure!(topic.is_empty(), "{UNSUPPORTED} topics");
        Ok(())
    }

    async fn send(&mut self, payload: &Bytes) -> Result<()> {
        if let Some(channel) = &self.channel {
            return channel.outgoing.send(payload.clone()).context("the other end has gone");
        }
        self.accept()?;
        if payload.len() >= WRITE {
            BareSocket::flush(self)?;
            for framed in &mut self.streams {
                framed.stream.write_two(&header(payload.len()), payload)?;
            }
            return Ok(());
        }
        self.outgoing.extend_from_slice(&header(payload.len()));
        self.outgoing.extend_from_slice(payload);
        if self.outgoing.len() >= WRITE || !matches!(self.kind, Kind::Push | Kind::Pub) {
            BareSocket::flush(self)?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        BareSocket::flush(self)
    }

    async fn recv_with<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R> {
        if let Some(channel) = &self.channel {
            return Ok(look(&channel.incoming.recv()?));
        }
        self.accept()?;
        let framed = &mut self.streams[0];
        let Some(range) = framed.frame()? else { bail!("the other end has gone") };
        Ok(look(&framed.incoming[range]))
    }

    async fn echo(&mut self) -> Result<()> {
        if let Some(channel) = &self.channel {
            return Ok(channel.outgoing.send(channel.incoming.recv()?)?);
        }
        self.accept()?;
        if self.kind == Kind::Router { self.route() } else { self.answer() }
    }
}

/// A frame's header: two or nine bytes, without an allocation.
struct Header {
    bytes: [u8; 9],
    length: usize,
}

fn header(length: usize) -> Header {
    let mut bytes = [0; 9];
    match u8::try_from(length) {
        Ok(short) => {
            bytes[1] = short;
            Header { bytes, length: 2 }
        }
        Err(_) => {
            bytes[0] = 2;
            bytes[1..].copy_from_slice(&(length as u64).to_be_bytes());
            Header { bytes, length: 9 }
        }
    }
}

impl std::ops::Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Stream {
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Stream::Tcp(stream) => Ok(stream.write_all(bytes)?),
            Stream::Unix(stream) => Ok(stream.write_all(bytes)?),
        }
    }

    fn write_two(&mut self, first: &[u8], second: &[u8]) -> Result<()> {
        let slices = [IoSlice::new(first), IoSlice::new(second)];
        let written = match self {
            Stream::Tcp(stream) => stream.write_vectored(&slices)?,
            Stream::Unix(stream) => stream.write_vectored(&slices)?,
        };
        self.write_all(&first[written.min(first.len())..])?;
        self.write_all(&second[written.saturating_sub(first.len())..])
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        loop {
            let result = match self {
                Stream::Tcp(stream) => stream.read(into),
                Stream::Unix(stream) => stream.read(into),
            };
            match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(0),
                other => return Ok(other?),
            }
        }
    }
}

impl Framed {
    fn new(stream: Stream) -> Self {
        // Grown when a flood fills it, so that a thousand connections do not need it all.
        Framed { stream, incoming: vec![0; 512], start: 0, end: 0 }
    }

    /// The next frame's body, in `incoming`, or nothing at the end.
    fn frame(&mut self) -> Result<Option<std::ops::Range<usize>>> {
        loop {
            if let Some((header, length)) = self.header()? {
                let whole = header + length;
                if self.end - self.start >= whole {
                    let body = self.start + header..self.start + whole;
                    self.start = body.end;
                    return Ok(Some(body));
                }
                if whole > self.incoming.len() - self.start {
                    self.compact(whole);
                }
            }
            if self.read()? == 0 {
                return Ok(None);
            }
        }
    }

    /// The lengths of the first frame's header and body.
    fn header(&self) -> Result<Option<(usize, usize)>> {
        Ok(match &self.incoming[self.start..self.end] {
            [flags, rest @ ..] if flags & 2 != 0 => match rest.first_chunk() {
                Some(length) => Some((9, usize::try_from(u64::from_be_bytes(*length))?)),
                None => None,
            },
            [_, length, ..] => Some((2, usize::from(*length))),
            _ => None,
        })
    }

    fn compact(&mut self, room: usize) {
        self.incoming.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.incoming.len() < room {
            self.incoming.resize(room, 0);
        }
    }

    fn read(&mut self) -> Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.incoming.len() {
            self.compact(0);
        }
        let count = self.stream.read(&mut self.incoming[self.end..])?;
        self.end += count;
        if self.end == self.incoming.len() && self.end < 4 * WRITE {
            self.incoming.resize(4 * WRITE, 0);
        }
        Ok(count)
    }

    /// Answer with the same bytes the frames that one read brings, the last one completed. False at the end.
    fn echo(&mut self) -> Result<bool> {
        let Some(first) = self.frame()? else { return Ok(false) };
        let header = if first.len() > 255 { 9 } else { 2 };
        self.stream.write_all(&self.incoming[first.start - header..first.end])?;
        Ok(true)
    }
}

fn main() -> Result<()> {
    static BARE: std::sync::LazyLock<Bare> = std::sync::LazyLock::new(Bare::default);
    contend(&&*BARE)
}
