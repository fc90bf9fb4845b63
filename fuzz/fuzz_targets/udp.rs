//! Datagrams of RADIOs, and the addresses that a DGRAM is given.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oxzmq::fuzzing;

fuzz_target!(|input: &[u8]| {
    if let Some([group, body]) = fuzzing::datagram(input) {
        let again = [&[group.len() as u8][..], &group, &body].concat();
        assert_eq!(again, input, "nothing is lost and nothing added");
    }
    if let Some(address) = fuzzing::datagram_address(input) {
        assert_eq!(fuzzing::datagram_address(address.as_bytes()).as_ref(), Some(&address));
    }
});
