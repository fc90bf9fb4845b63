#!/usr/bin/env bash
# What is in `deploy`, looked at by the programs that it is for:
#
#   1. systemd finds nothing to complain about in the units, and little that they could do wrong;
#   2. a service manager's handing over of the socket and its waiting for READY=1 work (a master and a worker with the
#      settings of deploy/oxzmq.toml, moved to a scratch directory);
#   3. Prometheus takes what /metrics says, and every expression of the dashboard;
#   4. the manifests are what Kubernetes' schemas ask for, and master and worker find each other with the arguments and
#      the keys that are in them, laid out as the volumes of secrets are; a key that leaves its volume is cut off.
#
# Takes seconds. Needs python3 and curl. systemd-analyze, promtool (Debian: prometheus) and kubernetes-validate
# (PyPI) are asked if they are there; that they are not is said. OXZMQ names the binary; without it, it is built.
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
await() { local n=0; until "$@" >/dev/null 2>&1; do n=$((n + 1)); [ $n -lt 200 ] || return 1; sleep 0.05; done; }

if [ -z "${OXZMQ:-}" ]; then
    cargo build --release --quiet -p oxzmq-cli || exit 2
    OXZMQ=${CARGO_TARGET_DIR:-target}/release/oxzmq
fi
OXZMQ=$(realpath "$OXZMQ")
for tool in python3 curl; do
    command -v $tool >/dev/null || { echo "this script needs $tool" >&2; exit 2; }
done

if command -v systemd-analyze >/dev/null; then
    # The program is not where it will be.
    mkdir "$scratch/units"
    for unit in deploy/systemd/*; do sed "s#/usr/local/bin/oxzmq#$OXZMQ#" "$unit" >"$scratch/units/$(basename "$unit")"; done
    quiet() { local said; said=$("$@" 2>&1) && [ -z "$said" ] || { echo "$said"; return 1; }; }
    units=("$scratch/units/oxzmq-master.service" "$scratch/units/oxzmq.socket" "$scratch/units/oxzmq-worker@.service")
    check 'systemd takes the units' quiet systemd-analyze verify "${units[@]}"
    for unit in oxzmq-master oxzmq-worker@; do
        # Exposure from 0 to 10, in tenths; a unit without any restriction has 9.6.
        check "$unit is confined" systemd-analyze security --offline=true --threshold=30 "$scratch/units/$unit.service"
    done
else
    echo 'NOT CHECKED  units: systemd-analyze is missing (Debian: systemd)'
fi

# systemd's part, played in Python: the socket is number 3, and READY=1 is waited for.
cat >"$scratch/manager.py" <<'PY'
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind("notify")
notify.settimeout(20)
child = os.fork()
if child == 0:
    if listener.fileno() != 3:
        os.dup2(listener.fileno(), 3)
    os.set_inheritable(3, True)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), NOTIFY_SOCKET=os.path.abspath("notify"))
    os.execv(sys.argv[1], sys.argv[1:])
assert notify.recv(100) == b"READY=1"
open("ready", "w").write(f"{child} {listener.getsockname()[1]}")
os.waitpid(child, 0)
PY
cp -r site "$scratch/www"
sed "s#/run/oxzmq/workers#$scratch/workers#; s#/srv/www#$scratch/www#; s#127.0.0.1:8081#127.0.0.1:0#" deploy/oxzmq.toml >"$scratch/oxzmq.toml"
check 'the settings are fine' "$OXZMQ" check "$scratch/oxzmq.toml"
(cd "$scratch" && exec python3 manager.py "$OXZMQ" master --config oxzmq.toml >access 2>news) & pids+=($!)
"$OXZMQ" worker --config "$scratch/oxzmq.toml" 2>"$scratch/worker" & pids+=($!)
check 'the master says READY=1' await test -s "$scratch/ready"
read -r master port <"$scratch/ready"; pids+=("$master")
check 'a worker comes' await grep -q 'is ready' "$scratch/news"
check 'the socket that was handed over is served' curl -m 10 -fsS -o "$scratch/got" "http://127.0.0.1:$port/"
check 'with the site' cmp "$scratch/got" site/index.html
admin=$(sed -n 's/^Status page: //p' "$scratch/news")
check 'there are metrics' curl -m 10 -fsS -o "$scratch/metrics" "${admin}metrics"

if command -v promtool >/dev/null; then
    check 'Prometheus takes the metrics' promtool check metrics <"$scratch/metrics"
    python3 - >"$scratch/rules.yml" <<'PY'
import json
expressions = [t["expr"] for p in json.load(open("deploy/grafana/oxzmq.json"))["panels"] for t in p["targets"]]
rules = [{"record": f"panel:{n}", "expr": e} for n, e in enumerate(expressions)]
print(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
PY
    check "Prometheus takes the dashboard's expressions" promtool check rules "$scratch/rules.yml"
else
    echo 'NOT CHECKED  metrics and dashboard: promtool is missing (Debian: prometheus)'
fi
if command -v kubernetes-validate >/dev/null; then
    check "Kubernetes' schemas take the manifests" kubernetes-validate --strict deploy/kubernetes/*.yaml
else
    echo 'NOT CHECKED  manifests: kubernetes-validate is missing (PyPI)'
fi
# A secret's volume: files are links through ..data, which is exchanged when the secret changes.
volume() { # DIRECTORY FILES...
    local directory=$1 version file; shift
    version=$(mktemp -d "$directory/..XXXXXX")
    for file; do cp "$file" "$version/"; done
    ln -s "$(basename "$version")" "$directory/..new" && mv -T "$directory/..new" "$directory/..data"
    for file; do ln -sf "..data/$(basename "$file")" "$directory/"; done
    find "$directory" -maxdepth 1 -xtype l -delete
}
keys=$scratch/keys; mkdir -p "$keys/own" "$keys/workers" "$keys/worker" "$keys/made"
for name in master worker; do "$OXZMQ" keygen "$keys/made/$name" >/dev/null; done
volume "$keys/own" "$keys/made/master_secret"
volume "$keys/workers" "$keys/made/worker"
volume "$keys/worker" "$keys/made/worker_secret" "$keys/made/master"
arguments() { sed -n 's/^ *args: \[\(.*\)\]$/\1/p' "deploy/kubernetes/$1.yaml" | tr -d '" ' | tr , '\n'; }
mapfile -t words < <(arguments master | sed "s#^/keys#$keys#; s#0.0.0.0:5570#127.0.0.1:*#; s#0.0.0.0:.*#127.0.0.1:0#")
"$OXZMQ" "${words[@]}" >/dev/null 2>"$scratch/news2" & pids+=($!)
await grep -q 'Workers connect' "$scratch/news2"
there=$(sed -n 's/^Workers connect with: .*--master \([^ ]*\).*/\1/p' "$scratch/news2")
mapfile -t words < <(arguments workers | sed "s#^/keys#$keys/worker#; s#tcp://oxzmq-inside:5570#$there#; s#^/srv/www#$scratch/www#")
"$OXZMQ" "${words[@]}" 2>"$scratch/worker2" & pids+=($!)
check "a worker comes in by the manifests' keys" await grep -q 'is ready' "$scratch/news2"
volume "$keys/workers"
check 'a worker whose key leaves the volume is cut off' await grep -q ' left: ' "$scratch/news2"
check 'and is told why' await grep -q 'refuses this worker' "$scratch/worker2"
volume "$keys/workers" "$keys/made/worker"
check 'when its key is back so is the worker' await eval '[ "$(grep -c "is ready" "$scratch/news2")" -eq 2 ]'
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
