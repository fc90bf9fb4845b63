//! Master and worker as programs: from start to Ctrl-C, telling people on standard error what happens.

use std::ffi::OsString;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::children::{Children, Recipe};
use crate::config::{LogFormat, MasterConfig, WorkerConfig};
use crate::error::{Error, Result};
use crate::files::{Root, Rules};
use crate::master::Master;
use crate::pool::News;
use crate::private::PrivateDirectory;
use crate::system;
use crate::tls::Tls;
use crate::voice::{self, say};
use crate::worker::{Notice, Worker};

/// What [`serve`] needs to know.
#[derive(Clone, Debug)]
pub struct Serve {
    /// The directory to serve.
    pub root: PathBuf,
    /// Where HTTP is spoken.
    pub http: SocketAddr,
    /// Where the status page is.
    pub admin: Option<SocketAddr>,
    /// Worker processes to keep.
    pub workers: usize,
    /// Whether each host is a site of its own, in the directory of its name.
    pub by_host: bool,
    /// How to write a line per request to standard output; nothing is written if `None`.
    pub access_log: Option<LogFormat>,
    /// The program and the arguments that start a worker process, to which its master and directory are
    /// added: `--master ENDPOINT --root DIR --child --name NAME`.
    pub worker: (OsString, Vec<OsString>),
}

/// Most worker processes that [`serve`] starts: many times the processors of a large machine.
const WORKERS_MAX: usize = 1024;
/// Descriptors that a master needs for itself, those for each of its worker processes, and those of a worker.
const MASTER_FILES: u64 = 32;
const FILES_PER_CHILD: u64 = 4;
const WORKER_FILES: u64 = 32;
/// Connections that are looked after, for each worker, before what they asked for goes to the workers, and before it is
/// looked again which ones have something: as many as make the messages to a worker worth a system call, and no more, because
/// workers and clients would stand still meanwhile.
const PORTION: usize = 16;
/// The same for all workers at most, and with workers that start elsewhere.
const PORTIONS: usize = 2 * PORTION;

/// A master and its workers on one machine, until Ctrl-C or SIGTERM.
///
/// # Errors
/// When the directory or the address cannot be used, or a worker cannot be started.
pub fn serve(options: Serve) -> Result<()> {
    ended(serve_until_stopped(options))
}

/// A master alone, until Ctrl-C or SIGTERM.
///
/// # Errors
/// When an address cannot be used.
pub fn master(config: MasterConfig) -> Result<()> {
    ended(master_until_stopped(config))
}

/// A worker, until Ctrl-C, SIGTERM, or its master's word. A `child` of its master keeps quiet, and ends when
/// its standard input does.
///
/// # Errors
/// When the directory or the master's endpoint cannot be used.
pub fn worker(config: WorkerConfig, child: bool) -> Result<()> {
    let result = worker_until_stopped(config, child);
    if child { result } else { ended(result) }
}

fn ended(result: Result<()>) -> Result<()> {
    if result.is_ok() {
        say("Stopped.");
    }
    voice::flush();
    result
}

fn serve_until_stopped(options: Serve) -> Result<()> {
    if options.workers == 0 {
        return Err(Error::Setting("without workers there is nobody to answer; use at least one".to_owned()));
    }
    if options.workers > WORKERS_MAX {
        let what = format!(
            "{} worker processes are more than any machine has use for; one per processor is the usual number, \
             and {WORKERS_MAX} are possible",
            options.workers
        );
        return Err(Error::Setting(what));
    }
    let open = |source| Error::Root { path: options.root.clone(), source };
    let root = Root::open(&options.root, Rules::default()).map_err(open)?.path().to_path_buf();
    let files = descriptors(MASTER_FILES + FILES_PER_CHILD * options.workers as u64)?;
    let runtime = runtime((options.workers * PORTION).min(PORTIONS))?;
    let _guard = runtime.enter();
    // From here on a signal is no sudden end, so that what is made below is cleared away.
    let signals = Signals::new()?;
    let make = |source| Error::System { what: "cannot make a private directory for the workers' socket", source };
    let private = PrivateDirectory::new(&std::env::temp_dir()).map_err(make)?;
    let endpoint = format!("ipc://{}", private.path.join("workers").display());
    let mut config = MasterConfig {
        access_log: options.access_log,
        admin: options.admin,
        by_host: options.by_host,
        ..MasterConfig::new(options.http, &endpoint)
    };
    fit(&mut config, files);
    let master = Master::bind_with(config, inherited()?)?;
    let (program, mut arguments) = options.worker;
    arguments.extend(["--master".into(), endpoint.into(), "--root".into(), root.clone().into(), "--child".into()]);
    let start = |source| Error::System { what: "cannot start a worker process", source };
    let children = Children::start(&Recipe { program, arguments }, options.workers).map_err(start)?;

    say(format!("Serving {} at http://{}/", root.display(), master.http_address()));
    let plural = if options.workers == 1 { "" } else { "es" };
    say(format!("with {} worker process{plural}. Ctrl-C stops everything.", options.workers));
    tell_admin(&master);
    runtime.block_on(async {
        let hangup = Arc::new(Notify::new());
        let roll = async {
            loop {
                hangup.notified().await;
                say("Starting the workers anew, one after the other.");
                children.roll().await;
                say("All workers are new.");
            }
        };
        let result = tokio::select! {
            result = run(master, signals, Arc::clone(&hangup), || children.stopping()) => result,
            never = roll => never,
        };
        children.finish().await;
        result
    })
}

fn master_until_stopped(mut config: MasterConfig) -> Result<()> {
    fit(&mut config, descriptors(MASTER_FILES)?);
    let runtime = runtime(PORTIONS)?;
    let _guard = runtime.enter();
    let signals = Signals::new()?;
    let master = Master::bind_with(config, inherited()?)?;
    let endpoint = master.workers_endpoint();
    say(format!("Serving at http://{}/", master.http_address()));
    tell_admin(&master);
    say(format!("Workers connect with: oxzmq worker --master {endpoint} --root DIR"));
    runtime.block_on(run(master, signals, Arc::default(), || {}))
}

fn worker_until_stopped(config: WorkerConfig, child: bool) -> Result<()> {
    descriptors(WORKER_FILES)?;
    let worker = Worker::new(config)?;
    let stopper = worker.stopper();
    let signals = Builder::new_current_thread().enable_io().build().map_err(no_runtime)?;
    std::thread::spawn(move || {
        signals.block_on(async {
            let Ok(mut stop) = StopSignals::new() else { return };
            stop.next().await;
            stopper.stop();
            stop.next().await;
            std::process::exit(1);
        });
    });
    if child {
        std::thread::spawn(|| {
            let _ = io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0);
        });
        return worker.run(&|_, _| {});
    }
    say(format!("{} serves {}. Ctrl-C stops it.", worker.name(), worker.root().display()));
    worker.run(&|master, notice| match notice {
        Notice::Waiting => say(format!("Waiting for the master at {master}: is it running, and is this its address?")),
        Notice::AtWork => say(format!("At work for {master}.")),
        Notice::StartingAnew(why) => say(format!("Starting anew: {why}.")),
    })
}

/// Raises the limit of descriptors as far as the administrator permits. Gives what there is beyond those that
/// are needed.
fn descriptors(needed: u64) -> Result<u64> {
    let limit = system::raise_descriptor_limit();
    limit.checked_sub(needed).filter(|&left| left > 0).ok_or_else(|| {
        Error::Setting(format!(
            "only {limit} files and connections may be open at a time, and more than {needed} are needed; \
             raise the limit (ulimit -n 1024; LimitNOFILE=1024 in a unit of systemd)"
        ))
    })
}

/// Lets in no more clients than there are descriptors for: they wait to be accepted instead.
fn fit(config: &mut MasterConfig, descriptors: u64) {
    let possible = usize::try_from(descriptors).unwrap_or(usize::MAX);
    if config.connections > possible {
        config.connections = possible;
        say(format!("At most {possible} connections at a time: the limit of open files (ulimit -n) leaves no more."));
    }
}

/// Sockets from systemd, or from whoever else starts programs that way (`sd_listen_fds(3)`).
fn inherited() -> Result<Vec<TcpListener>> {
    let mut sockets = listenfd::ListenFd::from_env();
    let count = sockets.len();
    let what = "a socket that was handed over (LISTEN_FDS) is none on which to listen for TCP connections";
    let take = |index| sockets.take_tcp_listener(index).map_err(|source| Error::System { what, source });
    (0..count).map(take).filter_map(Result::transpose).collect()
}

fn tell_admin(master: &Master) {
    if let Some(address) = master.https_address() {
        say(format!("Within TLS: https://{address}/"));
    }
    if let Some(address) = master.admin_address() {
        say(format!("Status page: http://{address}/"));
    }
}

/// `hangup` is told of each SIGHUP.
async fn run(master: Master, signals: Signals, hangup: Arc<Notify>, stopping: impl FnOnce()) -> Result<()> {
    let (sender, mut news) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(news) = news.recv().await {
            say(tell(&news));
        }
    });
    let Signals { stop: mut signals, mut hangups } = signals;
    let tls = master.tls();
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            match tls.as_ref().map(Tls::reload) {
                Some(Ok(())) => say("The certificate was read again."),
                Some(Err(error)) => say(format!("The certificate stays as it was: {error}")),
                None => {}
            }
            hangup.notify_one();
        }
    });
    system::notify("READY=1");
    let (hurry, hurried) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(async move {
        signals.next().await;
        say("Stopping: answers under way are finished first. Ctrl-C again to cut them off.");
        system::notify("STOPPING=1");
        let _ = stop.send(());
        signals.next().await;
        let _ = hurry.send(());
    });
    let stop = async {
        let _ = stopped.await;
        stopping();
    };
    let hurry = async {
        let _ = hurried.await;
    };
    master.run(stop, hurry, sender).await
}

fn tell(news: &News) -> String {
    match news {
        News::Joined { worker, pid, host, root, slots } => {
            format!("{worker} is ready: process {pid} on {host}, {root}, {slots} slots")
        }
        News::Differ { path, workers: [a, b] } => {
            format!("{a} and {b} have different files at {path}: are their directories copies of each other?")
        }
        News::Left { worker, why, in_hand: 0 } => format!("{worker} left: {why}"),
        News::Left { worker, why, in_hand } => {
            format!("{worker} left: {why}; requests in hand go to others: {in_hand}")
        }
    }
}

/// What a master listens to.
struct Signals {
    stop: StopSignals,
    hangups: Signal,
}

impl Signals {
    /// Needs a runtime that was entered.
    fn new() -> Result<Self> {
        let watch = |source| Error::System { what: "cannot watch for signals", source };
        let stop = StopSignals::new().map_err(watch)?;
        Ok(Self { stop, hangups: signal(SignalKind::hangup()).map_err(watch)? })
    }
}

/// Ctrl-C and SIGTERM.
struct StopSignals(Signal, Signal);

impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// On one or two processors, which workers and clients need as well, a single thread takes a third less time for a request:
/// nobody has to be woken on another one. Of more processors the master takes half.
fn runtime(portion: usize) -> Result<Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut builder = if processors <= 2 {
        Builder::new_current_thread()
    } else {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(processors / 2).thread_name("master");
        builder
    };
    builder.max_io_events_per_tick(portion).enable_all().build().map_err(no_runtime)
}

fn no_runtime(source: io::Error) -> Error {
    Error::System { what: "cannot start the runtime", source }
}
