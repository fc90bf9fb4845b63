//! What a command's result means to the shell.

use std::io;
use std::process::ExitCode;

/// Success is 0 and failure is 1, with the reason on standard error. (Wrong usage is 2; clap sees
/// to that.) A reader that has seen enough, as in `oxzmq demo wuclient | head -1`, is no failure.
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oxzmq: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Only a bare error counts, as printing leaves it: one with a context is about something else, a
/// peer that has gone perhaps.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let outermost = error.chain().next().and_then(|error| error.downcast_ref::<io::Error>());
    outermost.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    fn code(result: anyhow::Result<()>) -> String {
        format!("{:?}", exit_code(result))
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let broken = io::Error::from(io::ErrorKind::BrokenPipe);
        let success = format!("{:?}", ExitCode::SUCCESS);
        assert_eq!(code(Ok(())), success);
        assert_eq!(code(Err(broken.into())), success);
    }

    #[test]
    fn anything_else_is() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let failure = format!("{:?}", ExitCode::FAILURE);
        assert_eq!(code(Err(refused.into())), failure);
        let broken = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(code(Err(broken).context("asking the second process")), failure);
    }
}
