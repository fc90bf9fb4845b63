//! Every demo against its twin in Python and against itself: each half of one with the other half
//! of the other, over ports that the system chose.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// Said instead of skipping: a test that was not run has not passed.
const NEEDED: &str = "the demos' twins need libzmq's Python binding for /usr/bin/python3; \
    on Debian and Ubuntu: sudo apt-get install python3-zmq libzmq5 \
    (OXZMQ_TEST_PYTHON names another Python)";

#[derive(Clone, Copy, PartialEq, Debug)]
enum Twin {
    Rust,
    Python,
}
use Twin::{Python, Rust};

/// A demo that runs; killed when dropped.
struct Demo {
    process: Child,
    lines: Receiver<String>,
}

impl Demo {
    fn start(twin: Twin, name: &str, arguments: &[&str]) -> Self {
        let mut command = match twin {
            Rust => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_oxzmq"));
                command.args(["demo", name]);
                command
            }
            Python => {
                let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/python");
                let python = std::env::var("OXZMQ_TEST_PYTHON").unwrap_or("/usr/bin/python3".into());
                let mut command = Command::new(python);
                command.arg(examples.join(name).with_extension("py"));
                command
            }
        };
        let mut process = command
            .args(arguments)
            .env("PYTHONIOENCODING", "utf-8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}; {NEEDED}"));
        let output = BufReader::new(process.stdout.take().expect("stdout is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Demo { process, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("no line of output: {error}; perhaps {NEEDED}"))
    }

    /// The rest of the first line that starts with `start`.
    fn after(&self, start: &str) -> String {
        loop {
            if let Some(rest) = self.line().strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    /// Every line up to the end of the program, which must be a success.
    fn finish(mut self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut all = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => all.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the program does not end; so far: {all:#?}"),
            }
        }
        let status = self.process.wait().expect("the process is ours");
        assert!(status.success(), "{status}: {all:#?}");
        all
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Rust's server with Python's client, and so on.
const PAIRS: [(Twin, Twin); 4] = [(Rust, Python), (Python, Rust), (Rust, Rust), (Python, Python)];

#[test]
fn hello_world() {
    for (server, client) in PAIRS {
        let server = Demo::start(server, "hwserver", &["tcp://127.0.0.1:*"]);
        let endpoint = server.after("Listening on ");
        let said = Demo::start(client, "hwclient", &[&endpoint]).finish();

        let mut expected = vec![format!("Connecting to {endpoint}")];
        for number in 0..10 {
            expected.push(format!("Sending Hello {number}"));
            expected.push(format!("Received World {number}"));
        }
        assert_eq!(said, expected);
        for _ in 0..10 {
            assert_eq!(server.line(), "Received Hello");
        }
    }
}

#[test]
fn weather() {
    for (server, client) in PAIRS {
        let server = Demo::start(server, "wuserver", &["tcp://127.0.0.1:*"]);
        let endpoint = server.after("Publishing on ");
        for postcode in ["10001", "10999"] {
            let said = Demo::start(client, "wuclient", &[postcode, &endpoint]).finish();

            assert_eq!(said[0], format!("Collecting 100 updates from {endpoint}"));
            let start = format!("Average temperature for postcode {postcode} was ");
            let average = said[1].strip_prefix(&start).and_then(|rest| rest.strip_suffix(" °C"));
            let average: i32 = average.expect("the closing sentence").parse().expect("a number");
            // A hundred temperatures between -10 and 39: their mean is far from both ends.
            assert!((0..30).contains(&average), "{average} °C");
        }
    }
}

/// The broker, two servers and three clients: either broker with all four pairings of servers and
/// clients.
#[test]
fn request_reply_with_a_broker() {
    for (broker, (server, client)) in [Rust, Python].into_iter().flat_map(|broker| PAIRS.map(|pair| (broker, pair))) {
        let broker = Demo::start(broker, "rrbroker", &["tcp://127.0.0.1:*", "tcp://127.0.0.1:*"]);
        let front = broker.after("Clients on ");
        let back = broker.after("Servers on ");
        let servers = [0; 2].map(|_| Demo::start(server, "rrserver", &[&back]));
        let clients = [0; 3].map(|_| Demo::start(client, "rrclient", &[&front]));

        let expected: Vec<_> = (0..10).map(|number| format!("Received reply {number}: World")).collect();
        for client in clients {
            assert_eq!(client.finish()[1..], expected);
        }
        let served = servers.map(|mut server| {
            server.process.kill().expect("it was running");
            server.lines.iter().filter(|line| line == "Received request: Hello").count()
        });
        assert_eq!(served[0] + served[1], 30);
    }
}

/// `oxzmq demo ... | head -1` is no failure.
#[test]
fn a_closed_pipe_ends_a_demo_quietly() {
    let server = Demo::start(Rust, "hwserver", &["tcp://127.0.0.1:*"]);
    let endpoint = server.after("Listening on ");
    let mut client = Command::new(env!("CARGO_BIN_EXE_oxzmq"))
        .args(["demo", "hwclient", &endpoint])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built");
    drop(client.stdout.take());
    let output = client.wait_with_output().expect("the process is ours");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success(), "{}", output.status);
}
