//! What is told to people on standard error, by a thread of its own: a terminal that was stopped or a pipe that
//! nobody reads delays neither requests nor the end.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Lines waiting to be written; what comes on top is dropped.
const CAPACITY: usize = 1024;
/// How long the last lines may take.
const LAST_WORDS: Duration = Duration::from_millis(500);

enum Item {
    Line(String),
    /// Everything before this was written once the sender is told so.
    Mark(SyncSender<()>),
}

/// One per process, as standard error is.
fn voice() -> &'static SyncSender<Item> {
    static VOICE: OnceLock<SyncSender<Item>> = OnceLock::new();
    VOICE.get_or_init(|| {
        let (sender, items) = sync_channel(CAPACITY);
        // Without the thread nothing is told, which is all that can be done about it.
        let _ = std::thread::Builder::new().name("voice".to_owned()).spawn(move || speak(io::stderr(), &items));
        sender
    })
}

fn speak(mut out: impl Write, items: &Receiver<Item>) {
    for item in items {
        match item {
            // In one piece, so that lines of several processes do not mix. Nobody listens: nothing to be done.
            Item::Line(mut line) => {
                line.push('\n');
                let _ = out.write_all(line.as_bytes());
            }
            Item::Mark(done) => drop(done.send(())),
        }
    }
}

/// Tells a line. Never waits, never fails.
pub(crate) fn say(line: impl Into<String>) {
    let _ = voice().try_send(Item::Line(line.into()));
}

/// Waits until everything is written, for half a second at most.
pub(crate) fn flush() {
    let (done, written) = sync_channel(1);
    if voice().try_send(Item::Mark(done)).is_ok() {
        let _ = written.recv_timeout(LAST_WORDS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_in_order_and_the_mark_after_them() {
        let (sender, items) = sync_channel(CAPACITY);
        let (done, written) = sync_channel(1);
        for item in [Item::Line("a".into()), Item::Line("b".into()), Item::Mark(done)] {
            sender.send(item).unwrap();
        }
        drop(sender);
        let mut out = Vec::new();
        speak(&mut out, &items);
        assert_eq!(out, b"a\nb\n");
        written.try_recv().unwrap();
    }
}
