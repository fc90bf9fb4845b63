//! Settings from a TOML file: one table per command, and in it the command's flags by their names.
//!
//! ```toml
//! [master]
//! http = "0.0.0.0:8080"
//! workers = "tcp://127.0.0.1:5570"
//! mongrel2 = ["/app=tcp://127.0.0.1:9997,tcp://127.0.0.1:9996"]
//! quiet = true
//!
//! [worker]
//! root = "/srv/www"
//! ```
//!
//! The file becomes arguments in front of those that were typed, so that the flags themselves decide what is
//! valid, and what is typed wins. Each setting is tried by itself first: what is wrong with it is told with file and line.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, bail};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};
use toml_edit::{Document, Item, Value};

/// Commands that take settings from a file.
pub const COMMANDS: [&str; 3] = ["serve", "master", "worker"];

/// The arguments as they would be without `--config FILE`.
///
/// # Errors
/// When the file cannot be read or something in it is wrong, with its line and what to do.
pub fn expand(cli: &Command, typed: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    let Some(command) = typed.get(1).and_then(|name| name.to_str()).filter(|name| COMMANDS.contains(name)) else {
        return Ok(typed);
    };
    let Some(file) = config_flag(&typed) else { return Ok(typed) };
    let settings = Settings::read(cli, Path::new(&file))?;
    let mut arguments = typed[..2].to_vec();
    arguments.extend(settings.arguments(cli, command, &typed[2..]));
    arguments.extend_from_slice(&typed[2..]);
    Ok(arguments)
}

fn config_flag(typed: &[OsString]) -> Option<OsString> {
    let mut words = typed.iter();
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--") => return None,
            Some("--config") => return words.next().cloned(),
            Some(word) if word.starts_with("--config=") => return word.strip_prefix("--config=").map(OsString::from),
            _ => {}
        }
    }
    None
}

/// A file whose every setting was tried.
#[derive(Debug)]
pub struct Settings {
    /// Command, the flag's name (`None` for the directory of `serve`), and the words it becomes.
    words: Vec<(String, Option<String>, Vec<OsString>)>,
}

impl Settings {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// See [`expand`].
    pub fn read(cli: &Command, file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(cli, &text, &file.display().to_string())
    }

    /// Checks the text of a file with this name.
    ///
    /// # Errors
    /// See [`expand`].
    pub fn parse(cli: &Command, text: &str, file: &str) -> anyhow::Result<Self> {
        let line = |span: Option<std::ops::Range<usize>>| {
            let before = text.get(..span.map_or(0, |span| span.start)).unwrap_or(text);
            format!("{file}:{}", before.matches('\n').count() + 1)
        };
        let document = Document::parse(text)
            .map_err(|error| anyhow::anyhow!("{}: {}", line(error.span()), error.message().trim()))?;
        let mut words = Vec::new();
        for (name, item) in document.as_table() {
            let place = line(document.as_table().key(name).and_then(|key| key.span()));
            let table = item.as_table_like().filter(|_| COMMANDS.contains(&name));
            let (Some(table), Some(command)) = (table, cli.find_subcommand(name)) else {
                bail!("{place}: there is no table [{name}]; settings belong to one of [{}]", COMMANDS.join("], ["));
            };
            for (key, item) in table.iter() {
                let place = line(table.key(key).and_then(|key| key.span()));
                let argument = find(command, key).ok_or_else(|| unknown(command, key, &place))?;
                let setting = setting(argument, item).map_err(|what| anyhow::anyhow!("{place}: {key} {what}"))?;
                try_alone(command, &setting).map_err(|what| anyhow::anyhow!("{place}: {what}"))?;
                words.push((name.to_owned(), argument.get_long().map(str::to_owned), setting));
            }
        }
        Ok(Self { words })
    }

    /// The commands for which there are settings.
    pub fn commands(&self) -> Vec<&str> {
        let mut commands: Vec<&str> = self.words.iter().map(|(command, ..)| command.as_str()).collect();
        commands.dedup();
        commands
    }

    /// What the file adds to what was typed.
    fn arguments(&self, cli: &Command, command: &str, typed: &[OsString]) -> Vec<OsString> {
        let alone = std::iter::once(OsString::from(command)).chain(typed.iter().cloned());
        let has_directory = cli.find_subcommand(command).is_some_and(|command| {
            let parsed = command.clone().try_get_matches_from(alone);
            parsed.is_ok()
        });
        let is_typed = |long: &str| {
            let flag = format!("--{long}");
            typed
                .iter()
                .filter_map(|word| word.to_str())
                .any(|word| word == flag || word.starts_with(&format!("{flag}=")))
        };
        let ours = self
            .words
            .iter()
            .filter(|(name, long, _)| name == command && long.as_ref().map_or(!has_directory, |long| !is_typed(long)));
        ours.flat_map(|(_, _, words)| words.clone()).collect()
    }
}

/// The flag with this name, or the directory.
fn find<'c>(command: &'c Command, key: &str) -> Option<&'c Arg> {
    let visible =
        |argument: &&Arg| !argument.is_hide_set() && argument.get_id() != "config" && argument.get_id() != "help";
    let mut arguments = command.get_arguments().filter(visible);
    arguments.find(|argument| match argument.get_long() {
        Some(long) => long == key,
        None => argument.get_id() == key,
    })
}

fn unknown(command: &Command, key: &str, place: &str) -> anyhow::Error {
    let name = |argument: &Arg| argument.get_long().map_or_else(|| argument.get_id().to_string(), str::to_owned);
    let mut names: Vec<String> = command.get_arguments().filter(|argument| !argument.is_hide_set()).map(name).collect();
    names.retain(|name| !["config", "help"].contains(&name.as_str()));
    let near = names.iter().min_by_key(|name| distance(name, key)).filter(|name| distance(name, key) <= 3);
    let remedy = match near {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", names.join(", ")),
    };
    anyhow::anyhow!("{place}: {} has no setting {key}; {remedy}", command.get_name())
}

/// Letters to add, remove or change to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let change = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

/// The words that a setting stands for.
fn setting(argument: &Arg, item: &Item) -> Result<Vec<OsString>, String> {
    let word = |value: &Value| match value {
        Value::String(text) => Ok(text.value().clone()),
        Value::Integer(number) => Ok(number.value().to_string()),
        Value::Float(number) => Ok(number.value().to_string()),
        _ => Err("is a text or a number".to_owned()),
    };
    let pair = |value: &Value| {
        let value = word(value)?;
        // With `=`, so that a value that begins with a dash is no flag.
        Ok(argument.get_long().map_or_else(|| value.clone().into(), |long| format!("--{long}={value}").into()))
    };
    match (argument.get_action(), item.as_value()) {
        (ArgAction::SetTrue, Some(Value::Boolean(on))) => {
            let flag = argument.get_long().filter(|_| *on.value());
            Ok(flag.map(|long| format!("--{long}").into()).into_iter().collect())
        }
        (ArgAction::SetTrue, _) => Err("is true or false".to_owned()),
        (ArgAction::Append, Some(Value::Array(values))) => values.iter().map(pair).collect(),
        (_, Some(value)) => pair(value).map(|word| vec![word]),
        (_, None) => Err("is no table".to_owned()),
    }
}

/// Has the flag's own rules look at it.
fn try_alone(command: &Command, setting: &[OsString]) -> Result<(), String> {
    let words = std::iter::once(OsString::from(command.get_name())).chain(setting.iter().cloned());
    match command.clone().try_get_matches_from(words) {
        Err(error) if error.kind() != ErrorKind::MissingRequiredArgument => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            let values = text.lines().map(str::trim).find(|line| line.starts_with("[possible values"));
            Err(values.map_or(first.clone(), |values| format!("{first} {values}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::Cli;

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse(&Cli::command(), text, "f.toml").map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_becomes_flags_and_what_is_typed_wins() {
        let text = "[serve]\nport = 81\nquiet = true\nhidden = false\nroot = \"site\"\n[worker]\nmaster = [\"a\", \"b\"]\nroot = \"-x\"\n";
        let settings = parse(text).unwrap();
        assert_eq!(settings.commands(), ["serve", "worker"]);
        let words = |command, typed: &[&str]| {
            let typed: Vec<OsString> = typed.iter().map(OsString::from).collect();
            let words = settings.arguments(&Cli::command(), command, &typed);
            let all = ["oxzmq", command].map(OsString::from).into_iter().chain(words.clone()).chain(typed);
            Cli::try_parse_from(all).unwrap();
            words.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(words("serve", &[]), ["--port=81", "--quiet", "site"]);
        assert_eq!(words("serve", &["--port", "82", "other"]), ["--quiet"]);
        assert_eq!(words("worker", &[]), ["--master=a", "--master=b", "--root=-x"]);
        assert!(words("master", &[]).is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_a_remedy() {
        for (text, told) in [
            ("[serve]\n\nporrt = 1", "f.toml:3: serve has no setting porrt; did you mean port?"),
            ("[serve]\nzzzzzzzzz = 1", "f.toml:2: serve has no setting zzzzzzzzz; there are "),
            ("[serve]\nport = 70000", "f.toml:2: invalid value '70000' for '--port <PORT>'"),
            ("[worker]\nlinks = \"some\"", "[possible values: off, inside, all]"),
            ("[serve]\nquiet = 1", "f.toml:2: quiet is true or false"),
            ("[serve]\nport = []", "f.toml:2: port is a text or a number"),
            ("[master.x]\n", "f.toml:1: master has no setting x"),
            ("\n[nothing]\n", "f.toml:2: there is no table [nothing]"),
            ("port = 1", "f.toml:1: there is no table [port]"),
            ("[serve]\nport = \n", "f.toml:2: "),
            ("[worker]\nchild = true", "f.toml:2: worker has no setting child"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(told), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_file_is_named_among_other_words() {
        let file = |words: &[&str]| config_flag(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(file(&["oxzmq", "serve", "--config", "x"]), Some("x".into()));
        assert_eq!(file(&["oxzmq", "serve", "--config=x"]), Some("x".into()));
        assert_eq!(file(&["oxzmq", "serve", "--", "--config=x"]), None);
    }
}
