//! Runs the contenders in turns and tells how they did; README.md says what the figures mean.

mod driver {
    pub(crate) mod chart;
    pub(crate) mod pair;
    pub(crate) mod plan;
    pub(crate) mod table;
}

use anyhow::Result;
use clap::Parser;
use driver::{chart, pair, plan, table};

/// Measures oxzmq and its rivals, round by round in turns.
#[derive(Parser, Debug)]
struct Arguments {
    /// A minute's run: few cases, contenders and rounds. Other options still count.
    #[arg(long)]
    quick: bool,
    /// Cases, of: throughput, latency, pubsub[:PEERS], router[:PEERS], flooded, subscriptions[:COUNT], handshakes, proxy, poll[:SOCKETS], paced[:RATE].
    #[arg(long, value_delimiter = ',')]
    cases: Vec<oxzmq_bench::Case>,
    /// Contenders, see `--list`.
    #[arg(long, value_delimiter = ',')]
    contenders: Vec<String>,
    /// tcp, ipc, inproc, curve (tcp, encrypted).
    #[arg(long, value_delimiter = ',')]
    transports: Vec<String>,
    /// Sizes of messages in bytes.
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<usize>,
    /// Rounds; the figures are medians over them [default: 5, quick: 3].
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds that each measurement takes, after a quarter of it to warm up [default: 1, quick: 0.4].
    #[arg(long)]
    seconds: Option<f64>,
    /// A shared library with libzmq's C interface, as another contender `library`.
    #[arg(long)]
    library: Option<String>,
    /// Where to put results.json and charts/.
    #[arg(long, default_value = env!("CARGO_MANIFEST_DIR"))]
    output: std::path::PathBuf,
    /// List the contenders and end.
    #[arg(long)]
    list: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let plan = plan::Plan::new(&arguments)?;
    if arguments.list {
        for contender in &plan.contenders {
            println!("{:16} {}", contender.name, contender.about);
        }
        return Ok(());
    }
    let mut results = table::Results::new();
    for (number, block) in plan.blocks.iter().enumerate() {
        for round in 0..plan.rounds {
            for contender in &plan.contenders {
                eprint!(
                    "\r\x1b[K[{}/{}] {block} round {} {}",
                    number + 1,
                    plan.blocks.len(),
                    round + 1,
                    contender.name
                );
                if results.is_hopeless(block, contender.name) {
                    continue;
                }
                results.add(block, contender.name, round, pair::measure(contender, block, plan.seconds));
            }
        }
        eprint!("\r\x1b[K");
        print!("{}", results.table(block));
        // After each block, so that a run that is interrupted leaves something.
        results.save(&arguments.output)?;
    }
    chart::draw(&results, &arguments.output.join("charts"))
}
