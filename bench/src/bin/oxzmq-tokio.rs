//! oxzmq with asynchronous calls, on a Tokio runtime of one thread.

use oxzmq_bench::{contend, ours::Oxzmq};

fn main() -> anyhow::Result<()> {
    contend(&Oxzmq::<true>::default())
}
