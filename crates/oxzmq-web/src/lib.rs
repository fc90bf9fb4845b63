//! temp
pub mod envelope;
