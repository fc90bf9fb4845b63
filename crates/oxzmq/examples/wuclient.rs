//! Weather updates, the client: subscribes to one postcode and averages its temperature.
//!
//! ```text
//! cargo run -p oxzmq --example wuclient -- [POSTCODE] [ENDPOINT]
//! ```

use std::error::Error;
use std::io::{self, Write};

use oxzmq::{Context, SocketType};

type Result = std::result::Result<(), Box<dyn Error + Send + Sync>>;

/// The postcode to watch unless told otherwise. The server knows 10000 to 10999.
pub const POSTCODE: &str = "10001";
/// Where the server is expected unless told otherwise.
pub const ENDPOINT: &str = "tcp://localhost:5556";

const UPDATES: i64 = 100;

fn main() -> Result {
    let mut arguments = std::env::args().skip(1);
    let postcode = arguments.next().unwrap_or(POSTCODE.into());
    let endpoint = arguments.next().unwrap_or(ENDPOINT.into());
    run(&postcode, &endpoint, &mut io::stdout())
}

/// Collect the updates and show their average.
pub fn run(postcode: &str, endpoint: &str, out: &mut dyn Write) -> Result {
    let context = Context::new();
    let subscriber = context.socket(SocketType::Sub)?;
    subscriber.connect(endpoint)?;
    writeln!(out, "Collecting {UPDATES} updates from {endpoint}")?;

    // A subscription is a prefix. It travels to the publisher, which then sends only what matches;
    // with the space at the end, "10001" does not also mean "100010".
    subscriber.subscribe(format!("{postcode} "))?;

    let mut total = 0;
    for _ in 0..UPDATES {
        let update = subscriber.recv()?;
        let text = update.to_text_lossy();
        let temperature = text.split(' ').nth(1).ok_or("update without temperature")?;
        total += temperature.parse::<i64>()?;
    }
    let average = total / UPDATES;
    writeln!(out, "Average temperature for postcode {postcode} was {average} °C")?;
    Ok(())
}
