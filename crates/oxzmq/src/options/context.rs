//! The options of contexts that have a number in ZeroMQ's C API.

use super::OptionKind::{self, Flag, Int, Text};

/// What there is to know about one option of contexts. In Rust, [`ContextBuilder`](crate::ContextBuilder) has those
/// that do something.
#[derive(Debug)]
pub struct ContextOptionInfo {
    /// Its name in the C API, without `ZMQ_`.
    pub name: &'static str,
    /// Its number in the C API.
    pub number: i32,
    /// Which values it takes.
    pub kind: OptionKind,
    /// The value that new contexts have in C, in words.
    pub default: &'static str,
    /// Whether it can be read.
    pub is_readable: bool,
    /// Whether it can be set.
    pub is_settable: bool,
    /// What it is for.
    pub about: &'static str,
}

impl ContextOptionInfo {
    /// The option of this number.
    pub fn by_number(number: i32) -> Option<&'static Self> {
        CONTEXT_OPTIONS.iter().find(|option| option.number == number)
    }
}

const COUNT: OptionKind = Int(0, i32::MAX);

macro_rules! table {
    ($( $name:ident = $number:literal, $kind:expr, $default:literal, $readable:literal, $settable:literal, $about:literal; )*) => {
        /// Every option of contexts, by rising number.
        pub static CONTEXT_OPTIONS: &[ContextOptionInfo] = &[ $( ContextOptionInfo {
            name: stringify!($name),
            number: $number,
            kind: $kind,
            default: $default,
            is_readable: $readable,
            is_settable: $settable,
            about: $about,
        } ),* ];
    };
}

table! {
    IO_THREADS = 1, COUNT, "1", true, true, "I/O threads, before the first socket; with 0 there is only inproc.";
    MAX_SOCKETS = 2, Int(1, i32::MAX), "1023", true, true,
        "Sockets open at the same time, those of monitors included, before the first socket.";
    SOCKET_LIMIT = 3, COUNT, "65535", true, true,
        "Read: the limit of MAX_SOCKETS. Set: THREAD_PRIORITY of the I/O threads, before the first socket.";
    THREAD_SCHED_POLICY = 4, COUNT, "-1 (as the system has it)", true, true,
        "Scheduling of the I/O threads (`SCHED_FIFO` and so on), before the first socket; without the right to it it stays as it is.";
    MAX_MSGSZ = 5, COUNT, "2147483647", true, true, "Kept, and without effect: MAXMSGSIZE of the socket limits messages.";
    MSG_T_SIZE = 6, COUNT, "64", true, false, "The size of `zmq_msg_t` in octets.";
    THREAD_AFFINITY_CPU_ADD = 7, COUNT, "none", false, true, "Adds a processor to those that the I/O threads run on, before the first socket.";
    THREAD_AFFINITY_CPU_REMOVE = 8, COUNT, "none", false, true, "Takes one of those back; an error where it is none.";
    THREAD_NAME_PREFIX = 9, Text(1, 16), "empty", true, true,
        "What stands, with a `/`, before the I/O threads' names in C, `ZMQbg/IO/0` and so on: text, or an int in its place.";
    ZERO_COPY_RECV = 10, Flag, "1", true, true, "Receive without copying; kept, and without effect: it is always so.";
    IPV6 = 42, Flag, "0", true, true, "What new sockets have for the option IPV6.";
    BLOCKY = 70, Flag, "1", true, true, "0: new sockets have LINGER 0.";
}
