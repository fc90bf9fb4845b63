//! Parse, dispatch, exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use oxzmq_cli::commands::{bench, demo, master, serve, worker};

/// ZeroMQ in memory-safe Rust: a web server with distributed workers, demos and benchmarks.
#[derive(Parser)]
#[command(name = "oxzmq", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Args),
    Master(master::Args),
    Worker(worker::Args),
    Demo(demo::Args),
    Bench(bench::Args),
    #[command(hide = true)]
    BenchPeer(bench::PeerArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Master(args) => master::run(args),
        Command::Worker(args) => worker::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Bench(args) => bench::run(args),
        Command::BenchPeer(args) => bench::run_peer(args),
    }
}
