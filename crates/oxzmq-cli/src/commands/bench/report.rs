//! From samples to medians, spreads and ratios, and from those to a table or JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::link::Sample;
use super::{Case, Transport};

/// The samples of all candidates for one transport, case and size. Round `n` of each candidate was
/// taken right next to round `n` of the others.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) transport: Transport,
    pub(crate) case: Case,
    pub(crate) size: usize,
    pub(crate) results: Vec<Series>,
}

/// One candidate's samples, in order of the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) candidate: String,
    pub(crate) median: f64,
    /// The distance from the lowest to the highest round, as a share of the median.
    pub(crate) spread: f64,
    /// The median over the rounds of the first candidate's figure divided by this one's.
    pub(crate) first_to_this: f64,
    pub(crate) rounds: Vec<Sample>,
}

impl Row {
    /// `samples[candidate][round]`, the candidate of interest first.
    pub(crate) fn new(
        (transport, case, size): (Transport, Case, usize),
        names: &[String],
        samples: Vec<Vec<Sample>>,
    ) -> Self {
        let figures: Vec<Vec<f64>> = samples.iter().map(|rounds| rounds.iter().map(Sample::figure).collect()).collect();
        let series = |((name, rounds), own): ((&String, Vec<Sample>), &Vec<f64>)| Series {
            candidate: name.clone(),
            median: median(own.iter().copied()),
            spread: spread(own),
            first_to_this: median(figures[0].iter().zip(own).map(|(first, this)| first / this)),
            rounds,
        };
        let results = names.iter().zip(samples).zip(&figures).map(series).collect();
        Row { transport, case, size, results }
    }
}

/// The table of the rows of one transport and case.
pub(crate) fn table(rows: &[Row]) -> String {
    let Some(head) = rows.first() else {
        return String::new();
    };
    let mut text = format!("\n{}: {}\n{:>9}", head.transport, head.case.title(), "size");
    for series in &head.results {
        let _ = write!(text, "  {:>22}", series.candidate);
    }
    for series in &head.results[1..] {
        let title = format!("{}/{}", head.results[0].candidate, series.candidate);
        let _ = write!(text, "  {title:>width$}", width = title.len());
    }
    text.push('\n');
    for row in rows {
        let _ = write!(text, "{:>9}", bytes(row.size));
        for series in &row.results {
            let _ = write!(text, "  {:>22}", series.cell());
        }
        for series in &row.results[1..] {
            let width = head.results[0].candidate.len() + 1 + series.candidate.len();
            let _ = write!(text, "  {:>width$}", format!("{:.2}", series.first_to_this));
        }
        text.push('\n');
    }
    text
}

impl Series {
    fn cell(&self) -> String {
        // One round tells nothing of how far they differ.
        let spread = match self.rounds.len() {
            0 | 1 => String::new(),
            _ => format!("±{:.0} %", self.spread * 50.0),
        };
        let p99 = |sample: &Sample| match *sample {
            Sample::Latency { p99_us, .. } => Some(p99_us),
            Sample::Throughput { .. } => None,
        };
        let p99: Vec<f64> = self.rounds.iter().filter_map(p99).collect();
        if p99.is_empty() {
            format!("{} {spread:>7}", rate(self.median))
        } else {
            format!("{:.1} {:>7.1} {spread:>7}", self.median, median(p99))
        }
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

fn spread(values: &[f64]) -> f64 {
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    (highest - lowest) / median(values.iter().copied())
}

/// Messages per second, to three digits.
fn rate(value: f64) -> String {
    let (value, unit) = match value {
        large if large >= 1e6 => (large / 1e6, "M"),
        middle if middle >= 1e3 => (middle / 1e3, "k"),
        small => (small, " "),
    };
    let digits = match value {
        hundreds if hundreds >= 99.95 => 0,
        tens if tens >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.digits$} {unit}")
}

fn bytes(size: usize) -> String {
    match size {
        large if large >= 1 << 20 && large.is_multiple_of(1 << 20) => format!("{} MiB", large >> 20),
        middle if middle >= 1 << 10 && middle.is_multiple_of(1 << 10) => {
            format!("{} KiB", middle >> 10)
        }
        small => format!("{small} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(rate(12_345_678.0), "12.3 M");
        assert_eq!(rate(999.6), "1000  ");
        assert_eq!(rate(345_600.0), "346 k");
        assert_eq!(bytes(16), "16 B");
        assert_eq!(bytes(65_536), "64 KiB");
        assert_eq!(bytes(1 << 20), "1 MiB");
        assert_eq!(bytes(1500), "1500 B");
    }

    /// The ratio is the median of the ratios, not the ratio of the medians: a slow moment of the
    /// machine strikes both candidates of a round.
    #[test]
    fn ratios_come_from_the_same_round() {
        let sample = |messages_per_second| Sample::Throughput { messages_per_second };
        let row = Row::new(
            (Transport::Tcp, Case::Throughput, 16),
            &["a".into(), "b".into()],
            vec![vec![sample(10.0), sample(100.0), sample(30.0)], vec![sample(5.0), sample(50.0), sample(60.0)]],
        );
        assert_eq!(row.results[0].first_to_this, 1.0);
        assert_eq!(row.results[1].first_to_this, 2.0);
        assert_eq!(row.results[0].median, 30.0);
        assert_eq!(row.results[0].spread, 3.0);
    }
}
