//! Messages: one or more frames that travel as a unit.

use std::borrow::Cow;
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{Frame, Properties};

/// What a message is: data, or a change of what its sender wants, which has a different form on the
/// wire in each protocol version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Kind {
    /// Data for the application.
    #[default]
    Data,
    /// The first frame is a topic that the sender wants from now on.
    Subscribe,
    /// The first frame is a topic that the sender no longer wants.
    Cancel,
    /// The first frame is a group that the sender (a DISH) joins.
    Join,
    /// The first frame is a group that the sender (a DISH) leaves.
    Leave,
}

/// One or more frames sent and received as a unit, plus, once received, its peer's properties.
///
/// A message of one small frame is made, moved and dropped without allocation. Equality looks at
/// frames and kind only.
#[derive(Default)]
pub struct Message {
    frames: SmallVec<[Frame; 1]>,
    properties: Option<Arc<Properties>>,
    kind: KindNumber,
    routing_id: u32,
}

/// Room for so many is made when a second frame comes.
const FEW_FRAMES: usize = 4;

/// A [`Kind`] as its number.
///
/// As wide as the routing id beside it, so that a message has no padding, and without values that are none, so that
/// `Option<Message>` keeps its tag outside: a message is then moved in whole pieces. Pieces that overlap, or are read
/// in other sizes than they were written in, make the processor wait for longer than the move itself takes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct KindNumber(u32);

impl KindNumber {
    const DATA: Self = Self::of(Kind::Data);

    const fn of(kind: Kind) -> Self {
        KindNumber(kind as u32)
    }

    #[inline]
    fn kind(self) -> Kind {
        let all = [Kind::Data, Kind::Subscribe, Kind::Cancel, Kind::Join, Kind::Leave];
        all.into_iter().find(|&kind| Self::of(kind) == self).unwrap_or_default()
    }
}

impl Message {
    /// A message without frames. It is sent as one empty frame, because the wire knows no other.
    #[inline]
    pub fn new() -> Self {
        Self::default()
    }

    /// A message without frames so far, with room for this many: more than one are kept in an allocation of their own,
    /// which then need not grow.
    ///
    /// ```
    /// # use oxzmq_proto::Message;
    /// let mut message = Message::with_capacity(5);
    /// message.extend(["a", "b", "c", "d", "e"]);
    /// assert_eq!(message.len(), 5);
    /// ```
    pub fn with_capacity(frames: usize) -> Self {
        Message { frames: SmallVec::with_capacity(frames), ..Self::default() }
    }

    /// A message of one empty frame.
    pub(crate) const EMPTY_FRAME: Self = Message {
        frames: SmallVec::from_const([Frame::new()]),
        properties: None,
        kind: KindNumber::DATA,
        routing_id: 0,
    };

    /// A message of one frame.
    #[inline]
    pub fn single(frame: impl Into<Frame>) -> Self {
        Message { frames: SmallVec::from_buf([frame.into()]), properties: None, kind: KindNumber::DATA, routing_id: 0 }
    }

    /// The storage and length of the only frame, if this is data of one inline frame.
    #[inline]
    pub(crate) fn small(&self) -> Option<(&[u8; Frame::INLINE_MAX], usize)> {
        match &self.frames[..] {
            [frame] if self.kind == KindNumber::DATA => frame.inline_parts(),
            _ => None,
        }
    }

    /// The same where nothing else belongs to it: neither a routing id nor properties.
    #[inline]
    pub(crate) fn small_alone(&self) -> Option<(&[u8; Frame::INLINE_MAX], usize)> {
        if self.routing_id == 0 && self.properties.is_none() { self.small() } else { None }
    }

    /// The length of the only frame, if this is data of one that is kept inside it.
    #[doc(hidden)]
    #[inline]
    pub fn small_len(&self) -> Option<usize> {
        self.small().map(|(_, len)| len)
    }

    /// The message of one inline frame that this is becomes the first `len` octets of `data`.
    #[inline]
    pub(crate) fn fill(&mut self, data: &[u8; Frame::INLINE_MAX], len: usize) {
        if let Some(frame) = self.frames.first_mut() {
            frame.set_inline(data, len);
        }
    }

    /// A change of subscription or group; `topic` is the topic or the group.
    pub fn subscription(kind: Kind, topic: impl Into<Frame>) -> Self {
        Message { kind: KindNumber::of(kind), ..Self::single(topic) }
    }

    /// Data, or which change of subscription or group.
    #[inline]
    pub fn kind(&self) -> Kind {
        self.kind.kind()
    }

    /// Number of frames.
    #[inline]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there are no frames.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The frames in order.
    #[inline]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The frames in order, to be changed in place.
    #[inline]
    pub fn frames_mut(&mut self) -> &mut [Frame] {
        &mut self.frames
    }

    /// The frame at `index`.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&Frame> {
        self.frames.get(index)
    }

    /// The first frame.
    #[inline]
    pub fn first(&self) -> Option<&Frame> {
        self.frames.first()
    }

    /// The last frame.
    #[inline]
    pub fn last(&self) -> Option<&Frame> {
        self.frames.last()
    }

    /// Append a frame.
    #[inline]
    pub fn push_back(&mut self, frame: impl Into<Frame>) {
        self.make_room();
        self.frames.push(frame.into());
    }

    /// Put a frame before all others.
    #[inline]
    pub fn push_front(&mut self, frame: impl Into<Frame>) {
        self.make_room();
        self.frames.insert(0, frame.into());
    }

    /// Who has two frames has mostly three or four: one allocation for them instead of two.
    #[inline]
    fn make_room(&mut self) {
        if self.frames.len() == 1 && !self.frames.spilled() {
            self.frames.reserve_exact(FEW_FRAMES - 1);
        }
    }

    /// Take the first frame off.
    #[inline]
    pub fn pop_front(&mut self) -> Option<Frame> {
        (!self.frames.is_empty()).then(|| self.frames.remove(0))
    }

    /// Take the last frame off.
    #[inline]
    pub fn pop_back(&mut self) -> Option<Frame> {
        self.frames.pop()
    }

    /// Remove all frames; kind and properties stay.
    #[inline]
    pub fn clear(&mut self) {
        self.frames.clear();
    }

    /// Octets of all frames together.
    #[inline]
    pub fn byte_len(&self) -> usize {
        match &self.frames[..] {
            [frame] => frame.len(),
            frames => frames.iter().map(Frame::len).sum(),
        }
    }

    /// The frames by value.
    #[inline]
    pub fn into_frames(self) -> IntoFrames {
        IntoFrames(self.frames.into_iter())
    }

    /// Cut the frames from `at` on off and return them as a message of the same kind and
    /// properties; beyond the end that is a message without frames.
    pub fn split_off(&mut self, at: usize) -> Message {
        let at = at.min(self.frames.len());
        Message {
            frames: self.frames.drain(at..).collect(),
            properties: self.properties.clone(),
            kind: self.kind,
            routing_id: self.routing_id,
        }
    }

    /// What is known about the peer that sent it; `None` for messages made here.
    #[inline]
    pub fn properties(&self) -> Option<&Arc<Properties>> {
        self.properties.as_ref()
    }

    /// What is known about the peer that sent it, taken from it.
    #[inline]
    pub fn take_properties(&mut self) -> Option<Arc<Properties>> {
        self.properties.take()
    }

    /// Set what is known about the sender.
    #[inline]
    pub fn set_properties(&mut self, properties: Option<Arc<Properties>>) {
        self.properties = properties;
    }

    /// SERVER and PEER: the peer that it came from or goes to (RFC 41, RFC 51); 0, the default, is none. It
    /// stays on this side of the connection.
    #[inline]
    pub fn routing_id(&self) -> u32 {
        self.routing_id
    }

    /// Set the peer that it goes to. A message received by SERVER or PEER has it set: changed or not, it can
    /// be sent back as the answer.
    #[inline]
    pub fn set_routing_id(&mut self, routing_id: u32) {
        self.routing_id = routing_id;
    }

    /// RADIO and DISH: the group that it is published in (RFC 48); empty, which is a group as well, by default.
    #[inline]
    pub fn group(&self) -> &[u8] {
        self.properties.as_deref().map_or(&[], Properties::group)
    }

    /// Set the group that it is to be published in, of at most 255 octets. What was known about the sender
    /// is forgotten.
    pub fn set_group(&mut self, group: impl Into<Bytes>) {
        self.properties = Some(Arc::new(Properties::new().with_group(group)));
    }

    /// Takes this message's place: an assignment with [`Message::discard`] for what was there.
    #[doc(hidden)]
    #[inline]
    pub fn replace_by(&mut self, next: Message) {
        std::mem::replace(self, next).discard();
    }

    /// Drops it. One that has nothing but octets inside itself, as most have, needs none of the calls that dropping
    /// any other takes.
    #[doc(hidden)]
    #[inline]
    pub fn discard(self) {
        let inside = match &self.frames[..] {
            [] => true,
            [frame] => frame.is_inline(),
            _ => false,
        };
        if inside && !self.frames.spilled() && self.properties.is_none() {
            std::mem::forget(self);
        }
    }

    /// The octets: of the frame if it is the only one (without a copy if it is large), else of all
    /// frames behind one another.
    pub fn into_bytes(mut self) -> Bytes {
        if self.frames.len() == 1 {
            return self.frames.pop().map(Frame::into_bytes).unwrap_or_default();
        }
        let mut all = Vec::with_capacity(self.byte_len());
        for frame in &self.frames {
            all.extend_from_slice(frame);
        }
        Bytes::from(all)
    }

    /// The first frame as text, with replacement characters where it is not UTF-8; empty without frames.
    pub fn to_text_lossy(&self) -> Cow<'_, str> {
        self.first().map_or(Cow::Borrowed(""), |frame| String::from_utf8_lossy(frame))
    }
}

impl Clone for Message {
    /// Shares large bodies. One frame, which is what publishers clone by the million, does without
    /// the loop that any number of them takes.
    #[inline]
    fn clone(&self) -> Self {
        Message {
            frames: match &self.frames[..] {
                [frame] => SmallVec::from_buf([frame.clone()]),
                frames => frames.iter().cloned().collect(),
            },
            properties: self.properties.clone(),
            kind: self.kind,
            routing_id: self.routing_id,
        }
    }
}

/// The frames of a [`Message`] by value.
#[derive(Debug)]
pub struct IntoFrames(smallvec::IntoIter<[Frame; 1]>);

impl Iterator for IntoFrames {
    type Item = Frame;

    #[inline]
    fn next(&mut self) -> Option<Frame> {
        self.0.next()
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for IntoFrames {
    #[inline]
    fn next_back(&mut self) -> Option<Frame> {
        self.0.next_back()
    }
}

impl ExactSizeIterator for IntoFrames {}

impl IntoIterator for Message {
    type Item = Frame;
    type IntoIter = IntoFrames;

    #[inline]
    fn into_iter(self) -> IntoFrames {
        self.into_frames()
    }
}

impl<'a> IntoIterator for &'a Message {
    type Item = &'a Frame;
    type IntoIter = std::slice::Iter<'a, Frame>;

    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.frames.iter()
    }
}

impl Index<usize> for Message {
    type Output = Frame;

    /// # Panics
    ///
    /// If there is no such frame; see [`Message::get`].
    #[inline]
    fn index(&self, index: usize) -> &Frame {
        &self.frames[index]
    }
}

impl From<Frame> for Message {
    #[inline]
    fn from(frame: Frame) -> Self {
        Self::single(frame)
    }
}

macro_rules! message_of_one_frame {
    ($($body:ty),*) => {$(
        impl From<$body> for Message {
            #[inline]
            fn from(body: $body) -> Self {
                let mut message = Self::EMPTY_FRAME;
                if let Some(frame) = message.frames.first_mut() {
                    let octets: &[u8] = body.as_ref();
                    if octets.len() > Frame::INLINE_MAX {
                        *frame = Frame::from(body);
                    } else {
                        frame.copy_small(octets);
                    }
                }
                message
            }
        }
    )*};
}

message_of_one_frame!(Bytes, Vec<u8>, String, &[u8], &str);

impl<const N: usize> From<&[u8; N]> for Message {
    #[inline]
    fn from(body: &[u8; N]) -> Self {
        Self::from(&body[..])
    }
}

impl From<Vec<Frame>> for Message {
    fn from(frames: Vec<Frame>) -> Self {
        frames.into_iter().collect()
    }
}

/// One frame per element: `Message::from(["a", "b"])`.
impl<T: Into<Frame>, const N: usize> From<[T; N]> for Message {
    fn from(frames: [T; N]) -> Self {
        frames.into_iter().collect()
    }
}

impl<F: Into<Frame>> FromIterator<F> for Message {
    fn from_iter<I: IntoIterator<Item = F>>(frames: I) -> Self {
        Message { frames: frames.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

impl<F: Into<Frame>> Extend<F> for Message {
    fn extend<I: IntoIterator<Item = F>>(&mut self, frames: I) {
        self.frames.extend(frames.into_iter().map(Into::into));
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.frames == other.frames
    }
}

impl Eq for Message {}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != KindNumber::DATA {
            write!(f, "{:?} ", self.kind())?;
        }
        f.debug_list().entries(&self.frames).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_a_cache_line() {
        assert!(size_of::<Message>() <= 64);
    }

    #[test]
    fn is_made_from_many_things() {
        assert_eq!(Message::from(b"ab"), Message::from("ab"));
        assert_eq!(Message::from(["a", "b"]).len(), 2);
        assert_eq!(Message::from(vec![Frame::new(), Frame::from("x")]).byte_len(), 1);
        assert_eq!(Message::from(vec![b'a', b'b']), Message::from([b"ab"]));
        assert_ne!(Message::subscription(Kind::Join, "a"), Message::from("a"));
    }

    #[test]
    fn frames_come_and_go_at_both_ends() {
        let mut message = Message::from("b");
        message.push_front("a");
        message.push_back("c");
        assert_eq!(format!("{message:?}"), r#"["a", "b", "c"]"#);
        assert_eq!(message.clone().into_bytes(), "abc");
        assert_eq!(message.pop_front().unwrap(), "a");
        assert_eq!(message.pop_back().unwrap(), "c");
        assert_eq!(message.clone().into_bytes(), "b");
        assert_eq!(message.pop_back().unwrap(), "b");
        assert_eq!((message.pop_front(), message.pop_back()), (None, None));
        assert_eq!(message.to_text_lossy(), "");
    }

    #[test]
    fn what_a_message_owns_goes_when_it_is_discarded_or_replaced() {
        let owner = Arc::new(());
        #[derive(Clone)]
        struct Owned(#[expect(dead_code)] Arc<()>);
        impl AsRef<[u8]> for Owned {
            fn as_ref(&self) -> &[u8] {
                b"short"
            }
        }
        let body = || Frame::shared(Bytes::from_owner(Owned(Arc::clone(&owner))));
        let properties = Arc::new(Properties::new());
        let with_properties = || {
            let mut message = Message::from("inside");
            message.set_properties(Some(Arc::clone(&properties)));
            message
        };
        let several = || Message::from_iter([Frame::from("inside"), body()]);
        let emptied = || {
            let mut message = several(); // whose room stays behind
            message.clear();
            message
        };
        for make in
            [&|| Message::single(body()) as Message, &several, &emptied, &with_properties] as [&dyn Fn() -> Message; 4]
        {
            make().discard();
            let mut message = make();
            message.replace_by(Message::from("next"));
            assert_eq!(message, Message::from("next"));
            assert_eq!((Arc::strong_count(&owner), Arc::strong_count(&properties)), (1, 1));
        }
        let mut message = with_properties();
        assert!(message.take_properties().is_some() && message.properties().is_none());
    }

    #[test]
    fn is_cut_anywhere_and_beyond() {
        for at in 0..6 {
            let mut head = Message::from(["a", "b", "c"]);
            let tail = head.split_off(at);
            assert_eq!(head.len(), at.min(3));
            assert_eq!(head.into_iter().chain(tail).collect::<Message>(), Message::from(["a", "b", "c"]));
        }
    }
}
