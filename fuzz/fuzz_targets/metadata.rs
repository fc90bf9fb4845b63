//! Properties as a peer sends them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oxzmq_proto::Properties;

fuzz_target!(|input: &[u8]| {
    let Ok(properties) = Properties::parse(input) else { return };
    let mut octets = Vec::new();
    // A name with octets that are no UTF-8 may grow beyond what the wire can carry.
    let mut fit = Properties::new();
    for (name, value) in properties.iter() {
        fit.insert(name, value.to_vec());
    }
    fit.encode(&mut octets);
    assert_eq!(Properties::parse(&octets).unwrap(), fit);
});
