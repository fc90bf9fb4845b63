//! What has to hold for any bytes, in any pieces.

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use common::{Wire, encoded_all, vector};
use oxzmq_proto::{
    Control, Decoder, Frame, HandshakeConfig, Kind, LARGE_BODY, Limits, Message, Properties, ProtocolError, Removed,
    SocketType, SubscriptionIndex, SubscriptionSet, Version,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const VERSIONS: [Version; 5] = [Version::V1, Version::V1Versioned, Version::V2, Version::V3_0, Version::V3_1];

/// Bytes that are often nearly right: pieces of real conversations, with noise between them.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let real = [
        vector("null/greeting-64"),
        vector("null/ready/ROUTER"),
        vector("null/ready/SUB"),
        vector("subscribe/to-3.1-peer"),
        vector("heartbeat/ping-with-context"),
        vector("framing/multipart-empty-then-300"),
        vector("zmtp1/2.2.0/message"),
        vector("zmtp2/3.2.5/signature"),
        vec![1, 5, 0, 0],
        vec![2, 0, 0, 0, 0, 0, 0, 0x40, 0],
        vec![0; 17_000],
    ];
    let noise = vec(prop_oneof![Just(0u8), Just(1), Just(2), Just(4), Just(0xff), any::<u8>()], 0..20);
    vec(prop_oneof![3 => select(real.to_vec()).boxed(), 2 => noise.boxed()], 0..8).prop_map(|parts| parts.concat())
}

/// Cut `octets` at these places.
fn pieces<'a>(octets: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(octets.len() + 1)).collect();
    at.extend([0, octets.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &octets[pair[0]..pair[1]]).collect()
}

type Events = (Vec<Message>, Vec<Control>, Vec<u8>, Option<ProtocolError>);

/// Everything that comes of a connection that receives these pieces.
fn events(mut wire: Wire, pieces: &[&[u8]]) -> Events {
    let failed = pieces.iter().find_map(|piece| wire.receive(piece).err());
    (wire.messages(), wire.controls(), wire.sent(), failed)
}

fn config(limited: bool) -> HandshakeConfig {
    let mut config = HandshakeConfig::new(SocketType::Dealer);
    if limited {
        config.limits = Limits { max_frame_size: Some(300), max_frames: 3, max_message_size: Some(400) };
    }
    config
}

fn frame() -> impl Strategy<Value = Frame> {
    let size =
        prop_oneof![8 => 0..60usize, 4 => 250..260usize, 1 => LARGE_BODY - 3..LARGE_BODY + 3, 1 => 4000..70_000usize];
    (size, any::<u8>()).prop_map(|(size, octet)| Frame::from(vec![octet; size]))
}

fn message() -> impl Strategy<Value = Message> {
    let data = vec(frame(), 1..5).prop_map(|frames| frames.into_iter().collect::<Message>());
    let kinds = select(&[Kind::Subscribe, Kind::Cancel][..]);
    let change = (kinds, frame()).prop_map(|(kind, topic)| Message::subscription(kind, topic));
    prop_oneof![3 => data, 1 => change]
}

/// What a peer of this version makes of a message.
fn as_received(version: Version, message: &Message) -> Message {
    let prefix = match message.kind() {
        Kind::Data => return message.clone(),
        _ if version == Version::V3_1 => return message.clone(),
        Kind::Subscribe => 1,
        _ => 0,
    };
    Message::from([&[prefix][..], &message[0]].concat())
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_mean_the_same(
        octets in soup(), cuts in vec(any::<Index>(), 0..12), direct: bool, limited: bool,
    ) {
        let whole = events(Wire::new(config(limited)), &[&octets]);
        let wire = Wire::new(config(limited));
        let wire = if direct { wire } else { wire.indirect() };
        let cut = events(wire, &pieces(&octets, &cuts));
        prop_assert_eq!(&cut.0, &whole.0);
        prop_assert_eq!(&cut.1, &whole.1);
        prop_assert_eq!(&cut.2, &whole.2);
        prop_assert_eq!(cut.3, whole.3);
    }

    #[test]
    fn any_traffic_in_any_pieces_means_the_same(
        octets in soup(), cuts in vec(any::<Index>(), 0..12), limited: bool,
        version in select(&VERSIONS[..]), replies: bool,
    ) {
        let run = |pieces: &[&[u8]]| {
            let mut decoder = Decoder::new(version, config(limited).limits);
            if replies {
                decoder.validate_replies();
            }
            let (mut out, mut controls, mut tail) = (VecDeque::new(), Vec::new(), Vec::new());
            let failed = pieces.iter().find_map(|piece| {
                tail.extend_from_slice(piece);
                let used = decoder.decode(&tail, &mut out, usize::MAX, &mut controls);
                used.map(|used| tail.drain(..used)).err()
            });
            (out, controls, failed)
        };
        prop_assert_eq!(run(&pieces(&octets, &cuts)), run(&[&octets]));
    }

    #[test]
    fn what_is_encoded_is_decoded(
        messages in vec(message(), 0..6), cuts in vec(any::<Index>(), 0..8),
        version in select(&VERSIONS[..]), max in 1..4usize,
    ) {
        let octets = encoded_all(version, messages.clone());
        let mut decoder = Decoder::new(version, Limits::default());
        let (mut out, mut controls, mut tail) = (VecDeque::new(), Vec::new(), Vec::new());
        for piece in pieces(&octets, &cuts) {
            tail.extend_from_slice(piece);
            loop {
                let before = out.len();
                let used = decoder.decode(&tail, &mut out, max, &mut controls).unwrap();
                tail.drain(..used);
                if out.len() - before < max {
                    break;
                }
            }
        }
        let expected: Vec<_> = messages.iter().map(|message| as_received(version, message)).collect();
        prop_assert_eq!(Vec::from(out), expected);
        prop_assert!(tail.is_empty() && controls.is_empty() && !decoder.is_mid_message());
    }

    #[test]
    fn properties_survive_the_wire(entries in vec(("[ -~]{0,9}", vec(any::<u8>(), 0..50)), 0..9)) {
        let mut properties = Properties::new();
        for (name, value) in entries {
            properties.insert(name, value);
        }
        let mut octets = Vec::new();
        properties.encode(&mut octets);
        prop_assert_eq!(Properties::parse(&octets), Ok(properties));
    }

    #[test]
    fn any_bytes_are_properties_or_an_error(octets in soup()) {
        let _ = Properties::parse(&octets);
    }

    #[test]
    fn the_index_does_as_a_list_would(
        changes in vec((0..4u8, "[ab]{0,9}", 0..4u32), 0..80), topic in "[ab]{0,12}",
    ) {
        let mut index = SubscriptionIndex::new();
        let mut model: BTreeSet<(String, u32)> = BTreeSet::new();
        for (change, prefix, key) in changes {
            let others = |model: &BTreeSet<(String, u32)>| {
                model.iter().any(|(other, holder)| *other == prefix && *holder != key)
            };
            match change {
                0 | 1 => {
                    let first = model.iter().all(|(other, _)| *other != prefix);
                    prop_assert_eq!(index.add(prefix.as_bytes(), key), first);
                    model.insert((prefix.clone(), key));
                }
                2 => {
                    let expected = match (model.remove(&(prefix.clone(), key)), others(&model)) {
                        (false, _) => Removed::NotThere,
                        (true, true) => Removed::Others,
                        (true, false) => Removed::Last,
                    };
                    prop_assert_eq!(index.remove(prefix.as_bytes(), key), expected);
                }
                _ => {
                    let (own, rest): (BTreeSet<_>, _) =
                        model.into_iter().partition(|(_, holder)| *holder == key);
                    model = rest;
                    let expected: Vec<_> = own
                        .into_iter()
                        .map(|(prefix, _)| {
                            let last = model.iter().all(|(other, _)| *other != prefix);
                            (prefix.into_bytes(), last)
                        })
                        .collect();
                    let mut gone = Vec::new();
                    index.remove_key(key, |prefix, last| gone.push((prefix.to_vec(), last)));
                    prop_assert_eq!(gone, expected);
                }
            }
        }
        let mut found = Vec::new();
        index.for_each_match(topic.as_bytes(), |key| found.push(key));
        found.sort_unstable();
        let mut expected: Vec<_> =
            model.iter().filter(|(prefix, _)| topic.starts_with(prefix.as_str())).map(|(_, key)| *key).collect();
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
        let topics: BTreeSet<_> = model.iter().map(|(prefix, _)| prefix).collect();
        prop_assert_eq!(index.topic_count(), topics.len());
        prop_assert_eq!(index.is_empty(), model.is_empty());
    }

    #[test]
    fn the_set_does_as_a_list_would(
        changes in vec((any::<bool>(), "[ab]{0,9}"), 0..60), topic in "[ab]{0,12}",
    ) {
        let mut set = SubscriptionSet::new();
        let mut model: BTreeMap<String, usize> = BTreeMap::new();
        for (add, prefix) in changes {
            let count = model.entry(prefix.clone()).or_default();
            if add {
                *count += 1;
                prop_assert_eq!(set.add(prefix.as_bytes()), *count == 1);
            } else {
                prop_assert_eq!(set.remove(prefix.as_bytes()), *count == 1);
                *count = count.saturating_sub(1);
            }
        }
        model.retain(|_, count| *count > 0);
        let expected: Vec<_> = model.keys().map(String::as_bytes).collect();
        prop_assert_eq!(set.iter().collect::<Vec<_>>(), expected);
        let wanted = model.keys().any(|prefix| topic.starts_with(prefix.as_str()));
        prop_assert_eq!(set.matches(topic.as_bytes()), wanted);
    }
}
