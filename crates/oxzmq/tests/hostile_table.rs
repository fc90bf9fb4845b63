//! `docs/hostile.md` names tests; here is what keeps it true.

use std::fs;
use std::path::Path;

/// All Rust sources below a directory, in one.
fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
}

#[test]
fn every_test_that_the_table_of_hostile_peers_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let table = fs::read_to_string(root.join("docs/hostile.md")).unwrap();
    let (library, proto) = (sources(&root.join("crates/oxzmq")), sources(&root.join("crates/oxzmq-proto")));
    let mut named = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && line.contains('_')) {
        let cells: Vec<_> = row.split('|').collect();
        if cells[1].trim().parse::<u32>().is_err() {
            continue;
        }
        let mut words = cells[3].split('`');
        while let (Some(before), Some(name)) = (words.next(), words.next()) {
            let source = if before.trim_end().ends_with("proto") { &proto } else { &library };
            assert!(source.contains(&format!("fn {name}(")), "{name} is in the table and nowhere else");
            named += 1;
        }
    }
    assert!(named > 40, "the table has another form than this test expects: {named}");
}
