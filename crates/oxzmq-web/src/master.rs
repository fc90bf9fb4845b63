//! The master: accepts HTTP connections and has workers answer them.

use std::future::Future;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use oxzmq::{Context, Socket, SocketType};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::access_log::AccessLog;
use crate::admin::{self, View};
use crate::config::MasterConfig;
use crate::dispatch::{self, Stage};
use crate::envelope::CHUNK_MAX;
use crate::error::{Error, Result};
use crate::handlers;
use crate::http::Site;
use crate::http::stall::Stall;
use crate::pool::News;
use crate::stats::Stats;

/// Octets that a connection buffers in each direction: more than any request's head should need, and
/// less than a piece of content, so that at most one piece waits outside of the window of credit.
const BUFFER: usize = 64 * 1024;
/// Pause after a failure to accept, such as having no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A master whose addresses are bound and that is ready to [run](Master::run).
pub struct Master {
    config: MasterConfig,
    context: Context,
    listener: TcpListener,
    address: SocketAddr,
    admin: Option<(TcpListener, SocketAddr)>,
    router: Arc<Socket>,
    endpoint: String,
    handlers: Vec<handlers::gate::Bound>,
}

impl Master {
    /// Binds both addresses. Clients and workers may connect from now on.
    ///
    /// # Errors
    /// [`Error::Http`] or [`Error::Endpoint`] when an address cannot be bound.
    pub fn bind(config: MasterConfig) -> Result<Self> {
        let routes = config.routes.iter().flat_map(|route| route.to.endpoints());
        let open = std::iter::once(config.workers.as_str()).chain(routes).find(|endpoint| !is_local(endpoint));
        if let Some(open) = open.filter(|_| !config.trust_network) {
            let what = format!(
                "whoever reaches {open} could be a worker, and nothing is encrypted there; \
                 if everyone in that network is trusted, say so (--trust-network)"
            );
            return Err(Error::Setting(what));
        }
        let (listener, address) = listen(config.http)?;
        let admin = config.admin.map(listen).transpose()?;

        let context = Context::new();
        let router = context.socket(SocketType::Router)?;
        router.set_router_mandatory(true)?;
        router.set_linger(Some(Duration::ZERO))?;
        router.set_max_message_size(Some(2 * CHUNK_MAX as u64))?;
        let endpoint = router
            .bind(&config.workers)
            .map_err(|source| Error::Endpoint { endpoint: config.workers.clone(), source })?;
        let mut routes: Vec<_> = config.routes.iter().collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.prefix.len()));
        let handlers = routes.into_iter().map(|route| handlers::gate::bind(&context, route)).collect::<Result<_>>()?;
        Ok(Self { admin, handlers, config, context, listener, address, router: Arc::new(router), endpoint })
    }

    /// Where HTTP is spoken, with the real port.
    pub fn http_address(&self) -> SocketAddr {
        self.address
    }

    /// Where the status page is, with the real port, if it is anywhere.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|&(_, address)| address)
    }

    /// Where workers connect, with the real port.
    pub fn workers_endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Serves until `stop` completes, then finishes the answers under way, for as long as
    /// [`MasterConfig::drain`] allows or until `hurry` completes, and lets the workers go. News of workers
    /// go to `news`. Needs a Tokio runtime with time and I/O.
    ///
    /// # Errors
    /// [`Error::System`] when the access log or the listener cannot be set up, [`Error::Socket`] when the
    /// library fails.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
        news: mpsc::UnboundedSender<News>,
    ) -> Result<()> {
        let system = |what| move |source| Error::System { what, source };
        let listener =
            tokio::net::TcpListener::from_std(self.listener).map_err(system("cannot accept HTTP connections"))?;
        let log = self.config.access_log.then(|| AccessLog::start(std::io::stdout())).transpose();
        let (log, log_thread) = log.map_err(system("cannot start the access log"))?.unzip();

        let (stage, stages) = watch::channel(Stage::Serving);
        let monitor = self.router.monitor()?;
        let (dispatcher, handle) =
            dispatch::new(Arc::clone(&self.router), monitor, self.config.limits, stages.clone(), news);
        let mut dispatcher = tokio::spawn(dispatcher.run());
        let gates = self.handlers.into_iter().map(handlers::gate::Bound::start).collect();
        let stats = Arc::new(Stats::default());
        let admin = match self.admin {
            Some((listener, _)) => {
                let listener =
                    tokio::net::TcpListener::from_std(listener).map_err(system("cannot serve the status page"))?;
                let view = Arc::new(View { handle: handle.clone(), stats: Arc::clone(&stats) });
                Some(tokio::spawn(admin::serve(listener, view)))
            }
            None => None,
        };
        let site = Arc::new(Site { handle, log, stats, gates });

        let mut connections = Connections { site, config: self.config, stages, tasks: JoinSet::new() };
        let failed = tokio::select! {
            never = connections.accept(&listener) => match never {},
            () = stop => None,
            ended = &mut dispatcher => Some(ended),
        };
        drop(listener);
        let drain = connections.config.drain;
        if failed.is_none() {
            stage.send_replace(Stage::Draining);
            tokio::select! {
                () = connections.finish() => {}
                () = hurry => {}
                () = tokio::time::sleep(drain) => {}
            }
        }
        stage.send_replace(Stage::Leaving);
        let ended = match failed {
            Some(ended) => ended,
            None => dispatcher.await,
        };
        if let Some(admin) = admin {
            admin.abort();
        }
        connections.tasks.shutdown().await;
        drop(connections);
        drop(self.router);
        self.context.shutdown();
        if let Some(thread) = log_thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        let why = |error| Error::System { what: "the dispatcher broke down", source: std::io::Error::other(error) };
        Ok(ended.map_err(why)??)
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let http = |source| Error::Http { address, source };
    let listener = TcpListener::bind(address).map_err(http)?;
    listener.set_nonblocking(true).map_err(http)?;
    let address = listener.local_addr().map_err(http)?;
    Ok((listener, address))
}

/// Whether only this machine's programs can connect.
fn is_local(endpoint: &str) -> bool {
    let Some(address) = endpoint.strip_prefix("tcp://") else {
        return ["ipc://", "inproc://"].iter().any(|local| endpoint.starts_with(local));
    };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Counts a connection's end, however it comes.
struct Open(Arc<Stats>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }
}

struct Connections {
    site: Arc<Site>,
    config: MasterConfig,
    stages: watch::Receiver<Stage>,
    tasks: JoinSet<()>,
}

impl Connections {
    async fn accept(&mut self, listener: &tokio::net::TcpListener) -> std::convert::Infallible {
        loop {
            let may_accept = self.tasks.len() < self.config.connections;
            tokio::select! {
                accepted = listener.accept(), if may_accept => match accepted {
                    Ok((stream, client)) => self.start(stream, client),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    async fn finish(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    fn start(&mut self, stream: TcpStream, client: SocketAddr) {
        // Small answers go out at once; the large ones fill their segments anyway.
        let _ = stream.set_nodelay(true);
        let io = TokioIo::new(Stall::new(stream, self.config.write_timeout));
        let site = Arc::clone(&self.site);
        let service = service_fn(move |request| {
            let site = Arc::clone(&site);
            async move { site.answer(client, request).await }
        });
        // Not `pipeline_flush`: it lifts the bound on what is buffered for a client that reads slowly.
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.header_timeout)
            .max_buf_size(BUFFER)
            .serve_connection(io, service);
        let mut stages = self.stages.clone();
        self.site.stats.opened.fetch_add(1, Ordering::Relaxed);
        let stats = Arc::clone(&self.site.stats);
        self.tasks.spawn(async move {
            let _open = Open(stats);
            let mut connection = std::pin::pin!(connection);
            // What goes wrong on a connection is the client's affair; the access log has it.
            tokio::select! {
                _ = connection.as_mut() => return,
                _ = stages.wait_for(|stage| *stage > Stage::Serving) => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
}
