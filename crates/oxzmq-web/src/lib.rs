//! temp
mod access_log;
pub mod config;
mod dispatch;
pub mod envelope;
pub mod error;
pub mod files;
mod http;
pub mod master;
pub mod mime;
pub mod pool;
pub mod system;
mod welcome;
pub mod worker;
