use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::envelope::{CHUNK_MIN, Introduction, Status, Version};

const SECOND: Duration = Duration::from_secs(1);
const V1: Version = Version { size: 1 << 20, mtime_s: 1, mtime_ns: 1 };
const WINDOW: u32 = 512 * 1024;

#[derive(Clone, Debug, PartialEq)]
enum Got {
    Head { worker: String, tries: u32, content: usize },
    Chunk(usize),
    Failed(Failure),
}

#[derive(Clone, Default)]
struct Recorder(Rc<RefCell<Vec<Got>>>, Rc<RefCell<Option<Source>>>);

impl Client for Recorder {
    fn head(&mut self, _: Head, source: Source, content: Bytes) {
        let (worker, tries) = (source.worker.to_string(), source.tries);
        self.0.borrow_mut().push(Got::Head { worker, tries, content: content.len() });
    }
    fn chunk(&mut self, content: Bytes) {
        self.0.borrow_mut().push(Got::Chunk(content.len()));
    }
    fn fail(&mut self, failure: Failure, last: Option<Source>) {
        *self.1.borrow_mut() = last;
        self.0.borrow_mut().push(Got::Failed(failure));
    }
}

/// A pool with scripted workers and a clock that moves only when told.
struct Stage {
    pool: Pool<Recorder>,
    now: Instant,
    tickets: u64,
}

impl Stage {
    fn new(limits: Limits) -> Self {
        Self { pool: Pool::new(limits, 1000), now: Instant::now(), tickets: 0 }
    }

    fn with_workers(names: &[&str], slots: u32) -> Self {
        let mut stage = Self::new(Limits::default());
        for name in names {
            stage.join(name, slots);
        }
        stage
    }

    fn join(&mut self, name: &str, slots: u32) {
        let (host, root) = ("h".to_owned(), "/".to_owned());
        let me = Introduction { pid: 1, slots, name: name.to_owned(), host, root };
        self.says(name, ToMaster::Ready(me));
        let welcome = self.sent().into_iter().find(|(to, _)| to == name);
        assert!(matches!(welcome, Some((_, ToWorker::Welcome(_)))), "{welcome:?}");
    }

    fn says(&mut self, name: &str, message: ToMaster) {
        self.pool.handle(&name.to_owned().into(), message, self.now);
    }

    fn ask(&mut self, path: &'static str) -> (Ticket, Recorder) {
        self.tickets += 1;
        let recorder = Recorder::default();
        self.pool.submit(self.tickets, Order::whole(path.into()), recorder.clone(), self.now);
        (self.tickets, recorder)
    }

    fn sent(&mut self) -> Vec<(String, ToWorker)> {
        let mut sent = Vec::new();
        while let Some((to, message)) = self.pool.poll_outbox() {
            sent.push((String::from_utf8_lossy(&to).into_owned(), message));
        }
        sent
    }

    /// The one request that was just sent out.
    fn order(&mut self) -> (String, u64, Order, u32) {
        let mut requests = self.sent().into_iter().filter_map(|(to, message)| match message {
            ToWorker::Request(id, order, credit) => Some((to, id, order, credit)),
            _ => None,
        });
        let one = requests.next().expect("a request goes out");
        assert_eq!(requests.next(), None, "only one request goes out");
        one
    }

    /// The worker sends the head of a file of 1 MiB, and the first so many octets that were asked for.
    fn answers(&mut self, worker: &str, id: u64, offset: u64, content: usize) {
        let head = Head::part(V1, offset, V1.size - offset, "text/plain");
        self.says(worker, ToMaster::Head(id, head, vec![0; content].into()));
    }

    fn small(&mut self, worker: &str, id: u64) {
        self.says(worker, ToMaster::Head(id, Head::without_file(Status::NotFound, ""), Bytes::new()));
    }

    fn passes(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = end.min(self.now + SECOND / 4);
            self.pool.tick(self.now);
        }
    }

    /// Time passes while these workers keep showing signs of life.
    fn passes_with(&mut self, workers: &[&str], time: Duration) {
        let end = self.now + time;
        while self.now < end {
            for worker in workers {
                self.says(worker, ToMaster::Pulse);
            }
            self.passes(Duration::from_millis(100));
        }
    }
}

fn got(recorder: &Recorder) -> Vec<Got> {
    recorder.0.borrow().clone()
}

#[test]
fn the_least_recently_used_free_worker_is_next() {
    let mut stage = Stage::with_workers(&["a", "b", "c"], 1);
    for expected in ["a", "b", "c", "a", "b"] {
        stage.ask("/");
        let (worker, id, ..) = stage.order();
        assert_eq!(worker, expected);
        stage.small(&worker, id);
    }
}

#[test]
fn a_busy_worker_gets_nothing_while_another_is_free() {
    let mut stage = Stage::with_workers(&["a", "b"], 4);
    stage.ask("/slow");
    let (slow, ..) = stage.order();
    for _ in 0..5 {
        stage.ask("/");
        let (worker, id, ..) = stage.order();
        assert_ne!(worker, slow);
        stage.small(&worker, id);
    }
}

#[test]
fn without_a_free_worker_requests_wait_in_order() {
    let mut stage = Stage::with_workers(&["a"], 1);
    stage.ask("/1");
    let (_, first, ..) = stage.order();
    stage.ask("/2");
    stage.ask("/3");
    assert_eq!(stage.sent(), []);
    stage.small("a", first);
    let (_, second, order, _) = stage.order();
    assert_eq!(order.path, "/2");
    stage.join_and_expect("b", "/3");
    stage.small("a", second);
}

impl Stage {
    fn join_and_expect(&mut self, name: &str, path: &str) {
        let (host, root) = ("h".to_owned(), "/".to_owned());
        let me = Introduction { pid: 1, slots: 1, name: name.to_owned(), host, root };
        self.says(name, ToMaster::Ready(me));
        let (worker, _, order, _) = self.order();
        assert_eq!((worker.as_str(), &order.path[..]), (name, path.as_bytes()));
    }
}

#[test]
fn the_queue_is_bounded_in_length_and_time() {
    let mut stage = Stage::new(Limits { queue: 2, ..Limits::default() });
    let (_, first) = stage.ask("/1");
    stage.ask("/2");
    let (_, third) = stage.ask("/3");
    assert_eq!(got(&third), [Got::Failed(Failure::QueueFull)]);
    stage.passes(10 * SECOND);
    assert_eq!(got(&first), [Got::Failed(Failure::NoWorker)]);
    assert_eq!(stage.pool.requests(), 0);
}

#[test]
fn a_request_whose_worker_dies_goes_to_another() {
    let mut stage = Stage::with_workers(&["a", "b"], 8);
    let (_, recorder) = stage.ask("/");
    let (worker, ..) = stage.order();
    stage.pool.unreachable(&worker.into(), "gone", stage.now);
    let (other, id, ..) = stage.order();
    assert_eq!(other, "b");
    stage.small("b", id);
    assert_eq!(got(&recorder), [Got::Head { worker: "b".into(), tries: 2, content: 0 }]);
}

#[test]
fn a_silent_worker_is_suspect_then_dead_and_its_request_moves_on() {
    let mut stage = Stage::with_workers(&["a", "b"], 8);
    stage.ask("/");
    assert_eq!(stage.order().0, "a");
    stage.passes_with(&["b"], Duration::from_millis(2100));
    // Suspect: "b" has more in hand and still gets the next ones.
    for _ in 0..3 {
        stage.ask("/");
        assert_eq!(stage.order().0, "b");
    }
    stage.passes_with(&["b"], SECOND);
    assert_eq!(stage.pool.workers(), 1);
    let sent = stage.sent();
    assert!(sent.iter().any(|(to, what)| to == "b" && matches!(what, ToWorker::Request(..))), "{sent:?}");
}

#[test]
fn a_slow_answer_is_fetched_from_another_worker_and_late_ones_are_dropped() {
    let mut stage = Stage::with_workers(&["a", "b"], 8);
    let (_, recorder) = stage.ask("/");
    let (slow, late, ..) = stage.order();
    stage.passes_with(&["a", "b"], 5 * SECOND);
    let sent = stage.sent();
    assert!(sent.contains(&(slow.clone(), ToWorker::Cancel(late))), "{sent:?}");
    let again = sent.into_iter().find_map(|(to, message)| match message {
        ToWorker::Request(id, ..) => Some((to, id)),
        _ => None,
    });
    let (other, id) = again.expect("the request goes out again");
    assert_ne!(other, slow);
    stage.answers(&slow, late, 0, 100);
    assert_eq!(got(&recorder), []);
    stage.small(&other, id);
    assert_eq!(got(&recorder).len(), 1);
}

#[test]
fn after_three_slow_workers_the_client_is_told() {
    let mut stage = Stage::with_workers(&["a", "b"], 8);
    let (_, recorder) = stage.ask("/");
    stage.passes_with(&["a", "b"], 15 * SECOND + Duration::from_millis(400));
    assert_eq!(got(&recorder), [Got::Failed(Failure::TooSlow)]);
    assert_eq!(recorder.1.borrow().as_ref().map(|last| last.tries), Some(3), "the log tells who was tried");
}

#[test]
fn when_all_workers_fall_silent_the_client_is_told_that_none_answered_in_time() {
    let mut stage = Stage::with_workers(&["a", "b"], 8);
    let (_, recorder) = stage.ask("/");
    let (silent, ..) = stage.order();
    stage.passes(15 * SECOND);
    assert_eq!(stage.pool.workers(), 0);
    let (_, unheard) = stage.ask("/");
    stage.passes(10 * SECOND);
    assert_eq!(got(&recorder), [Got::Failed(Failure::TooSlow)], "{silent} had it first");
    assert_eq!(got(&unheard), [Got::Failed(Failure::NoWorker)], "nobody had it");
}

#[test]
fn a_path_that_kills_three_workers_is_quarantined_for_a_while() {
    let mut stage = Stage::with_workers(&["a", "b", "c", "d"], 8);
    let (_, recorder) = stage.ask("/poison");
    for _ in 0..3 {
        let (worker, ..) = stage.order();
        stage.pool.unreachable(&worker.into(), "gone", stage.now);
    }
    assert_eq!(got(&recorder), [Got::Failed(Failure::Broken)]);
    assert_eq!(got(&stage.ask("/poison").1), [Got::Failed(Failure::Quarantined)]);
    assert_eq!(got(&stage.ask("/other").1), []);
    stage.passes_with(&["d"], 31 * SECOND);
    assert_eq!(got(&stage.ask("/poison").1), []);
}

#[test]
fn deaths_of_workers_with_much_in_hand_say_little_about_each_request() {
    let mut stage = Stage::with_workers(&["0"], 8);
    let recorders: Vec<_> = ["/a", "/b", "/c", "/d"].into_iter().map(|path| stage.ask(path).1).collect();
    let mut dies = |number: u32| {
        stage.pool.unreachable(&number.to_string().into(), "gone", stage.now);
        stage.join(&(number + 1).to_string(), 8);
    };
    (0..11).for_each(&mut dies);
    assert!(recorders.iter().all(|recorder| got(recorder).is_empty()), "eleven deaths");
    dies(11);
    assert!(recorders.iter().all(|recorder| got(recorder) == [Got::Failed(Failure::Broken)]), "twelve are enough");
    assert_eq!(got(&stage.ask("/a").1), [Got::Failed(Failure::Quarantined)]);
}

#[test]
fn content_never_exceeds_the_window_and_follows_the_client() {
    let mut stage = Stage::with_workers(&["a"], 1);
    let (ticket, recorder) = stage.ask("/big");
    let (_, id, _, credit) = stage.order();
    assert_eq!(credit, WINDOW);
    stage.answers("a", id, 0, 256 * 1024);
    stage.says("a", ToMaster::Chunk(id, vec![0; 256 * 1024].into()));
    // The client reads nothing: no credit, and no haste either.
    stage.passes_with(&["a"], 60 * SECOND);
    assert!(stage.sent().iter().all(|(_, message)| *message == ToWorker::Pulse));
    stage.pool.consumed(ticket, 1000, stage.now);
    assert_eq!(stage.sent(), [], "a grant of 1000 octets is not worth a message");
    stage.pool.consumed(ticket, 199_000, stage.now);
    assert_eq!(stage.sent(), [("a".into(), ToWorker::Grant(id, 200_000))]);
    assert_eq!(got(&recorder).len(), 2);
}

#[test]
fn a_worker_that_ignores_its_credit_is_dismissed() {
    let mut stage = Stage::with_workers(&["a"], 1);
    stage.ask("/big");
    let (_, id, ..) = stage.order();
    stage.answers("a", id, 0, 256 * 1024);
    stage.says("a", ToMaster::Chunk(id, vec![0; 256 * 1024].into()));
    stage.says("a", ToMaster::Chunk(id, vec![0; CHUNK_MIN].into()));
    assert_eq!(stage.pool.workers(), 0);
    assert_eq!(stage.sent(), [("a".into(), ToWorker::Bye)]);
}

#[test]
fn a_broken_download_goes_on_elsewhere_where_it_stopped() {
    let mut stage = Stage::with_workers(&["a", "b"], 1);
    let (_, recorder) = stage.ask("/big");
    let (worker, id, ..) = stage.order();
    stage.answers(&worker, id, 0, 100_000);
    stage.pool.unreachable(&worker.into(), "gone", stage.now);
    let (other, id, order, credit) = stage.order();
    assert_eq!((order.offset, order.length, order.version), (100_000, Some(V1.size - 100_000), Some(V1)));
    assert_eq!(credit, WINDOW - 100_000);
    stage.answers(&other, id, 100_000, 50_000);
    assert_eq!(got(&recorder)[1..], [Got::Chunk(50_000)]);
}

#[test]
fn another_version_of_the_file_never_completes_a_download() {
    let mut stage = Stage::with_workers(&["a", "b"], 1);
    let (_, recorder) = stage.ask("/big");
    let (worker, id, ..) = stage.order();
    stage.answers(&worker, id, 0, 100_000);
    stage.pool.unreachable(&worker.into(), "gone", stage.now);
    let (other, id, ..) = stage.order();
    stage.says(&other, ToMaster::Head(id, Head::without_file(Status::Changed, ""), Bytes::new()));
    assert_eq!(got(&recorder)[1..], [Got::Failed(Failure::Changed)]);
}

#[test]
fn a_client_that_leaves_frees_the_slot_once_the_worker_says_so() {
    let mut stage = Stage::with_workers(&["a"], 1);
    let (first, _) = stage.ask("/big");
    let (_, id, ..) = stage.order();
    let (queued, _) = stage.ask("/never");
    stage.ask("/next");
    stage.pool.cancel(queued);
    stage.pool.cancel(first);
    assert_eq!(stage.sent(), [("a".into(), ToWorker::Cancel(id))]);
    stage.says("a", ToMaster::Chunk(id, vec![0; CHUNK_MIN].into()));
    assert_eq!(stage.sent(), []);
    stage.says("a", ToMaster::End(id, "cancelled".into()));
    assert_eq!(stage.order().2.path, "/next");
}

#[test]
fn a_draining_worker_finishes_and_gets_nothing_new() {
    let mut stage = Stage::with_workers(&["a"], 8);
    let (_, recorder) = stage.ask("/");
    let (_, id, ..) = stage.order();
    stage.says("a", ToMaster::Draining);
    assert_eq!(stage.sent(), [("a".into(), ToWorker::Stop)]);
    stage.ask("/later");
    assert_eq!(stage.sent(), []);
    stage.small("a", id);
    assert_eq!(got(&recorder).len(), 1);
    stage.says("a", ToMaster::Bye);
    assert_eq!(stage.pool.workers(), 0);
    stage.join_and_expect("b", "/later");
}

#[test]
fn a_stopping_master_finishes_before_it_lets_its_workers_go() {
    let mut stage = Stage::with_workers(&["a"], 8);
    stage.ask("/");
    let (_, id, ..) = stage.order();
    stage.pool.stop();
    assert_eq!(got(&stage.ask("/late").1), [Got::Failed(Failure::Stopping)]);
    assert_eq!(stage.sent(), []);
    stage.small("a", id);
    assert_eq!(stage.sent(), [("a".into(), ToWorker::Stop)]);
}

#[test]
fn a_stranger_that_thinks_it_is_at_work_must_start_anew() {
    let mut stage = Stage::with_workers(&[], 1);
    stage.says("ghost", ToMaster::Chunk(5, Bytes::new()));
    assert_eq!(stage.sent(), []);
    stage.says("ghost", ToMaster::Pulse);
    assert_eq!(stage.sent(), [("ghost".into(), ToWorker::Bye)]);
}

#[test]
fn nobody_answers_for_another_worker() {
    let mut stage = Stage::with_workers(&["a", "b"], 1);
    let (_, recorder) = stage.ask("/");
    let (_, id, ..) = stage.order();
    stage.small("b", id);
    assert_eq!(got(&recorder), []);
    assert_eq!(stage.pool.workers(), 1);
}

#[test]
fn an_idle_pool_is_to_be_woken_for_signs_of_life_alone_and_for_all_of_them_at_once() {
    let mut stage = Stage::new(Limits::default());
    assert_eq!(stage.pool.next_tick(stage.now), None, "nobody is there");
    stage.join("a", 1);
    stage.now += SECOND / 8;
    stage.join("b", 1);
    let mut wakes = 0;
    let end = stage.now + 8 * SECOND;
    while stage.now < end {
        let next = stage.pool.next_tick(stage.now).unwrap();
        assert!(next > stage.now, "time goes on");
        stage.passes(next - stage.now);
        for (worker, message) in stage.sent() {
            assert_eq!(message, ToWorker::Pulse);
            stage.says(&worker, ToMaster::Pulse);
        }
        wakes += 1;
    }
    assert!((8..=10).contains(&wakes), "{wakes} in 8 seconds");
    stage.ask("/");
    assert!(stage.pool.next_tick(stage.now).unwrap() <= stage.now + SECOND / 10, "deadlines are watched");
    // Silence is noticed in time.
    let mut stage = Stage::with_workers(&["a"], 1);
    let born = stage.now;
    while let Some(next) = stage.pool.next_tick(stage.now) {
        assert!(next > stage.now);
        stage.passes(next - stage.now);
    }
    assert_eq!(stage.now, born + 3 * SECOND);
}

#[test]
fn a_master_that_stood_still_blames_nobody() {
    let mut stage = Stage::with_workers(&["a"], 1);
    stage.passes(SECOND / 2);
    let (_, recorder) = stage.ask("/");
    let (_, id, ..) = stage.order();
    stage.now += 600 * SECOND;
    stage.pool.tick(stage.now);
    assert_eq!(stage.pool.workers(), 1);
    stage.small("a", id);
    assert!(matches!(got(&recorder)[..], [Got::Head { tries: 1, .. }]));
}
