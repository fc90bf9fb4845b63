//! The command `oxzmq`: everything behind its `main`, so that tests and other programs can use the
//! same code.
//!
//! | module | duty |
//! | --- | --- |
//! | [`commands`] | one file or directory per subcommand: its arguments and `run` |
//! | [`curve`] | flags for keys that several commands have |
//! | [`demos`] | the programs of a first lecture, which are also the library's examples |
//! | [`settings`] | flags from a TOML file |
//! | [`outcome`] | what a command's result means to the shell |

// One module is exempt: the one that loads foreign libraries for `bench --against`.
#![deny(unsafe_code)]

pub mod commands;
pub mod curve;
pub mod demos;
pub mod outcome;
pub mod settings;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use commands::{bench, check, demo, generate, keygen, master, serve, status, worker};

/// ZeroMQ in memory-safe Rust: a web server with distributed workers, demos and benchmarks.
#[derive(Debug, Parser)]
#[command(name = "oxzmq", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Master(master::Args),
    Worker(worker::Args),
    Status(status::Args),
    Check(check::Args),
    Demo(demo::Args),
    Bench(bench::Args),
    Keygen(keygen::Args),
    Generate(generate::Args),
    #[command(hide = true)]
    BenchPeer(bench::PeerArgs),
}

/// Parses what was typed, with a file of settings if one is named, and does it.
pub fn run(typed: Vec<OsString>) -> ExitCode {
    let typed = match settings::expand(&Cli::command(), typed) {
        Ok(typed) => typed,
        Err(error) => return outcome::exit_code(Err(error)),
    };
    match Cli::parse_from(typed).command {
        Command::Serve(args) => serve::run(args),
        Command::Master(args) => master::run(args),
        Command::Worker(args) => worker::run(args),
        Command::Status(args) => status::run(args),
        Command::Check(args) => check::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Keygen(args) => keygen::run(args),
        Command::Generate(args) => generate::run(args),
        Command::BenchPeer(args) => bench::run_peer(args),
    }
}

/// The examples in the README are tested like any other.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
