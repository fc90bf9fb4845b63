//! The C API of ZeroMQ over oxzmq: the library is a drop-in `libzmq.so.5`.
//!
//! Each function checks what it is given, calls the Rust library and translates the result: `-1` (or NULL, or 0)
//! and an errno for failures. No panic crosses into C: see [`guard`].
//!
//! Unsafe code is here because C hands over pointers. What each function may assume of them is what the manual pages
//! of libzmq say; where it can be told that a caller got it wrong (NULL, closed handles, garbage for a message) the
//! answer is an error instead of a crash. Handles are never dereferenced before they are known to be ours, see
//! [`handle`].

#![allow(clippy::missing_safety_doc)] // the manual pages of the functions say what callers have to see to
#![allow(unreachable_pub)] // exported by name, whatever the module

mod context;
mod errors;
mod guard;
mod handle;
mod message;
mod monitor;
mod poll;
mod poller;
mod proxy;
mod socket;
mod socket_options;
mod threads;
mod timers;
mod transfer;
mod utilities;
mod z85;
