//! The subcommands, one module each: `Args` is what was typed, `run` does it and returns the exit
//! code.

pub mod bench;
pub mod check;
pub mod demo;
pub mod generate;
pub mod keygen;
pub mod master;
pub mod serve;
pub mod status;
pub mod worker;
