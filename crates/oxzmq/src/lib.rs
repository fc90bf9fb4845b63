//! oxzmq
