//! Medians, spread, and ratios of figures from the same round.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::pair::{Measurement, Outcome};
use super::plan::Block;

/// The contender that the others are compared with.
const OURS: &str = "oxzmq";

#[derive(Serialize)]
struct Record {
    case: String,
    transport: String,
    size: usize,
    unit: &'static str,
    contender: &'static str,
    round: usize,
    /// Absent where the contender failed or lacks the case, with the reason.
    #[serde(flatten)]
    sample: Option<oxzmq_bench::sample::Sample>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_seconds_per_million: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_bytes_per_connection: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(skip)]
    block: Block,
    #[serde(skip)]
    unsupported: bool,
}

/// The machine and when: figures of other machines and times are no comparison.
#[derive(Serialize)]
struct Machine {
    cpu: String,
    processors: usize,
    kernel: String,
    load_before: String,
    load_after: String,
}

pub(crate) struct Results {
    machine: Machine,
    records: Vec<Record>,
}

/// One contender in one block.
pub(crate) struct Row {
    pub(crate) contender: &'static str,
    pub(crate) median: f64,
    low: f64,
    high: f64,
    /// How many times as good [`OURS`] is: median of the rounds' ratios.
    ours: Option<f64>,
    p99: Option<f64>,
    p999: Option<f64>,
    cpu: Option<f64>,
    memory: Option<f64>,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

impl Results {
    pub(crate) fn new() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        let machine = Machine {
            cpu: model.unwrap_or_default().trim_start_matches([' ', '\t', ':']).to_owned(),
            processors: std::thread::available_parallelism().map_or(0, Into::into),
            kernel: read("/proc/sys/kernel/osrelease"),
            load_before: read("/proc/loadavg"),
            load_after: String::new(),
        };
        Results { machine, records: Vec::new() }
    }

    pub(crate) fn add(&mut self, block: &Block, contender: &'static str, round: usize, outcome: Result<Outcome>) {
        let mut record = Record {
            case: block.case.to_string(),
            transport: block.transport.clone(),
            size: block.size,
            unit: block.case.unit(),
            contender,
            round,
            sample: None,
            cpu_seconds_per_million: None,
            server_bytes_per_connection: None,
            failure: None,
            block: block.clone(),
            unsupported: false,
        };
        match outcome {
            Ok(Outcome::Measured(Measurement { sample, cpu_per_million, memory_per_connection })) => {
                record.sample = Some(sample);
                record.cpu_seconds_per_million = Some(cpu_per_million);
                record.server_bytes_per_connection = memory_per_connection;
            }
            Ok(Outcome::Unsupported(why)) => {
                record.failure = Some(why);
                record.unsupported = true;
            }
            Err(error) => record.failure = Some(format!("{error:#}")),
        }
        self.records.push(record);
    }

    fn of(&self, block: &Block, contender: &str) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.block == *block && record.contender == contender)
    }

    /// Whether more rounds would only waste time: it cannot, or it got stuck twice.
    pub(crate) fn is_hopeless(&self, block: &Block, contender: &str) -> bool {
        let failures: Vec<_> = self.of(block, contender).filter(|record| record.failure.is_some()).collect();
        failures.len() >= 2 || failures.iter().any(|record| record.unsupported)
    }

    /// The blocks in the order in which they were measured.
    pub(crate) fn blocks(&self) -> Vec<&Block> {
        let mut blocks: Vec<&Block> = self.records.iter().map(|record| &record.block).collect();
        blocks.dedup();
        blocks
    }

    pub(crate) fn rows(&self, block: &Block) -> Vec<Row> {
        let mut contenders = Vec::new();
        for record in self.records.iter().filter(|record| record.block == *block) {
            if !contenders.contains(&record.contender) {
                contenders.push(record.contender);
            }
        }
        contenders.into_iter().filter_map(|contender| self.row(block, contender)).collect()
    }

    fn row(&self, block: &Block, contender: &'static str) -> Option<Row> {
        let samples = || self.of(block, contender).filter_map(|record| Some((record, record.sample.as_ref()?)));
        let figures: Vec<_> = samples().map(|(_, sample)| sample.figure).collect();
        let ratios = samples().filter_map(|(record, sample)| {
            let ours = self.of(block, OURS).find(|ours| ours.round == record.round)?.sample.as_ref()?.figure;
            Some(if block.case.is_time() { sample.figure / ours } else { ours / sample.figure })
        });
        Some(Row {
            contender,
            low: figures.iter().copied().fold(f64::INFINITY, f64::min),
            high: figures.iter().copied().fold(0.0, f64::max),
            median: median(figures)?,
            ours: median(ratios.collect()),
            p99: median(samples().filter_map(|(_, sample)| sample.p99).collect()),
            p999: median(samples().filter_map(|(_, sample)| sample.p999).collect()),
            cpu: median(samples().filter_map(|(record, _)| record.cpu_seconds_per_million).collect()),
            memory: median(samples().filter_map(|(record, _)| record.server_bytes_per_connection).collect()),
        })
    }

    /// One block as a Markdown table.
    pub(crate) fn table(&self, block: &Block) -> String {
        let rows = self.rows(block);
        let times = block.case.is_time();
        let memory = rows.iter().any(|row| row.memory.is_some());
        let mut text = format!("\n### {block}: {}\n\n| contender | median | lowest - highest |", block.case.unit());
        let mut rule = String::from("\n|---|---:|---:|");
        let mut column = |title: &str, wanted: bool| {
            if wanted {
                let _ = write!(text, " {title} |");
                rule.push_str("---:|");
            }
        };
        column("p99", times);
        column("p99.9", times);
        column("oxzmq is x times as good", true);
        column("cpu s per million", true);
        column("server KiB per connection", memory);
        text += &rule;
        for row in &rows {
            let spread = format!("{} - {}", number(row.low), number(row.high));
            let _ = write!(text, "\n| {} | {} | {spread} |", row.contender, number(row.median));
            let mut cell = |value: Option<String>| {
                let _ = write!(text, " {} |", value.unwrap_or_else(|| "-".to_owned()));
            };
            if times {
                cell(row.p99.map(number));
                cell(row.p999.map(number));
            }
            cell(row.ours.map(|ratio| format!("{ratio:.2}")));
            cell(row.cpu.map(|cpu| format!("{cpu:.3}")));
            if memory {
                cell(row.memory.map(|bytes| format!("{:.1}", bytes / 1024.0)));
            }
        }
        text.push('\n');
        let mut failures = Vec::new();
        for record in self.records.iter().filter(|record| record.block == *block) {
            let Some(why) = &record.failure else { continue };
            let line = format!("{}: {why}", record.contender);
            if !failures.contains(&line) {
                failures.push(line);
            }
        }
        for failure in failures {
            let _ = write!(text, "\n{failure}\n");
        }
        text
    }

    /// Everything that was measured, as JSON.
    pub(crate) fn save(&mut self, directory: &Path) -> Result<()> {
        self.machine.load_after = read("/proc/loadavg");
        std::fs::create_dir_all(directory)?;
        let value = serde_json::json!({ "machine": &self.machine, "records": &self.records });
        Ok(std::fs::write(directory.join("results.json"), serde_json::to_string_pretty(&value)?)?)
    }
}

/// Three digits that matter: "61.2 M", "12.3", "0.54".
pub(crate) fn number(value: f64) -> String {
    let (value, unit) = match value {
        1e6.. => (value / 1e6, " M"),
        1e3.. => (value / 1e3, " k"),
        _ => (value, ""),
    };
    match value {
        100.0.. => format!("{value:.0}{unit}"),
        10.0.. => format!("{value:.1}{unit}"),
        _ => format!("{value:.2}{unit}"),
    }
}
