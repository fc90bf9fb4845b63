//! `zmq_socket_monitor*`: the library's events as messages at an inproc endpoint.
//!
//! A thread for each monitored socket passes them on, so that nobody who raises an event waits for its reader.

use std::ffi::c_void;
use std::sync::Arc;
use std::thread;

use libc::{c_char, c_int};
use oxzmq::{Event, EventKind, Message, Monitor, SocketType};

use crate::guard::{self, Errno, Result};
use crate::socket::{Socket, text, used, without_signals};

const STOPPED: u64 = 0x0400;
const PIPES_STATS: u64 = 0x1_0000;
const ALL_V1: u64 = 0xffff;

/// Messages kept for a reader that is connected and does not read.
const KEPT: u32 = 10_000;

/// A monitor at work.
pub(crate) struct Running {
    socket: Arc<oxzmq::Socket>,
    events: u64,
    version: c_int,
}

impl Running {
    /// Sees to it that the thread ends, for which the socket's own monitor has been stopped.
    fn end(&self) {
        // A reader gets the rest. Where there is none, nothing is to be waited for.
        if !self.socket.readiness().is_ok_and(|now| now.writable()) {
            self.socket.close();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn number(event: &Event) -> u64 {
    match event.kind {
        EventKind::Connected => 0x0001,
        EventKind::ConnectDelayed => 0x0002,
        EventKind::ConnectRetried => 0x0004,
        EventKind::Listening => 0x0008,
        EventKind::BindFailed => 0x0010,
        EventKind::Accepted => 0x0020,
        EventKind::AcceptFailed => 0x0040,
        EventKind::Closed => 0x0080,
        EventKind::Disconnected => 0x0200,
        EventKind::Stopped => STOPPED,
        EventKind::HandshakeFailed => 0x0800,
        EventKind::HandshakeSucceeded => 0x1000,
        // What libzmq has no number for it does not tell: peers whose types do not match are only disconnected.
        EventKind::HandshakeFailedProtocol if event.value == 0 => 0,
        EventKind::HandshakeFailedProtocol => 0x2000,
        EventKind::HandshakeFailedAuth => 0x4000,
        _ => 0,
    }
}

fn message_v1(event: &Event) -> Message {
    let mut head = Vec::with_capacity(6);
    // Every event of version 1 has a number of 16 bits.
    head.extend_from_slice(&(number(event) as u16).to_ne_bytes());
    head.extend_from_slice(&event.value.to_ne_bytes());
    Message::from([head, event.endpoint.clone().into_bytes()])
}

fn message_v2(kind: u64, values: &[u64], local: &str, remote: &str) -> Message {
    let count = values.len() as u64;
    let numbers = [kind, count].into_iter().chain(values.iter().copied());
    let mut message: Message = numbers.map(|number| number.to_ne_bytes().to_vec()).collect();
    message.push_back(local);
    message.push_back(remote);
    message
}

fn message(event: &Event, version: c_int) -> Message {
    if version == 1 {
        return message_v1(event);
    }
    // Only what was accepted tells its peer.
    let accepted = !event.peer.is_empty() || matches!(event.kind, EventKind::Listening | EventKind::AcceptFailed);
    let (local, remote) = if accepted { (&event.endpoint, &event.peer) } else { (&event.peer, &event.endpoint) };
    message_v2(number(event), &[event.value.into()], local, remote)
}

fn pass_on(monitor: &Monitor, socket: &oxzmq::Socket, events: u64, version: c_int) {
    while let Ok(event) = monitor.recv() {
        let last = event.kind == EventKind::Stopped;
        if number(&event) & events != 0 {
            let message = message(&event, version);
            let sent = if last { socket.try_send(message) } else { socket.send(message) };
            if sent.is_err() {
                return;
            }
        }
        if last {
            return;
        }
    }
}

impl Socket {
    fn start_monitor(&self, address: &str, events: u64, version: c_int, socket_type: SocketType) -> Result<()> {
        if !address.contains("://") {
            return Err(Errno(libc::EINVAL));
        }
        if !address.starts_with("inproc://") {
            return Err(Errno(libc::EPROTONOSUPPORT));
        }
        self.stop_monitor();
        let socket = Arc::new(self.context.socket(socket_type)?);
        socket.set_send_hwm(KEPT)?;
        socket.bind(address)?;
        let monitor = self.inner.monitor()?;
        let passing = Arc::clone(&socket);
        let work = move || pass_on(&monitor, &passing, events, version);
        let started = without_signals(|| thread::Builder::new().name("zmq/monitor".to_owned()).spawn(work));
        started.map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EAGAIN)))?;
        *self.monitor.lock() = Some(Running { socket, events, version });
        Ok(())
    }

    fn stop_monitor(&self) {
        let running = self.monitor.lock().take();
        if let Some(running) = running {
            // Replacing it ends it; and dropping the new one leaves none.
            drop(self.inner.monitor());
            // Its name is free from here on. Each time anew: the reader may have gone, or its queue have become full,
            // since the thread was let be.
            while Arc::strong_count(&running.socket) > 1 {
                running.end();
                thread::yield_now();
            }
        }
    }
}

/// # Safety
/// `address` is NULL or has a terminating zero.
unsafe fn monitor(
    socket: *mut c_void,
    address: *const c_char,
    events: u64,
    version: c_int,
    socket_type: c_int,
) -> c_int {
    guard::status(|| {
        let socket = used(socket)?;
        socket.inner.readiness()?;
        if version == 1 && events & !ALL_V1 != 0 {
            return Err(Errno(libc::EINVAL));
        }
        if address.is_null() {
            socket.stop_monitor();
            return Ok(());
        }
        let socket_type = u8::try_from(socket_type).ok().and_then(SocketType::from_code);
        let (Some(socket_type @ (SocketType::Pair | SocketType::Pub | SocketType::Push)), 1 | 2) =
            (socket_type, version)
        else {
            return Err(Errno(libc::EINVAL));
        };
        // SAFETY: as above.
        socket.start_monitor(unsafe { text(address)? }, events, version, socket_type)
    })
}

/// See `zmq_socket_monitor(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_socket_monitor(socket: *mut c_void, address: *const c_char, events: c_int) -> c_int {
    // A negative mask has bits that no event has.
    let events = u64::try_from(events).unwrap_or(u64::MAX);
    // SAFETY: the caller gives a string with a terminating zero.
    unsafe { monitor(socket, address, events, 1, SocketType::Pair as c_int) }
}

/// See `zmq_socket_monitor_versioned(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_socket_monitor_versioned(
    socket: *mut c_void,
    address: *const c_char,
    events: u64,
    version: c_int,
    socket_type: c_int,
) -> c_int {
    // SAFETY: the caller gives a string with a terminating zero.
    unsafe { monitor(socket, address, events, version, socket_type) }
}

/// See `zmq_socket_monitor_versioned(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_socket_monitor_pipes_stats(socket: *mut c_void) -> c_int {
    guard::status(|| {
        let socket = used(socket)?;
        let running = socket.monitor.lock();
        let running = running.as_ref().filter(|running| running.events & PIPES_STATS != 0 && running.version == 2);
        let running = running.ok_or(Errno(libc::EINVAL))?;
        let depths = socket.inner.queue_depths();
        if depths.is_empty() {
            return Err(Errno(libc::EAGAIN));
        }
        for (outbound, inbound) in depths {
            let _ = running.socket.try_send(message_v2(PIPES_STATS, &[outbound as u64, inbound as u64], "", ""));
        }
        Ok(())
    })
}
