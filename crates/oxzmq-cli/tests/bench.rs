//! `oxzmq bench`, with measurements too short to mean anything: it runs, adds up, and fails well.

use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_oxzmq"))
        .args(["bench", "--rounds", "2", "--seconds", "0.01"])
        .args(arguments)
        .output()
        .expect("the program was built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn measures_every_transport_by_either_interface_and_against_libzmq() {
    let directory = tempfile::tempdir().unwrap();
    for api in ["blocking", "async"] {
        let file = directory.path().join(api);
        let output = bench(&[
            "--sizes=16,70000,16",
            "--against=libzmq.so.5",
            "--api",
            api,
            "--json",
            file.to_str().expect("a plain path"),
        ]);
        assert!(
            output.status.success(),
            "{}\n{}(libzmq is in Debian's package libzmq5)",
            text(&output.stdout),
            text(&output.stderr)
        );
        // Three transports, two cases, two sizes (one of them named twice), three candidates, two rounds.
        assert!(text(&output.stdout).contains("72 measurements in"), "{}", text(&output.stdout));

        let report: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let rows = report["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 12);
        for row in rows {
            let results = row["results"].as_array().unwrap();
            assert_eq!(results.len(), 3);
            for result in results {
                assert_eq!(result["rounds"].as_array().unwrap().len(), 2);
                assert!(result["median"].as_f64().unwrap() > 0.0, "{row}");
            }
        }
    }
}

#[test]
fn a_library_that_is_not_there_is_named() {
    let output = bench(&["--against=libnothing.so.1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot load libnothing.so.1"), "{}", text(&output.stderr));
}

/// A library without the interface, which is any other one.
#[test]
fn a_library_of_another_kind_is_refused() {
    let output = bench(&["--against=libc.so.6"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("libc.so.6 lacks a function of libzmq's interface"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for wrong in ["--sizes=0", "--transports=carrier-pigeon", "--seconds=-1", "--rounds=0"] {
        assert_eq!(bench(&[wrong]).status.code(), Some(2), "{wrong}");
    }
}
