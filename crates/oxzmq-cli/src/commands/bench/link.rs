//! What is measured: four loops over one end of a connection, the same for every candidate.
//!
//! The loops are `async` so that the asynchronous interface is measured by them too. The ends of
//! blocking interfaces wait inside the call and so are always ready; the compiler turns the loops
//! into plain ones again.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

/// No message for this long means that the other end is broken, not slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Which end of which pair, named after the socket types.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Part {
    /// Sends as fast as it may.
    Push,
    /// Receives and counts.
    Pull,
    /// Sends, waits for the answer, and takes the time.
    Req,
    /// Answers.
    Rep,
}

/// One end of a connection that carries messages.
pub(crate) trait End {
    /// Send a message of these bytes, which are copied.
    async fn send(&mut self, payload: &[u8]) -> Result<()>;
    /// Receive a message; the result is its size.
    async fn recv(&mut self) -> Result<usize>;
}

/// A candidate: how to make its ends.
pub(crate) trait Kit: Sync {
    /// An end whose other end has not come yet.
    type Listener;
    /// An end that is connected or connects in the background.
    type End: End;

    /// Listen at `endpoint`; the result holds the endpoint as others can reach it.
    fn listen(&self, endpoint: &str, part: Part) -> Result<(Self::Listener, String)>;
    /// Wait for the other end, where that is the candidate's way.
    fn accept(&self, listener: Self::Listener) -> Result<Self::End>;
    /// Connect to a listener.
    fn connect(&self, endpoint: &str, part: Part) -> Result<Self::End>;

    /// Run one of the loops below to its end.
    fn block_on<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => unreachable!("the ends of a blocking interface are always ready"),
        }
    }
}

/// How long to warm up, and then how long to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) warm_up: Duration,
    pub(crate) measure: Duration,
}

impl Window {
    pub(crate) fn new(seconds: f64) -> Self {
        Window {
            warm_up: Duration::from_secs_f64((seconds / 4.0).clamp(0.01, 0.5)),
            measure: Duration::from_secs_f64(seconds),
        }
    }
}

/// What one measurement gave.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Sample {
    Throughput { messages_per_second: f64 },
    Latency { p50_us: f64, p99_us: f64, round_trips: usize },
}

impl Sample {
    /// The figure that is compared: messages per second, or the median round trip in microseconds.
    pub(crate) fn figure(&self) -> f64 {
        match *self {
            Sample::Throughput { messages_per_second } => messages_per_second,
            Sample::Latency { p50_us, .. } => p50_us,
        }
    }
}

/// Messages between two looks at the clock or at a flag: rare enough not to be measured.
fn stride(size: usize) -> usize {
    (65_536 / size.max(1)).clamp(4, 256)
}

/// PUSH: send until told to stop, then one empty message to say so.
pub(crate) async fn flood(end: &mut impl End, size: usize, stop: &AtomicBool) -> Result<()> {
    let payload = vec![b'x'; size];
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..stride(size) {
            end.send(&payload).await?;
        }
    }
    end.send(&[]).await
}

/// PULL: the rate at which messages arrive, once things run.
pub(crate) async fn count(end: &mut impl End, size: usize, window: Window) -> Result<Sample> {
    receive_one(end, size).await?;
    receive_for(end, size, window.warm_up).await?;
    let (messages, elapsed) = receive_for(end, size, window.measure).await?;
    Ok(Sample::Throughput { messages_per_second: messages as f64 / elapsed.as_secs_f64() })
}

/// PULL, after the measurement: take what is under way up to the empty message.
pub(crate) async fn drain(end: &mut impl End) -> Result<()> {
    while end.recv().await? != 0 {}
    Ok(())
}

/// REQ: the time from sending a request to holding its reply, many times over.
pub(crate) async fn ask(end: &mut impl End, size: usize, window: Window) -> Result<Sample> {
    ask_for(end, size, window.warm_up).await?;
    let mut times = ask_for(end, size, window.measure).await?;
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    Ok(Sample::Latency { p50_us: at(0.50), p99_us: at(0.99), round_trips: times.len() })
}

/// REP: answer each request with the same bytes, up to and including an empty one.
pub(crate) async fn echo(end: &mut impl End, size: usize) -> Result<()> {
    let payload = vec![b'x'; size];
    loop {
        let received = end.recv().await?;
        end.send(&payload[..received.min(size)]).await?;
        if received == 0 {
            return Ok(());
        }
    }
}

/// REQ, after the measurement: tell the other end that this was all.
pub(crate) async fn dismiss(end: &mut impl End) -> Result<()> {
    end.send(&[]).await?;
    end.recv().await.map(drop)
}

async fn receive_one(end: &mut impl End, size: usize) -> Result<()> {
    let received = end.recv().await?;
    ensure!(received == size, "received {received} bytes where {size} were sent");
    Ok(())
}

async fn receive_for(end: &mut impl End, size: usize, time: Duration) -> Result<(usize, Duration)> {
    let begin = Instant::now();
    let mut messages = 0;
    loop {
        for _ in 0..stride(size) {
            receive_one(end, size).await?;
        }
        messages += stride(size);
        let elapsed = begin.elapsed();
        if elapsed >= time {
            return Ok((messages, elapsed));
        }
    }
}

/// At least one round trip, whatever the time.
async fn ask_for(end: &mut impl End, size: usize, time: Duration) -> Result<Vec<Duration>> {
    let payload = vec![b'x'; size];
    let begin = Instant::now();
    let mut sent = begin;
    let mut times = Vec::with_capacity(1 << 16);
    while times.is_empty() || sent - begin < time {
        end.send(&payload).await?;
        receive_one(end, size).await?;
        let received = Instant::now();
        times.push(received - sent);
        sent = received;
    }
    Ok(times)
}
