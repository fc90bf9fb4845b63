//! Request-reply through a broker, the client: sends "Hello" ten times.
//!
//! ```text
//! cargo run -p oxzmq --example rrclient -- [ENDPOINT]
//! ```
//!
//! It knows nothing of the servers behind the broker, neither how many there are nor where.

use std::error::Error;
use std::io::{self, Write};

use oxzmq::{Context, SocketType};

type Result = std::result::Result<(), Box<dyn Error + Send + Sync>>;

/// The front of the broker unless told otherwise.
pub const ENDPOINT: &str = "tcp://localhost:5559";

const REQUESTS: u32 = 10;

fn main() -> Result {
    let endpoint = std::env::args().nth(1);
    run(endpoint.as_deref().unwrap_or(ENDPOINT), &mut io::stdout())
}

/// Send the requests, one after the other, and show the replies.
pub fn run(endpoint: &str, out: &mut dyn Write) -> Result {
    let context = Context::new();
    let socket = context.socket(SocketType::Req)?;
    socket.connect(endpoint)?;
    writeln!(out, "Connecting to {endpoint}")?;

    for number in 0..REQUESTS {
        socket.send("Hello")?;
        let reply = socket.recv()?;
        writeln!(out, "Received reply {number}: {}", reply.to_text_lossy())?;
    }
    Ok(())
}
