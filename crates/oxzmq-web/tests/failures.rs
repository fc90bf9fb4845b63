//! What clients see when workers die, hang, lie, come and go.

mod common;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{FILE, LONG, Reply, Running, Scratch, noise};
use oxzmq_web::config::{MasterConfig, WorkerConfig};
use oxzmq_web::envelope::{CHUNK_MIN, Head, Status, ToMaster, ToWorker};
use oxzmq_web::master::Master;
use oxzmq_web::pool::News;
use oxzmq_web::worker::Worker;

/// A request on its way, in a thread.
fn get(master: &Running, target: &str) -> JoinHandle<Reply> {
    let answer = get_raw(master, target);
    std::thread::spawn(move || Reply::parse(&answer.join().unwrap()))
}

/// The connection ended before the end that was announced, or before anything was said at all.
fn is_cut(answer: &[u8]) -> bool {
    answer.is_empty() || {
        let reply = Reply::parse(answer);
        reply.body.len() < reply.length()
    }
}

fn get_raw(master: &Running, target: &str) -> JoinHandle<Vec<u8>> {
    let mut client = master.connect();
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).unwrap();
    std::thread::spawn(move || {
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        answer
    })
}

fn content(from: usize, to: usize) -> Bytes {
    Bytes::from(noise(1 << 20)).slice(from..to)
}

#[test]
fn a_request_whose_worker_dies_is_answered_by_another() {
    let mut master = Running::start();
    let first = master.script("first", 1);
    let reply = get(&master, "/x");
    first.request();
    let second = master.script("second", 1);
    first.die();
    let (id, order, _) = second.request();
    assert_eq!((order.path.as_ref(), order.offset), (b"/x".as_slice(), 0));
    second.not_found(id);
    assert_eq!(reply.join().unwrap().status, 404);
}

#[test]
fn a_download_whose_worker_dies_goes_on_where_it_stopped() {
    let mut master = Running::start();
    let first = master.script("first", 1);
    let reply = get(&master, "/x");
    let (id, order, _) = first.request();
    first.head(id, &order, &content(0, 70_000));
    first.say(ToMaster::Chunk(id, content(70_000, 170_000)));
    let second = master.script("second", 1);
    first.die();
    let (id, order, credit) = second.request();
    assert_eq!((order.offset, order.version), (170_000, Some(FILE)));
    let first_piece = 200_000.min(usize::try_from(credit).unwrap());
    second.head(id, &order, &content(170_000, 170_000 + first_piece));
    let mut at = 170_000 + first_piece;
    let mut credit = usize::try_from(credit).unwrap() - first_piece;
    while at < 1 << 20 {
        let piece = credit.min((1 << 20) - at).min(128 * 1024);
        if piece >= CHUNK_MIN.min((1 << 20) - at) {
            second.say(ToMaster::Chunk(id, content(at, at + piece)));
            at += piece;
            credit -= piece;
            continue;
        }
        match second.hear() {
            ToWorker::Grant(granted, more) if granted == id => credit += usize::try_from(more).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    let reply = reply.join().unwrap();
    assert_eq!(reply.status, 200);
    assert!(reply.body == noise(1 << 20));
}

#[test]
fn a_download_is_cut_rather_than_mixed_from_two_versions() {
    let mut master = Running::start();
    let first = master.script("first", 1);
    let answer = get_raw(&master, "/x");
    let (id, order, _) = first.request();
    first.head(id, &order, &content(0, 70_000));
    let second = master.script("second", 1);
    first.die();
    let (id, ..) = second.request();
    second.say(ToMaster::Head(id, Head::without_file(Status::Changed, ""), Bytes::new()));
    assert!(is_cut(&answer.join().unwrap()));
}

#[test]
fn a_worker_that_breaks_off_is_replaced() {
    let mut master = Running::start();
    let (first, second) = (master.script("first", 1), master.script("second", 1));
    let answer = get_raw(&master, "/x");
    let (id, order, _) = first.request();
    first.head(id, &order, &content(0, 1000));
    first.say(ToMaster::End(id, "the disk is on fire".to_owned()));
    let (id, order, _) = second.request();
    assert_eq!(order.offset, 1000);
    second.say(ToMaster::Head(id, Head::without_file(Status::NotFound, ""), Bytes::new()));
    assert!(is_cut(&answer.join().unwrap()), "the file is gone, so its rest cannot be had");
}

#[test]
fn workers_that_hang_are_given_up_one_after_the_other() {
    let mut master = Running::with(|config| config.limits.patience = Duration::from_millis(100));
    let scripts = [master.script("a", 9), master.script("b", 9)];
    let reply = get(&master, "/x");
    let (first, ..) = scripts[0].request();
    let (second, ..) = scripts[1].request();
    assert_eq!(scripts[0].hear(), ToWorker::Cancel(first));
    // The first is asked again, as the only one that did not fail last.
    let (third, ..) = scripts[0].request();
    assert_eq!(scripts[1].hear(), ToWorker::Cancel(second));
    assert_eq!(scripts[0].hear(), ToWorker::Cancel(third));
    assert_eq!(reply.join().unwrap().status, 504);
}

#[test]
fn without_workers_and_with_a_full_queue_clients_are_told_when_to_come_back() {
    let mut master = Running::with(|config| {
        config.limits.queue = 1;
        config.limits.queue_wait = Duration::from_millis(300);
    });
    let none = master.get("/");
    assert_eq!((none.status, none.header("retry-after")), (503, Some("5")));
    let script = master.script("w", 1);
    let first = get(&master, "/1");
    let (id, ..) = script.request();
    // One of these two waits in vain, the other one finds the queue full.
    let (second, third) = (get(&master, "/2"), get(&master, "/3"));
    let (second, third) = (second.join().unwrap(), third.join().unwrap());
    assert_eq!((second.status, third.status), (503, 503));
    let mut when = [second.header("retry-after").unwrap(), third.header("retry-after").unwrap()];
    when.sort_unstable();
    assert_eq!(when, ["1", "5"]);
    script.not_found(id);
    assert_eq!(first.join().unwrap().status, 404);
}

#[test]
fn a_path_that_kills_its_workers_is_left_alone() {
    let mut master = Running::start();
    let reply = get(&master, "/poison");
    for name in ["a", "b", "c"] {
        let script = master.script(name, 1);
        script.request();
        script.die();
        assert!(matches!(master.news(), News::Left { .. }));
    }
    assert_eq!(reply.join().unwrap().status, 502);
    assert_eq!(master.get("/poison").status, 502);
    let script = master.script("d", 1);
    let fine = get(&master, "/fine");
    script.not_found(script.request().0);
    assert_eq!(fine.join().unwrap().status, 404);
}

#[test]
fn a_worker_is_told_when_its_client_leaves() {
    let mut master = Running::with(|config| config.half_closed_wait = Duration::from_millis(100));
    let script = master.script("w", 1);
    let mut client = master.connect();
    client.write_all(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let (id, ..) = script.request();
    drop(client);
    assert_eq!(script.hear(), ToWorker::Cancel(id));
    // The slot is free once the worker says so.
    let reply = get(&master, "/y");
    script.say(ToMaster::End(id, "cancelled".to_owned()));
    let (id, order, _) = script.request();
    assert_eq!(order.path.as_ref(), b"/y");
    script.not_found(id);
    assert_eq!(reply.join().unwrap().status, 404);
}

#[test]
fn a_client_that_closes_its_half_gets_its_answers() {
    let mut master = Running::start();
    let script = master.script("w", 1);
    for pipelined in [1, 2] {
        let mut client = master.connect();
        client.write_all("GET /x HTTP/1.1\r\nHost: x\r\n\r\n".repeat(pipelined).as_bytes()).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        for _ in 0..pipelined {
            script.not_found(script.request().0);
        }
        let mut answers = String::new();
        client.read_to_string(&mut answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 404").count(), pipelined);
    }
    // One that is long, and taken slowly at first.
    let site = Scratch::new();
    site.write("large", noise(8 << 20));
    drop(script);
    master.news();
    let _worker = master.worker(&site.0);
    let mut client = master.connect();
    client.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = vec![0; 10];
    client.read_exact(&mut answer).unwrap();
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&noise(8 << 20)[7 << 20..]));
}

#[test]
fn a_worker_that_lies_is_dismissed_and_its_client_served_by_another() {
    let lies: [fn(u64) -> ToMaster; 5] = [
        |id| ToMaster::Chunk(id, Bytes::from_static(&[0; 20_000])),
        |id| head(id, FILE.size, FILE.size + 1, 0),
        |id| head(id, 0, 10, 11),
        |id| head(id, 5, FILE.size - 5, 0),
        |id| {
            let lie = Head::without_file(Status::NotFound, "");
            ToMaster::Head(id, Head { length: 5, ..lie }, Bytes::from_static(b"hello"))
        },
    ];
    for lie in lies {
        let mut master = Running::start();
        let (liar, honest) = (master.script("liar", 1), master.script("honest", 1));
        let reply = get(&master, "/x");
        liar.say(lie(liar.request().0));
        assert_eq!(liar.hear(), ToWorker::Bye);
        assert!(matches!(master.news(), News::Left { why, .. } if why.starts_with("broke the protocol")));
        honest.not_found(honest.request().0);
        assert_eq!(reply.join().unwrap().status, 404);
    }
}

fn head(id: u64, offset: u64, length: u64, content: usize) -> ToMaster {
    let head = Head::part(FILE, offset, length, "");
    ToMaster::Head(id, head, vec![0; content].into())
}

#[test]
fn octets_that_are_no_message_do_no_harm() {
    let mut master = Running::start();
    let context = oxzmq::Context::new();
    let stranger = context.socket(oxzmq::SocketType::Dealer).unwrap();
    stranger.connect(&master.endpoint).unwrap();
    stranger.send("hello").unwrap();
    let answer = stranger.recv_deadline(Instant::now() + LONG).unwrap();
    assert_eq!(ToWorker::decode(answer), Ok(ToWorker::Bye));
    for frames in [vec!["OXW1R"], vec!["OXW1H", "12345678"], vec!["OXW1?"], vec!["", ""], vec!["OXW1C"; 100]] {
        stranger.send(frames.into_iter().collect::<oxzmq::Message>()).unwrap();
    }
    // Anything can still join and be asked.
    let script = master.script("w", 1);
    let reply = get(&master, "/x");
    script.not_found(script.request().0);
    assert_eq!(reply.join().unwrap().status, 404);
}

#[test]
fn a_worker_that_is_stopped_finishes_first() {
    let (site, mut master) = (Scratch::new(), Running::start());
    let large = noise(8 << 20);
    site.write("large", &large);
    let worker = master.worker(&site.0);
    let mut client = master.connect();
    client.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = vec![0; 100_000];
    client.read_exact(&mut answer).unwrap();
    worker.stopper.stop();
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&large));
    worker.ended();
    assert!(matches!(master.news(), News::Left { why, .. } if why == "said good-bye"));
}

#[test]
fn a_master_that_is_stopped_finishes_first_and_sends_its_workers_home() {
    let (site, mut master) = (Scratch::new(), Running::start());
    let large = noise(8 << 20);
    site.write("large", &large);
    let worker = master.worker(&site.0);
    let mut client = master.connect();
    client.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = vec![0; 100_000];
    client.read_exact(&mut answer).unwrap();
    master.stop();
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&large));
    let http = master.http;
    master.ended();
    worker.ended();
    assert!(TcpStream::connect(http).is_err());
}

/// Whoever still receives is cut off at once, and the worker at it is let go before the master leaves: it would wait
/// for nothing otherwise.
#[test]
fn a_master_that_is_stopped_twice_gives_up_what_is_under_way() {
    let mut master = Running::start();
    let worker = master.script("worker", 1);
    let mut client = master.connect();
    client.write_all(b"GET /stalled HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let (id, ..) = worker.request();
    master.stop();
    master.hurry();
    let heard: HashSet<_> = (0..2).map(|_| format!("{:?}", worker.hear())).collect();
    assert_eq!(heard, HashSet::from([format!("{:?}", ToWorker::Cancel(id)), format!("{:?}", ToWorker::Stop)]));
    worker.say(ToMaster::Bye);
    master.ended();
    assert_eq!(client.read_to_end(&mut Vec::new()).unwrap_or(0), 0, "there is no answer");
}

/// Frames that are small enough one by one do not add up to what memory holds.
#[test]
fn a_worker_that_sends_an_endless_message_is_cut_off() {
    let mut master = Running::start();
    let good = master.script("good", 1);
    let context = oxzmq::Context::new();
    let endless = context.socket(oxzmq::SocketType::Dealer).unwrap();
    endless.set_linger(Some(Duration::ZERO)).unwrap();
    let monitor = endless.monitor().unwrap();
    endless.connect(&master.endpoint).unwrap();
    endless.send((0..100).map(|_| vec![0; 60_000]).collect::<oxzmq::Message>()).unwrap();
    let deadline = Instant::now() + LONG;
    while monitor.recv_deadline(deadline).expect("its end").kind != oxzmq::EventKind::Disconnected {}
    let asked = get(&master, "/x");
    let (id, ..) = good.request();
    good.not_found(id);
    assert_eq!(asked.join().unwrap().status, 404);
}

#[test]
fn a_worker_starts_anew_when_its_master_does_not_know_it() {
    let site = Scratch::new();
    site.write("x", "content");
    // The first master is a bare socket that forgets the worker right after its welcome.
    let context = oxzmq::Context::new();
    let forgetful = context.socket(oxzmq::SocketType::Router).unwrap();
    let endpoint = forgetful.bind("tcp://127.0.0.1:*").unwrap();
    let worker = Worker::new(WorkerConfig::new(&endpoint, &site.0)).unwrap();
    let stopper = worker.stopper();
    let thread = std::thread::spawn(move || worker.run(&|_, _| {}));
    let ready = || {
        let mut message = forgetful.recv_deadline(Instant::now() + LONG).unwrap();
        let identity = message.pop_front().unwrap();
        assert!(matches!(ToMaster::decode(message), Ok(ToMaster::Ready(_))));
        identity
    };
    let say = |identity: &oxzmq::Frame, what: ToWorker| {
        let mut message = what.encode();
        message.push_front(identity.clone());
        forgetful.send(message).unwrap();
    };
    let first = ready();
    say(&first, ToWorker::Welcome(Duration::from_secs(1)));
    say(&first, ToWorker::Bye);
    let second = ready();
    assert_ne!(first, second, "nothing meant for the old connection can reach the new one");

    // Its place is taken by a real one.
    forgetful.close();
    let mut master = Running::with(|config| config.workers = endpoint);
    master.joined();
    assert_eq!(master.get("/x").text(), "content");
    stopper.stop();
    thread.join().unwrap().unwrap();
}

// ---- real processes ------------------------------------------------------------------------------------

/// Not a test of its own: the worker process of the tests below, which start this program again.
#[test]
fn worker_process() {
    let (Ok(master), Ok(root)) = (std::env::var("TEST_MASTER"), std::env::var("TEST_ROOT")) else { return };
    Worker::new(WorkerConfig::new(master, root)).unwrap().run(&|_, _| {}).unwrap();
}

struct Process(Child);

impl Process {
    fn start(master: &mut Running, site: &Scratch) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "worker_process"]).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.env("TEST_MASTER", &master.endpoint).env("TEST_ROOT", &site.0).spawn().unwrap();
        let process = Self(child);
        assert_eq!(master.joined(), process.0.id());
        process
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn kill_9_in_the_middle_of_a_download() {
    let (site, mut master) = (Scratch::new(), Running::start());
    let large = noise(32 << 20);
    site.write("large", &large);
    let mut victim = Process::start(&mut master, &site);
    let mut client = BufReader::new(master.connect());
    client.get_mut().write_all(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        client.read_line(&mut line).unwrap();
    }
    let mut body = vec![0; 1_000_000];
    client.read_exact(&mut body).unwrap();
    let _heir = Process::start(&mut master, &site);
    victim.0.kill().unwrap();
    client.read_to_end(&mut body).unwrap();
    assert!(body == large);
    assert!(matches!(master.news(), News::Left { in_hand: 1, .. }));
}

#[test]
fn a_stopped_worker_is_passed_over_and_starts_anew_when_it_wakes() {
    let site = Scratch::new();
    site.write("x", "content");
    let mut master = Running::with(|config| config.limits.interval = Duration::from_millis(100));
    let sleeper = Process::start(&mut master, &site);
    sleeper.signal(rustix::process::Signal::STOP);
    let reply = get(&master, "/x");
    let _other = Process::start(&mut master, &site);
    assert!(matches!(master.news(), News::Left { why, .. } if why == "gave no sign of life"));
    assert_eq!(reply.join().unwrap().text(), "content");
    sleeper.signal(rustix::process::Signal::CONT);
    assert_eq!(master.joined(), sleeper.0.id());
}

#[test]
fn a_worker_can_work_for_several_masters() {
    let site = Scratch::new();
    site.write("x", "hello");
    let (mut one, mut other) = (Running::start(), Running::start());
    let config =
        WorkerConfig { masters: vec![one.endpoint.clone(), other.endpoint.clone()], ..WorkerConfig::new("", &site.0) };
    let worker = Worker::new(config).unwrap();
    let stopper = worker.stopper();
    let thread = std::thread::spawn(move || worker.run(&|_, _| {}));
    assert_eq!(one.joined(), other.joined());
    assert_eq!((one.get("/x").text().as_str(), other.get("/x").text().as_str()), ("hello", "hello"));
    stopper.stop();
    thread.join().unwrap().unwrap();
}

#[test]
fn a_worker_that_stays_waits_for_the_next_master() {
    let site = Scratch::new();
    site.write("x", "hello");
    let mut first = Running::start();
    let endpoint = first.endpoint.clone();
    let worker = Worker::new(WorkerConfig { stay: true, ..WorkerConfig::new(&endpoint, &site.0) }).unwrap();
    let stopper = worker.stopper();
    let thread = std::thread::spawn(move || worker.run(&|_, _| {}));
    first.joined();
    first.ended();
    let mut second = Running::with(|config| config.workers = endpoint);
    second.joined();
    assert_eq!(second.get("/x").text(), "hello");
    stopper.stop();
    thread.join().unwrap().unwrap();
}

#[test]
fn workers_are_not_awaited_in_an_open_network_unless_it_is_trusted() {
    for open in ["tcp://0.0.0.0:*", "tcp://*:*", "tcp://[::]:*", "tcp://eth0:*"] {
        let error = Master::bind(MasterConfig::new(([127, 0, 0, 1], 0).into(), open)).err().unwrap();
        assert!(error.to_string().contains("--trust-network"), "{error}");
    }
    let trusted =
        MasterConfig { trust_network: true, ..MasterConfig::new(([127, 0, 0, 1], 0).into(), "tcp://0.0.0.0:*") };
    Master::bind(trusted).unwrap();
}
