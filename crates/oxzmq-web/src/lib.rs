//! temp
pub mod envelope;
pub mod pool;
