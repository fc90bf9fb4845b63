#!/usr/bin/env bash
# Visitors that the web server did not choose:
#
#   1. a browser loads the sample site and the status page without an error on the console; the status page tells of a
#      worker that is killed and of its successor (Chromium);
#   2. a lint for HTTP finds nothing wrong (REDbot, from PyPI: said when it is not there);
#   3. slow and greedy clients, 500 at a time in each of four ways, keep nobody else from the site (slowhttptest), and a
#      probe that asks for a page ten times a second is answered in time throughout.
#
# Takes a minute and a half. Needs chromium, slowhttptest, curl and python3. OXZMQ names the binary; without it, it is
# built. SHOTS names a directory for the screenshots.
set -u
cd "$(dirname "$0")/../../.." || exit 2
passed=0 failed=0 scratch=$(mktemp -d) pids=()
finish() { kill "${pids[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$scratch"; }
trap finish EXIT
check() {
    local what=$1; shift
    if "$@" >"$scratch/out" 2>&1; then passed=$((passed + 1)); echo "ok    $what"
    else failed=$((failed + 1)); echo "FAIL  $what"; sed 's/^/      /' "$scratch/out"; fi
}
await() { local n=0; until "$@" >/dev/null 2>&1; do n=$((n + 1)); [ $n -lt 400 ] || return 1; sleep 0.05; done; }

if [ -z "${OXZMQ:-}" ]; then
    cargo build --release --quiet -p oxzmq-cli || exit 2
    OXZMQ=${CARGO_TARGET_DIR:-target}/release/oxzmq
fi
for tool in chromium slowhttptest curl python3; do
    command -v $tool >/dev/null || { echo "this script needs $tool" >&2; exit 2; }
done

"$OXZMQ" serve site --port 0 --workers 2 --quiet 2>"$scratch/news" & pids+=($!)
await grep -q 'is ready' "$scratch/news" || { cat "$scratch/news"; exit 1; }
url=$(sed -n 's/.* at \(http:.*\/\)$/\1/p' "$scratch/news")
status=$(sed -n 's/^Status page: //p' "$scratch/news")
worker=$(sed -n 's/.* is ready: process \([0-9]*\) .*/\1/p' "$scratch/news" | head -1)

shots=${SHOTS:-$scratch/shots}
mkdir -p "$shots"
check 'a browser is content' timeout 120 python3 crates/oxzmq-web/tests/peers/browser.py chromium "$url" "$status" "$worker" "$shots"

if command -v redbot >/dev/null; then
    lint() { # PATH: REDbot marks what is good or neutral with an asterisk, what is bad otherwise
        redbot -o text "$url$1" >"$scratch/lint" 2>&1 && grep -q '^HTTP/1.1 ' "$scratch/lint" &&
            ! grep -iE 'error|invalid|incorrect|not correct|missing|conflict|deprecated|should|must|problem|different|too ' "$scratch/lint"
    }
    for path in '' style.css favicon.svg guide/ try.html nowhere; do check "REDbot on /$path" lint "$path"; done
else
    echo 'NOT CHECKED  redbot is missing (PyPI)'
fi

# A page ten times a second, for as long as the slow ones are here; each within a second.
(while :; do curl -sS -m 5 -o /dev/null -w '%{http_code} %{time_total}\n' "$url" || echo '000 5'; sleep 0.1; done) >>"$scratch/probes" 2>/dev/null & probe=$!
pids+=($probe)
slow() { # WHAT ARGUMENTS...
    local what=$1; shift
    : >"$scratch/probes"
    timeout 60 slowhttptest -c 500 -r 200 -l 15 -p 2 -u "$url" "$@" >"$scratch/slow" 2>&1
    check "$what: slowhttptest finds the service available" grep -q 'service available:.*YES' "$scratch/slow"
    check "$what: $(wc -l <"$scratch/probes") probes, the slowest in $(sort -k2 -g "$scratch/probes" | tail -1 | cut -d' ' -f2) s" \
        awk '$1 != 200 || $2 > 1 { bad = 1 } END { exit bad || NR < 5 }' "$scratch/probes"
}
slow 'slow heads' -H -i 5
slow 'slow bodies' -B -i 5
slow 'slow readers' -X -w 10 -y 20 -n 5 -z 32 -k 3
slow 'many ranges' -R
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
