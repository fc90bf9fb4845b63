//! The page of all options is made from the tables of all options. To write it anew:
//!
//! ```sh
//! OXZMQ_WRITE=1 cargo test -p oxzmq --test options_page
//! ```

use std::fmt::Write;
use std::path::Path;

use oxzmq::{CONTEXT_OPTIONS, ContextOptionInfo, Effect, OPTIONS, OptionInfo};

const HEAD: &str = "# Options

<!-- Made from the tables in crates/oxzmq/src/options by the test `options_page`; do not edit. -->

Every option of a socket that has a number in ZeroMQ's C API: by `Socket::set_option` and `Socket::option` in Rust,
and by `zmq_setsockopt` and `zmq_getsockopt` in C, where the names have `ZMQ_` in front of them. Most have a method of
their own in Rust, too, with the type that fits; security is all in `Socket::set_security`. A value of another kind,
out of range, or for a socket type that lacks the option is refused with the reason (in C `EINVAL`), and nothing
changes.

An option that counts for *endpoints* is copied by each bind and connect: set it before. *Peers* means connections made
afterwards. In C there are besides `RCVMORE` (13, more parts of the message follow), `FD` (14, a descriptor that tells of
changes) and `USE_FD` (89, a descriptor that listens already, for the next bind; in Rust `Socket::bind_listening`).

| option | number | in Rust | value | default | counts | socket types | what for |
| --- | --- | --- | --- | --- | --- | --- | --- |
";

const CONTEXTS: &str = "
## Contexts

By `zmq_ctx_set` and `zmq_ctx_get` in C; in Rust `ContextBuilder` has those that do something.

| option | number | value | default | what for |
| --- | --- | --- | --- | --- |
";

fn access(is_readable: bool, is_settable: bool) -> &'static str {
    match (is_readable, is_settable) {
        (true, false) => ", to be read only",
        (false, true) => ", to be set only",
        _ => "",
    }
}

fn context_row(option: &ContextOptionInfo) -> String {
    let access = access(option.is_readable, option.is_settable);
    let ContextOptionInfo { name, number, default, about, .. } = option;
    format!("| `{name}` | {number} | {}{access} | {default} | {about} |", option.kind.describe())
}

/// The methods whose descriptions name an option as the C API does.
fn methods(sources: &str, option: &str) -> String {
    let names = |line: &str| {
        let mut words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.any(|word| word.strip_prefix("ZMQ_") == Some(option))
    };
    let mut found = Vec::new();
    let mut named = false;
    for line in sources.lines().map(str::trim) {
        if line.starts_with("///") {
            named |= names(line);
        } else if std::mem::take(&mut named) {
            let line = line.strip_prefix("pub fn ").unwrap_or(line);
            let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(line.len());
            found.push(format!("`{}`", &line[..end]));
        }
    }
    found.join(", ")
}

fn row(option: &OptionInfo, sources: &str) -> String {
    let access = access(option.is_readable(), option.is_settable());
    let effect = match option.effect {
        Effect::Now => "at once",
        Effect::Endpoints => "for endpoints",
        Effect::NextConnect => "for the next connect",
        Effect::Calls => "for calls",
        Effect::Peers => "for peers",
        Effect::Close => "at the close",
        Effect::Never => "",
        other => unreachable!("{other:?} has no words yet"),
    };
    let types: Vec<_> = option.types.iter().map(ToString::to_string).collect();
    let types = if types.is_empty() { "all".to_owned() } else { types.join(", ") };
    let OptionInfo { name, number, default, about, .. } = option;
    let (kind, methods) = (option.kind.describe(), methods(sources, name));
    format!("| `{name}` | {number} | {methods} | {kind}{access} | {default} | {effect} | {types} | {about} |")
}

#[test]
fn the_page_of_options_is_fresh() {
    let mut page = HEAD.to_owned();
    let sources = concat!(
        include_str!("../src/socket.rs"),
        include_str!("../src/security/mod.rs"),
        include_str!("../src/tls/mod.rs")
    );
    for option in OPTIONS {
        writeln!(page, "{}", row(option, sources)).unwrap();
    }
    page.push_str(CONTEXTS);
    for option in CONTEXT_OPTIONS {
        writeln!(page, "{}", context_row(option)).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/options.md");
    if std::env::var_os("OXZMQ_WRITE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/options.md is not what the tables say; OXZMQ_WRITE=1 with this test writes it anew");
}
