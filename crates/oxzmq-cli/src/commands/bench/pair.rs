//! One measurement: two ends, in two processes or (inproc) in two threads.

use std::io::{Read, stdin};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow};

use super::bare::Bare;
use super::libzmq::{Library, Libzmq};
use super::link::{self, Kit, Part, Sample, Window};
use super::ours;
use super::{Api, Case};

/// Who is measured.
#[derive(Clone)]
pub(crate) enum Candidate {
    Oxzmq(Api),
    Bare,
    /// The file as it was named, and the library.
    Libzmq(String, Arc<Library>),
}

/// What is measured.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) case: Case,
    /// Where to listen; `inproc://` means two threads instead of two processes.
    pub(crate) endpoint: String,
    /// Octets of a message.
    pub(crate) size: usize,
    pub(crate) window: Window,
    /// Encrypted.
    pub(crate) curve: bool,
}

/// What the other process is told, by its command line.
#[derive(clap::Args, Debug)]
pub struct PeerArgs {
    #[arg(long)]
    candidate: PeerCandidate,
    #[arg(long, required_if_eq("candidate", "libzmq"))]
    library: Option<String>,
    #[arg(long)]
    part: Part,
    #[arg(long)]
    size: usize,
    #[arg(long)]
    endpoint: String,
    #[arg(long)]
    curve: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PeerCandidate {
    Blocking,
    Async,
    Bare,
    Libzmq,
}

/// Measure `candidate` once.
pub(crate) fn measure(candidate: &Candidate, setup: &Setup) -> Result<Sample> {
    match candidate {
        Candidate::Oxzmq(Api::Blocking) => near(&ours::Blocking::new(setup.curve), candidate, setup),
        Candidate::Oxzmq(Api::Async) => near(&ours::Async::new(setup.curve)?, candidate, setup),
        Candidate::Bare => near(&Bare::new(), candidate, setup),
        Candidate::Libzmq(_, library) => near(&Libzmq::new(library, setup.curve)?, candidate, setup),
    }
}

/// Be the other process: send or answer until the first process has had enough.
pub(crate) fn serve(args: &PeerArgs) -> Result<()> {
    exit_with_parent();
    match args.candidate {
        PeerCandidate::Blocking => far_of(&ours::Blocking::new(args.curve), args),
        PeerCandidate::Async => far_of(&ours::Async::new(args.curve)?, args),
        PeerCandidate::Bare => far_of(&Bare::new(), args),
        PeerCandidate::Libzmq => {
            let name = args.library.as_deref().unwrap_or_default();
            far_of(&Libzmq::new(&Library::load(name)?, args.curve)?, args)
        }
    }
}

/// The measuring end, and the making of the other.
fn near<K: Kit>(kit: &K, candidate: &Candidate, setup: &Setup) -> Result<Sample> {
    let (here, there) = match setup.case {
        Case::Throughput => (Part::Pull, Part::Push),
        Case::Latency => (Part::Req, Part::Rep),
    };
    let (listener, endpoint) = kit.listen(&setup.endpoint, here)?;
    if endpoint.starts_with("inproc://") {
        near_thread(kit, listener, &endpoint, there, setup)
    } else {
        let peer = Peer::spawn(candidate, &endpoint, there, setup)?;
        let mut end = kit.accept(listener)?;
        let sample = kit.block_on(take(&mut end, setup));
        // First the peer, so that it has no broken connection to complain about.
        drop(peer);
        sample
    }
}

fn near_thread<K: Kit>(kit: &K, listener: K::Listener, endpoint: &str, there: Part, setup: &Setup) -> Result<Sample> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| far(kit, endpoint, there, setup.size, &stop));
        let mut end = kit.accept(listener)?;
        let sample = kit.block_on(take(&mut end, setup));
        stop.store(true, Ordering::Relaxed);
        if sample.is_ok() {
            kit.block_on(async {
                match setup.case {
                    Case::Throughput => link::drain(&mut end).await,
                    Case::Latency => link::dismiss(&mut end).await,
                }
            })?;
        }
        // Where the measurement failed, so does the other end, within its patience.
        let other = other.join().map_err(|_| anyhow!("the other thread panicked"))?;
        sample.and_then(|sample| other.map(|()| sample))
    })
}

async fn take(end: &mut impl link::End, setup: &Setup) -> Result<Sample> {
    match setup.case {
        Case::Throughput => link::count(end, setup.size, setup.window).await,
        Case::Latency => link::ask(end, setup.size, setup.window).await,
    }
}

fn far_of<K: Kit>(kit: &K, args: &PeerArgs) -> Result<()> {
    far(kit, &args.endpoint, args.part, args.size, &AtomicBool::new(false))
}

/// The other end: whatever the measuring end needs.
fn far<K: Kit>(kit: &K, endpoint: &str, part: Part, size: usize, stop: &AtomicBool) -> Result<()> {
    let mut end = kit.connect(endpoint, part)?;
    kit.block_on(async {
        match part {
            Part::Push => link::flood(&mut end, size, stop).await,
            Part::Rep => link::echo(&mut end, size).await,
            Part::Pull | Part::Req => Err(anyhow!("{part:?} measures, and does not serve")),
        }
    })
}

/// The other process; ended when dropped.
struct Peer(Child);

impl Peer {
    fn spawn(candidate: &Candidate, endpoint: &str, part: Part, setup: &Setup) -> Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut command = Command::new(program);
        command.arg("bench-peer").args(["--endpoint", endpoint]);
        command.arg("--size").arg(setup.size.to_string());
        command.args(setup.curve.then_some("--curve"));
        command.args(["--part", if part == Part::Push { "push" } else { "rep" }]);
        match candidate {
            Candidate::Oxzmq(Api::Blocking) => command.args(["--candidate", "blocking"]),
            Candidate::Oxzmq(Api::Async) => command.args(["--candidate", "async"]),
            Candidate::Bare => command.args(["--candidate", "bare"]),
            Candidate::Libzmq(name, _) => command.args(["--candidate", "libzmq", "--library", name]),
        };
        let child = command.stdin(Stdio::piped()).spawn().context("starting the second process")?;
        Ok(Peer(child))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// End this process when the first one is gone, however it went: its end of our standard input
/// closes then. The thread sleeps all the while.
fn exit_with_parent() {
    thread::spawn(|| {
        let _ = stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}
