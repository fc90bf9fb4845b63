//! Worker processes that a master starts itself, and starts again when they die.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::voice::say;

/// Pause before a process is started again, the first time and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A process that lived for so long did not die of its start.
const HEALTHY: Duration = Duration::from_secs(1);
/// How long a new process has the time to introduce itself before the next one is replaced.
const SETTLE: Duration = Duration::from_millis(300);
/// How long processes may take to end by themselves.
const FAREWELL: Duration = Duration::from_secs(2);

/// How to start a worker process: the program and its arguments, without the name.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
}

impl Recipe {
    /// Starts one. Its standard input is a pipe that nothing is written to: when this process ends, however
    /// it ends, the pipe closes and the worker goes too. It is in a process group of its own because a
    /// terminal sends Ctrl-C to the whole group, and workers are to finish their work first.
    fn start(&self, name: &str) -> io::Result<Child> {
        Command::new(&self.program)
            .args(&self.arguments)
            .args(["--name", name])
            .stdin(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// Keeps a number of worker processes alive.
pub(crate) struct Children {
    stopping: watch::Sender<bool>,
    keepers: JoinSet<()>,
    /// Asks each keeper to replace its process.
    replace: Vec<mpsc::Sender<oneshot::Sender<()>>>,
}

impl Children {
    /// Starts `count` processes named `worker-1` and so on.
    ///
    /// # Errors
    /// When the first cannot be started.
    pub(crate) fn start(recipe: &Recipe, count: usize) -> io::Result<Self> {
        let (stopping, watcher) = watch::channel(false);
        let mut keepers = JoinSet::new();
        let mut replace = Vec::new();
        for number in 1..=count {
            let name = format!("worker-{number}");
            let child = recipe.start(&name)?;
            let (sender, wishes) = mpsc::channel(1);
            replace.push(sender);
            keepers.spawn(keep(recipe.clone(), name, child, watcher.clone(), wishes));
        }
        Ok(Self { stopping, keepers, replace })
    }

    /// Replaces all processes, one after the other: each finishes what it has in hand, and its successor is
    /// started before the next one's turn.
    pub(crate) async fn roll(&self) {
        for keeper in &self.replace {
            let (done, replaced) = oneshot::channel();
            if keeper.send(done).await.is_ok() {
                let _ = replaced.await;
            }
        }
    }

    /// Processes that end well from now on are not started again.
    pub(crate) fn stopping(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits a moment for all to end, and ends those that did not.
    pub(crate) async fn finish(mut self) {
        self.stopping();
        let all = async { while self.keepers.join_next().await.is_some() {} };
        let _ = timeout(FAREWELL, all).await;
        self.keepers.shutdown().await; // dropping a child kills it
    }
}

async fn keep(
    recipe: Recipe,
    name: String,
    first: Child,
    stopping: watch::Receiver<bool>,
    mut wishes: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let mut pause = PAUSE.0;
    let mut child = Some(first);
    loop {
        let born = Instant::now();
        if let Some(mut old) = child.take() {
            let _pipe = old.stdin.take(); // waiting would close it
            let (ended, wish) = tokio::select! {
                ended = old.wait() => (ended, None),
                Some(wish) = wishes.recv() => {
                    terminate(&old);
                    (old.wait().await, Some(wish))
                }
            };
            match (ended, wish) {
                (Ok(status), Some(wish)) if status.success() && !*stopping.borrow() => {
                    if let Ok(new) = recipe.start(&name) {
                        child = Some(new);
                        sleep(SETTLE).await;
                        let _ = wish.send(());
                        continue;
                    }
                }
                (Ok(status), _) if status.success() && *stopping.borrow() => return,
                (Ok(status), _) => say(format!("{name} ended ({}); starting it again", describe(status))),
                (Err(error), _) => say(format!("lost sight of {name}: {error}; starting another")),
            }
        }
        pause = if born.elapsed() >= HEALTHY { PAUSE.0 } else { pause };
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
        match recipe.start(&name) {
            Ok(started) => child = Some(started),
            Err(error) => say(format!("cannot start {name}: {error}")),
        }
    }
}

/// Asks a process to finish and to end.
fn terminate(child: &Child) {
    let pid = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM); // it has ended by itself
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(9)) => "killed".to_owned(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}
