//! The worker: connects to a master, reads files, sends them.
//!
//! One thread does everything, one message at a time: a request is answered at once with the facts and the
//! first piece of the file; the rest follows as the master grants credit. Many downloads share the thread in
//! turns because each grant pays for a few pieces only. To use more cores, start more workers.
//!
//! A worker that loses its master, or that is told to start anew, makes a new connection with a new routing
//! id. Nothing of the old one survives, so no late message can be taken for a new one.

mod listing;
mod session;
mod source;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oxzmq::{Context, Socket};

use crate::config::{self, WorkerConfig};
use crate::envelope::ToMaster;
use crate::error::{Error, Result};
use crate::files::Root;
use crate::system;

use session::{Ending, Session};

/// Longest name, in octets.
const NAME_MAX: usize = 64;
/// Pause before starting anew, the first time and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Serves one directory to one master. See the [module](self).
pub struct Worker {
    config: WorkerConfig,
    name: String,
    root: Root,
    context: Context,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// The present connections, so that whoever stops the worker can tell the masters at once.
    sockets: Mutex<Vec<Arc<Socket>>>,
    stopped: Condvar,
}

impl Shared {
    fn sockets(&self) -> MutexGuard<'_, Vec<Arc<Socket>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What happens to a worker, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// There is no connection to the master yet.
    Waiting,
    /// The master knows this worker and gives it requests.
    AtWork,
    /// The connection is given up and made anew, and why.
    StartingAnew(&'static str),
}

/// Stops a [`Worker`] from another thread.
#[derive(Clone)]
pub struct Stopper(Arc<Shared>);

impl Stopper {
    /// The worker takes nothing new, finishes what it has in hand, and [`Worker::run`] returns. May be
    /// called more than once.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::SeqCst);
        for socket in &*self.0.sockets() {
            // The master answers with STOP, which wakes the worker. Without a master the worker looks at
            // the flag once a second.
            let _ = socket.try_send(ToMaster::Draining.encode());
            socket.flush(); // its own thread may be waiting already
        }
        self.0.stopped.notify_all();
    }
}

impl Worker {
    /// Opens the directory. No connection is made yet.
    ///
    /// # Errors
    /// [`Error::Root`] when the directory cannot be opened, [`Error::Setting`] for a bad name or no slots.
    pub fn new(config: WorkerConfig) -> Result<Self> {
        let root = Root::open(&config.root, config.rules)
            .map_err(|source| Error::Root { path: config.root.clone(), source })?;
        let name = config.name.clone().unwrap_or_else(|| format!("{}-{}", system::host(), std::process::id()));
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(|c| c.is_ascii_graphic()) {
            let what = format!("a worker's name is 1 to {NAME_MAX} letters without spaces, unlike {name:?}");
            return Err(Error::Setting(what));
        }
        if config.masters.is_empty() {
            return Err(no_master());
        }
        config.masters.iter().try_for_each(|master| config::check_meeting_place(master))?;
        if config.slots == 0 {
            return Err(Error::Setting("a worker needs at least one slot".to_owned()));
        }
        Ok(Self { config, name, root, context: Context::new(), shared: Arc::default() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory it serves, links resolved.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// A handle that stops it.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.shared))
    }

    /// Serves until it is stopped: by its [`Stopper`], or by its masters if it is not to
    /// [stay](WorkerConfig::stay). Waits for masters that are not there yet, and for those that come back.
    /// Each of several masters is served by a thread. `notice` is told what happens, and with which master.
    ///
    /// # Errors
    /// [`Error::Endpoint`] when a master's endpoint makes no sense, [`Error::Socket`] when the library fails.
    pub fn run(&self, notice: &(dyn Fn(&str, Notice) + Sync)) -> Result<()> {
        let (first, others) = self.config.masters.split_first().ok_or_else(no_master)?;
        std::thread::scope(|scope| {
            let others: Vec<_> =
                others.iter().map(|master| scope.spawn(move || self.work_for(master, notice))).collect();
            let mut result = self.work_for(first, notice);
            for other in others {
                result = result.and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            result
        })
    }

    fn work_for(&self, master: &str, notice: &dyn Fn(&str, Notice)) -> Result<()> {
        let notice = |what| notice(master, what);
        let result = self.sessions(master, &notice);
        if result.is_err() {
            self.stopper().stop(); // a worker does all of what it was told to do, or says that it cannot
        }
        result
    }

    fn sessions(&self, master: &str, notice: &dyn Fn(Notice)) -> Result<()> {
        let mut pause = PAUSE.0;
        while !self.is_stopped() {
            let mut session = Session::new(self, master, notice)?;
            self.shared.sockets().push(session.socket());
            let ending = session.run();
            let ours = session.socket();
            self.shared.sockets().retain(|socket| !Arc::ptr_eq(socket, &ours));
            drop((session, ours));
            match ending? {
                Ending::Left => return Ok(()),
                Ending::Again { why, welcome } => {
                    notice(Notice::StartingAnew(why));
                    pause = if welcome { PAUSE.0 } else { (pause * 2).min(PAUSE.1) };
                    self.pause(pause);
                }
            }
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::SeqCst)
    }

    /// Waits for between one and two times `pause`, so that many workers do not come back all at once.
    fn pause(&self, pause: Duration) {
        let jitter = pause.mul_f64((system::random() % 1000) as f64 / 1000.0);
        let guard = self.shared.sockets();
        let _ = self.shared.stopped.wait_timeout_while(guard, pause + jitter, |_| !self.is_stopped());
    }
}

fn no_master() -> Error {
    Error::Setting("a worker needs at least one master".to_owned())
}
