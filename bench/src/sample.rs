//! What a contender tells the driver.

use serde::{Deserialize, Serialize};

/// One line of a contender's output.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// The server can be reached here.
    Bound(String),
    /// The measurement is over.
    Sample(Sample),
    /// The contender has no such sockets, transport or function.
    Unsupported(String),
}

/// What one measurement gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Messages (or round trips) per second, or the median time in microseconds.
    pub figure: f64,
    /// In microseconds, where times were taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p999: Option<f64>,
    /// Messages or round trips since the start of the process, also before the measurement: what its processor time is divided by.
    pub total: u64,
}

impl Sample {
    pub fn rate(count: u64, seconds: f64, total: u64) -> Self {
        Sample { figure: count as f64 / seconds, p99: None, p999: None, total }
    }

    /// From times in nanoseconds, at least one.
    pub fn times(mut times: Vec<u64>, total: u64) -> Self {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] as f64 / 1e3;
        Sample { figure: at(0.5), p99: Some(at(0.99)), p999: Some(at(0.999)), total }
    }
}
