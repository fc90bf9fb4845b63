//! Random numbers: for identifiers and jitter, and (`secret` alone) for keys.

/// A random number; a changing but predictable one should the system have no randomness to give.
pub(crate) fn u32() -> u32 {
    u64() as u32
}

pub(crate) fn u64() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0x9e37_79b9_7f4a_7c15, |now| now.as_nanos() as u64)
    })
}

/// Fills `octets` with what nobody can predict; false if the system has none to give.
pub(crate) fn secret(octets: &mut [u8]) -> bool {
    getrandom::fill(octets).is_ok()
}
