//! The programs of a first lecture on ZeroMQ.
//!
//! They are the library's examples, file for file: what a learner reads there is what runs here.

macro_rules! example {
    ($name:ident, $path:literal) => {
        // Each example has a `main` of its own, which nobody calls here.
        #[allow(dead_code, missing_docs, unreachable_pub)]
        #[path = $path]
        pub mod $name;
    };
}

example!(hwserver, "../../oxzmq/examples/hwserver.rs");
example!(hwclient, "../../oxzmq/examples/hwclient.rs");
example!(wuserver, "../../oxzmq/examples/wuserver.rs");
example!(wuclient, "../../oxzmq/examples/wuclient.rs");
example!(rrserver, "../../oxzmq/examples/rrserver.rs");
example!(rrclient, "../../oxzmq/examples/rrclient.rs");
example!(rrbroker, "../../oxzmq/examples/rrbroker.rs");
