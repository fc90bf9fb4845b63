//! Subscriptions: which peers want a message, and whether a subscriber wants it (RFC 29).
//!
//! A subscription is a prefix of the topics wanted; the empty one wants everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::prefix_map::PrefixMap;

/// Which peers (of keys `K`) want a message.
///
/// Per key it is a set, not a count: peers send every subscription, repeated ones too, but only one
/// cancellation, so counting as RFC 37 has it would keep their subscriptions for ever.
///
/// Matching costs the topic's length plus one probe per length of prefix in use, and then the
/// matches; the number of subscriptions does not matter. A peer's going costs its own subscriptions.
#[derive(Clone, Debug)]
pub struct SubscriptionIndex<K> {
    /// The keys of each prefix, in ascending order and never none.
    prefixes: PrefixMap<SmallVec<[K; 2]>>,
    /// The prefixes of each key, never none. Shares the prefixes' memory with the map.
    by_key: BTreeMap<K, BTreeSet<Arc<[u8]>>>,
}

/// What came of [`SubscriptionIndex::remove`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removed {
    /// The key had no such subscription.
    NotThere,
    /// Removed; other keys have it still.
    Others,
    /// Removed, and nobody has it any more.
    Last,
}

impl<K: Copy + Ord> SubscriptionIndex<K> {
    /// An index without subscriptions.
    pub fn new() -> Self {
        SubscriptionIndex { prefixes: PrefixMap::new(), by_key: BTreeMap::new() }
    }

    /// `key` wants what begins with `prefix`. Returns true if nobody had that prefix before.
    pub fn add(&mut self, prefix: &[u8], key: K) -> bool {
        let own = self.by_key.entry(key).or_default();
        if own.contains(prefix) {
            return false;
        }
        if let Some(keys) = self.prefixes.get_mut(prefix) {
            let shared = Self::shared_prefix(&self.by_key, keys[0], prefix);
            self.by_key.entry(key).or_default().insert(shared);
            if let Err(at) = keys.binary_search(&key) {
                keys.insert(at, key);
            }
            return false;
        }
        let prefix: Arc<[u8]> = Arc::from(prefix);
        own.insert(prefix.clone());
        self.prefixes.insert_new(prefix, SmallVec::from_slice(&[key]));
        true
    }

    /// `key` no longer wants what begins with `prefix`.
    pub fn remove(&mut self, prefix: &[u8], key: K) -> Removed {
        let Some(own) = self.by_key.get_mut(&key) else {
            return Removed::NotThere;
        };
        if !own.remove(prefix) {
            return Removed::NotThere;
        }
        if own.is_empty() {
            self.by_key.remove(&key);
        }
        if self.drop_key(prefix, key) { Removed::Last } else { Removed::Others }
    }

    /// `key` is gone: remove its subscriptions. `f` is called with each prefix, in lexicographic order,
    /// and whether nobody has it any more.
    pub fn remove_key(&mut self, key: K, mut f: impl FnMut(&[u8], bool)) {
        for prefix in self.by_key.remove(&key).unwrap_or_default() {
            let last = self.drop_key(&prefix, key);
            f(&prefix, last);
        }
    }

    /// Call `f` with the keys that want a message with this topic. A key with several matching
    /// prefixes is reported once for each.
    #[inline]
    pub fn for_each_match(&self, topic: &[u8], mut f: impl FnMut(K)) {
        self.prefixes.any_prefix_of(topic, |keys| {
            keys.iter().copied().for_each(&mut f);
            false
        });
    }

    /// Number of different prefixes.
    pub fn topic_count(&self) -> usize {
        self.prefixes.len()
    }

    /// Whether nobody wants anything.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.prefixes.len() == 0
    }

    /// Take `key` off a prefix it is on; returns whether that was the last key.
    fn drop_key(&mut self, prefix: &[u8], key: K) -> bool {
        let Some(keys) = self.prefixes.get_mut(prefix) else {
            return false;
        };
        if let Ok(at) = keys.binary_search(&key) {
            keys.remove(at);
        }
        let last = keys.is_empty();
        if last {
            self.prefixes.remove(prefix);
        } else if keys.spilled() && keys.len() < keys.capacity() / 4 {
            keys.shrink_to_fit();
        }
        last
    }

    /// The memory in which `holder` has this prefix already.
    fn shared_prefix(by_key: &BTreeMap<K, BTreeSet<Arc<[u8]>>>, holder: K, prefix: &[u8]) -> Arc<[u8]> {
        let known = by_key.get(&holder).and_then(|own| own.get(prefix));
        known.cloned().unwrap_or_else(|| Arc::from(prefix))
    }
}

impl<K: Copy + Ord> Default for SubscriptionIndex<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// A subscriber's own prefixes, each counted: subscribing twice takes cancelling twice.
#[derive(Clone, Debug)]
pub struct SubscriptionSet {
    /// How often each was added; never 0.
    prefixes: PrefixMap<usize>,
}

impl SubscriptionSet {
    /// A set without prefixes, which matches nothing.
    pub fn new() -> Self {
        SubscriptionSet { prefixes: PrefixMap::new() }
    }

    /// Add a prefix. Returns true if it was not there before, so that peers are to be told.
    pub fn add(&mut self, prefix: &[u8]) -> bool {
        if let Some(count) = self.prefixes.get_mut(prefix) {
            *count += 1;
            return false;
        }
        self.prefixes.insert_new(Arc::from(prefix), 1);
        true
    }

    /// Take a prefix off once. Returns true if that was the last time, so that peers are to be told;
    /// false if it stays, and also if it was not there.
    pub fn remove(&mut self, prefix: &[u8]) -> bool {
        let Some(count) = self.prefixes.get_mut(prefix) else {
            return false;
        };
        *count -= 1;
        let last = *count == 0;
        if last {
            self.prefixes.remove(prefix);
        }
        last
    }

    /// Whether this very prefix is there.
    pub fn contains(&mut self, prefix: &[u8]) -> bool {
        self.prefixes.get_mut(prefix).is_some()
    }

    /// Whether a message with this topic is wanted.
    #[inline]
    pub fn matches(&self, topic: &[u8]) -> bool {
        self.prefixes.any_prefix_of(topic, |_| true)
    }

    /// The prefixes, each once, in lexicographic order: that in which they are sent to a new peer.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut all: Vec<&[u8]> = self.prefixes.iter().map(|(prefix, _)| prefix).collect();
        all.sort_unstable();
        all.into_iter()
    }

    /// Number of different prefixes.
    pub fn len(&self) -> usize {
        self.prefixes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.prefixes.len() == 0
    }
}

impl Default for SubscriptionSet {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(index: &SubscriptionIndex<u32>, topic: &str) -> Vec<u32> {
        let mut found = Vec::new();
        index.for_each_match(topic.as_bytes(), |key| found.push(key));
        found
    }

    #[test]
    fn finds_every_prefix_of_a_topic() {
        let mut index = SubscriptionIndex::new();
        assert!(index.add(b"", 1));
        assert!(index.add(b"weather.", 2));
        assert!(!index.add(b"weather.", 1));
        assert!(!index.add(b"weather.", 2));
        assert!(index.add(b"weather.rain", 3));
        assert_eq!(matches(&index, "weather"), [1]);
        assert_eq!(matches(&index, "weather.sun"), [1, 1, 2]);
        assert_eq!(matches(&index, "weather.rain!"), [1, 1, 2, 3]);
        assert_eq!(index.topic_count(), 3);
    }

    #[test]
    fn one_cancellation_ends_repeated_subscriptions() {
        let mut index = SubscriptionIndex::new();
        index.add(b"a", 1);
        index.add(b"a", 1);
        index.add(b"a", 2);
        assert_eq!(index.remove(b"a", 1), Removed::Others);
        assert_eq!(index.remove(b"a", 1), Removed::NotThere);
        assert_eq!(index.remove(b"b", 2), Removed::NotThere);
        assert_eq!(index.remove(b"a", 2), Removed::Last);
        assert!(index.is_empty());
        assert!(index.by_key.is_empty());
    }

    #[test]
    fn a_key_goes_with_its_prefixes_in_order() {
        let mut index = SubscriptionIndex::new();
        for prefix in ["b", "", "ab", "a"] {
            index.add(prefix.as_bytes(), 7);
        }
        index.add(b"a", 8);
        let mut gone = Vec::new();
        index.remove_key(7, |prefix, last| gone.push((prefix.to_vec(), last)));
        let expected = [("", true), ("a", false), ("ab", true), ("b", true)];
        assert_eq!(gone, expected.map(|(prefix, last)| (prefix.as_bytes().to_vec(), last)));
        assert_eq!(matches(&index, "abc"), [8]);
        index.remove_key(99, |_, _| panic!("this key has no subscriptions"));
    }

    #[test]
    fn a_topic_of_ten_megabytes_is_no_trouble() {
        let topic = vec![b'x'; 10_000_000];
        let mut index = SubscriptionIndex::new();
        assert!(index.add(&topic, 1));
        let mut count = 0;
        index.for_each_match(&topic, |_| count += 1);
        assert_eq!(count, 1);
        assert_eq!(index.remove(&topic, 1), Removed::Last);
    }

    #[test]
    fn a_set_counts() {
        let mut set = SubscriptionSet::new();
        assert!(!set.matches(b"anything"));
        assert!(set.add(b"b"));
        assert!(!set.add(b"b"));
        assert!(set.add(b""));
        assert!(set.matches(b"anything"));
        assert_eq!(set.iter().collect::<Vec<_>>(), [&b""[..], b"b"]);
        assert!(set.remove(b""));
        assert!(!set.remove(b"b"));
        assert!(set.matches(b"bc") && !set.matches(b"c"));
        assert!(set.remove(b"b"));
        assert!(!set.remove(b"b"));
        assert!(set.is_empty());
    }
}
