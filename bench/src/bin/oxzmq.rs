//! oxzmq with blocking calls.

use oxzmq_bench::{contend, ours::Oxzmq};

fn main() -> anyhow::Result<()> {
    contend(&Oxzmq::<false>::default())
}
