//! Subscribing, cancelling and matching, beside a list that is looked through.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oxzmq_proto::SubscriptionSet;

fuzz_target!(|input: &[u8]| {
    let mut set = SubscriptionSet::new();
    let mut list: Vec<Vec<u8>> = Vec::new();
    for step in input.split(|&octet| octet == b'\n') {
        let Some((&what, topic)) = step.split_first() else { continue };
        match what % 3 {
            0 => {
                set.add(topic);
                list.push(topic.to_vec());
            }
            1 => {
                set.remove(topic);
                if let Some(at) = list.iter().position(|known| known == topic) {
                    list.swap_remove(at);
                }
            }
            _ => assert_eq!(set.matches(topic), list.iter().any(|known| topic.starts_with(known))),
        }
    }
});
