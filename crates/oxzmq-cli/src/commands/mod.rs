//! The subcommands, one module each: `Args` is what was typed, `run` does it and returns the exit
//! code.

pub mod bench;
pub mod demo;
pub mod master;
pub mod serve;
pub mod worker;
