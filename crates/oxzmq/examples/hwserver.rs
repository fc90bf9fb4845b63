//! Hello World, the server: expects "Hello" from a client and answers "World".
//!
//! ```text
//! cargo run -p oxzmq --example hwserver -- [ENDPOINT]
//! ```

use std::error::Error;
use std::io::{self, Write};

use oxzmq::{Context, SocketType};

type Result = std::result::Result<(), Box<dyn Error + Send + Sync>>;

/// Where the server listens unless told otherwise: port 5555 of every interface.
pub const ENDPOINT: &str = "tcp://*:5555";

fn main() -> Result {
    let endpoint = std::env::args().nth(1);
    run(endpoint.as_deref().unwrap_or(ENDPOINT), &mut io::stdout())
}

/// Answer requests until the process is stopped.
pub fn run(endpoint: &str, out: &mut dyn Write) -> Result {
    let context = Context::new();

    // REP takes a request, then sends exactly one reply: receive, send, receive, send.
    let socket = context.socket(SocketType::Rep)?;
    // `bind` returns the address in full, which matters when the port was left to the system
    // ("tcp://127.0.0.1:*").
    let bound = socket.bind(endpoint)?;
    writeln!(out, "Listening on {bound}")?;

    loop {
        let request = socket.recv()?;
        writeln!(out, "Received {}", request.to_text_lossy())?;
        socket.send("World")?;
    }
}
