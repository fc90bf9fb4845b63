//! What is in `deploy` fits the program: settings, units, metrics.

use std::fs;
use std::path::PathBuf;

use clap::{CommandFactory, Parser};
use oxzmq_cli::Cli;
use oxzmq_cli::settings::Settings;

fn deploy(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path)
}

#[test]
fn the_settings_are_fine() {
    let settings = Settings::read(&Cli::command(), &deploy("oxzmq.toml")).unwrap();
    assert_eq!(settings.commands(), ["master", "worker"]);
}

#[test]
fn units_and_manifests_use_flags_that_exist() {
    let mut found = 0;
    for file in ["systemd/oxzmq-master.service", "systemd/oxzmq-worker@.service"] {
        let text = fs::read_to_string(deploy(file)).unwrap();
        for line in text.lines().filter_map(|line| line.split_once("=/usr/local/bin/oxzmq ")) {
            let words = std::iter::once("oxzmq").chain(line.1.split_whitespace());
            // The file of settings is elsewhere, and has the directory.
            let words: Vec<&str> = words.collect();
            let extra = if words[1] == "worker" { vec!["--root", "/"] } else { vec![] };
            Cli::try_parse_from(words.into_iter().chain(extra)).unwrap_or_else(|error| panic!("{file}: {error}"));
            found += 1;
        }
    }
    for file in ["kubernetes/master.yaml", "kubernetes/workers.yaml"] {
        let text = fs::read_to_string(deploy(file)).unwrap();
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("args: [")) {
            let words = line.trim_end_matches(']').split(',').map(|word| word.trim().trim_matches('"'));
            Cli::try_parse_from(std::iter::once("oxzmq").chain(words))
                .unwrap_or_else(|error| panic!("{file}: {error}"));
            found += 1;
        }
    }
    assert_eq!(found, 5);
}

#[test]
fn the_dashboard_asks_for_metrics_that_exist() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(deploy("grafana/oxzmq.json")).unwrap()).unwrap();
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../oxzmq-web/src/admin/metrics.rs");
    let source = fs::read_to_string(source).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let start = expression.find("oxzmq_").unwrap();
            let name: String = expression[start..]
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || "_0123456789".contains(*c))
                .collect();
            assert!(source.contains(name.trim_end_matches("_bucket")), "{name}");
        }
    }
}
