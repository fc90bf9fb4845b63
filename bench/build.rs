//! Builds libzmq from its crate, for the contender `libzmq`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "libzmq")]
    {
        let directory = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("libsodium's build says no {name}"));
        let sodium = zeromq_src::LibLocation::new(directory("DEP_SODIUM_LIB"), directory("DEP_SODIUM_INCLUDE"));
        zeromq_src::Build::new().with_libsodium(Some(sodium)).build();
    }
}
