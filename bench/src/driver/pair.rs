//! One measurement: start the processes of a contender, wait for the figure, end them, and see what they used.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use oxzmq_bench::sample::{Output, Sample};
use oxzmq_bench::{Case, ENCRYPTED};

use super::plan::{Block, Contender};

/// What one measurement gave.
pub(crate) enum Outcome {
    Measured(Measurement),
    /// The contender cannot do this.
    Unsupported(String),
}

pub(crate) struct Measurement {
    pub(crate) sample: Sample,
    /// Processor seconds of both processes, user and system, for each million messages.
    pub(crate) cpu_per_million: f64,
    /// What the server's resident memory grew by for each connection, in bytes.
    pub(crate) memory_per_connection: Option<f64>,
}

/// How long a contender may take beyond its measurement before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn measure(contender: &Contender, block: &Block, seconds: f64) -> Result<Outcome> {
    let directory = tempfile::tempdir()?;
    let endpoint = match block.transport.as_str() {
        "tcp" => "tcp://127.0.0.1:*".to_owned(),
        "curve" => format!("{ENCRYPTED}tcp://127.0.0.1:*"),
        "ipc" => format!("ipc://{}/socket", directory.path().display()),
        _ => "inproc://bench".to_owned(),
    };
    let deadline = Instant::now() + Duration::from_secs_f64(seconds * 1.5) + PATIENCE;
    if block.transport == "inproc" {
        let mut process = Process::start(contender, block, "both", &endpoint, seconds)?;
        let sample = match process.next(deadline)? {
            Output::Sample(sample) => sample,
            Output::Unsupported(why) => return Ok(Outcome::Unsupported(why)),
            Output::Bound(_) => bail!("an endpoint without need"),
        };
        return Ok(Outcome::Measured(Measurement {
            cpu_per_million: process.end()? / sample.total as f64 * 1e6,
            sample,
            memory_per_connection: None,
        }));
    }
    let mut server = Process::start(contender, block, "server", &endpoint, seconds)?;
    let bound = match server.next(deadline)? {
        Output::Bound(bound) => bound,
        Output::Unsupported(why) => return Ok(Outcome::Unsupported(why)),
        Output::Sample(_) => bail!("a figure before there was a client"),
    };
    let before = server.resident()?;
    let mut client = Process::start(contender, block, "client", &bound, seconds)?;
    let measuring = if matches!(block.case, Case::Throughput | Case::Paced(_)) { &server } else { &client };
    let sample = match measuring.next(deadline)? {
        Output::Sample(sample) => sample,
        Output::Unsupported(why) => return Ok(Outcome::Unsupported(why)),
        Output::Bound(_) => bail!("a second endpoint"),
    };
    let memory_per_connection = match block.case {
        Case::Router(peers) => Some((server.resident()? as f64 - before as f64) / peers as f64),
        _ => None,
    };
    let seconds = server.end()? + client.end()?;
    let cpu_per_million = seconds / sample.total as f64 * 1e6;
    Ok(Outcome::Measured(Measurement { sample, cpu_per_million, memory_per_connection }))
}

struct Process {
    child: Child,
    lines: Receiver<String>,
    ended: bool,
}

impl Process {
    fn start(contender: &Contender, block: &Block, role: &str, endpoint: &str, seconds: f64) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name(contender.program);
        let mut command = Command::new(&program);
        command
            .args([&block.case.to_string(), role, endpoint, &block.size.to_string(), &seconds.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(library) = &contender.library {
            command.env("OXZMQ_BENCH_LIBRARY", library);
        }
        if let Some(mode) = contender.mode {
            command.env("OXZMQ_BENCH_MODE", mode);
        }
        let mut child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let stdout = child.stdout.take().context("no output")?;
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Process { child, lines, ended: false })
    }

    fn next(&self, deadline: Instant) -> Result<Output> {
        let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        Ok(serde_json::from_str(&line.context("ended or got stuck")?)?)
    }

    /// Resident memory in bytes.
    fn resident(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// End the process; the result is the processor time that it used, in seconds.
    #[allow(unsafe_code)]
    fn end(&mut self) -> Result<f64> {
        self.child.kill()?;
        let pid = libc::pid_t::try_from(self.child.id())?;
        let mut status = 0;
        // SAFETY: all zeros is a valid `rusage`.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: two valid pointers, and a child of ours that nobody else waits for.
        let result = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
        self.ended = true;
        ensure!(result == pid, "wait4: {}", std::io::Error::last_os_error());
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        Ok(seconds(usage.ru_utime) + seconds(usage.ru_stime))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
