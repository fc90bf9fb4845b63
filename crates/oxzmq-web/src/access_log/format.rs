//! What a line of the access log looks like.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::{Line, TEXT_MAX};

/// The form of the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// The common log format; after the octets of the body that were handed to the client's connection follow the
    /// seconds until then, the worker and how many were tried, and a remark when the answer was not complete:
    ///
    /// ```text
    /// 127.0.0.1 - - [23/Nov/2026:07:22:26 +0000] "GET /style.css HTTP/1.1" 200 1841 0.000312 worker=mill-4711 tries=1
    /// ```
    ///
    /// A request that is none of HTTP, and was refused, is a dash.
    #[default]
    Plain,
    /// The common log format and nothing else, for programs that know it.
    Common,
    /// That with the headers `Referer` and `User-Agent`.
    Combined,
    /// An object of JSON per line: `time` (RFC 3339), `id` (a number of the request's, in hexadecimal), `client`,
    /// `method`, `target`, `version`, `status`, `octets`, `seconds`, `queued_seconds`, `worker`, `tries`, `remark`,
    /// `referer`, `agent`. What is not known is `null` or empty.
    Json,
}

impl LogFormat {
    /// Whether it has some of the request's headers.
    pub(super) fn has_headers(self) -> bool {
        matches!(self, Self::Combined | Self::Json)
    }

    pub(super) fn write(self, out: &mut impl Write, line: &Line, id: u64, now: SystemTime) -> io::Result<()> {
        if self == Self::Json {
            return write_object(out, line, id, now);
        }
        write!(out, "{} - - [{}] ", line.client, date(now))?;
        if line.method.is_empty() {
            write!(out, "\"-\" ")?;
        } else {
            write!(out, "\"{} {} {}\" ", line.method, quote(&line.target), line.version)?;
        }
        write!(out, "{} {}", line.status, line.octets)?;
        match self {
            Self::Plain => {
                write!(out, " {:.6}", line.took.as_secs_f64())?;
                match &line.source {
                    Some(source) => write!(out, " worker={} tries={}", source.worker, source.tries)?,
                    None => write!(out, " worker=- tries=0")?,
                }
                if !line.remark.is_empty() {
                    write!(out, " ({})", line.remark)?;
                }
            }
            Self::Combined => {
                let said = line.said.as_deref();
                for text in [said.map(|said| &said.referer), said.map(|said| &said.agent)] {
                    let text = text.map(|text| quote(text)).filter(|text| !text.is_empty());
                    write!(out, " \"{}\"", text.as_deref().unwrap_or("-"))?;
                }
            }
            Self::Common | Self::Json => {}
        }
        writeln!(out)
    }

    /// Tells of lines that were left out.
    pub(super) fn write_missing(self, out: &mut impl Write, missing: u64) -> io::Result<()> {
        let why = format!("{missing} lines left out: the log is read too slowly");
        match self {
            Self::Json => writeln!(out, "{}", json!({ "remark": why })),
            _ => writeln!(out, "# {why}"),
        }
    }
}

fn write_object(out: &mut impl Write, line: &Line, id: u64, now: SystemTime) -> io::Result<()> {
    let cut = |text: &str| text.chars().take(TEXT_MAX).collect::<String>();
    let seconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e6;
    let (source, said) = (line.source.as_ref(), line.said.as_deref());
    let object = json!({
        "time": rfc3339(now), "id": format!("{id:016x}"), "client": line.client.to_string(), "method": line.method,
        "target": cut(&line.target), "version": line.version, "status": line.status, "octets": line.octets,
        "seconds": seconds(line.took), "queued_seconds": source.map(|source| seconds(source.queued)),
        "worker": source.map(|source| &*source.worker), "tries": source.map_or(0, |source| source.tries),
        "remark": line.remark, "referer": said.map(|said| cut(&said.referer)), "agent": said.map(|said| cut(&said.agent)),
    });
    writeln!(out, "{object}")
}

/// `Mon, 23 Nov 2026 07:22:26 GMT` in pieces: day, month by name, year, time.
fn pieces(now: SystemTime) -> [String; 4] {
    let http = httpdate::fmt_http_date(now);
    let mut words = http.split(' ').skip(1);
    [(); 4].map(|()| words.next().unwrap_or("?").to_owned())
}

/// `23/Nov/2026:07:22:26 +0000`
fn date(now: SystemTime) -> String {
    let [day, month, year, time] = pieces(now);
    format!("{day}/{month}/{year}:{time} +0000")
}

/// `2026-11-23T07:22:26.017Z`
fn rfc3339(now: SystemTime) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let [day, month, year, time] = pieces(now);
    let month = MONTHS.iter().position(|name| *name == month).map_or(0, |index| index + 1);
    let millis = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_millis());
    format!("{year}-{month:02}-{day}T{time}.{millis:03}Z")
}

/// What a client wrote, fit for a line of text.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars().take(TEXT_MAX) {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_ascii_graphic() => quoted.push(c),
            c => quoted.extend(c.escape_default()),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::Said;
    use super::*;
    use crate::pool::Source;

    fn line() -> Line {
        let (worker, queued) = ("w".into(), Duration::from_micros(250));
        Line {
            client: IpAddr::from([127, 0, 0, 1]),
            method: "GET".to_owned(),
            target: "/a\"\r\n%20é".to_owned(),
            version: "HTTP/1.1",
            status: 200,
            octets: 5,
            took: Duration::from_micros(1500),
            source: Some(Source { worker, tries: 2, queued }),
            said: Some(Box::new(Said { referer: String::new(), agent: "a \"b\"\n{".to_owned() })),
            remark: "client left",
        }
    }

    fn unknown() -> Line {
        Line { status: 400, remark: "", ..Line::begin(([127, 0, 0, 1], 1).into()) }
    }

    fn written(format: LogFormat, line: &Line) -> String {
        let mut out = Vec::new();
        format.write(&mut out, line, 0xab, SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_017)).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        text.trim_end().to_owned()
    }

    #[test]
    fn a_line_tells_what_happened_and_cannot_be_forged() {
        let common = "127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a\\\"\\r\\n%20\\u{e9} HTTP/1.1\" 200 5";
        let line = line();
        assert_eq!(written(LogFormat::Common, &line), common);
        assert_eq!(written(LogFormat::Plain, &line), format!("{common} 0.001500 worker=w tries=2 (client left)"));
        assert_eq!(written(LogFormat::Combined, &line), format!("{common} \"-\" \"a \\\"b\\\"\\n{{\""));
        let common = "127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] \"-\" 400 0";
        assert_eq!(written(LogFormat::Common, &unknown()), common);
        assert_eq!(written(LogFormat::Plain, &unknown()), format!("{common} 0.000000 worker=- tries=0"));
        assert_eq!(written(LogFormat::Combined, &unknown()), format!("{common} \"-\" \"-\""));
    }

    #[test]
    fn an_object_has_everything() {
        let object: serde_json::Value = serde_json::from_str(&written(LogFormat::Json, &line())).unwrap();
        let expected = json!({
            "time": "1994-11-06T08:49:37.017Z", "id": "00000000000000ab", "client": "127.0.0.1", "method": "GET",
            "target": "/a\"\r\n%20é", "version": "HTTP/1.1", "status": 200, "octets": 5, "seconds": 0.0015,
            "queued_seconds": 0.00025, "worker": "w", "tries": 2, "remark": "client left", "referer": "",
            "agent": "a \"b\"\n{",
        });
        assert_eq!(object, expected);
        let object: serde_json::Value = serde_json::from_str(&written(LogFormat::Json, &unknown())).unwrap();
        assert_eq!((&object["worker"], &object["agent"], &object["tries"]), (&json!(null), &json!(null), &json!(0)));
        let mut out = Vec::new();
        LogFormat::Json.write_missing(&mut out, 3).unwrap();
        let object: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert!(object["remark"].as_str().unwrap().starts_with("3 lines left out"));
    }
}
