//! The yardstick: the same frames by hand over a bare TCP or Unix stream, or, inside one process,
//! a bounded channel of the standard library.
//!
//! A frame is a flag byte, a length of one byte or (from 256 bytes on) eight, and the body, as
//! ZeroMQ puts it on the wire. A sender that floods gathers frames in a buffer; one that asks or
//! answers writes each at once.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};

use super::link::{End, Kit, PATIENCE, Part};

/// Read and write this much at a time.
const BUFFER: usize = 256 * 1024;
/// Messages that a channel holds: as many as a ZeroMQ socket does by default on each side.
const CHANNEL: usize = 2000;

pub(crate) struct Bare {
    /// The other end of a channel, until it is fetched.
    other: Mutex<Option<ChannelEnd>>,
}

pub(crate) enum Listener {
    Tcp(TcpListener, Part),
    Unix(UnixListener, Part),
    Ready(ChannelEnd),
}

pub(crate) enum BareEnd {
    Tcp(Framed<TcpStream>),
    Unix(Framed<UnixStream>),
    Channel(ChannelEnd),
}

pub(crate) struct ChannelEnd {
    outgoing: SyncSender<Box<[u8]>>,
    incoming: Receiver<Box<[u8]>>,
}

impl Bare {
    pub(crate) fn new() -> Self {
        Bare { other: Mutex::new(None) }
    }

    fn other(&self) -> std::sync::MutexGuard<'_, Option<ChannelEnd>> {
        self.other.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kit for Bare {
    type Listener = Listener;
    type End = BareEnd;

    fn listen(&self, endpoint: &str, part: Part) -> Result<(Listener, String)> {
        if let Some(address) = endpoint.strip_prefix("tcp://") {
            let address = address.replace(":*", ":0");
            let listener = TcpListener::bind(&address).with_context(|| format!("listening on {address}"))?;
            let bound = format!("tcp://{}", listener.local_addr()?);
            Ok((Listener::Tcp(listener, part), bound))
        } else if let Some(path) = endpoint.strip_prefix("ipc://") {
            let listener = UnixListener::bind(path).with_context(|| format!("listening on {path}"))?;
            Ok((Listener::Unix(listener, part), endpoint.to_owned()))
        } else {
            let (there, incoming) = sync_channel(CHANNEL);
            let (outgoing, here) = sync_channel(CHANNEL);
            *self.other() = Some(ChannelEnd { outgoing: there, incoming: here });
            Ok((Listener::Ready(ChannelEnd { outgoing, incoming }), endpoint.to_owned()))
        }
    }

    fn accept(&self, listener: Listener) -> Result<BareEnd> {
        Ok(match listener {
            Listener::Tcp(listener, part) => tcp(listener.accept().context("accepting")?.0, part)?,
            Listener::Unix(listener, part) => unix(listener.accept().context("accepting")?.0, part)?,
            Listener::Ready(end) => BareEnd::Channel(end),
        })
    }

    fn connect(&self, endpoint: &str, part: Part) -> Result<BareEnd> {
        if let Some(address) = endpoint.strip_prefix("tcp://") {
            tcp(TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?, part)
        } else if let Some(path) = endpoint.strip_prefix("ipc://") {
            unix(UnixStream::connect(path).with_context(|| format!("connecting to {path}"))?, part)
        } else {
            match self.other().take() {
                Some(end) => Ok(BareEnd::Channel(end)),
                None => bail!("nobody listens on {endpoint}"),
            }
        }
    }
}

fn tcp(stream: TcpStream, part: Part) -> Result<BareEnd> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(BareEnd::Tcp(Framed::new(stream, part)))
}

fn unix(stream: UnixStream, part: Part) -> Result<BareEnd> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(BareEnd::Unix(Framed::new(stream, part)))
}

impl End for BareEnd {
    async fn send(&mut self, payload: &[u8]) -> Result<()> {
        match self {
            BareEnd::Tcp(framed) => framed.send(payload),
            BareEnd::Unix(framed) => framed.send(payload),
            BareEnd::Channel(end) => end.outgoing.send(payload.into()).context("the other end has gone"),
        }
    }

    async fn recv(&mut self) -> Result<usize> {
        match self {
            BareEnd::Tcp(framed) => framed.recv(),
            BareEnd::Unix(framed) => framed.recv(),
            BareEnd::Channel(end) => {
                let message = end.incoming.recv_timeout(PATIENCE).context("receiving")?;
                Ok(message.len())
            }
        }
    }
}

/// Frames over a stream.
pub(crate) struct Framed<S> {
    stream: S,
    /// Whether to gather frames before writing.
    gather: bool,
    outgoing: Vec<u8>,
    incoming: Box<[u8]>,
    /// What is in `incoming` and not yet taken: `start <= end <= incoming.len()`.
    start: usize,
    end: usize,
}

impl<S: Read + Write> Framed<S> {
    fn new(stream: S, part: Part) -> Self {
        Framed {
            stream,
            gather: part == Part::Push,
            outgoing: Vec::with_capacity(BUFFER),
            incoming: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    fn send(&mut self, payload: &[u8]) -> Result<()> {
        let full = self.outgoing.len() + payload.len() + 9 > BUFFER;
        if full && !self.outgoing.is_empty() {
            self.write()?;
        }
        match u8::try_from(payload.len()) {
            Ok(length) => self.outgoing.extend_from_slice(&[0, length]),
            Err(_) => {
                self.outgoing.push(2);
                self.outgoing.extend_from_slice(&(payload.len() as u64).to_be_bytes());
            }
        }
        self.outgoing.extend_from_slice(payload);
        // An empty message is the last one.
        if !self.gather || payload.is_empty() {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        self.stream.write_all(&self.outgoing).context("writing")?;
        self.outgoing.clear();
        Ok(())
    }

    fn recv(&mut self) -> Result<usize> {
        self.have(2)?;
        let mut header = 2;
        let mut length = usize::from(self.incoming[self.start + 1]);
        if self.incoming[self.start] & 2 != 0 {
            self.have(9)?;
            header = 9;
            let bytes = self.incoming[self.start + 1..self.start + 9].try_into()?;
            length = usize::try_from(u64::from_be_bytes(bytes))?;
        }
        self.start += header;
        self.skip(length)?;
        Ok(length)
    }

    /// Have at least `wanted` octets (a header) at `start`.
    fn have(&mut self, wanted: usize) -> Result<()> {
        while self.end - self.start < wanted {
            if self.incoming.len() - self.start < wanted {
                self.incoming.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            self.read()?;
        }
        Ok(())
    }

    /// Pass over a body, which may be larger than the buffer.
    fn skip(&mut self, mut length: usize) -> Result<()> {
        loop {
            let here = length.min(self.end - self.start);
            self.start += here;
            length -= here;
            if length == 0 {
                return Ok(());
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        let count = loop {
            match self.stream.read(&mut self.incoming[self.end..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other.context("reading")?,
            }
        };
        ensure!(count > 0, "the other end has gone");
        self.end += count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn frames_of_all_lengths_come_out_as_they_went_in() -> Result<()> {
        let sizes = [0, 1, 16, 255, 256, 4096, 65_536, BUFFER - 9, BUFFER, 3 * BUFFER + 1];
        let mut sender = Framed::new(Cursor::new(Vec::new()), Part::Push);
        for size in sizes {
            sender.send(&vec![7; size])?;
        }
        sender.write()?;
        let written = sender.stream.into_inner();
        let mut receiver = Framed::new(Cursor::new(written), Part::Pull);
        for size in sizes {
            assert_eq!(receiver.recv()?, size);
        }
        assert!(receiver.recv().is_err());
        Ok(())
    }
}
