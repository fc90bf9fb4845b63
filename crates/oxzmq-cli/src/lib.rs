//! The command `oxzmq`: everything behind its `main`, so that tests and other programs can use the
//! same code.
//!
//! | module | duty |
//! | --- | --- |
//! | [`commands`] | one file or directory per subcommand: its arguments and `run` |
//! | [`demos`] | the programs of a first lecture, which are also the library's examples |
//! | [`outcome`] | what a command's result means to the shell |

// One module is exempt: the one that loads foreign libraries for `bench --against`.
#![deny(unsafe_code)]

pub mod commands;
pub mod demos;
pub mod outcome;

/// The examples in the README are tested like any other.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
