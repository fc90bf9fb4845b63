//! Request-reply through a broker, the server: answers "Hello" with "World".
//!
//! ```text
//! cargo run -p oxzmq --example rrserver -- [ENDPOINT]
//! ```
//!
//! The same as `hwserver`, except that it connects: the broker is the one fixed point, and any
//! number of servers may come to it. Start several, and the broker shares the work among them.

use std::error::Error;
use std::io::{self, Write};

use oxzmq::{Context, SocketType};

type Result = std::result::Result<(), Box<dyn Error + Send + Sync>>;

/// The back of the broker unless told otherwise.
pub const ENDPOINT: &str = "tcp://localhost:5560";

fn main() -> Result {
    let endpoint = std::env::args().nth(1);
    run(endpoint.as_deref().unwrap_or(ENDPOINT), &mut io::stdout())
}

/// Answer requests until the process is stopped.
pub fn run(endpoint: &str, out: &mut dyn Write) -> Result {
    let context = Context::new();

    // The envelope with the way back to the client stays inside the REP socket.
    let socket = context.socket(SocketType::Rep)?;
    socket.connect(endpoint)?;
    writeln!(out, "Serving {endpoint}")?;

    loop {
        let request = socket.recv()?;
        writeln!(out, "Received request: {}", request.to_text_lossy())?;
        socket.send("World")?;
    }
}
