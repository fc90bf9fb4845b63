//! What all contenders share: the command line, the traits that a contender implements, and the loops.
//!
//! A contender is a program `CONTENDER CASE ROLE ENDPOINT SIZE SECONDS`. The role `server` binds and prints
//! `{"bound": "ENDPOINT"}`; `client` connects; `both` is one process with two threads, for `inproc://`. The role that measures
//! prints one line, a [`Sample`] in JSON, and waits for its standard input to close, so that the driver
//! can look at both processes before they end. The other role works until it is killed.

// Contenders are known at compile time and run on one thread each: nobody needs `Send` futures.
#![allow(async_fn_in_trait)]

mod case;
mod loops;
pub mod ours;
pub mod sample;

use std::future::Future;
use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;

pub use case::Case;
use sample::{Output, Sample};

/// The kinds of sockets that the cases use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Push,
    Pull,
    Req,
    Rep,
    Pub,
    Sub,
    Dealer,
    Router,
}

/// A contender.
pub trait Kit: Sync {
    type Socket: Socket;

    /// Run `future` to its end; each thread of a process calls this once.
    fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T>;

    /// Make a socket that will have `peers` peers. It fails if the contender lacks the kind, which the driver shows as a gap.
    fn open(&self, kind: Kind, peers: usize) -> Result<Self::Socket>;

    /// Whether there is [`Kit::proxy`].
    const PROXY: bool = false;

    /// Join ROUTER and DEALER, for as long as the process lives.
    async fn proxy(&self, _router: Self::Socket, _dealer: Self::Socket) -> Result<()> {
        bail!("{UNSUPPORTED} a proxy")
    }

    /// Wait until one of `sockets` has a message, many times over, until `enough` says so, which is called after each.
    fn poll(&self, _sockets: &[Self::Socket], _enough: impl FnMut() -> bool) -> Result<()> {
        bail!("{UNSUPPORTED} polling")
    }

    /// Called now and then by loops that only send, for runtimes that need a chance to do something else.
    async fn breathe(&self) {}
}

/// Begins the message of errors that say what a contender cannot do.
pub const UNSUPPORTED: &str = "unsupported:";

/// Begins the endpoints of sockets that encrypt with CURVE.
pub const ENCRYPTED: &str = "curve+";

/// Keys that everybody knows.
pub mod curve {
    pub const SERVER_PUBLIC: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
    pub const SERVER_SECRET: &str = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";
    pub const CLIENT_PUBLIC: &str = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
    pub const CLIENT_SECRET: &str = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs";
}

/// One socket of a contender.
pub trait Socket {
    /// Bind; the result is the endpoint as others can reach it.
    async fn bind(&mut self, endpoint: &str) -> Result<String>;
    async fn connect(&mut self, endpoint: &str) -> Result<()>;
    /// Encrypt: this is the `server` of CURVE, or a client of it. Both have the [`curve`] keys.
    fn encrypt(&mut self, _server: bool) -> Result<()> {
        bail!("{UNSUPPORTED} CURVE")
    }
    /// [`Socket::bind`], encrypted if the endpoint says so.
    async fn bind_at(&mut self, endpoint: &str) -> Result<String> {
        let Some(endpoint) = endpoint.strip_prefix(ENCRYPTED) else { return self.bind(endpoint).await };
        self.encrypt(true)?;
        Ok(format!("{ENCRYPTED}{}", self.bind(endpoint).await?))
    }
    /// [`Socket::connect`], encrypted if the endpoint says so.
    async fn connect_to(&mut self, endpoint: &str) -> Result<()> {
        let Some(endpoint) = endpoint.strip_prefix(ENCRYPTED) else { return self.connect(endpoint).await };
        self.encrypt(false)?;
        self.connect(endpoint).await
    }
    async fn subscribe(&mut self, _topic: &[u8]) -> Result<()> {
        bail!("{UNSUPPORTED} subscriptions")
    }
    /// Send one message; a contender may share `payload` or copy it, whichever is faster.
    async fn send(&mut self, payload: &Bytes) -> Result<()>;
    /// Send what has been gathered, where sending gathers.
    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
    /// Receive one message and show its body.
    async fn recv_with<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R>;
    /// Receive at least one message and show the bodies; the result is their number. For contenders with batches.
    async fn recv_some(&mut self, look: &mut impl FnMut(&[u8])) -> Result<usize> {
        self.recv_with(look).await?;
        Ok(1)
    }
    /// REP, ROUTER: receive one message and send it back.
    async fn echo(&mut self) -> Result<()>;
}

/// Runs a future whose sockets block the thread.
pub fn run_blocking<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    use std::task::{Context, Poll, Waker};
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => bail!("a blocking contender was not ready"),
    }
}

/// Runs a future on Tokio: on this thread alone, or, where the environment variable `OXZMQ_BENCH_MODE` is `multi`, on
/// one thread per processor.
pub fn run_tokio<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let multi = std::env::var("OXZMQ_BENCH_MODE").is_ok_and(|mode| mode == "multi");
    let mut builder =
        if multi { tokio::runtime::Builder::new_multi_thread() } else { tokio::runtime::Builder::new_current_thread() };
    builder.enable_all().build()?.block_on(future)
}

/// A free port, for contenders that do not tell which one they were given.
pub fn with_port(endpoint: &str) -> Result<String> {
    let Some(address) = endpoint.strip_suffix(":*").and_then(|rest| rest.strip_prefix("tcp://")) else {
        return Ok(endpoint.to_owned());
    };
    let port = std::net::TcpListener::bind((address, 0))?.local_addr()?.port();
    Ok(format!("tcp://{address}:{port}"))
}

/// What a contender's command line says.
#[derive(Clone, Debug)]
pub struct Job {
    pub case: Case,
    pub endpoint: String,
    pub size: usize,
    pub seconds: f64,
}

impl Job {
    /// Before measuring: long enough for buffers, queues and the scheduler to settle.
    pub fn warm_up(&self) -> Duration {
        Duration::from_secs_f64((self.seconds / 4.0).clamp(0.05, 0.5))
    }

    pub fn measure(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// An endpoint of the same transport to bind as well.
    pub fn endpoint_of_another(&self, number: usize) -> String {
        match self.endpoint.strip_prefix("tcp://") {
            Some(_) => "tcp://127.0.0.1:*".to_owned(),
            None => format!("{}-{number}", self.endpoint),
        }
    }

    /// A second endpoint beside the first, for cases with two connections.
    pub fn second_endpoint(&self) -> String {
        match self.endpoint.strip_prefix("tcp://") {
            Some(_) => self.endpoint.clone(),
            None => format!("{}-2", self.endpoint),
        }
    }
}

/// The `main` of a contender.
pub fn contend<K: Kit>(kit: &K) -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [case, role, endpoint, size, seconds] = &arguments[..] else {
        bail!("usage: CONTENDER CASE server|client|both ENDPOINT SIZE SECONDS; the driver `oxzmq-bench` does that");
    };
    let job = Job {
        case: case.parse()?,
        endpoint: endpoint.clone(),
        size: size.parse().context("SIZE")?,
        seconds: seconds.parse().context("SECONDS")?,
    };
    allow_many_files()?;
    let outcome = match role.as_str() {
        "server" => loops::server(kit, &job, |bound| print(&Output::Bound(bound))),
        "client" => loops::client(kit, &job),
        "both" => both(kit, &job),
        role => bail!("no role `{role}`"),
    };
    match outcome {
        Ok(sample) => print(&Output::Sample(sample))?,
        Err(error) if error.to_string().starts_with(UNSUPPORTED) => print(&Output::Unsupported(error.to_string()))?,
        Err(error) => return Err(error),
    }
    std::io::stdin().read_to_end(&mut Vec::new())?;
    // Not by returning: other threads are still at work, and contexts would wait for them.
    std::process::exit(0)
}

/// Server and client as two threads; whichever measures ends the process.
fn both<K: Kit>(kit: &K, job: &Job) -> Result<Sample> {
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let (done, outcome) = mpsc::channel();
        let server_done = done.clone();
        let server_job = job.clone();
        scope.spawn(move || {
            let result = loops::server(kit, &server_job, |bound| tell.send(bound).context("the client has gone"));
            let _ = server_done.send(result);
        });
        let client_job = job.clone();
        scope.spawn(move || {
            // A server that failed has dropped its end and reports by itself.
            let Ok(endpoint) = told.recv() else { return };
            let _ = done.send(loops::client(kit, &Job { endpoint, ..client_job }));
        });
        let outcome = outcome.recv().context("neither side measured")?;
        // The scope would wait for the other thread, which works forever.
        match outcome {
            Ok(sample) => print(&Output::Sample(sample))?,
            Err(error) if error.to_string().starts_with(UNSUPPORTED) => print(&Output::Unsupported(error.to_string()))?,
            Err(error) => {
                eprintln!("{error:#}");
                std::process::exit(1);
            }
        }
        std::io::stdin().read_to_end(&mut Vec::new())?;
        std::process::exit(0)
    })
}

fn print(output: &Output) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(output)?)?;
    Ok(stdout.flush()?)
}

/// Thousands of connections need as many descriptors.
fn allow_many_files() -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("raising the limit of open files")
}
