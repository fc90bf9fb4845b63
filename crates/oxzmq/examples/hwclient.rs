//! Hello World, the client: sends "Hello" ten times and waits for "World" each time.
//!
//! ```text
//! cargo run -p oxzmq --example hwclient -- [ENDPOINT]
//! ```
//!
//! Start it before the server, if you like: connecting happens in the background, and the first
//! request waits until somebody is there to take it.

use std::error::Error;
use std::io::{self, Write};

use oxzmq::{Context, SocketType};

type Result = std::result::Result<(), Box<dyn Error + Send + Sync>>;

/// Where the server is expected unless told otherwise.
pub const ENDPOINT: &str = "tcp://localhost:5555";

const REQUESTS: u32 = 10;

fn main() -> Result {
    let endpoint = std::env::args().nth(1);
    run(endpoint.as_deref().unwrap_or(ENDPOINT), &mut io::stdout())
}

/// Send the requests, one after the other, and show the replies.
pub fn run(endpoint: &str, out: &mut dyn Write) -> Result {
    let context = Context::new();

    // REQ is the other half of REP: send, receive, send, receive.
    let socket = context.socket(SocketType::Req)?;
    socket.connect(endpoint)?;
    writeln!(out, "Connecting to {endpoint}")?;

    for number in 0..REQUESTS {
        writeln!(out, "Sending Hello {number}")?;
        socket.send("Hello")?;
        let reply = socket.recv()?;
        writeln!(out, "Received {} {number}", reply.to_text_lossy())?;
    }
    Ok(())
}
