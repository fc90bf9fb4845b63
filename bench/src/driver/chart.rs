//! Bar charts in SVG: one file for each case and transport, one group of bars for each size.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use super::plan::{Block, size};
use super::table::{Results, number};

const BAR: usize = 18;
const TITLE: usize = 34;
const GROUP: usize = 26;
/// Where bars begin, and the longest one's length.
const LEFT: usize = 130;
const LONGEST: f64 = 440.0;

pub(crate) fn draw(results: &Results, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let mut drawn: Vec<(String, &str)> = Vec::new();
    for block in results.blocks() {
        let chart = (block.case.to_string(), block.transport.as_str());
        if drawn.contains(&chart) {
            continue;
        }
        let groups: Vec<_> = results
            .blocks()
            .into_iter()
            .filter(|other| other.case == block.case && other.transport == block.transport)
            .collect();
        let name = format!("{}-{}.svg", chart.0.replace(':', "-"), chart.1);
        std::fs::write(directory.join(name), svg(results, &groups))?;
        drawn.push(chart);
    }
    Ok(())
}

fn svg(results: &Results, groups: &[&Block]) -> String {
    let mut body = String::new();
    let mut y = TITLE;
    let case = groups[0].case;
    let better = if case.is_time() { "shorter is better" } else { "longer is better" };
    let title = format!("{case} over {}, {} ({better})", groups[0].transport, case.unit());
    let _ = writeln!(body, r#"<text x="8" y="20" class="title">{title}</text>"#);
    for block in groups {
        let rows = results.rows(block);
        let most = rows.iter().map(|row| row.median).fold(f64::MIN_POSITIVE, f64::max);
        y += GROUP;
        let _ = writeln!(body, r#"<text x="8" y="{}" class="title">{}</text>"#, y - 8, size(block.size));
        for row in rows {
            let class = match row.contender {
                "bare" => "bare",
                name if name.starts_with("oxzmq") => "ours",
                _ => "other",
            };
            let length = (row.median / most * LONGEST).max(1.0);
            let text = y + BAR - 5;
            let _ = writeln!(body, r#"<text x="{}" y="{text}" class="name">{}</text>"#, LEFT - 8, row.contender);
            let height = BAR - 4;
            let _ =
                writeln!(body, r#"<rect x="{LEFT}" y="{y}" width="{length:.1}" height="{height}" class="{class}"/>"#);
            let x = LEFT as f64 + length + 6.0;
            let _ = writeln!(body, r#"<text x="{x:.1}" y="{text}">{}</text>"#, number(row.median));
            y += BAR;
        }
    }
    let height = y + 12;
    // Colours that can be told apart on white and on black.
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="660" height="{height}" viewBox="0 0 660 {height}" font-family="sans-serif" font-size="12">
<style>
text {{ fill: #57606a }} .title {{ font-weight: bold }} .name {{ text-anchor: end }}
.ours {{ fill: #d9622b }} .bare {{ fill: #a8b0b8 }} .other {{ fill: #4c8eda }}
</style>
{body}</svg>
"#
    )
}
