//! oxzmq-web
