#!/usr/bin/env bash
# Proves that no request is lost while workers are killed, stopped and replaced, and the master is restarted:
#
#   1. kill -9 of a random worker every 200 ms under 64 connections: no failed GET;
#   2. SIGSTOP of a worker under load: no request hangs beyond the deadline;
#   3. SIGHUP replaces all workers, again and again: no failed GET;
#   4. the master is restarted, again and again, its listening socket handed over: no failed GET;
#   5. a 2 GiB download whose worker is killed five times: equal, octet for octet (with --long).
#
# Takes a minute and a half; with --long, where every part is longer, about three. Needs bash, curl, wrk and python3.
# OXZMQ names the binary; without it, it is built.
set -u
cd "$(dirname "$0")/../../.." || exit 2
long=''
[ "${1:-}" = --long ] && long=yes
seconds() { [ -n "$long" ] && echo "$2" || echo "$1"; }

passed=0 failed=0 pids=() scratch=$(mktemp -d) started=$SECONDS
say()  { printf '[%3ds] %s\n' $((SECONDS - started)) "$*"; }
check() { # WHAT CONDITION...
    local what=$1
    shift
    if "$@"; then passed=$((passed + 1)); say "ok    $what"; else failed=$((failed + 1)); say "FAIL  $what"; fi
}
finish() {
    kill -9 "${pids[@]}" 2>/dev/null
    wait 2>/dev/null
    rm -rf "$scratch"
}
trap finish EXIT
for tool in curl wrk python3; do
    command -v $tool >/dev/null || { echo "this script needs $tool" >&2; exit 2; }
done
if [ -z "${OXZMQ:-}" ]; then
    say 'building the release binary'
    cargo build --release --quiet -p oxzmq-cli || exit 2
    OXZMQ=${CARGO_TARGET_DIR:-target}/release/oxzmq
fi
OXZMQ=$(realpath "$OXZMQ") || exit 2

await() { # COMMAND...: until it succeeds, 20 s at most
    local tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 400 ] || return 1
        sleep 0.05
    done
}
mkdir "$scratch/site"
head -c 4096 /dev/urandom >"$scratch/site/small"
head -c 300000 /dev/urandom >"$scratch/site/medium"

serve() { # WORKERS
    : >"$scratch/news"
    "$OXZMQ" serve "$scratch/site" --port 0 --workers "$1" --quiet 2>"$scratch/news" >/dev/null &
    server=$!
    pids+=("$server")
    await grep -q 'is ready' "$scratch/news" || { cat "$scratch/news"; exit 1; }
    url=$(sed -n 's/.* at \(http:.*\)\/$/\1/p' "$scratch/news")
}
stop() { kill -INT "$server"; wait "$server" 2>/dev/null; }

# Runs wrk and leaves what it says in $scratch/wrk1 and wrk2; small and medium files, 64 connections in all.
load() { # SECONDS
    wrk -t1 -c32 -d"$1s" --timeout 30s "$url/small" >"$scratch/wrk1" & local a=$!
    wrk -t1 -c32 -d"$1s" --timeout 30s "$url/medium" >"$scratch/wrk2" & local b=$!
    wait $a $b
}
# wrk counts answers other than 2xx and 3xx, and whatever went wrong on a connection.
# What was to happen happened at least once, and thousands of requests were answered, all of them well.
flawless() { # HAPPENED
    [ "$1" -gt 0 ] && [ "$(count)" -gt 1000 ] && ! grep -hE 'Non-2xx|Socket errors' "$scratch/wrk1" "$scratch/wrk2"
}
count() { awk '$2 == "requests" && $3 == "in" { sum += $1 } END { print sum + 0 }' "$scratch/wrk1" "$scratch/wrk2"; }

time=$(seconds 15 60)
say "1. kill -9 of a random worker every 200 ms for $time s"
serve 8
load "$time" & loading=$!
kills=0 next=${EPOCHREALTIME/[.,]/}
while kill -0 $loading 2>/dev/null; do
    # At least two are left at any time: a victim is chosen only while more than two live.
    mapfile -t alive < <(pgrep -P "$server")
    if [ ${#alive[@]} -gt 2 ]; then
        kill -9 "${alive[RANDOM % ${#alive[@]}]}" 2>/dev/null && kills=$((kills + 1))
    fi
    # What choosing took is part of the 200 ms.
    next=$((next + 200000))
    left=$((next - ${EPOCHREALTIME/[.,]/}))
    [ $left -gt 0 ] && sleep "$(printf '0.%06d' $left)"
done
wait $loading
check "$(count) requests, $kills kills, none failed" flawless "$kills"
check 'there was one every 200 ms, nearly' [ $kills -gt $((time * 4)) ]
stop

time=$(seconds 10 20)
say "2. SIGSTOP of a worker for $time s"
serve 2
load "$time" & loading=$!
sleep 1
victim=$(pgrep -P "$server" | head -1)
kill -STOP "$victim"
wait $loading
check "$(count) requests, none failed" flawless 1
slowest=$(sed -n 's/^ *Latency *[^ ]* *[^ ]* *\([^ ]*\).*/\1/p' "$scratch/wrk1" "$scratch/wrk2" | sort -h | tail -1)
check "the slowest took $slowest, within the deadline of 5 s and a try" awk -v t="$slowest" 'BEGIN {
    exit !(t ~ /(ms|us)$/ || (t ~ /s$/ && t + 0 < 6.5)) }'
kill -CONT "$victim"
stop

time=$(seconds 12 30)
say "3. SIGHUP replaces all workers, for $time s"
serve 2
load "$time" & loading=$!
rolls=0
while kill -0 $loading 2>/dev/null; do
    sleep 1
    before=$(grep -c 'All workers are new' "$scratch/news")
    kill -HUP "$server"
    rolls=$((rolls + 1))
    tries=0
    while [ "$(grep -c 'All workers are new' "$scratch/news")" -le "$before" ] && [ $tries -lt 100 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
done
wait $loading
check "$(count) requests, all workers replaced $rolls times, none failed" flawless "$rolls"
stop

time=$(seconds 15 30)
say "4. the master is restarted, for $time s"
# Holds the socket, as systemd would, and starts the master with it again whenever it ends.
cat >"$scratch/holder.py" <<'END'
import os, signal, socket, subprocess, sys
listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
print(listener.getsockname()[1], flush=True)
os.dup2(listener.fileno(), 3, inheritable=True)
ending = []
signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
while not ending:
    master = subprocess.Popen(sys.argv[1:], pass_fds=[3], env={**os.environ, "LISTEN_FDS": "1"})
    open("pid", "w").write(str(master.pid))
    master.wait()
END
mkdir "$scratch/run"
endpoint="ipc://$scratch/run/workers"
(cd "$scratch/run" && exec python3 ../holder.py "$OXZMQ" master --workers "$endpoint" --quiet >../port 2>../news) &
holder=$!
pids+=("$holder")
await test -s "$scratch/port"
for _ in 1 2; do
    "$OXZMQ" worker --master "$endpoint" --root "$scratch/site" 2>/dev/null & pids+=($!)
done
url="http://127.0.0.1:$(cat "$scratch/port")"
await curl -fsS -o /dev/null "$url/small"
load "$time" & loading=$!
restarts=0
while kill -0 $loading 2>/dev/null; do
    sleep 3
    kill -0 $loading 2>/dev/null || break
    kill -TERM "$(cat "$scratch/run/pid")" && restarts=$((restarts + 1))
done
wait $loading
check "$(count) requests, the master restarted $restarts times, none failed" flawless "$restarts"
kill -TERM "$holder"
kill -TERM "$(cat "$scratch/run/pid")"
wait "$holder" 2>/dev/null

if [ -n "$long" ]; then
    say '5. a 2 GiB download while its worker is killed five times'
    truncate -s 2G "$scratch/site/large"
    for at in 0 400 800 1200 1600 2047; do
        head -c 1048576 /dev/urandom | dd of="$scratch/site/large" bs=1M seek=$at conv=notrunc status=none
    done
    expected=$(sha256sum <"$scratch/site/large")
    serve 2
    curl -fsS --limit-rate 300M -o "$scratch/got" "$url/large" & download=$!
    kills=0
    while kill -0 $download 2>/dev/null && [ $kills -lt 5 ]; do
        sleep 1
        # Whoever has the file open is the one that sends it.
        for pid in $(pgrep -P "$server"); do
            if ls -l "/proc/$pid/fd" 2>/dev/null | grep -q 'site/large'; then
                kill -9 "$pid" && kills=$((kills + 1))
                break
            fi
        done
    done
    wait $download
    check "curl is content after $kills kills" [ $? -eq 0 ]
    check "there were five" [ $kills -eq 5 ]
    check 'every octet is as it should be' [ "$(sha256sum <"$scratch/got")" = "$expected" ]
    stop
fi

say "$passed passed, $failed failed"
[ $failed -eq 0 ]
