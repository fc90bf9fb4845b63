//! What has little to do with sockets: counters, stopwatches, threads, keys.

use std::ffi::c_void;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libc::{c_char, c_int, c_ulong};
use oxzmq::curve::KeyPair;

use crate::guard::{self, Errno};
use crate::socket::{text, without_signals};

/// The object behind a pointer that one of the functions here has made.
///
/// # Safety
/// `pointer` is NULL or came from [`make`] with the same type, and is not freed yet.
unsafe fn object<'a, T>(pointer: *mut c_void) -> Option<&'a T> {
    // SAFETY: as above.
    unsafe { pointer.cast::<T>().as_ref() }
}

fn make<T>(object: T) -> *mut c_void {
    Box::into_raw(Box::new(object)).cast()
}

/// # Safety
/// As [`object`]; and it is not used any more.
unsafe fn take<T>(pointer: *mut c_void) -> Option<T> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: as above.
    Some(*unsafe { Box::from_raw(pointer.cast::<T>()) })
}

/// See `zmq_atomic_counter_new(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_atomic_counter_new() -> *mut c_void {
    make(AtomicI32::new(0))
}

/// See `zmq_atomic_counter_set(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_atomic_counter_set(counter: *mut c_void, value: c_int) {
    // SAFETY: the caller gives a counter.
    if let Some(counter) = unsafe { object::<AtomicI32>(counter) } {
        counter.store(value, SeqCst);
    }
}

/// See `zmq_atomic_counter_inc(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_atomic_counter_inc(counter: *mut c_void) -> c_int {
    // SAFETY: the caller gives a counter.
    unsafe { object::<AtomicI32>(counter) }.map_or(0, |counter| counter.fetch_add(1, SeqCst))
}

/// See `zmq_atomic_counter_dec(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_atomic_counter_dec(counter: *mut c_void) -> c_int {
    // SAFETY: the caller gives a counter.
    unsafe { object::<AtomicI32>(counter) }.map_or(0, |counter| (counter.fetch_sub(1, SeqCst) != 1).into())
}

/// See `zmq_atomic_counter_value(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_atomic_counter_value(counter: *mut c_void) -> c_int {
    // SAFETY: the caller gives a counter.
    unsafe { object::<AtomicI32>(counter) }.map_or(0, |counter| counter.load(SeqCst))
}

/// See `zmq_atomic_counter_destroy(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_atomic_counter_destroy(place: *mut *mut c_void) {
    if !place.is_null() {
        // SAFETY: the caller gives a place with a counter, which nobody uses any more.
        unsafe { take::<AtomicI32>(std::mem::replace(&mut *place, std::ptr::null_mut())) };
    }
}

fn micros(since: Instant) -> c_ulong {
    c_ulong::try_from(since.elapsed().as_micros()).unwrap_or(c_ulong::MAX)
}

/// A stopwatch that runs.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_stopwatch_start() -> *mut c_void {
    make(Instant::now())
}

/// Microseconds since the start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_stopwatch_intermediate(watch: *mut c_void) -> c_ulong {
    // SAFETY: the caller gives a stopwatch.
    unsafe { object::<Instant>(watch) }.map_or(0, |start| micros(*start))
}

/// Microseconds since the start; frees the stopwatch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_stopwatch_stop(watch: *mut c_void) -> c_ulong {
    // SAFETY: the caller gives a stopwatch, which nobody uses any more.
    unsafe { take::<Instant>(watch) }.map_or(0, micros)
}

/// Sleeps so many seconds.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_sleep(seconds: c_int) {
    thread::sleep(Duration::from_secs(seconds.max(0) as u64));
}

/// `zmq_thread_fn`.
pub type ThreadFn = unsafe extern "C" fn(argument: *mut c_void);

struct Argument(*mut c_void);

// SAFETY: what the program gives to its own thread.
unsafe impl Send for Argument {}

/// Starts a thread that takes no signals.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_threadstart(function: Option<ThreadFn>, argument: *mut c_void) -> *mut c_void {
    guard::call(std::ptr::null_mut(), || {
        let function = function.ok_or(Errno(libc::EINVAL))?;
        let argument = Argument(argument);
        let work = move || {
            let argument = argument; // the whole of it, which may go to another thread
            // SAFETY: what the program gave for it.
            unsafe { function(argument.0) };
        };
        let started = without_signals(|| thread::Builder::new().name("ZMQapp".to_owned()).spawn(work));
        started.map(make).map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EAGAIN)))
    })
}

/// Waits for a thread's end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_threadclose(thread: *mut c_void) {
    // SAFETY: the caller gives what `zmq_threadstart` returned, once.
    if let Some(thread) = unsafe { take::<JoinHandle<()>>(thread) } {
        let _ = thread.join();
    }
}

/// Writes a key in Z85 where C wants it: 40 characters and a zero.
///
/// # Safety
/// `place` is valid for 41 octets.
unsafe fn put_key(place: *mut c_char, text: &str) {
    let octets = text.as_bytes();
    // SAFETY: as above; a key has 40 characters.
    unsafe {
        place.cast::<u8>().copy_from_nonoverlapping(octets.as_ptr(), octets.len());
        *place.add(octets.len()) = 0;
    }
}

/// See `zmq_curve_keypair(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_curve_keypair(public: *mut c_char, secret: *mut c_char) -> c_int {
    guard::status(|| {
        if public.is_null() || secret.is_null() {
            return Err(Errno(libc::EINVAL));
        }
        let keys = KeyPair::generate()?;
        // SAFETY: the caller gives room for 41 octets twice.
        unsafe {
            put_key(public, &keys.public().to_string());
            put_key(secret, &keys.secret_z85());
        }
        Ok(())
    })
}

/// See `zmq_curve_public(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_curve_public(public: *mut c_char, secret: *const c_char) -> c_int {
    guard::status(|| {
        if public.is_null() {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: the caller gives a string with a terminating zero.
        let keys = KeyPair::from_secret_z85(unsafe { text(secret)? })?;
        // SAFETY: the caller gives room for 41 octets.
        unsafe { put_key(public, &keys.public().to_string()) };
        Ok(())
    })
}
