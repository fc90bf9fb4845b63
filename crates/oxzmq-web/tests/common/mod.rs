//! A master on ports of its own, workers real and scripted, and a client that shows every octet.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use oxzmq::{Context, Socket, SocketType};
use oxzmq_web::config::{MasterConfig, WorkerConfig};
use oxzmq_web::envelope::{Head, Introduction, Order, Status, ToMaster, ToWorker, Version};
use oxzmq_web::master::Master;
use oxzmq_web::pool::News;
use oxzmq_web::tls::Tls;
use oxzmq_web::worker::{Stopper, Worker};
use tokio::sync::{mpsc, oneshot};

/// Longest wait for anything. Reaching it is a failure, so it costs nothing to be generous.
pub const LONG: Duration = Duration::from_secs(20);

/// A directory of its own, removed afterwards.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("oxzmq-web-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// So many octets without a pattern that a shift would hide.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = Vec::with_capacity(length + 8);
    while noise.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend(state.to_le_bytes());
    }
    noise.truncate(length);
    noise
}

/// A running master.
pub struct Running {
    pub http: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub https: Option<SocketAddr>,
    pub tls: Option<Tls>,
    pub endpoint: String,
    news: mpsc::UnboundedReceiver<News>,
    stop: Option<oneshot::Sender<()>>,
    hurry: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<oxzmq_web::error::Result<()>>>,
}

impl Running {
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut MasterConfig)) -> Self {
        let mut config = MasterConfig::new(([127, 0, 0, 1], 0).into(), "tcp://127.0.0.1:*");
        config.access_log = None;
        change(&mut config);
        let master = Master::bind(config).unwrap();
        let (http, endpoint) = (master.http_address(), master.workers_endpoint().to_owned());
        let (admin, https, tls) = (master.admin_address(), master.https_address(), master.tls());
        let (stop, stopped) = oneshot::channel();
        let (hurry, hurried) = oneshot::channel();
        let (sender, news) = mpsc::unbounded_channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let stop = async { drop(stopped.await) };
            let hurry = async {
                if hurried.await.is_err() {
                    std::future::pending().await
                }
            };
            runtime.block_on(master.run(stop, hurry, sender))
        });
        Self { http, admin, https, tls, endpoint, news, stop: Some(stop), hurry: Some(hurry), thread: Some(thread) }
    }

    /// Waits for the next news.
    pub fn news(&mut self) -> News {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let next = async { tokio::time::timeout(LONG, self.news.recv()).await };
        runtime.block_on(next).expect("news in time").expect("a running master")
    }

    pub fn joined(&mut self) -> u32 {
        match self.news() {
            News::Joined { pid, .. } => pid,
            other => panic!("{other:?}"),
        }
    }

    /// Starts a worker in a thread and waits until the master knows it.
    pub fn worker(&mut self, root: &Path) -> RunningWorker {
        let worker = Worker::new(WorkerConfig::new(&self.endpoint, root)).unwrap();
        let stopper = worker.stopper();
        let thread = std::thread::spawn(move || worker.run(&|_, _| {}));
        self.joined();
        RunningWorker { stopper, thread: Some(thread) }
    }

    /// Makes a worker that does what the test says.
    pub fn script(&mut self, name: &str, slots: u32) -> Script {
        let context = Context::new();
        let socket = context.socket(SocketType::Dealer).unwrap();
        socket.set_routing_id(name.to_owned()).unwrap();
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        socket.connect(&self.endpoint).unwrap();
        let script = Script { socket, context, name: name.to_owned() };
        let (host, root) = ("here".to_owned(), "/".to_owned());
        script.say(ToMaster::Ready(Introduction { pid: 0, slots, name: name.to_owned(), host, root }));
        assert!(matches!(script.hear(), ToWorker::Welcome(_)));
        self.joined();
        script
    }

    pub fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Stops it a second time.
    pub fn hurry(&mut self) {
        self.hurry.take().unwrap().send(()).unwrap();
    }

    pub fn ended(mut self) {
        self.stop();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }

    pub fn get(&self, target: &str) -> Reply {
        self.send("GET", target, "")
    }

    /// Sends a request on a connection of its own; `headers` are lines that end in CR LF.
    pub fn send(&self, method: &str, target: &str, headers: &str) -> Reply {
        self.raw(&format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n"))
    }

    pub fn raw(&self, request: &str) -> Reply {
        let mut client = self.connect();
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer); // a reset is an end too
        Reply::parse(&answer)
    }

    pub fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.http).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        client
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A worker in a thread; stopped and awaited when dropped.
pub struct RunningWorker {
    pub stopper: Stopper,
    pub thread: Option<JoinHandle<oxzmq_web::error::Result<()>>>,
}

impl RunningWorker {
    pub fn ended(mut self) {
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A worker that does what the test says.
pub struct Script {
    pub socket: Socket,
    context: Context,
    pub name: String,
}

/// The file that scripted workers pretend to have.
pub const FILE: Version = Version { size: 1 << 20, mtime_s: 1_000_000_000, mtime_ns: 5 };

impl Script {
    pub fn say(&self, message: ToMaster) {
        self.socket.send(message.encode()).unwrap();
    }

    /// The master's next message but for signs of life, which are answered.
    pub fn hear(&self) -> ToWorker {
        let deadline = Instant::now() + LONG;
        loop {
            match ToWorker::decode(self.socket.recv_deadline(deadline).unwrap()).unwrap() {
                ToWorker::Pulse => self.say(ToMaster::Pulse),
                message => return message,
            }
        }
    }

    pub fn request(&self) -> (u64, Order, u32) {
        match self.hear() {
            ToWorker::Request(id, order, credit) => (id, order, credit),
            other => panic!("{}: {other:?}", self.name),
        }
    }

    /// Sends the head of [`FILE`] for an order, with this much of its content.
    pub fn head(&self, id: u64, order: &Order, content: &[u8]) {
        let length = order.length.unwrap_or(FILE.size - order.offset);
        let head = Head::part(FILE, order.offset, length, "text/plain");
        self.say(ToMaster::Head(id, head, Bytes::copy_from_slice(content)));
    }

    pub fn not_found(&self, id: u64) {
        self.say(ToMaster::Head(id, Head::without_file(Status::NotFound, ""), Bytes::new()));
    }

    /// Dies: the connection closes without a word.
    pub fn die(self) {
        self.socket.close();
        self.context.term();
    }
}

/// A response.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn parse(answer: &[u8]) -> Self {
        let text = String::from_utf8_lossy(answer);
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no response: {text:?}"));
        let headers = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, headers, body: answer[end + 4..].to_vec() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn length(&self) -> usize {
        self.header("content-length").unwrap().parse().unwrap()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
