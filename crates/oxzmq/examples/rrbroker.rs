//! Request-reply through a broker, the broker: passes requests back and replies forth.
//!
//! ```text
//! cargo run -p oxzmq --example rrbroker -- [FRONT] [BACK]
//! ```
//!
//! ```text
//! REQ client ─┐                                    ┌─ REP server
//! REQ client ─┼─> ROUTER (front)   DEALER (back) ──┼─ REP server
//! REQ client ─┘                                    └─ REP server
//! ```

use std::error::Error;
use std::io::{self, Write};

use oxzmq::{Context, SocketType};

type Result = std::result::Result<(), Box<dyn Error + Send + Sync>>;

/// Where clients come in unless told otherwise: port 5559 of every interface.
pub const FRONT: &str = "tcp://*:5559";
/// Where servers come in unless told otherwise: port 5560 of every interface.
pub const BACK: &str = "tcp://*:5560";

fn main() -> Result {
    let mut arguments = std::env::args().skip(1);
    let front = arguments.next().unwrap_or(FRONT.into());
    let back = arguments.next().unwrap_or(BACK.into());
    run(&front, &back, &mut io::stdout())
}

/// Pass messages until the process is stopped.
pub fn run(front: &str, back: &str, out: &mut dyn Write) -> Result {
    let context = Context::new();

    // ROUTER puts the sender's identity before each request, and sends each reply to the identity
    // before it. DEALER gives each request to the next server in turn.
    let frontend = context.socket(SocketType::Router)?;
    let backend = context.socket(SocketType::Dealer)?;
    let front = frontend.bind(front)?;
    let back = backend.bind(back)?;
    writeln!(out, "Clients on {front}")?;
    writeln!(out, "Servers on {back}")?;

    // What comes in at one side goes out at the other, in both directions.
    oxzmq::proxy(&frontend, &backend, None)?;
    Ok(())
}
