//! `oxzmq status`: what a master's status page says, in the terminal.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::outcome::exit_code;

/// Longest wait for the master.
const PATIENCE: Duration = Duration::from_secs(5);

/// Show a master's workers and figures
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where the master's status page is (its --admin)
    #[arg(value_name = "HOST:PORT", default_value = "127.0.0.1:8081", value_parser = super::master::address)]
    admin: SocketAddr,
    /// Print what the master says, as JSON
    #[arg(long)]
    json: bool,
}

/// Asks once. Fails when there is no worker, so that scripts can tell.
pub fn run(args: Args) -> ExitCode {
    exit_code(show(&args))
}

fn show(args: &Args) -> anyhow::Result<()> {
    let text =
        fetch(args.admin).with_context(|| format!("cannot ask {}; is that the master's --admin?", args.admin))?;
    let mut out = std::io::stdout();
    if args.json {
        writeln!(out, "{text}")?;
        return Ok(());
    }
    let status: Value = serde_json::from_str(&text).context("the answer is not that of a master")?;
    out.write_all(table(&status).as_bytes())?;
    if status["workers"].as_array().is_none_or(Vec::is_empty) {
        bail!("there is no worker");
    }
    Ok(())
}

fn fetch(admin: SocketAddr) -> anyhow::Result<String> {
    let mut connection = TcpStream::connect_timeout(&admin, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    write!(connection, "GET /status.json HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("{}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}

/// A few lines, and one per worker.
fn table(status: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let mut rows = vec![
        ["worker", "state", "in hand", "done", "failed", "sent", "p50", "p99", "heard", "where"].map(str::to_owned),
    ];
    for worker in status["workers"].as_array().into_iter().flatten() {
        let text = |key: &str| printable(worker[key].as_str().unwrap_or("?"));
        rows.push([
            text("name"),
            text("state"),
            format!("{}/{}", worker["in_hand"], worker["slots"]),
            worker["done"].to_string(),
            worker["failed"].to_string(),
            bytes(number(&worker["octets"])),
            millis(number(&worker["p50_ms"])),
            millis(number(&worker["p99_ms"])),
            format!("{} ago", millis(number(&worker["silent_ms"]))),
            format!("{}, process {}, {}", text("host"), worker["pid"], text("root")),
        ]);
    }
    let mut out = format!(
        "up {}, {} requests ({} within {}, {} within {}), {} connections, {} waiting for a worker\n",
        millis(number(&status["uptime_ms"])),
        status["requests_total"],
        "50 %",
        millis(number(&status["p50_ms"])),
        "99 %",
        millis(number(&status["p99_ms"])),
        status["connections"],
        status["queued"],
    );
    let statuses = status["statuses"].as_object().into_iter().flatten();
    let statuses: Vec<String> = statuses.map(|(status, count)| format!("{status}: {count}")).collect();
    if !statuses.is_empty() {
        out += &format!("answers: {}\n", statuses.join(", "));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        out += cells.join("  ").trim_end();
        out.push('\n');
    }
    out
}

/// Names come from workers: nothing in them may command the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn millis(ms: f64) -> String {
    match ms {
        ms if ms < 1.0 => format!("{:.0} us", ms * 1000.0),
        ms if ms < 1000.0 => format!("{ms:.1} ms"),
        ms if ms < 120_000.0 => format!("{:.1} s", ms / 1000.0),
        ms if ms < 7_200_000.0 => format!("{:.0} min", ms / 60_000.0),
        ms => format!("{:.0} h", ms / 3_600_000.0),
    }
}

fn bytes(count: f64) -> String {
    let (mut count, mut units) = (count, ["B", "KiB", "MiB", "GiB", "TiB"].into_iter().peekable());
    let mut unit = units.next().unwrap_or_default();
    while count >= 1024.0 && units.peek().is_some() {
        count /= 1024.0;
        unit = units.next().unwrap_or(unit);
    }
    if unit == "B" { format!("{count:.0} B") } else { format!("{count:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_becomes_lines() {
        let worker = serde_json::json!({
            "name": "w\u{1b}1", "state": "at work", "in_hand": 1, "slots": 4, "done": 7, "failed": 0, "octets": 2048,
            "p50_ms": 0.5, "p99_ms": 12.0, "silent_ms": 100, "host": "h", "pid": 9, "root": "/r"
        });
        let status = serde_json::json!({
            "uptime_ms": 5000, "requests_total": 7, "p50_ms": 1, "p99_ms": 2, "connections": 3, "queued": 0,
            "statuses": {"200": 7}, "workers": [worker]
        });
        let text = table(&status);
        assert!(text.starts_with("up 5.0 s, 7 requests"), "{text}");
        assert!(text.contains("answers: 200: 7\n"), "{text}");
        assert!(text.contains("w?1     at work  1/4      7     0       2.0 KiB  500 us  12.0 ms"), "{text}");
    }

    #[test]
    fn nonsense_becomes_nonsense_and_no_panic() {
        table(&serde_json::json!({"workers": [1, null], "statuses": []}));
    }
}
