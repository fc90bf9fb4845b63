//! `docs/hostile.md` and `docs/rules.md` name tests; here is what keeps them true.

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

/// The first cell of a row is its number, the third one its tests. Returns the rows and the names.
fn check(page: &str) -> (usize, usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let table = fs::read_to_string(root.join("docs").join(page)).unwrap();
    let library = sources(&root.join("crates/oxzmq"), "rs");
    let proto = sources(&root.join("crates/oxzmq-proto"), "rs");
    let capi = sources(&root.join("crates/oxzmq-capi"), "c") + &sources(&root.join("crates/oxzmq-capi/src"), "rs");
    let (mut rows, mut names) = (0, 0);
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        if !cells[1].starts_with(|first: char| first.is_ascii_digit()) {
            continue;
        }
        rows += 1;
        let before = names;
        let mut words = cells[3].split('`');
        while let (Some(before), Some(name)) = (words.next(), words.next()) {
            let source = match before.rsplit([' ', ',']).find(|word| !word.is_empty()) {
                Some("proto") => &proto,
                Some("capi") => &capi,
                _ => &library,
            };
            let forms = [format!("fn {name}("), format!("fn {name}<"), format!("static void {name} (void)\n")];
            assert!(forms.iter().any(|form| source.contains(form)), "{name} is in docs/{page} and nowhere else");
            names += 1;
        }
        // What does not exist yet has a row that says so.
        assert!(names > before || cells[3].ends_with("yet"), "no test shows this, says docs/{page}: {row}");
    }
    (rows, names)
}

#[test]
fn every_test_that_the_table_of_hostile_peers_names_exists() {
    assert!(check("hostile.md").1 > 40, "the table has another form than this test expects");
}

#[test]
fn every_rule_names_tests_that_exist() {
    assert!(check("rules.md").0 > 100, "the tables have another form than this test expects");
}
