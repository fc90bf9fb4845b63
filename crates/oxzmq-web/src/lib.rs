//! temp
pub mod config;
pub mod envelope;
pub mod error;
pub mod files;
pub mod mime;
pub mod pool;
pub mod system;
mod welcome;
pub mod worker;
