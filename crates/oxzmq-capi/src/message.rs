//! `zmq_msg_t` and the functions that make, read and release messages.
//!
//! The 64 octets hold a frame of the library as it is, so that nothing is copied or looked up. Programs move those
//! octets about in memory; a Rust value may be moved that way, too. The last four octets tell a message from garbage.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::{CStr, CString, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

use bytes::Bytes;
use libc::{c_char, c_int, size_t};
use oxzmq::{Frame, Message, Properties};

use crate::guard::{self, Errno, Result};

/// In the upper 24 bits of `state`.
const MAGIC: u32 = 0x6f78_7100;
const MAGIC_MASK: u32 = 0xffff_ff00;
const MORE: u32 = 1;
const SHARED: u32 = 2;

/// What the 64 octets of a `zmq_msg_t` are.
#[repr(C, align(8))]
pub struct Msg {
    frame: Frame,
    properties: Option<Arc<Properties>>,
    /// What few messages have.
    extra: Option<Box<Extra>>,
    routing_id: u32,
    state: u32,
}

const _: () = assert!(size_of::<Msg>() == 64 && align_of::<Msg>() == 8);

/// Texts that C has pointers to, which live as long as the message.
#[derive(Default)]
struct Extra {
    group: Option<CString>,
    properties: Vec<(CString, CString)>,
}

impl Msg {
    fn new(frame: Frame) -> Self {
        Msg { frame, properties: None, extra: None, routing_id: 0, state: MAGIC }
    }

    /// One part of a received message.
    pub(crate) fn received(frame: Frame, of: Origin, more: bool) -> Self {
        let state = if more { MAGIC | MORE } else { MAGIC };
        Msg { frame, properties: of.properties, extra: None, routing_id: of.routing_id, state }
    }

    pub(crate) fn octets(&self) -> &[u8] {
        &self.frame
    }

    pub(crate) fn len(&self) -> usize {
        self.frame.len()
    }

    /// What is to be sent, leaving an empty message.
    pub(crate) fn take(&mut self) -> Msg {
        std::mem::replace(self, Msg::new(Frame::new()))
    }

    /// The frame as a message, with what SERVER, PEER and RADIO want to know besides.
    pub(crate) fn into_message(self) -> Message {
        let mut message = Message::single(self.frame);
        message.set_routing_id(self.routing_id);
        if let Some(group) = self.extra.and_then(|extra| extra.group) {
            message.set_group(group.into_bytes());
        }
        message
    }

    /// The opposite of [`Msg::into_message`]: a message that could not be sent.
    pub(crate) fn from_message(mut message: Message) -> Self {
        let group = message.group();
        let group = (!group.is_empty()).then(|| CString::new(group).ok()).flatten();
        let routing_id = message.routing_id();
        Msg::from_parts(message.pop_front().unwrap_or_default(), routing_id, group)
    }

    fn from_parts(frame: Frame, routing_id: u32, group: Option<CString>) -> Self {
        let extra = group.map(|group| Box::new(Extra { group: Some(group), properties: Vec::new() }));
        Msg { routing_id, extra, ..Msg::new(frame) }
    }

    /// The only part of a received message takes this message's place. What is small is moved but once.
    #[inline]
    pub(crate) fn receive_only(&mut self, mut message: Message) {
        match message.frames_mut() {
            [frame] => std::mem::swap(&mut self.frame, frame),
            _ => self.frame = Frame::new(),
        }
        if self.extra.is_some() {
            self.extra = None;
        }
        self.properties = message.take_properties();
        self.routing_id = message.routing_id();
        self.state = MAGIC;
        message.discard();
    }

    /// Takes this message's place.
    #[inline]
    pub(crate) fn replace_by(&mut self, next: Msg) {
        std::mem::replace(self, next).discard();
    }

    /// Drops it; a message that has nothing but octets inside itself, as most have, without the calls that it takes to
    /// find that out for each of its parts.
    #[inline]
    fn discard(self) {
        if self.frame.is_inline() && self.properties.is_none() && self.extra.is_none() {
            std::mem::forget(self);
        }
    }

    fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    fn data(&mut self) -> *mut u8 {
        if let Some(octets) = self.frame.inline_mut() {
            return octets.as_mut_ptr();
        }
        self.frame.as_slice().as_ptr().cast_mut()
    }
}

/// What the parts of one received message have in common.
#[derive(Clone, Default)]
pub(crate) struct Origin {
    pub(crate) properties: Option<Arc<Properties>>,
    pub(crate) routing_id: u32,
}

/// The message behind a pointer from C.
///
/// # Safety
/// `message` is NULL or points to 64 readable and writable octets that nobody else uses meanwhile.
pub(crate) unsafe fn valid<'a>(message: *mut Msg) -> Result<&'a mut Msg> {
    if message.is_null() || !message.is_aligned() {
        return Err(Errno(libc::EFAULT));
    }
    // SAFETY: the octets are readable by the caller's word, and every pattern is a valid u32.
    let state = unsafe { (&raw const (*message).state).read() };
    if state & MAGIC_MASK != MAGIC {
        return Err(Errno(libc::EFAULT));
    }
    // SAFETY: only the functions here write the magic number, with a message before it.
    Ok(unsafe { &mut *message })
}

/// Starts a message in memory that may hold anything.
///
/// # Safety
/// `place` is NULL or points to 64 writable octets.
unsafe fn init(place: *mut Msg, message: Msg) -> Result<()> {
    if place.is_null() || !place.is_aligned() {
        return Err(Errno(libc::EFAULT));
    }
    // SAFETY: writable by the caller's word. What was there is not looked at.
    unsafe { place.write(message) };
    Ok(())
}

/// Memory for a body that C fills in.
struct Buffer {
    at: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it owns its memory, which no thread keeps a reference to.
unsafe impl Send for Buffer {}
// SAFETY: as above; the memory is written through C's own pointers only, before the message is sent.
unsafe impl Sync for Buffer {}

impl Buffer {
    fn new(size: usize) -> Option<Self> {
        let layout = Layout::from_size_align(size, 16).ok()?;
        // SAFETY: the size is not 0: smaller bodies are kept inside the message. Zeroed, so that what C leaves out is
        // not memory that was never written.
        let at = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Buffer { at, layout })
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: so much was allocated, and written with zeros at least.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.layout.size()) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.at.as_ptr(), self.layout) };
    }
}

/// `zmq_free_fn`.
pub type FreeFn = unsafe extern "C" fn(data: *mut c_void, hint: *mut c_void);

/// Memory that a program lends, given back by a call.
struct Lent {
    data: *mut c_void,
    size: usize,
    free: FreeFn,
    hint: *mut c_void,
}

// SAFETY: zmq_msg_init_data(3) says that the function is called by any thread, and the data is only read.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the program lends so much until the function is called, which happens when this is dropped.
        unsafe { lent(self.data, self.size) }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // SAFETY: once, with what the program gave for it.
        unsafe { (self.free)(self.data, self.hint) };
    }
}

/// # Safety
/// `data` is valid for `size` octets for as long as the result is used, or `size` is 0.
unsafe fn lent<'a>(data: *const c_void, size: usize) -> &'a [u8] {
    if size == 0 || data.is_null() {
        return &[];
    }
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts(data.cast(), size) }
}

/// Octets that C passes to be copied.
///
/// # Safety
/// `data` is valid for `size` octets for as long as the result is used.
pub(crate) unsafe fn octets<'a>(data: *const c_void, size: usize) -> Result<&'a [u8]> {
    if (data.is_null() && size > 0) || size > isize::MAX as usize {
        return Err(Errno(libc::EFAULT));
    }
    // SAFETY: as above.
    Ok(unsafe { lent(data, size) })
}

/// A frame over data that is never freed.
///
/// # Safety
/// `data` is valid for `size` octets for ever.
pub(crate) unsafe fn constant(data: *const c_void, size: usize) -> Result<Frame> {
    // SAFETY: as above.
    Ok(Frame::shared(Bytes::from_static(unsafe { octets::<'static>(data, size)? })))
}

/// See `zmq_msg_init(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_init(message: *mut Msg) -> c_int {
    // SAFETY: the caller gives a `zmq_msg_t`.
    guard::status(|| unsafe { init(message, Msg::new(Frame::new())) })
}

/// See `zmq_msg_init_size(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_init_size(message: *mut Msg, size: size_t) -> c_int {
    guard::status(|| {
        let frame = if size <= Frame::INLINE_MAX {
            Frame::copy_from_slice(&[0; Frame::INLINE_MAX][..size])
        } else {
            Frame::shared(Bytes::from_owner(Buffer::new(size).ok_or(Errno(libc::ENOMEM))?))
        };
        // SAFETY: the caller gives a `zmq_msg_t`.
        unsafe { init(message, Msg::new(frame)) }
    })
}

/// See `zmq_msg_init_buffer(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_init_buffer(message: *mut Msg, data: *const c_void, size: size_t) -> c_int {
    // SAFETY: the caller gives a `zmq_msg_t`, and data of that size.
    guard::status(|| unsafe { init(message, Msg::new(Frame::copy_from_slice(octets(data, size)?))) })
}

/// See `zmq_msg_init_data(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_init_data(
    message: *mut Msg,
    data: *mut c_void,
    size: size_t,
    free: Option<FreeFn>,
    hint: *mut c_void,
) -> c_int {
    guard::status(|| {
        if message.is_null() || size > isize::MAX as usize || (data.is_null() && size > 0) {
            return Err(Errno(libc::EFAULT));
        }
        let frame = match free {
            Some(free) => Frame::shared(Bytes::from_owner(Lent { data, size, free, hint })),
            // SAFETY: without a function to free it, the data is there for ever.
            None => unsafe { constant(data, size)? },
        };
        let mut lent = Msg::new(frame);
        if free.is_none() {
            lent.state |= SHARED;
        }
        // SAFETY: the caller gives a `zmq_msg_t`.
        unsafe { init(message, lent) }
    })
}

/// See `zmq_msg_close(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_close(message: *mut Msg) -> c_int {
    guard::status(|| {
        // SAFETY: the caller gives a `zmq_msg_t`.
        let message = unsafe { valid(message)? };
        let content = message.take();
        // `take` has left an empty message, which owns nothing.
        message.state = 0;
        content.discard();
        Ok(())
    })
}

/// See `zmq_msg_move(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_move(to: *mut Msg, from: *mut Msg) -> c_int {
    guard::status(|| {
        if to == from {
            // SAFETY: the caller gives a `zmq_msg_t`.
            return unsafe { valid(to) }.map(drop);
        }
        // SAFETY: the caller gives two messages, and they are not the same.
        let (to, from) = unsafe { (valid(to)?, valid(from)?) };
        to.replace_by(from.take());
        Ok(())
    })
}

/// See `zmq_msg_copy(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_copy(to: *mut Msg, from: *mut Msg) -> c_int {
    guard::status(|| {
        if to == from {
            // SAFETY: the caller gives a `zmq_msg_t`.
            return unsafe { valid(to) }.map(drop);
        }
        // SAFETY: the caller gives two messages, and they are not the same.
        let (to, from) = unsafe { (valid(to)?, valid(from)?) };
        if !from.frame.is_inline() {
            from.state |= SHARED;
        }
        let group = from.extra.as_ref().and_then(|extra| extra.group.clone());
        let copy = Msg {
            properties: from.properties.clone(),
            state: from.state,
            ..Msg::from_parts(from.frame.clone(), from.routing_id, group)
        };
        *to = copy;
        Ok(())
    })
}

/// See `zmq_msg_data(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_data(message: *mut Msg) -> *mut c_void {
    // SAFETY: the caller gives a `zmq_msg_t`.
    guard::call(std::ptr::null_mut(), || Ok(unsafe { valid(message)? }.data().cast()))
}

/// See `zmq_msg_size(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_size(message: *const Msg) -> size_t {
    // SAFETY: the caller gives a `zmq_msg_t`; it is not changed.
    guard::call(0, || Ok(unsafe { valid(message.cast_mut())? }.len()))
}

/// See `zmq_msg_more(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_more(message: *const Msg) -> c_int {
    // SAFETY: the caller gives a `zmq_msg_t`; it is not changed.
    guard::call(0, || Ok((unsafe { valid(message.cast_mut())? }.state & MORE != 0).into()))
}

const PROPERTY_MORE: c_int = 1;
const PROPERTY_SHARED: c_int = 3;

/// See `zmq_msg_get(3)`. Messages do not remember a descriptor: `ZMQ_SRCFD` is refused.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_get(message: *const Msg, property: c_int) -> c_int {
    guard::call(-1, || {
        // SAFETY: the caller gives a `zmq_msg_t`; it is not changed.
        let message = unsafe { valid(message.cast_mut())? };
        match property {
            PROPERTY_MORE => Ok((message.state & MORE != 0).into()),
            PROPERTY_SHARED => Ok((message.state & SHARED != 0).into()),
            _ => Err(Errno(libc::EINVAL)),
        }
    })
}

/// See `zmq_msg_set(3)`: there is no property to set.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_msg_set(_: *mut Msg, _: c_int, _: c_int) -> c_int {
    guard::status(|| Err(Errno(libc::EINVAL)))
}

/// See `zmq_msg_gets(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_gets(message: *const Msg, name: *const c_char) -> *const c_char {
    guard::call(std::ptr::null(), || {
        // SAFETY: the caller gives a `zmq_msg_t` that no other thread uses; only the texts it keeps are changed.
        let message = unsafe { valid(message.cast_mut())? };
        if name.is_null() {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: the caller gives a string with a terminating zero.
        let name = unsafe { CStr::from_ptr(name) };
        let known = message.extra.iter().flat_map(|extra| &extra.properties).find(|(known, _)| **known == *name);
        if let Some((_, value)) = known {
            return Ok(value.as_ptr());
        }
        let properties = message.properties.as_deref();
        let value = name.to_str().ok().and_then(|name| properties?.get(name)).ok_or(Errno(libc::EINVAL))?;
        // As far as C can see it.
        let end = value.iter().position(|&octet| octet == 0).unwrap_or(value.len());
        let value = CString::new(&value[..end]).map_err(|_| Errno(libc::EINVAL))?;
        let text = value.as_ptr(); // of memory that does not move with the CString
        message.extra().properties.push((name.to_owned(), value));
        Ok(text)
    })
}

/// See `zmq_msg_routing_id(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_routing_id(message: *mut Msg) -> u32 {
    // SAFETY: the caller gives a `zmq_msg_t`.
    guard::call(0, || Ok(unsafe { valid(message)? }.routing_id))
}

/// See `zmq_msg_set_routing_id(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_set_routing_id(message: *mut Msg, routing_id: u32) -> c_int {
    guard::status(|| {
        // SAFETY: the caller gives a `zmq_msg_t`.
        let message = unsafe { valid(message)? };
        if routing_id == 0 {
            return Err(Errno(libc::EINVAL));
        }
        message.routing_id = routing_id;
        Ok(())
    })
}

/// See `zmq_msg_group(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_group(message: *mut Msg) -> *const c_char {
    guard::call(c"".as_ptr(), || {
        // SAFETY: the caller gives a `zmq_msg_t`.
        let message = unsafe { valid(message)? };
        if message.extra.as_ref().is_none_or(|extra| extra.group.is_none()) {
            let group = message.properties.as_deref().map_or(&[][..], Properties::group);
            if group.is_empty() {
                return Ok(c"".as_ptr());
            }
            let end = group.iter().position(|&octet| octet == 0).unwrap_or(group.len());
            let group = CString::new(&group[..end]).map_err(|_| Errno(libc::EINVAL))?;
            message.extra().group = Some(group);
        }
        Ok(message.extra().group.as_ref().map_or(c"".as_ptr(), |group| group.as_ptr()))
    })
}

/// Longest group; what goes beyond is cut off, as libzmq does.
const MAX_GROUP: usize = 255;

/// See `zmq_msg_set_group(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_set_group(message: *mut Msg, group: *const c_char) -> c_int {
    guard::status(|| {
        // SAFETY: the caller gives a `zmq_msg_t`.
        let message = unsafe { valid(message)? };
        if group.is_null() {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: the caller gives a string with a terminating zero.
        let group = unsafe { CStr::from_ptr(group) }.to_bytes();
        let group = CString::new(&group[..group.len().min(MAX_GROUP)]).map_err(|_| Errno(libc::EINVAL))?;
        message.extra().group = Some(group);
        Ok(())
    })
}
