//! What is measured: which contenders, which cases over which transports with which sizes.

use std::fmt;

use anyhow::{Result, bail, ensure};
use oxzmq_bench::Case;

/// A contender and how to start it.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// The file beside the driver's.
    pub(crate) program: &'static str,
    /// Which library the program `libzmq` loads instead of its own.
    pub(crate) library: Option<String>,
    /// What the environment variable `OXZMQ_BENCH_MODE` says to a program with several.
    pub(crate) mode: Option<&'static str>,
    pub(crate) about: &'static str,
}

/// Name, program, what it is, mode. Programs that were not built (see the feature `rivals`) are left out.
const CONTENDERS: [(&str, &str, &str, Option<&str>); 11] = [
    ("bare", "bare", "the kernel's sockets without a library", None),
    ("oxzmq", "oxzmq", "oxzmq, blocking calls", None),
    ("oxzmq-tokio", "oxzmq-tokio", "oxzmq, async on Tokio", None),
    ("libzmq", "libzmq", "libzmq 4.3.5, built from its crate", None),
    ("omq-tokio", "omq-tokio", "omq-tokio, its own I/O threads, batches received", None),
    ("omq-exclusive", "omq-tokio", "omq-tokio's exclusive sockets", Some("exclusive")),
    ("rzmq", "rzmq", "rzmq on Tokio, one thread", None),
    ("rzmq-multi", "rzmq", "rzmq on Tokio, a thread per processor", Some("multi")),
    ("zeromq", "zeromq", "zmq.rs on Tokio, one thread", None),
    ("zeromq-multi", "zeromq", "zmq.rs on Tokio, a thread per processor", Some("multi")),
    ("nng", "nng", "nng 1, built from its crate", None),
];

/// One row of figures.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Block {
    pub(crate) case: Case,
    pub(crate) transport: String,
    pub(crate) size: usize,
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.case, self.transport, size(self.size))
    }
}

/// "16 B", "64 KiB".
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

pub(crate) struct Plan {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
}

impl Plan {
    pub(crate) fn new(arguments: &crate::Arguments) -> Result<Self> {
        let quick = arguments.quick;
        Ok(Plan {
            contenders: contenders(arguments)?,
            blocks: blocks(arguments)?,
            rounds: arguments.rounds.unwrap_or(if quick { 3 } else { 5 }).max(1),
            seconds: arguments.seconds.unwrap_or(if quick { 0.4 } else { 1.0 }),
        })
    }
}

fn contenders(arguments: &crate::Arguments) -> Result<Vec<Contender>> {
    let mut all: Vec<_> =
        CONTENDERS.map(|(name, program, about, mode)| Contender { name, program, about, mode, library: None }).into();
    let driver = std::env::current_exe()?;
    all.retain(|contender| driver.with_file_name(contender.program).exists());
    let system = Some("libzmq.so.5".to_owned());
    all.push(Contender {
        name: "libzmq-system",
        program: "libzmq",
        about: "the system's libzmq.so.5",
        library: system,
        mode: None,
    });
    if let Some(library) = &arguments.library {
        let (about, library) = ("the library of --library", Some(library.clone()));
        all.push(Contender { name: "library", program: "libzmq", about, mode: None, library });
    }
    let quick = ["bare", "oxzmq", "libzmq", "library"].map(str::to_owned);
    let wanted = match &arguments.contenders[..] {
        [] if arguments.quick => &quick[..],
        [] => return Ok(all),
        some => some,
    };
    if let Some(unknown) = arguments.contenders.iter().find(|name| all.iter().all(|known| known.name != *name)) {
        bail!("no contender `{unknown}`; --list lists them");
    }
    all.retain(|contender| wanted.iter().any(|name| name == contender.name));
    Ok(all)
}

fn blocks(arguments: &crate::Arguments) -> Result<Vec<Block>> {
    let all = [
        "throughput",
        "latency",
        "pubsub",
        "router",
        "flooded",
        "subscriptions",
        "handshakes",
        "proxy",
        "poll",
        "paced",
    ];
    let cases = match (&arguments.cases[..], arguments.quick) {
        ([], true) => all[..4].iter().map(|case| case.parse()).collect::<Result<_>>()?,
        ([], false) => all.iter().map(|case| case.parse()).collect::<Result<_>>()?,
        (cases, _) => cases.to_vec(),
    };
    let mut blocks = Vec::new();
    for case in cases {
        let (transports, sizes): (&[&str], &[usize]) = match (case, arguments.quick) {
            (Case::Throughput, false) => (&["tcp", "ipc", "inproc", "curve"], &[16, 256, 4096, 65_536, 1_048_576]),
            (Case::Throughput, true) => (&["tcp", "inproc"], &[16, 4096, 65_536]),
            (Case::Latency, _) => (&["tcp", "ipc", "inproc"], &[16]),
            (Case::Handshakes, _) => (&["tcp", "curve"], &[16]),
            _ => (&["tcp"], &[16]),
        };
        let transports = match &arguments.transports[..] {
            [] => transports.iter().map(ToString::to_string).collect(),
            transports => transports.to_vec(),
        };
        let sizes = if arguments.sizes.is_empty() { sizes } else { &arguments.sizes };
        for transport in transports {
            ensure!(matches!(transport.as_str(), "tcp" | "ipc" | "inproc" | "curve"), "no transport `{transport}`");
            let block = |size: &usize| Block { case, transport: transport.clone(), size: *size };
            blocks.extend(sizes.iter().map(block));
        }
    }
    Ok(blocks)
}
