//! `oxzmq bench`: throughput and round-trip time next to a bare socket's, and, if wanted, next to
//! those of any library with libzmq's C interface.
//!
//! Machines have good and bad moments, so the candidates take turns round by round, and ratios
//! come from figures of the same round.
//!
//! | module | duty |
//! | --- | --- |
//! | `link` | what is measured: four loops over one end of a connection |
//! | `ours`, `bare`, `libzmq` | the candidates' ends |
//! | `keys` | the keys of `--curve` |
//! | `pair` | one measurement: two processes or two threads |
//! | `report` | medians, spreads, ratios; table and JSON |

mod bare;
mod keys;
mod libzmq;
mod link;
mod ours;
mod pair;
mod report;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use self::libzmq::Library;
use self::link::Window;
pub use self::pair::PeerArgs;
use self::pair::{Candidate, Setup, measure};
use self::report::{Row, table};
use crate::outcome::exit_code;

/// What a run takes unless `--seconds` says otherwise: seconds for all measurements together.
const BUDGET: f64 = 45.0;
/// A measurement's share of it has these limits, in seconds.
const SHORTEST: f64 = 0.05;
const LONGEST: f64 = 1.0;

/// Measure throughput and round-trip time, next to bare sockets and other libraries
///
/// Throughput is PUSH to PULL, the round trip is REQ to REP and back, in two processes (inproc: two
/// threads). Every candidate is measured in every round, one after the other, and ratios are
/// medians over the rounds. "bare" is the same framing by hand over a TCP or Unix stream, gathered
/// in 256 KiB writes for throughput; for inproc it is a bounded channel of Rust's standard library.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Message sizes in bytes
    #[arg(long, value_delimiter = ',', default_value = "16,256,4096,65536", value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    sizes: Vec<u32>,
    /// How often everything is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Which transports
    #[arg(long, value_delimiter = ',', default_value = "tcp,ipc,inproc")]
    transports: Vec<Transport>,
    /// What to measure
    #[arg(long, value_delimiter = ',', default_value = "throughput,latency")]
    cases: Vec<Case>,
    /// Which interface of oxzmq; "async" runs on Tokio
    #[arg(long, default_value = "blocking")]
    api: Api,
    /// Also measure this library, for example libzmq.so.5
    #[arg(long, value_name = "LIBRARY")]
    against: Option<String>,
    /// Encrypt with CURVE (tcp and ipc); the bare socket, which cannot, takes no part
    #[arg(long)]
    curve: bool,
    /// Length of one measurement [default: so that all take about 45 seconds]
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// Also write all figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Which interface of oxzmq.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Api {
    Blocking,
    Async,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Transport {
    Tcp,
    Ipc,
    Inproc,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Case {
    Throughput,
    Latency,
}

impl Case {
    fn title(self) -> &'static str {
        match self {
            Case::Throughput => "PUSH/PULL, messages per second (ratio: higher is better)",
            Case::Latency => "REQ/REP, round trip in µs, p50 and p99 (ratio of p50: lower is better)",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Case::Throughput => "throughput",
            Case::Latency => "latency",
        })
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Tcp => "tcp",
            Transport::Ipc => "ipc",
            Transport::Inproc => "inproc",
        })
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.001..=3600.0).contains(&value) => Ok(value),
        _ => Err("expected seconds from 0.001 to 3600".into()),
    }
}

/// Measure and report.
pub fn run(args: Args) -> ExitCode {
    exit_code(bench(&args))
}

/// Be the second process of a measurement.
pub fn run_peer(args: PeerArgs) -> ExitCode {
    exit_code(pair::serve(&args).context("second process"))
}

/// What the JSON file holds.
#[derive(Serialize)]
struct Report<'a> {
    version: &'static str,
    api: Api,
    curve: bool,
    cores: usize,
    rounds: u32,
    seconds_per_measurement: f64,
    rows: &'a [Row],
}

/// Each once, in the order in which they were first named.
fn distinct<T: Copy + PartialEq>(named: &[T]) -> Vec<T> {
    let mut distinct = Vec::new();
    for &one in named {
        if !distinct.contains(&one) {
            distinct.push(one);
        }
    }
    distinct
}

fn bench(args: &Args) -> Result<()> {
    let (transports, cases, sizes) = (distinct(&args.transports), distinct(&args.cases), distinct(&args.sizes));
    let (candidates, names): (Vec<_>, Vec<_>) = candidates(args)?.into_iter().unzip();
    let cells = transports.len() * cases.len() * sizes.len();
    let total = cells * args.rounds as usize * candidates.len();
    let share = (BUDGET / total.max(1) as f64 / 1.25).clamp(SHORTEST, LONGEST);
    let seconds = args.seconds.unwrap_or(share);
    // Asked for first: nobody wants to learn after a minute that the file cannot be written.
    let mut json = args.json.as_deref().map(create).transpose()?;

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut out = io::stdout();
    writeln!(
        out,
        "{} on {cores} core{}: {} round{} of {seconds:.2} s each; medians, ± half the range",
        names.join(", "),
        plural(cores),
        args.rounds,
        plural(args.rounds as usize),
    )?;

    let directory = tempfile::Builder::new().prefix("oxzmq-bench-").tempdir()?;
    let mut progress = Progress::new(total);
    let mut all = Vec::with_capacity(cells);
    for &transport in &transports {
        for &case in &cases {
            let first = all.len();
            for &size in &sizes {
                let mut samples = vec![Vec::new(); candidates.len()];
                for _ in 0..args.rounds {
                    for (index, candidate) in candidates.iter().enumerate() {
                        progress.next(transport, case, size, &names[index]);
                        let setup = Setup {
                            case,
                            endpoint: match transport {
                                Transport::Tcp => "tcp://127.0.0.1:*".into(),
                                Transport::Ipc => {
                                    let path = directory.path().join(progress.done.to_string());
                                    format!("ipc://{}", path.display())
                                }
                                Transport::Inproc => "inproc://bench".into(),
                            },
                            size: size as usize,
                            window: Window::new(seconds),
                            curve: args.curve,
                        };
                        let sample = measure(candidate, &setup)
                            .with_context(|| format!("{}: {case} over {transport}, {size} bytes", names[index]))?;
                        samples[index].push(sample);
                    }
                }
                all.push(Row::new((transport, case, size as usize), &names, samples));
            }
            progress.clear();
            out.write_all(table(&all[first..]).as_bytes())?;
        }
    }
    progress.finish(&mut out)?;

    if let Some((path, file)) = &mut json {
        let report = Report {
            version: env!("CARGO_PKG_VERSION"),
            api: args.api,
            curve: args.curve,
            cores,
            rounds: args.rounds,
            seconds_per_measurement: seconds,
            rows: &all,
        };
        let text = serde_json::to_string_pretty(&report)? + "\n";
        file.write_all(text.as_bytes()).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Who takes part, under which name; oxzmq first.
fn candidates(args: &Args) -> Result<Vec<(Candidate, String)>> {
    let ours = match args.api {
        Api::Blocking => "oxzmq",
        Api::Async => "oxzmq-async",
    };
    let mut all = vec![(Candidate::Oxzmq(args.api), ours.to_owned())];
    if !args.curve {
        all.push((Candidate::Bare, "bare".to_owned()));
    }
    if let Some(name) = &args.against {
        let library = Library::load(name)?;
        let title = format!("libzmq-{}", library.version());
        all.push((Candidate::Libzmq(name.clone(), library), title));
    }
    Ok(all)
}

fn create(path: &std::path::Path) -> Result<(PathBuf, std::fs::File)> {
    let file = std::fs::File::create(path).with_context(|| format!("cannot write to {}", path.display()))?;
    Ok((path.to_owned(), file))
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// On standard error; whether anybody reads it makes no difference.
fn tell(text: fmt::Arguments<'_>) {
    let _ = io::stderr().write_fmt(text);
}

/// What is going on, on standard error: one line that changes where that is a terminal, else one
/// line per table.
struct Progress {
    done: usize,
    total: usize,
    begin: Instant,
    terminal: bool,
    last: Option<(Transport, Case)>,
}

impl Progress {
    fn new(total: usize) -> Self {
        Progress { done: 0, total, begin: Instant::now(), terminal: io::stderr().is_terminal(), last: None }
    }

    fn next(&mut self, transport: Transport, case: Case, size: u32, name: &str) {
        self.done += 1;
        let (done, total) = (self.done, self.total);
        if self.terminal {
            tell(format_args!("\r\x1b[K[{done}/{total}] {transport} {case} {size} B: {name}"));
        } else if self.last != Some((transport, case)) {
            tell(format_args!("[{done}/{total}] {transport} {case} ...\n"));
            self.last = Some((transport, case));
        }
    }

    fn clear(&self) {
        if self.terminal {
            tell(format_args!("\r\x1b[K"));
        }
    }

    fn finish(&self, out: &mut impl Write) -> io::Result<()> {
        let seconds = self.begin.elapsed().as_secs_f64();
        writeln!(out, "\n{} measurements in {seconds:.0} s", self.total)
    }
}
