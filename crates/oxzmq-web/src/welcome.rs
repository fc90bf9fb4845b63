//! The page at `/` of an empty directory.

/// Says what to do next.
pub(crate) const EMPTY_ROOT: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>It works, and there is nothing here yet</title>
<style>
  :root { color-scheme: light dark }
  body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 38rem; margin: 14vh auto; padding: 0 1.2rem }
  h1 { font-size: 1.7rem; line-height: 1.25 }
  code, pre { font-family: ui-monospace, monospace; font-size: .92em }
  pre { padding: .9rem 1.1rem; border: 1px solid #8885; border-radius: .5rem; overflow-x: auto }
</style>
<h1>It works, and there is nothing here yet</h1>
<p>This answer went from your browser to the <b>oxzmq master</b>, from there to a <b>worker</b>, and back. The
directory that the worker serves is empty, so the worker sent this page instead.</p>
<p>Put a page there, and reload:</p>
<pre>echo '&lt;h1&gt;Hello&lt;/h1&gt;' &gt; index.html</pre>
<p>Nothing has to be restarted. Files whose names begin with a dot stay hidden, and nothing outside the
directory is ever served.</p>
</html>
"#;
