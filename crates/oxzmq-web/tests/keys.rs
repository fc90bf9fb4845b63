//! Workers that prove by keys who they are: whose key is listed comes in, whose key goes is cut off, who is not
//! listed stays outside and says why, and none of them needs to be started anew when the list changes.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};

use common::{LONG, Reply, Running, RunningWorker, Scratch, noise};
use oxzmq::Security;
use oxzmq::curve::{AllowedKeys, Certificate, KeyPair};
use oxzmq_web::config::WorkerConfig;
use oxzmq_web::pool::News;
use oxzmq_web::worker::{Notice, Worker};

struct Guarded {
    scratch: Scratch,
    keys: KeyPair,
    master: Running,
}

impl Guarded {
    fn start() -> Self {
        let scratch = Scratch::new();
        scratch.write("root/page", "the page");
        scratch.write("root/large", noise(24 << 20));
        fs::create_dir(scratch.0.join("allowed")).unwrap();
        let keys = KeyPair::generate().unwrap();
        let allowed = AllowedKeys::open(scratch.0.join("allowed")).unwrap();
        let security = Some((Security::CurveServer(keys.clone()), allowed));
        let master = Running::with(|config| {
            config.security = security;
            config.limits.queue_wait = LONG;
        });
        Self { scratch, keys, master }
    }

    fn allow(&self, name: &str, keys: &KeyPair) {
        // Into its place by a name, so that nobody reads half a file.
        let file = self.scratch.0.join("allowed").join(format!(".{name}"));
        Certificate::of(keys.public()).save(&file).unwrap();
        fs::rename(file, self.scratch.0.join("allowed").join(name)).unwrap();
    }

    fn forbid(&self, name: &str) {
        fs::remove_file(self.scratch.0.join("allowed").join(name)).unwrap();
    }

    /// A worker, and the reasons for which it begins anew.
    fn worker(&self, name: &str, keys: &KeyPair) -> (RunningWorker, Receiver<String>) {
        let security = Security::CurveClient { server: self.keys.public(), keys: keys.clone() };
        let config = WorkerConfig::new(&self.master.endpoint, self.scratch.0.join("root"));
        let worker = Worker::new(WorkerConfig { security, name: Some(name.to_owned()), ..config }).unwrap();
        let stopper = worker.stopper();
        let (sender, reasons) = channel();
        let sender = std::sync::Mutex::new(sender);
        let thread = std::thread::spawn(move || {
            worker.run(&|_, notice| {
                if let Notice::StartingAnew(why) = notice {
                    let _ = sender.lock().unwrap().send(why.to_owned());
                }
            })
        });
        (RunningWorker { stopper, thread: Some(thread) }, reasons)
    }

    fn joined(&mut self) -> String {
        match self.master.news() {
            News::Joined { worker, .. } => worker.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_worker_whose_key_is_not_listed_stays_outside_until_it_is() {
    let mut guarded = Guarded::start();
    let keys = KeyPair::generate().unwrap();
    let (_worker, reasons) = guarded.worker("anna", &keys);
    let why = reasons.recv_timeout(LONG).unwrap();
    assert!(why.contains("key"), "{why}");
    guarded.allow("anna", &keys);
    assert!(guarded.joined().contains("anna"));
    assert_eq!(guarded.master.get("/page").text(), "the page");
}

#[test]
fn a_worker_without_keys_stays_outside() {
    let mut guarded = Guarded::start();
    let keys = KeyPair::generate().unwrap();
    guarded.allow("anna", &keys);
    let plain = Worker::new(WorkerConfig::new(&guarded.master.endpoint, guarded.scratch.0.join("root"))).unwrap();
    let stopper = plain.stopper();
    let thread = std::thread::spawn(move || plain.run(&|_, _| {}));
    let _plain = RunningWorker { stopper, thread: Some(thread) };
    let (_anna, _) = guarded.worker("anna", &keys);
    // The first that joins is the one with a key, though the other one was there before.
    assert!(guarded.joined().contains("anna"));
}

#[test]
fn a_worker_whose_key_is_removed_is_cut_off_and_its_downloads_go_on_elsewhere() {
    let mut guarded = Guarded::start();
    let (anna, ben) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    guarded.allow("anna", &anna);
    guarded.allow("ben", &ben);
    let (_anna, reasons) = guarded.worker("anna", &anna);
    assert!(guarded.joined().contains("anna"));

    // Half of it is in nobody's buffers when the worker goes.
    let mut client = guarded.master.connect();
    client.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = vec![0; 1 << 20];
    client.read_exact(&mut answer).unwrap();
    let (_ben, _) = guarded.worker("ben", &ben);
    assert!(guarded.joined().contains("ben"));

    guarded.forbid("anna");
    match guarded.master.news() {
        News::Left { worker, in_hand, .. } => assert!(worker.to_string().contains("anna") && in_hand == 1),
        other => panic!("{other:?}"),
    }
    client.read_to_end(&mut answer).unwrap();
    assert!(Reply::parse(&answer).body == noise(24 << 20));
    while !reasons.recv_timeout(LONG).unwrap().contains("key") {}

    // It comes back with its key, by itself.
    guarded.allow("anna", &anna);
    assert!(guarded.joined().contains("anna"));
}
