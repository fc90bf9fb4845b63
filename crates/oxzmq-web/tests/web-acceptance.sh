#!/usr/bin/env bash
# Proves what the web server promises when things go wrong, with real processes and real signals:
#
#   1. a 1 GiB download survives `kill -9` of the worker that sends it, several times, octet for octet;
#   2. 1000 concurrent requests survive it too: every one is answered 200 and whole;
#   3. 64 slow clients of a 1 GiB file cost the master less than 100 MiB, and do not hold up anyone else;
#   4. Ctrl-C lets a download finish and leaves no process behind.
#
# Takes about a minute. Needs bash, curl, wrk and coreutils. OXZMQ names the binary; without it, it is built.
set -u
cd "$(dirname "$0")/../../.." || exit 2

passed=0 failed=0 server='' scratch=$(mktemp -d)
started=$SECONDS

say()  { printf '[%3ds] %s\n' $((SECONDS - started)) "$*"; }
pass() { passed=$((passed + 1)); say "ok    $*"; }
fail() { failed=$((failed + 1)); say "FAIL  $*"; }
check() { local what=$1; shift; if "$@"; then pass "$what"; else fail "$what"; fi; }

finish() {
    [ -n "$server" ] && kill -9 "$server" 2>/dev/null
    rm -rf "$scratch"
}
trap finish EXIT

if [ -z "${OXZMQ:-}" ]; then
    say 'building the release binary'
    cargo build --release --quiet -p oxzmq-cli || exit 2
    OXZMQ=${CARGO_TARGET_DIR:-target}/release/oxzmq
fi
for tool in curl wrk; do
    command -v $tool >/dev/null || { echo "this script needs $tool" >&2; exit 2; }
done

# Waits up to 10 s until the command given succeeds.
await() {
    local tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || return 1
        sleep 0.05
    done
}

start() { # DIR WORKERS
    : >"$scratch/news"
    "$OXZMQ" serve "$1" --port 0 --workers "$2" >"$scratch/access" 2>"$scratch/news" &
    server=$!
    await grep -q 'is ready' "$scratch/news" || { cat "$scratch/news"; fail 'the server starts'; exit 1; }
    url=$(sed -n 's/.* at \(http:.*\)\/$/\1/p' "$scratch/news")
}

stop() { kill -INT "$server" 2>/dev/null; wait "$server"; server=''; }

# The processes that have reported as workers, the latest last.
workers() { sed -n 's/^worker-.* is ready: process \([0-9]*\) .*/\1/p' "$scratch/news"; }

ready_count() { grep -c 'is ready' "$scratch/news"; }
more_ready_than() { [ "$(ready_count)" -gt "$1" ]; }

# Kills the worker that reported first among those that live, and waits until its successor is there.
kill_one() {
    local before pid
    before=$(ready_count)
    for pid in $(workers); do
        if kill -9 "$pid" 2>/dev/null; then
            await more_ready_than "$before"
            return
        fi
    done
    return 1
}

peak_mib() { echo $(($(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status") / 1024)); }

mkdir "$scratch/site"
echo 'hello' >"$scratch/site/index.html"
head -c 1048576 /dev/urandom >"$scratch/site/mib"
truncate -s 1G "$scratch/site/gib"
# Sparse, but not alike everywhere: a piece at the wrong place would be noticed.
for at in 0 100 333 512 777 1023; do
    head -c 1048576 /dev/urandom | dd of="$scratch/site/gib" bs=1M seek=$at conv=notrunc status=none
done

say '1. a 1 GiB download while workers are killed with -9'
start "$scratch/site" 2
expected=$(sha256sum <"$scratch/site/gib")
curl -fsS --limit-rate 250M -o "$scratch/got" "$url/gib" & download=$!
kills=0
while kill -0 $download 2>/dev/null && [ $kills -lt 8 ]; do
    kill_one && kills=$((kills + 1))
done
wait $download
check "curl is content after $kills kills" [ $? -eq 0 ]
check 'every octet is as it should be' [ "$(sha256sum <"$scratch/got")" = "$expected" ]
moved=$(grep -c 'requests in hand go to others' "$scratch/news")
check "the download went to another worker ($moved times)" [ "$moved" -gt 0 ]
rm -f "$scratch/got"

say '2. 1000 concurrent requests while workers are killed with -9'
for batch in 1 2 3 4; do
    for n in $(seq 250); do
        printf 'url = "%s/mib?%s-%s"\noutput = /dev/null\n' "$url" $batch "$n"
    done >"$scratch/batch$batch"
done
clients=()
for batch in 1 2 3 4; do
    curl -sS --no-progress-meter -Z --parallel-immediate --parallel-max 250 -w '%{http_code} %{size_download}\n' \
        -K "$scratch/batch$batch" >"$scratch/codes$batch" 2>"$scratch/errors$batch" &
    clients+=($!)
done
kills=0
while kill -0 "${clients[@]}" 2>/dev/null && [ $kills -lt 6 ]; do
    kill_one && kills=$((kills + 1))
done
wait "${clients[@]}"
good=$(cat "$scratch"/codes? | grep -c '^200 1048576$')
check "$good of 1000 answered 200 and whole after $kills kills" [ "$good" -eq 1000 ]
[ "$good" -eq 1000 ] || { cat "$scratch"/codes? | sort | uniq -c; sort "$scratch"/errors? | uniq -c | head; }
check "the master's memory peaked at $(peak_mib "$server") MiB, below 600" [ "$(peak_mib "$server")" -lt 600 ]
stop

say '3. 64 slow clients of a 1 GiB file'
start "$scratch/site" 2
slow=()
for _ in $(seq 64); do
    curl -fsS --limit-rate 1M -o /dev/null "$url/gib" 2>/dev/null & slow+=($!)
done
sleep 5 # until all have filled what there is to fill
wrk -t1 -c4 -d15s --latency "$url/" >"$scratch/wrk"
p99=$(sed -n 's/^ *99% *//p' "$scratch/wrk")
alive=0
for pid in "${slow[@]}"; do kill -0 "$pid" 2>/dev/null && alive=$((alive + 1)); done
check "all $alive of 64 slow clients are still being served" [ $alive -eq 64 ]
check "the master's memory peaked at $(peak_mib "$server") MiB, below 100" [ "$(peak_mib "$server")" -lt 100 ]
for pid in $(workers); do
    check "a worker's memory peaked at $(peak_mib "$pid") MiB, below 100" [ "$(peak_mib "$pid")" -lt 100 ]
done
flawless() { grep -q 'requests in' "$scratch/wrk" && ! grep -E 'Non-2xx|Socket errors' "$scratch/wrk"; }
check "meanwhile $(sed -n 's/^ *\([0-9]*\) requests in.*/\1/p' "$scratch/wrk") small pages were served, none failed" flawless
check "99 of 100 of them within $p99, below 20 ms" awk -v t="$p99" 'BEGIN { exit !(t ~ /us$/ || (t ~ /ms$/ && t + 0 < 20)) }'
kill "${slow[@]}" 2>/dev/null
wait "${slow[@]}" 2>/dev/null
left_count() { [ "$(grep -c 'client left' "$scratch/access")" -eq 64 ]; }
check 'the log tells of 64 clients that left' await left_count

say '4. Ctrl-C in the middle of a download'
curl -fsS --limit-rate 200M -o "$scratch/got" "$url/gib" & download=$!
await test -s "$scratch/got"
pids=$(workers)
kill -INT "$server"
wait $download
check 'the download finished' [ $? -eq 0 ]
check 'every octet is as it should be' [ "$(sha256sum <"$scratch/got")" = "$expected" ]
wait "$server"
check 'the server ended well' [ $? -eq 0 ]
server=''
left=0
for pid in $pids; do kill -0 "$pid" 2>/dev/null && left=$((left + 1)); done
check "no worker is left behind" [ $left -eq 0 ]

echo
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
