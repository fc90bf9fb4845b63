//! Exit code of what the library does.

use std::process::ExitCode;

fn main() -> ExitCode {
    oxzmq_cli::run(std::env::args_os().collect())
}
