//! The worker: connects to a master, reads files, sends them.
//!
//! One thread does everything, one message at a time: a request is answered at once with the facts and the
//! first piece of the file; the rest follows as the master grants credit. Many downloads share the thread in
//! turns because each grant pays for a few pieces only. To use more cores, start more workers.
//!
//! A worker that loses its master, or that is told to start anew, makes a new connection with a new routing
//! id. Nothing of the old one survives, so no late message can be taken for a new one.

mod session;
mod source;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oxzmq::{Context, Socket};

use crate::config::WorkerConfig;
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
    /// The present connection, so that whoever stops the worker can tell the master at once.
    socket: Mutex<Option<Arc<Socket>>>,
    stopped: Condvar,
}

impl Shared {
    fn socket(&self) -> MutexGuard<'_, Option<Arc<Socket>>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
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
        if let Some(socket) = &*self.0.socket() {
            // The master answers with STOP, which wakes the worker. Without a master the worker looks at
            // the flag once a second.
            let _ = socket.try_send(ToMaster::Draining.encode());
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
        let root = Root::open(&config.root).map_err(|source| Error::Root { path: config.root.clone(), source })?;
        let name = config.name.clone().unwrap_or_else(|| format!("{}-{}", system::host(), std::process::id()));
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(|c| c.is_ascii_graphic()) {
            let what = format!("a worker's name is 1 to {NAME_MAX} letters without spaces, unlike {name:?}");
            return Err(Error::Setting(what));
        }
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

    /// Serves until it is stopped, by its [`Stopper`] or by the master. Waits for a master that is not
    /// there yet, and for one that comes back. `notice` is told what happens.
    ///
    /// # Errors
    /// [`Error::Endpoint`] when the master's endpoint makes no sense, [`Error::Socket`] when the library fails.
    pub fn run(&self, notice: &dyn Fn(Notice)) -> Result<()> {
        let mut pause = PAUSE.0;
        while !self.is_stopped() {
            let mut session = Session::new(self, notice)?;
            *self.shared.socket() = Some(session.socket());
            let ending = session.run();
            *self.shared.socket() = None;
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
        let guard = self.shared.socket();
        let _ = self.shared.stopped.wait_timeout_while(guard, pause + jitter, |_| !self.is_stopped());
    }
}
