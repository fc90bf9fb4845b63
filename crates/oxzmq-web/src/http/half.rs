//! Clients that say at once that they have nothing more to ask, by closing their half of the connection.
//!
//! What arrives looks the same whether a client has closed its half and waits for the answer, as `nc -N` does, or
//! has left. Whoever has left is found out by writing to it: its system answers with a reset. So the end is kept
//! from HTTP as long as the answer moves, and is told once it has not moved for a while, because a request whose
//! client has left is not to keep a worker from others.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The requests of a connection. All is said and done on the connection's own task.
#[derive(Clone, Default)]
pub(crate) struct Debts(Arc<Counts>);

#[derive(Default)]
struct Counts {
    begun: AtomicU64,
    done: AtomicU64,
}

/// A request whose answer was not yet handed over to the connection; dropped when it was.
pub(crate) struct Debt(Debts);

impl Debts {
    pub(crate) fn begin(&self) -> Debt {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        Debt(self.clone())
    }

    fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::Relaxed)
    }

    fn are_settled(&self) -> bool {
        self.begun() == self.0.done.load(Ordering::Relaxed)
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        self.0.0.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection whose reading end is not told before it is due.
pub(crate) struct Half<S> {
    inner: S,
    debts: Debts,
    /// How many requests had begun when everything was handed over and flushed.
    settled: u64,
    /// The client has closed its half.
    ended: bool,
    /// The client has room for no more at the moment.
    full: bool,
    /// Longest standstill of an answer to a client that has closed its half.
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Half<S> {
    pub(crate) fn new(inner: S, debts: Debts, limit: Duration) -> Self {
        Self { inner, debts, settled: 0, ended: false, full: false, limit, timer: None }
    }

    fn wrote<T>(&mut self, result: &Poll<T>) {
        self.full = result.is_pending();
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(Instant::now() + self.limit);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Half<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.ended {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            if buf.filled().len() > before || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            this.ended = true;
        }
        while this.settled < this.debts.begun() {
            let limit = this.limit;
            let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
            ready!(timer.as_mut().poll(cx));
            if !this.full {
                break;
            }
            // It is the client that takes its time, and there is another limit for that.
            timer.as_mut().reset(Instant::now() + limit);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Half<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// Comes after everything that was to be written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        if self.debts.are_settled() {
            self.settled = self.debts.begun();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn the_end_is_told_when_nothing_is_owed() {
        let (near, mut far) = tokio::io::duplex(10);
        let debts = Debts::default();
        let mut near = Half::new(near, debts.clone(), LIMIT);
        far.shutdown().await.unwrap();
        let debt = debts.begin();
        near.write_all(b"answer").await.unwrap();
        drop(debt);
        near.flush().await.unwrap();
        let began = Instant::now();
        assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_stands_still_is_given_up_unless_it_is_the_client_that_is_slow() {
        let (near, mut far) = tokio::io::duplex(10);
        let debts = Debts::default();
        let mut near = Half::new(near, debts.clone(), LIMIT);
        far.shutdown().await.unwrap();
        let _debt = debts.begin();
        let began = Instant::now();
        assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(began.elapsed(), LIMIT);

        near.timer = None;
        near.write_all(&[0; 10]).await.unwrap();
        let full = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut near).poll_write(cx, &[0]).is_pending())).await;
        assert!(full);
        let waited = tokio::time::timeout(LIMIT * 3, near.read(&mut [0; 1])).await;
        assert!(waited.is_err());
    }
}
