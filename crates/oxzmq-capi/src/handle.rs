//! What a `void *` of the API stands for.
//!
//! A handle points to a slot of one table that exists as long as the library. So a handle that is closed, or never
//! was one, is told from a valid one without touching memory that may be gone. Slots are used again only after
//! thousands of others, which makes it unlikely that a handle closed long ago passes for a new one.
//!
//! # Who frees the object
//!
//! One word holds what the slot is and how many calls use it. A call adds itself and learns in the same step what the
//! slot was: if that is not what it wants, it leaves the object alone. Whoever leaves takes itself off and learns in
//! the same step whether the slot is closed and nobody is left; then it frees the object, if it manages to change
//! that very word. So a call that found the slot open is counted as long as it uses the object, and the object is
//! freed only when nobody is counted and nobody finds it open any more. All steps are sequentially consistent.
//!
//! # In a forked process
//!
//! there are none of the threads that sockets and contexts need, and their descriptors are the parent's, too. So the
//! handles that a process inherits are none of its own: calls fail as with any wrong handle, but closing one succeeds and
//! does nothing. That costs the calls of everybody else nothing.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// Most handles at the same time. The table is zeroed memory: what is not used takes none.
const SLOTS: usize = 1 << 17;

/// Slots that rest before one of them is used again.
const REST: usize = 4096;

const FREE: u32 = 0;
/// Closed, and somebody may still be using the object.
const CLOSED: u32 = 1;
/// Closed, and the object is being freed.
const FREEING: u32 = 2;

/// Added to the kind in a forked process.
const INHERITED: u32 = 1 << 31;
/// Part of the kinds that a forked process may go on using.
pub(crate) const SURVIVES_FORK: u32 = 1 << 30;

/// What handles stand for.
pub(crate) trait Object: Send + Sync + 'static {
    /// Above 2, another for each type, with [`SURVIVES_FORK`] where that is so.
    const KIND: u32;
}

/// What a slot points to. Whoever frees it need not know the type: a call with a handle of another kind may be the
/// last user.
#[repr(C)]
struct Holder<T> {
    free: unsafe fn(*mut c_void),
    object: T,
}

/// # Safety
/// `holder` came from a box of `Holder<T>` and is not used any more.
unsafe fn free_holder<T>(holder: *mut c_void) {
    // SAFETY: as above.
    drop(unsafe { Box::from_raw(holder.cast::<Holder<T>>()) });
}

// Calls of different threads on different handles do not share a cache line.
#[repr(align(64))]
struct Slot {
    /// What it is in the upper half, and how many calls use it in the lower.
    state: AtomicU64,
    object: AtomicPtr<c_void>,
}

static TABLE: [Slot; SLOTS] =
    [const { Slot { state: AtomicU64::new(state(FREE, 0)), object: AtomicPtr::new(std::ptr::null_mut()) } }; SLOTS];

const fn state(kind: u32, users: u32) -> u64 {
    (kind as u64) << 32 | users as u64
}

const fn kind(state: u64) -> u32 {
    (state >> 32) as u32
}

struct Unused {
    /// Slots from here on were never used.
    fresh: usize,
    resting: VecDeque<usize>,
}

/// Of the standard library, whose unlocking passes the lock to nobody: in a forked process those who wait are not there.
static UNUSED: Mutex<Unused> = Mutex::new(Unused { fresh: 0, resting: VecDeque::new() });

fn unused() -> MutexGuard<'static, Unused> {
    // Nothing panics that holds it.
    UNUSED.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// Locked by the thread that forks while it does, so that the child finds it whole and free.
    static WHILE_FORKING: RefCell<Option<MutexGuard<'static, Unused>>> = const { RefCell::new(None) };
}

extern "C" fn before_fork() {
    let _ = WHILE_FORKING.try_with(|held| held.replace(Some(unused())));
}

extern "C" fn after_fork_in_parent() {
    let _ = WHILE_FORKING.try_with(RefCell::take);
}

extern "C" fn after_fork_in_child() {
    let _ = WHILE_FORKING.try_with(|held| {
        let used = held.borrow().as_ref().map_or(0, |unused| unused.fresh);
        for slot in &TABLE[..used] {
            let kind = kind(slot.state.load(SeqCst));
            if kind > FREEING && kind & (SURVIVES_FORK | INHERITED) == 0 {
                slot.state.fetch_add(state(INHERITED, 0), SeqCst);
            }
        }
        held.take()
    });
}

/// Closes a handle that was opened before this process was forked off: nobody can use it any more, and what it stands
/// for stays as it is, because the parent still uses it. False for every other handle.
pub(crate) fn close_inherited<T: Object>(handle: *const c_void) -> bool {
    let close = |slot: &Slot| {
        let gone = |before| (kind(before) == T::KIND | INHERITED).then_some(state(INHERITED, 0));
        slot.state.fetch_update(SeqCst, SeqCst, gone).is_ok()
    };
    slot(handle).is_some_and(close)
}

/// A new handle; `None` when the table is full.
pub(crate) fn open<T: Object>(object: T) -> Option<*mut c_void> {
    static WATCH_FORKS: Once = Once::new();
    WATCH_FORKS.call_once(|| {
        // SAFETY: the functions exist as long as the library, which the C library knows when it is unloaded. Should there
        // be no memory for them, forked processes have to leave inherited handles alone.
        unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork_in_parent), Some(after_fork_in_child)) };
    });
    let index = {
        let mut unused = unused();
        if unused.resting.len() > REST || unused.fresh == SLOTS {
            unused.resting.pop_front()?
        } else {
            unused.fresh += 1;
            unused.fresh - 1
        }
    };
    let slot = &TABLE[index];
    let holder = Box::new(Holder { free: free_holder::<T>, object });
    slot.object.store(Box::into_raw(holder).cast(), SeqCst);
    // Added, because a call with an old handle may be counted at this moment.
    slot.state.fetch_add(state(T::KIND, 0) - state(FREE, 0), SeqCst);
    Some(std::ptr::from_ref(slot).cast_mut().cast())
}

fn slot(handle: *const c_void) -> Option<&'static Slot> {
    let offset = handle.addr().checked_sub((&raw const TABLE).addr())?;
    if offset % size_of::<Slot>() != 0 {
        return None;
    }
    TABLE.get(offset / size_of::<Slot>())
}

/// The object of a handle, kept from being freed as long as this lives.
pub(crate) struct Use<T: Object> {
    slot: &'static Slot,
    object: PhantomData<T>,
}

impl<T: Object> Use<T> {
    /// `None` for a handle of another kind, a closed one, and anything else.
    #[inline]
    pub(crate) fn of(handle: *const c_void) -> Option<Self> {
        let slot = slot(handle)?;
        let before = slot.state.fetch_add(1, SeqCst);
        let object = Self { slot, object: PhantomData };
        (kind(before) == T::KIND).then_some(object)
    }

    /// Closes the handle. False when somebody else has.
    pub(crate) fn close(&self) -> bool {
        let open = |before| (kind(before) == T::KIND).then(|| before - state(T::KIND, 0) + state(CLOSED, 0));
        self.slot.state.fetch_update(SeqCst, SeqCst, open).is_ok()
    }
}

impl<T: Object> Deref for Use<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the slot was a `T::KIND` when this user was counted, so the object is a `T` and is freed only when
        // nobody is counted, which is not so before this is dropped.
        unsafe { &(*self.slot.object.load(SeqCst).cast::<Holder<T>>()).object }
    }
}

impl<T: Object> Drop for Use<T> {
    #[inline]
    fn drop(&mut self) {
        if self.slot.state.fetch_sub(1, SeqCst) == state(CLOSED, 1) {
            free(self.slot);
        }
    }
}

#[cold]
fn free(slot: &'static Slot) {
    // Should a call with the old handle be counted just now, it comes here itself when it leaves.
    if slot.state.compare_exchange(state(CLOSED, 0), state(FREEING, 0), SeqCst, SeqCst).is_err() {
        return;
    }
    let object = slot.object.swap(std::ptr::null_mut(), SeqCst);
    // SAFETY: it came from a box of a `Holder` in `open`, whose first field is the function for its type, by
    // `repr(C)`. A call that was counted before the close has left, as the count was 0 after it; later ones do not
    // touch the object.
    unsafe { (*object.cast::<unsafe fn(*mut c_void)>())(object) };
    slot.state.fetch_sub(state(FREEING, 0) - state(FREE, 0), SeqCst);
    let index = (std::ptr::from_ref(slot).addr() - (&raw const TABLE).addr()) / size_of::<Slot>();
    unused().resting.push_back(index);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    struct Counted(Arc<AtomicUsize>);

    impl Object for Counted {
        const KIND: u32 = 100;
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn what_is_no_handle_is_told() {
        let somewhere = 7u64;
        for handle in
            [std::ptr::null(), (&raw const somewhere).cast(), (&raw const TABLE).cast::<u8>().wrapping_add(1).cast()]
        {
            assert!(Use::<Counted>::of(handle).is_none());
        }
    }

    #[test]
    fn the_last_user_frees_what_was_closed() {
        let freed = Arc::new(AtomicUsize::new(0));
        let handle = open(Counted(Arc::clone(&freed))).unwrap();
        let (first, second) = (Use::<Counted>::of(handle).unwrap(), Use::<Counted>::of(handle).unwrap());
        assert!(first.close());
        assert!(!second.close(), "once");
        assert!(Use::<Counted>::of(handle).is_none());
        drop(first);
        assert_eq!(freed.load(SeqCst), 0);
        assert_eq!(second.0.load(SeqCst), 0, "still there");
        drop(second);
        assert_eq!(freed.load(SeqCst), 1);
        assert!(Use::<Counted>::of(handle).is_none());
    }

    struct Other;

    impl Object for Other {
        const KIND: u32 = 101;
    }

    #[test]
    fn a_call_with_a_handle_of_another_kind_may_be_the_last_to_leave() {
        let freed = Arc::new(AtomicUsize::new(0));
        let handle = open(Counted(Arc::clone(&freed))).unwrap();
        let object = Use::<Counted>::of(handle).unwrap();
        assert!(object.close());
        let slot = object.slot;
        slot.state.fetch_add(1, SeqCst);
        drop(object);
        drop(Use::<Other> { slot, object: PhantomData });
        assert_eq!(freed.load(SeqCst), 1);
    }

    #[test]
    fn users_that_race_with_a_close_see_the_object_or_nothing() {
        let freed = Arc::new(AtomicUsize::new(0));
        const ROUNDS: usize = if cfg!(miri) { 10 } else { 2000 };
        for round in 1..=ROUNDS {
            let handle = open(Counted(Arc::clone(&freed))).unwrap().addr();
            let users: Vec<_> = (0..3)
                .map(|_| {
                    std::thread::spawn(move || {
                        while let Some(object) = Use::<Counted>::of(std::ptr::without_provenance(handle)) {
                            let _ = object.0.load(SeqCst);
                        }
                    })
                })
                .collect();
            let closing = Use::<Counted>::of(std::ptr::without_provenance(handle)).unwrap();
            assert!(closing.close());
            drop(closing);
            users.into_iter().for_each(|user| user.join().unwrap());
            assert_eq!(freed.load(SeqCst), round);
        }
    }
}
