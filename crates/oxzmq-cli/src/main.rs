//! Parse, dispatch, exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use oxzmq_cli::commands::{bench, demo};

/// ZeroMQ in memory-safe Rust: demos and benchmarks.
#[derive(Parser)]
#[command(name = "oxzmq", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Bench(bench::Args),
    #[command(hide = true)]
    BenchPeer(bench::PeerArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Demo(args) => demo::run(args),
        Command::Bench(args) => bench::run(args),
        Command::BenchPeer(args) => bench::run_peer(args),
    }
}
