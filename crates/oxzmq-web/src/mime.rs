//! Media types by file name.

/// Sent for what the table does not know; browsers offer to save it.
pub const UNKNOWN: &str = "application/octet-stream";

/// The media type of the file at `path`. Text is said to be UTF-8.
pub fn of(path: &[u8]) -> &'static str {
    let name = path.rsplit(|&octet| octet == b'/').next().unwrap_or_default();
    let Some(dot) = name.iter().rposition(|&octet| octet == b'.') else { return UNKNOWN };
    let extension = name[dot + 1..].to_ascii_lowercase();
    match extension.as_slice() {
        b"html" | b"htm" => "text/html; charset=utf-8",
        b"css" => "text/css; charset=utf-8",
        b"js" | b"mjs" => "text/javascript; charset=utf-8",
        b"txt" | b"log" | b"rs" | b"toml" | b"py" | b"c" | b"h" | b"sh" => "text/plain; charset=utf-8",
        b"md" | b"markdown" => "text/markdown; charset=utf-8",
        b"csv" => "text/csv; charset=utf-8",
        b"ics" => "text/calendar; charset=utf-8",
        b"vtt" => "text/vtt; charset=utf-8",
        b"json" | b"map" => "application/json",
        b"webmanifest" => "application/manifest+json",
        b"xml" => "application/xml",
        b"atom" => "application/atom+xml",
        b"rss" => "application/rss+xml",
        b"xhtml" => "application/xhtml+xml",
        b"svg" => "image/svg+xml",
        b"png" => "image/png",
        b"jpg" | b"jpeg" => "image/jpeg",
        b"gif" => "image/gif",
        b"webp" => "image/webp",
        b"avif" => "image/avif",
        b"ico" => "image/x-icon",
        b"bmp" => "image/bmp",
        b"tif" | b"tiff" => "image/tiff",
        b"woff" => "font/woff",
        b"woff2" => "font/woff2",
        b"ttf" => "font/ttf",
        b"otf" => "font/otf",
        b"mp3" => "audio/mpeg",
        b"ogg" | b"oga" | b"opus" => "audio/ogg",
        b"wav" => "audio/wav",
        b"flac" => "audio/flac",
        b"m4a" => "audio/mp4",
        b"mp4" | b"m4v" => "video/mp4",
        b"webm" => "video/webm",
        b"ogv" => "video/ogg",
        b"mov" => "video/quicktime",
        b"mkv" => "video/matroska",
        b"pdf" => "application/pdf",
        b"wasm" => "application/wasm",
        b"zip" => "application/zip",
        b"gz" | b"tgz" => "application/gzip",
        b"zst" => "application/zstd",
        b"xz" => "application/x-xz",
        b"tar" => "application/x-tar",
        b"epub" => "application/epub+zip",
        _ => UNKNOWN,
    }
}

/// Whether files of this type are worth compressing.
pub fn is_compressible(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or(kind);
    kind.starts_with("text/")
        || kind.ends_with("+xml")
        || kind.ends_with("+json")
        || ["application/json", "application/xml", "application/wasm", "image/x-icon", "font/ttf"].contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_the_last_extension() {
        assert_eq!(of(b"/a.b/INDEX.HTML"), "text/html; charset=utf-8");
        assert_eq!(of(b"/x.tar.gz"), "application/gzip");
        assert_eq!(of(b"/a.b/c"), UNKNOWN);
        assert_eq!(of(b"/"), UNKNOWN);
    }
}
