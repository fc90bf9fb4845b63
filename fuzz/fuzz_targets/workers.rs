//! Messages of the web server's own protocol, both ways: what is understood is written again as it was.
#![no_main]

mod frames;

use libfuzzer_sys::fuzz_target;
use oxzmq::Message;
use oxzmq_web::envelope::{ToMaster, ToWorker};

fuzz_target!(|input: &[u8]| {
    let message: Message = frames::of(input).collect();
    if let Ok(understood) = ToMaster::decode(message.clone()) {
        // Texts are cut and made printable where they are read, so once more than that.
        let again = ToMaster::decode(understood.encode()).expect("our own");
        let once_more = ToMaster::decode(again.clone().encode()).expect("our own");
        let words = |message: &ToMaster| format!("{message:?}").chars().take(40).collect::<String>();
        assert_eq!(words(&again), words(&once_more));
    }
    if let Ok(understood) = ToWorker::decode(message) {
        let again = ToWorker::decode(understood.clone().encode()).expect("our own");
        assert_eq!(again, understood);
    }
});
