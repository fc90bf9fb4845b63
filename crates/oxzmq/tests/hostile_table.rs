//! `docs/hostile.md` names tests; here is what keeps it true.

use std::fs;
use std::path::Path;

/// All sources of a language below a directory, in one.
fn sources(directory: &Path, language: &str) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &sources(&path, language);
        } else if path.extension().is_some_and(|extension| extension == language) {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
}

#[test]
fn every_test_that_the_table_of_hostile_peers_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let table = fs::read_to_string(root.join("docs/hostile.md")).unwrap();
    let library = sources(&root.join("crates/oxzmq"), "rs");
    let proto = sources(&root.join("crates/oxzmq-proto"), "rs");
    let capi = sources(&root.join("crates/oxzmq-capi/tests"), "c");
    let mut named = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && line.contains('_')) {
        let cells: Vec<_> = row.split('|').collect();
        if cells[1].trim().parse::<u32>().is_err() {
            continue;
        }
        let mut words = cells[3].split('`');
        while let (Some(before), Some(name)) = (words.next(), words.next()) {
            let (source, definition) = match before.rsplit([' ', ',']).find(|word| !word.is_empty()) {
                Some("proto") => (&proto, format!("fn {name}(")),
                Some("capi") => (&capi, format!("static void {name} (void)\n")),
                _ => (&library, format!("fn {name}(")),
            };
            assert!(source.contains(&definition), "{name} is in the table and nowhere else");
            named += 1;
        }
    }
    assert!(named > 40, "the table has another form than this test expects: {named}");
}
