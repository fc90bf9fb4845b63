//! HTTP connections: accepting them, counting them, speaking HTTP/1.1 or HTTP/2 on them, and letting them end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::MasterConfig;
use crate::dispatch::Stage;
use crate::http::Site;
use crate::http::half::{Debts, Half};
use crate::http::stall::Stall;
use crate::http::streams::{Prospect, Streams};
use crate::tls::Tls;

/// Octets that a connection buffers in each direction: more than any request's head should need, and
/// less than a piece of content, so that at most one piece waits outside of the window of credit.
const BUFFER: usize = 64 * 1024;
/// Pause after a failure to accept, such as having no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Requests at a time on a connection of HTTP/2. Each may hold a window of content.
const STREAMS: u32 = 32;
/// How often it is looked whether a client of HTTP/2 takes its answers: a quarter of what it may take, within these.
const LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));
/// Longest head of a request in HTTP/2.
const HEAD_MAX: u32 = 32 * 1024;

pub(crate) struct Connections {
    pub(crate) site: Arc<Site>,
    pub(crate) config: MasterConfig,
    pub(crate) stages: watch::Receiver<Stage>,
    pub(crate) tasks: JoinSet<()>,
    pub(crate) addresses: Arc<Addresses>,
}

/// [`MasterConfig::header_timeout`], [`MasterConfig::write_timeout`] and [`MasterConfig::half_closed_wait`].
#[derive(Clone, Copy)]
struct Waits {
    head: Duration,
    write: Duration,
    half_closed: Duration,
}

/// How many connections each address has.
#[derive(Default)]
pub(crate) struct Addresses(Mutex<HashMap<IpAddr, usize>>);

/// A connection's place; given back when it is dropped.
struct Place {
    site: Arc<Site>,
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Place {
    fn take(site: &Arc<Site>, addresses: &Arc<Addresses>, address: IpAddr, most: usize) -> Option<Self> {
        let mut counts = addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if most > 0 && *count >= most {
            return None;
        }
        *count += 1;
        site.stats.opened.fetch_add(1, Ordering::Relaxed);
        Some(Self { site: Arc::clone(site), addresses: Arc::clone(addresses), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.site.stats.closed.fetch_add(1, Ordering::Relaxed);
        let mut counts = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

impl Connections {
    /// Accepts from both listeners for as long as there is room.
    pub(crate) async fn accept(&mut self, plain: &TcpListener, secure: Option<&(TcpListener, Tls)>) -> Infallible {
        let secured = async || match secure {
            Some((listener, _)) => listener.accept().await,
            None => std::future::pending().await,
        };
        loop {
            let may_accept = self.tasks.len() < self.config.connections;
            let (accepted, tls) = tokio::select! {
                accepted = plain.accept(), if may_accept => (accepted, None),
                accepted = secured(), if may_accept => (accepted, secure.map(|(_, tls)| tls)),
                Some(_) = self.tasks.join_next() => continue,
            };
            match accepted {
                Ok((stream, client)) => self.start(stream, client, tls),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Takes the connections that clients have made already, before the listener closes: they would be reset.
    pub(crate) fn accept_waiting(&mut self, listener: TcpListener, tls: Option<&Tls>) {
        let Ok(listener) = listener.into_std() else { return };
        while self.tasks.len() < self.config.connections
            && let Ok((stream, client)) = listener.accept()
        {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                self.start(stream, client, tls);
            }
        }
    }

    pub(crate) async fn finish(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    fn start(&mut self, stream: TcpStream, client: SocketAddr, tls: Option<&Tls>) {
        let most = self.config.connections_per_address;
        let Some(place) = Place::take(&self.site, &self.addresses, client.ip(), most) else { return };
        // Small answers go out at once; the large ones fill their segments anyway.
        let _ = stream.set_nodelay(true);
        let stream = Stall::new(stream, self.config.write_timeout);
        let acceptor = tls.map(Tls::acceptor);
        let waits = Waits {
            head: self.config.header_timeout,
            write: self.config.write_timeout,
            half_closed: self.config.half_closed_wait,
        };
        let (site, stages) = (Arc::clone(&self.site), self.stages.clone());
        // What goes wrong on a connection is the client's affair; the access log has it.
        self.tasks.spawn(async move {
            let _place = place;
            let Some(acceptor) = acceptor else {
                return one(stream, client, site, stages, waits, false).await;
            };
            let Ok(Ok(stream)) = tokio::time::timeout(waits.head, acceptor.accept(stream)).await else { return };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                two(stream, client, site, stages, waits).await;
            } else {
                one(stream, client, site, stages, waits, true).await;
            }
        });
    }
}

/// HTTP/1.1 and 1.0.
async fn one<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    client: SocketAddr,
    site: Arc<Site>,
    mut stages: watch::Receiver<Stage>,
    waits: Waits,
    secure: bool,
) {
    let debts = Debts::default();
    let refused = Arc::clone(&site);
    let stream = Half::new(stream, debts.clone(), waits.half_closed);
    let service = service_fn(move |request| {
        let debt = debts.begin();
        Arc::clone(&site).answer(client, secure, request, Some(debt))
    });
    // Not `pipeline_flush`: it lifts the bound on what is buffered for a client that reads slowly.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(waits.head)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // While the master is closing, each answer says that it is the last: a client whose next request is on its
    // way already is answered. Only then are connections that wait for one closed.
    let ended = tokio::select! {
        result = connection.as_mut() => Some(result),
        _ = stages.wait_for(|stage| *stage > Stage::Closing) => None,
    };
    let result = match ended {
        Some(result) => result,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        refused.refused(client, &error);
    }
}

/// HTTP/2.
async fn two<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    client: SocketAddr,
    site: Arc<Site>,
    mut stages: watch::Receiver<Stage>,
    waits: Waits,
) {
    let streams = Streams::new();
    let begun = streams.clone();
    let service = service_fn(move |request| {
        let stream = begun.begin();
        let answer = Arc::clone(&site).answer(client, true, request, None);
        async move { answer.await.map(|answer| answer.map(|body| stream.watch(body))) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_MAX)
        .max_send_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut looks = tokio::time::interval((waits.head.min(waits.write) / 4).clamp(LOOK.0, LOOK.1));
    let mut leaving = false;
    loop {
        let leave = tokio::select! {
            _ = connection.as_mut() => return,
            _ = stages.wait_for(|stage| *stage > Stage::Serving), if !leaving => true,
            _ = looks.tick() => match streams.prospect(waits.head, waits.write) {
                Prospect::Fine => false,
                Prospect::Leave => true,
                Prospect::Hopeless => return,
            },
        };
        // GOAWAY tells the client which of its requests will still be answered.
        if leave && !leaving {
            leaving = true;
            connection.as_mut().graceful_shutdown();
        }
    }
}
