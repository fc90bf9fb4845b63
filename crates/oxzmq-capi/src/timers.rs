//! `zmq_timers_*`: periodic calls from a program's own loop.

use std::ffi::c_void;
use std::time::{Duration, Instant};

use libc::{c_int, c_long, size_t};
use parking_lot::Mutex;

use crate::guard::{self, Errno, Result};
use crate::handle::{self, Object, Use};

/// `zmq_timer_fn`.
pub type TimerFn = unsafe extern "C" fn(timer: c_int, argument: *mut c_void);

#[derive(Default)]
struct Timers(Mutex<Set>);

#[derive(Default)]
struct Set {
    timers: Vec<Timer>,
    last_id: c_int,
}

#[derive(Clone, Copy)]
struct Timer {
    id: c_int,
    interval: Duration,
    due: Instant,
    call: TimerFn,
    argument: *mut c_void,
}

// SAFETY: the argument is passed to the function and not followed; who may execute a set is the program's affair.
unsafe impl Send for Timer {}

impl Object for Timers {
    const KIND: u32 = handle::SURVIVES_FORK | 6;
}

/// Far enough for every interval that means anything.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

fn interval(millis: size_t) -> Duration {
    Duration::from_millis(millis as u64).min(LONGEST)
}

impl Set {
    fn add(&mut self, now: Instant, interval: Duration, call: TimerFn, argument: *mut c_void) -> c_int {
        self.last_id = self.last_id.wrapping_add(1).max(1);
        self.timers.push(Timer { id: self.last_id, interval, due: now + interval, call, argument });
        self.last_id
    }

    fn find(&mut self, id: c_int) -> Result<&mut Timer> {
        self.timers.iter_mut().find(|timer| timer.id == id).ok_or(Errno(libc::EINVAL))
    }

    fn cancel(&mut self, id: c_int) -> Result<()> {
        self.find(id)?;
        self.timers.retain(|timer| timer.id != id);
        Ok(())
    }

    /// Due timers by the time they were due, each to be called once; they are due again after their interval.
    fn take_due(&mut self, now: Instant) -> Vec<Timer> {
        let mut due: Vec<Timer> = self.timers.iter().filter(|timer| timer.due <= now).copied().collect();
        due.sort_by_key(|timer| timer.due);
        self.timers.iter_mut().filter(|timer| timer.due <= now).for_each(|timer| timer.due = now + timer.interval);
        due
    }

    /// In whole milliseconds, rounded up: after so many it is due.
    fn timeout(&self, now: Instant) -> c_long {
        let next = self.timers.iter().map(|timer| timer.due).min();
        let left = next.map(|due| due.saturating_duration_since(now).as_micros().div_ceil(1000));
        left.map_or(-1, |millis| c_long::try_from(millis).unwrap_or(c_long::MAX))
    }
}

fn used(handle: *mut c_void) -> Result<Use<Timers>> {
    Use::of(handle).ok_or(Errno(libc::EFAULT))
}

/// See `zmq_timers(3)`, as all functions here.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_timers_new() -> *mut c_void {
    guard::call(std::ptr::null_mut(), || handle::open(Timers::default()).ok_or(Errno(libc::ENOMEM)))
}

/// Ends the set; the pointer becomes NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_timers_destroy(place: *mut *mut c_void) -> c_int {
    guard::status(|| {
        if place.is_null() {
            return Err(Errno(libc::EFAULT));
        }
        // SAFETY: the caller gives a place with a handle.
        let timers = used(unsafe { *place })?;
        if !timers.close() {
            return Err(Errno(libc::EFAULT));
        }
        // SAFETY: as above.
        unsafe { *place = std::ptr::null_mut() };
        Ok(())
    })
}

/// Adds a timer and returns its id.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_timers_add(
    set: *mut c_void,
    millis: size_t,
    call: Option<TimerFn>,
    argument: *mut c_void,
) -> c_int {
    guard::call(-1, || {
        let timers = used(set)?;
        let call = call.ok_or(Errno(libc::EFAULT))?;
        Ok(timers.0.lock().add(Instant::now(), interval(millis), call, argument))
    })
}

/// Takes a timer out.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_timers_cancel(set: *mut c_void, id: c_int) -> c_int {
    guard::status(|| used(set)?.0.lock().cancel(id))
}

/// Changes the interval, which begins now.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_timers_set_interval(set: *mut c_void, id: c_int, millis: size_t) -> c_int {
    guard::status(|| {
        let timers = used(set)?;
        let mut set = timers.0.lock();
        let timer = set.find(id)?;
        timer.interval = interval(millis);
        timer.due = Instant::now() + timer.interval;
        Ok(())
    })
}

/// Begins the interval anew.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_timers_reset(set: *mut c_void, id: c_int) -> c_int {
    guard::status(|| {
        let timers = used(set)?;
        let mut set = timers.0.lock();
        let timer = set.find(id)?;
        timer.due = Instant::now() + timer.interval;
        Ok(())
    })
}

/// Milliseconds until the next timer is due; -1 when there is none.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_timers_timeout(set: *mut c_void) -> c_long {
    guard::call(-1, || Ok(used(set)?.0.lock().timeout(Instant::now())))
}

/// Calls what is due.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_timers_execute(set: *mut c_void) -> c_int {
    guard::status(|| {
        let timers = used(set)?;
        let due = timers.0.lock().take_due(Instant::now());
        for timer in due {
            // One that was called before may have cancelled it.
            let stays = timers.0.lock().find(timer.id).is_ok();
            if stays {
                // SAFETY: what the program gave for it. No lock is held: it may change the set.
                unsafe { (timer.call)(timer.id, timer.argument) };
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn nothing(_: c_int, _: *mut c_void) {}

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn timers_are_due_after_their_interval_again_and_again() {
        let mut set = Set::default();
        let start = Instant::now();
        assert_eq!(set.timeout(start), -1);
        let slow = set.add(start, millis(100), nothing, std::ptr::null_mut());
        let fast = set.add(start, millis(30), nothing, std::ptr::null_mut());
        assert_eq!((slow, fast), (1, 2));
        assert_eq!(set.timeout(start), 30);
        assert!(set.take_due(start + millis(29)).is_empty());
        let ids = |due: Vec<Timer>| due.iter().map(|timer| timer.id).collect::<Vec<_>>();
        assert_eq!(ids(set.take_due(start + millis(150))), [fast, slow]);
        assert_eq!(set.timeout(start + millis(150)), 30, "missed periods are not made up");
        set.cancel(fast).unwrap();
        assert_eq!(set.cancel(fast), Err(Errno(libc::EINVAL)));
        assert_eq!(set.timeout(start + millis(151)), 99);
        assert_eq!(set.timeout(start + millis(1000)), 0);
    }
}
