//! Looking a little longer before going to sleep.
//!
//! Putting a thread to sleep and waking it takes longer than the other end of a busy conversation needs for
//! its next message. So a thread that would sleep looks for some microseconds first, where that has lately mostly
//! been worth it: never with one processor, and hardly ever where messages are far apart.
//!
//! In a flood the opposite danger is to come back for each single message. A thread that lately found several at a
//! time therefore rests between seeing that there is something and taking it.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long a thread looks before it goes to sleep. About what sleeping and waking cost together, so that it never
/// takes more than twice the best choice.
const LOOK: Duration = Duration::from_micros(25);

/// The same for connections, where the kernel's part comes on top.
pub(crate) const LOOK_AT_NETWORK: Duration = Duration::from_micros(40);

/// So often more than it was worth it may looking be in vain before it is given up.
const CREDIT: u8 = 8;

/// With no credit left, one wait in so many is a try.
const TRY_EVERY: u8 = 64;

/// The longest rest in a flood, in nanoseconds: some dozens of small messages.
const LONGEST_REST: u32 = 4096;

/// How long a reader rests that would fetch a flood in pieces.
const REST: Duration = Duration::from_micros(2);

/// So many messages between two waits are a flood.
const FLOOD: u32 = 4;

/// What a socket, a connection, an I/O thread or one that polls has learned about looking.
#[derive(Debug)]
pub(crate) struct Spin {
    credit: u8,
    waits: u8,
    /// Messages received since the last wait.
    received: u32,
    /// Nanoseconds.
    rest: u32,
}

impl Default for Spin {
    fn default() -> Self {
        Self { credit: CREDIT, waits: 0, received: 0, rest: 0 }
    }
}

impl Spin {
    /// A message was received.
    #[inline]
    pub(crate) fn count(&mut self) {
        self.received = self.received.wrapping_add(1);
    }

    /// Whether to look before sleeping.
    pub(crate) fn is_worthwhile(&mut self) -> bool {
        static SEVERAL: OnceLock<bool> = OnceLock::new();
        self.waits = self.waits.wrapping_add(1);
        (self.credit > 0 || self.waits.is_multiple_of(TRY_EVERY))
            && *SEVERAL.get_or_init(|| std::thread::available_parallelism().is_ok_and(|n| n.get() > 1))
    }

    /// How long to let messages gather once there are some.
    pub(crate) fn rest(&mut self) -> Duration {
        self.rest = match std::mem::take(&mut self.received) {
            0 | 1 => 0,
            n if n >= FLOOD => (self.rest * 2).clamp(256, LONGEST_REST),
            _ => self.rest / 2,
        };
        Duration::from_nanos(self.rest.into())
    }

    /// Whether looking was worth it.
    pub(crate) fn tell(&mut self, changed: bool) {
        self.credit = if changed { (self.credit + 1).min(CREDIT) } else { self.credit.saturating_sub(1) };
    }
}

/// Asks again and again whether a descriptor is ready, as long as that is worth it. Whatever else could run on this processor
/// runs meanwhile.
pub(crate) fn look(mut ready: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        std::thread::yield_now();
        if ready() {
            return true;
        }
        if start.elapsed() >= LOOK_AT_NETWORK {
            return false;
        }
    }
}

/// Lets messages gather for a moment.
pub(crate) fn rest() {
    let start = Instant::now();
    while start.elapsed() < REST {
        std::hint::spin_loop();
    }
}

/// Looks until `found`, and then for `rest` longer, or until looking is not worth it any more.
pub(crate) fn wait(found: impl Fn() -> bool, rest: Duration) {
    let start = Instant::now();
    loop {
        // A look costs the other thread a little, too: its processor has to give up what is looked at.
        for _ in 0..16 {
            std::hint::spin_loop();
        }
        if found() {
            break;
        }
        if start.elapsed() >= LOOK {
            return;
        }
    }
    let start = Instant::now();
    while start.elapsed() < rest {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_in_vain_is_given_up_and_tried_again_now_and_then() {
        let mut spin = Spin::default();
        for _ in 0..CREDIT {
            spin.tell(false);
        }
        assert_eq!(spin.credit, 0);
        let tries = (0..256).filter(|_| spin.is_worthwhile()).count();
        assert!(tries <= 256 / usize::from(TRY_EVERY));
        spin.tell(true);
        assert!(spin.is_worthwhile());
        (0..2 * CREDIT).for_each(|_| spin.tell(true));
        assert_eq!(spin.credit, CREDIT);
    }

    #[test]
    fn a_flood_rests_longer_and_longer_and_single_messages_not_at_all() {
        let mut spin = Spin::default();
        for _ in 0..10 {
            (0..FLOOD).for_each(|_| spin.count());
            spin.rest();
        }
        (0..FLOOD).for_each(|_| spin.count());
        assert_eq!(spin.rest(), Duration::from_nanos(LONGEST_REST.into()));
        spin.count();
        assert_eq!(spin.rest(), Duration::ZERO);
    }

    #[test]
    fn looking_ends_when_it_is_found_and_when_it_is_not() {
        let mut asked = 0;
        // On a busy machine the time may be over before it has been asked three times.
        while !look(|| {
            asked += 1;
            asked == 3
        }) {}
        assert_eq!(asked, 3);
        let start = Instant::now();
        assert!(!look(|| false));
        assert!(start.elapsed() >= LOOK_AT_NETWORK);
    }

    #[test]
    fn waiting_ends_when_it_is_found_and_when_it_is_not() {
        wait(|| true, Duration::ZERO);
        let start = Instant::now();
        wait(|| false, Duration::ZERO);
        assert!(start.elapsed() >= LOOK);
    }
}
