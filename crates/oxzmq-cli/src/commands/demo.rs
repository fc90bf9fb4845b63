//! `oxzmq demo`: the programs of a first lecture on ZeroMQ, ready to run.

use std::io;
use std::process::ExitCode;

use clap::Subcommand;

use crate::demos::{hwclient, hwserver, rrbroker, rrclient, rrserver, wuclient, wuserver};
use crate::outcome::exit_code;

/// Run a program of a first lecture on ZeroMQ (each is also an example of the library)
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    demo: Demo,
}

#[derive(Subcommand, Debug)]
enum Demo {
    /// Hello World, the server: answers "Hello" with "World" until stopped
    Hwserver {
        /// Where to listen
        #[arg(default_value = hwserver::ENDPOINT, value_parser = endpoint)]
        endpoint: String,
    },
    /// Hello World, the client: ten requests, ten replies
    Hwclient {
        /// Where the server is
        #[arg(default_value = hwclient::ENDPOINT, value_parser = endpoint)]
        endpoint: String,
    },
    /// Weather updates, the server: publishes for postcodes 10000 to 10999 until stopped
    Wuserver {
        /// Where to listen
        #[arg(default_value = wuserver::ENDPOINT, value_parser = endpoint)]
        endpoint: String,
    },
    /// Weather updates, the client: the average of a hundred temperatures of one postcode
    Wuclient {
        /// The postcode to watch
        #[arg(default_value = wuclient::POSTCODE, value_parser = clap::value_parser!(u32).range(10_000..11_000))]
        postcode: u32,
        /// Where the server is
        #[arg(default_value = wuclient::ENDPOINT, value_parser = endpoint)]
        endpoint: String,
    },
    /// Request-reply through a broker, the server: start any number
    Rrserver {
        /// The back of the broker
        #[arg(default_value = rrserver::ENDPOINT, value_parser = endpoint)]
        endpoint: String,
    },
    /// Request-reply through a broker, the client: ten requests, ten replies
    Rrclient {
        /// The front of the broker
        #[arg(default_value = rrclient::ENDPOINT, value_parser = endpoint)]
        endpoint: String,
    },
    /// Request-reply through a broker, the broker: passes messages until stopped
    Rrbroker {
        /// Where clients come in
        #[arg(default_value = rrbroker::FRONT, value_parser = endpoint)]
        front: String,
        /// Where servers come in
        #[arg(default_value = rrbroker::BACK, value_parser = endpoint)]
        back: String,
    },
}

/// Each demo is a process of its own, so they cannot meet inside of one: they would wait for ever.
fn endpoint(text: &str) -> Result<String, String> {
    if text.starts_with("inproc://") {
        return Err("inproc:// is for sockets of one process; use tcp://127.0.0.1:5555 or ipc:///tmp/demo".to_owned());
    }
    Ok(text.to_owned())
}

/// Run the demo that was named.
pub fn run(args: Args) -> ExitCode {
    let out = &mut io::stdout();
    let result = match args.demo {
        Demo::Hwserver { endpoint } => hwserver::run(&endpoint, out),
        Demo::Hwclient { endpoint } => hwclient::run(&endpoint, out),
        Demo::Wuserver { endpoint } => wuserver::run(&endpoint, out),
        Demo::Wuclient { postcode, endpoint } => wuclient::run(&postcode.to_string(), &endpoint, out),
        Demo::Rrserver { endpoint } => rrserver::run(&endpoint, out),
        Demo::Rrclient { endpoint } => rrclient::run(&endpoint, out),
        Demo::Rrbroker { front, back } => rrbroker::run(&front, &back, out),
    };
    exit_code(result.map_err(|error| match error.downcast::<io::Error>() {
        Ok(error) => anyhow::Error::new(*error),
        Err(error) => anyhow::Error::from_boxed(error),
    }))
}
