//! The master: accepts HTTP connections and has workers answer them.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use oxzmq::curve::AllowedKeys;
use oxzmq::{Context, Socket, SocketType};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::access_log::AccessLog;
use crate::admin::{self, View};
use crate::config::{self, MasterConfig};
use crate::connections::{Addresses, Connections};
use crate::dispatch::{self, Stage};
use crate::envelope::CHUNK_MAX;
use crate::error::{Error, Result};
use crate::handlers;
use crate::http::Site;
use crate::pool::News;
use crate::stats::Stats;
use crate::tls::Tls;

/// How long connections that wait for a request are kept when the master stops.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// How often the workers' keys are looked at.
const KEYS: Duration = Duration::from_secs(1);

/// How long the last lines of the access log may take.
const LOG_WAIT: Duration = Duration::from_secs(1);

/// A master whose addresses are bound and that is ready to [run](Master::run).
pub struct Master {
    config: MasterConfig,
    context: Context,
    listener: TcpListener,
    address: SocketAddr,
    secure: Option<(TcpListener, SocketAddr, Tls)>,
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
        Self::bind_with(config, Vec::new())
    }

    /// The same with listening sockets that somebody else has made, such as systemd or a master that leaves:
    /// the first takes the place of [`MasterConfig::http`], the second that of [`MasterConfig::https`].
    ///
    /// # Errors
    /// As for [`Master::bind`].
    pub fn bind_with(config: MasterConfig, inherited: Vec<TcpListener>) -> Result<Self> {
        let mut inherited = inherited.into_iter();
        let routes = config.routes.iter().flat_map(|route| route.to.endpoints());
        let routes: Vec<_> = routes.collect();
        let workers = config.workers.as_str();
        std::iter::once(workers).chain(routes.iter().copied()).try_for_each(config::check_meeting_place)?;
        let plain = Some(workers).filter(|_| config.security.is_none());
        let open = plain.into_iter().chain(routes).find(|endpoint| !is_local(endpoint));
        if let Some(open) = open.filter(|_| !config.trust_network) {
            let what = format!(
                "whoever reaches {open} could be a worker, and nothing is encrypted there; \
                 let keys guard it (--curve-key), or if everyone in that network is trusted, say so (--trust-network)"
            );
            return Err(Error::Setting(what));
        }
        let (listener, address) = listen(config.http, inherited.next())?;
        let secure = match &config.https {
            Some((address, files)) => {
                let tls = Tls::load(files.clone())?;
                let (listener, address) = listen(*address, inherited.next())?;
                Some((listener, address, tls))
            }
            None => None,
        };
        let admin = config.admin.map(|address| listen(address, None)).transpose()?;

        let context = Context::new();
        let router = context.socket(SocketType::Router)?;
        router.set_router_mandatory(true)?;
        router.set_linger(Some(Duration::ZERO))?;
        router.set_max_message_size(Some(2 * CHUNK_MAX as u64))?;
        router.set_max_total_size(Some(2 * CHUNK_MAX as u64))?;
        if let Some((security, allowed)) = config.security.clone() {
            router.set_security(security)?;
            context.set_authenticator(move |request| allowed.judge(request));
        }
        let endpoint = router
            .bind(&config.workers)
            .map_err(|source| Error::Endpoint { endpoint: config.workers.clone(), source })?;
        let mut routes: Vec<_> = config.routes.iter().collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.prefix.len()));
        let handlers = routes.into_iter().map(|route| handlers::gate::bind(&context, route)).collect::<Result<_>>()?;
        Ok(Self { secure, admin, handlers, config, context, listener, address, router: Arc::new(router), endpoint })
    }

    /// Where HTTP is spoken, with the real port.
    pub fn http_address(&self) -> SocketAddr {
        self.address
    }

    /// Where HTTP is spoken within TLS, with the real port, if it is anywhere.
    pub fn https_address(&self) -> Option<SocketAddr> {
        self.secure.as_ref().map(|(_, address, _)| *address)
    }

    /// By which the certificate can be read again.
    pub fn tls(&self) -> Option<Tls> {
        self.secure.as_ref().map(|(_, _, tls)| tls.clone())
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
        let secure = match self.secure {
            Some((listener, _, tls)) => {
                let listener = tokio::net::TcpListener::from_std(listener);
                Some((listener.map_err(system("cannot accept HTTPS connections"))?, tls))
            }
            None => None,
        };
        let log = self.config.access_log.map(|format| AccessLog::start(format, std::io::stdout())).transpose();
        let (log, log_end) = log.map_err(system("cannot start the access log"))?.unzip();

        let (stage, stages) = watch::channel(Stage::Serving);
        let monitor = self.router.monitor()?;
        let (dispatcher, handle) =
            dispatch::new(Arc::clone(&self.router), monitor, self.config.limits, stages.clone(), news)
                .map_err(system("cannot talk to workers"))?;
        let mut dispatcher = tokio::spawn(dispatcher.run());
        let guard = self.config.security.as_ref().map(|(_, allowed)| guard(allowed.clone(), Arc::clone(&self.router)));
        let guard = guard.map(tokio::spawn);
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
        let site =
            Arc::new(Site { handle, log, stats, by_host: self.config.by_host, gates, closing: AtomicBool::new(false) });

        let mut connections = Connections {
            site: Arc::clone(&site),
            config: self.config,
            stages,
            tasks: JoinSet::new(),
            addresses: Arc::<Addresses>::default(),
        };
        let failed = tokio::select! {
            never = connections.accept(&listener, secure.as_ref()) => match never {},
            () = stop => None,
            ended = &mut dispatcher => Some(ended),
        };
        site.close();
        connections.accept_waiting(listener, None);
        if let Some((listener, tls)) = secure {
            connections.accept_waiting(listener, Some(&tls));
        }
        let drain = connections.config.drain;
        if failed.is_none() {
            tokio::select! {
                () = async {
                    stage.send_replace(Stage::Closing);
                    let _ = tokio::time::timeout(LAST_CHANCE, connections.finish()).await;
                    stage.send_replace(Stage::Draining);
                    connections.finish().await;
                } => {}
                () = hurry => {}
                () = tokio::time::sleep(drain) => {}
            }
        }
        // What is still under way is given up first: workers with something in hand would not leave.
        connections.tasks.shutdown().await;
        stage.send_replace(Stage::Leaving);
        let ended = match failed {
            Some(ended) => ended,
            None => dispatcher.await,
        };
        for task in admin.into_iter().chain(guard) {
            task.abort();
        }
        drop(connections);
        // Its log is the last one: what it holds is written now.
        drop(site);
        drop(self.router);
        self.context.shutdown();
        if let Some(end) = log_end {
            let _ = tokio::time::timeout(LOG_WAIT, end).await;
        }
        let why = |error| Error::System { what: "the dispatcher broke down", source: std::io::Error::other(error) };
        Ok(ended.map_err(why)??)
    }
}

/// Cuts off workers whose keys are allowed no more.
async fn guard(allowed: AllowedKeys, router: Arc<Socket>) -> Infallible {
    let mut ticks = tokio::time::interval(KEYS);
    loop {
        ticks.tick().await;
        let (allowed, router) = (allowed.clone(), Arc::clone(&router));
        // It reads a directory.
        let _ = tokio::task::spawn_blocking(move || allowed.send_away(&router)).await;
    }
}

fn listen(address: SocketAddr, inherited: Option<TcpListener>) -> Result<(TcpListener, SocketAddr)> {
    let http = |source| Error::Http { address, source };
    let listener = inherited.map_or_else(|| TcpListener::bind(address), Ok).map_err(http)?;
    listener.set_nonblocking(true).map_err(http)?;
    let address = listener.local_addr().map_err(http)?;
    Ok((listener, address))
}

/// Whether only this machine's programs can connect.
fn is_local(endpoint: &str) -> bool {
    let Some(address) = endpoint.strip_prefix("tcp://") else {
        return endpoint.starts_with("ipc://");
    };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
