//! The page that stands for a directory without an index.

use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;

use crate::files::Root;
use crate::http::path;

/// Most names on a page.
const NAMES_MAX: usize = 10_000;

/// A page with a link for each name. Names are octets: what is shown of one that is not UTF-8 is lossy, its
/// link is not.
pub(super) fn page(root: &Root, directory: &OwnedFd, at: &[u8]) -> io::Result<Bytes> {
    let names = root.names(directory, NAMES_MAX)?;
    let at = escape(at);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{at}</title>\n\
         <style>:root {{ color-scheme: light dark }} body {{ font: 1rem/1.7 system-ui, sans-serif; \
         max-width: 40rem; margin: 3rem auto; padding: 0 1rem }} li {{ list-style: none }}</style>\n\
         <h1>{at}</h1>\n<ul>\n"
    );
    if at != "/" {
        page.push_str("<li><a href=\"../\">../</a>\n");
    }
    for name in &names {
        // "./" keeps a name with a colon from being taken for a scheme.
        page.push_str(&format!("<li><a href=\"./{}\">{}</a>\n", escape(path::encode(name).as_bytes()), escape(name)));
    }
    page.push_str("</ul>\n");
    if names.len() == NAMES_MAX {
        page.push_str("<p>There are more, which are not shown.</p>\n");
    }
    page.push_str("</html>\n");
    Ok(page.into())
}

fn escape(text: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn names_cannot_become_markup() {
        assert_eq!(escape(b"<a href='x'>&\"\n"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot; ");
    }
}
