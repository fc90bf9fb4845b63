//! oxzmq-proto
