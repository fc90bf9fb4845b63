//! Weather updates, the server: publishes "postcode temperature humidity" for ever.
//!
//! ```text
//! cargo run -p oxzmq --example wuserver -- [ENDPOINT]
//! ```

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::ops::Range;
use std::thread::sleep;
use std::time::Duration;

use oxzmq::{Context, SocketType};

type Result = std::result::Result<(), Box<dyn Error + Send + Sync>>;

/// Where the server listens unless told otherwise: port 5556 of every interface.
pub const ENDPOINT: &str = "tcp://*:5556";

/// The postcodes that have a weather station.
const POSTCODES: Range<u32> = 10_000..11_000;
/// Every station reports this often: a hundred updates for one postcode take two seconds.
const INTERVAL: Duration = Duration::from_millis(20);

fn main() -> Result {
    let endpoint = std::env::args().nth(1);
    run(endpoint.as_deref().unwrap_or(ENDPOINT), &mut io::stdout())
}

/// Publish the weather until the process is stopped.
pub fn run(endpoint: &str, out: &mut dyn Write) -> Result {
    let context = Context::new();

    // PUB never waits: a message goes to whoever has subscribed to it, and to nobody otherwise.
    let publisher = context.socket(SocketType::Pub)?;
    let bound = publisher.bind(endpoint)?;
    writeln!(out, "Publishing on {bound}")?;

    let random = RandomState::new();
    for round in 0_u32.. {
        for postcode in POSTCODES {
            // Good enough for weather: two numbers from one hash.
            let hash = random.hash_one((round, postcode));
            let temperature = (hash % 50) as i32 - 10;
            let humidity = (hash >> 32) % 50 + 10;
            publisher.send(format!("{postcode} {temperature} {humidity}"))?;
        }
        sleep(INTERVAL);
    }
    Ok(())
}
