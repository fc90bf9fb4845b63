#!/usr/bin/env bash
# The web server's speed beside that of its peers: Mongrel2 with a handler in C, and nginx in front of nginx.
#
#   compare.sh [ROUNDS [SECONDS]]      5 rounds of 4 seconds unless told
#
# All candidates run at the same time and take turns round by round, so that a noisy machine is noisy for all
# of them. Printed are medians of requests per second (64 connections, keep-alive, wrk with one thread), the ratio to
# Mongrel2's from figures of the same round, and the processor time that all of a candidate's processes took for a
# request: on a machine where wrk has not a processor of its own, that is what decides. Ends with an exit code other than 0 if one worker is not 1.3
# times as fast as Mongrel2 at 1 KiB, 1.5 times at 100 KiB, and faster than nginx before nginx, or if two workers are
# slower than one by more than what the figures vary by anyway (3 in 100). Needs Debian's wrk, nginx-light, mongrel2-core,
# libzmq3-dev and gcc. OXZMQ names the binary; without it, it is built.
set -eu
rounds=${1:-5} seconds=${2:-4}
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.."
for tool in wrk nginx mongrel2 m2sh gcc curl; do
    command -v $tool >/dev/null || {
        echo "$tool is missing: apt-get install wrk nginx-light mongrel2-core libzmq3-dev gcc curl" >&2
        exit 2
    }
done
if [ -z "${OXZMQ:-}" ]; then
    cargo build --release --quiet -p oxzmq-cli
    OXZMQ=${CARGO_TARGET_DIR:-target}/release/oxzmq
fi

scratch=$(mktemp -d)
pids=()
finish() {
    # Mongrel2 has made itself a daemon: its file says which process that is. It takes its time over SIGTERM.
    kill -9 $(cat "$scratch/run/mongrel2.pid" 2>/dev/null) 2>/dev/null || true
    kill "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT
chmod 755 "$scratch"
cd "$scratch"
mkdir site run tmp logs
head -c 1024 /dev/urandom >site/1k.bin
head -c 102400 /dev/urandom >site/100k.bin
base=$((20000 + $$ % 20000)) # ports, six in a row

# One of our workers, and two.
"$OXZMQ" serve site --port $base --workers 1 --quiet 2>run/oxzmq1 & pids+=($!) leaders[0]=$!
"$OXZMQ" serve site --port $((base + 1)) --workers 2 --quiet 2>run/oxzmq2 & pids+=($!) leaders[1]=$!

gcc -O2 -o handler "$here/mongrel2_handler.c" -lzmq
cat >mongrel2.conf <<END
handler = Handler(send_spec='tcp://127.0.0.1:$((base + 4))', send_ident='bench',
                  recv_spec='tcp://127.0.0.1:$((base + 5))', recv_ident='')
main = Server(uuid='bench', access_log='/logs/access', error_log='/logs/error', chroot='$scratch',
              default_host='127.0.0.1', name='main', pid_file='/run/mongrel2.pid', port=$((base + 2)),
              bind_addr='127.0.0.1', hosts=[Host(name='127.0.0.1', routes={'/': handler})])
settings = {'limits.handler_stack': 102400, 'disable.access_logging': 1}
servers = [main]
END
m2sh load -config mongrel2.conf -db mongrel2.sqlite >/dev/null
(cd "$scratch" && exec mongrel2 mongrel2.sqlite bench >run/mongrel2 2>&1) & pids+=($!)
./handler tcp://127.0.0.1:$((base + 4)) tcp://127.0.0.1:$((base + 5)) site/1k.bin site/100k.bin & pids+=($!) handler=$!

nginx_conf() { # NAME LISTEN LOCATION
    cat >"$1.conf" <<END
daemon off; worker_processes 1; pid $scratch/run/$1.pid; error_log $scratch/logs/$1;
events { worker_connections 1024; }
http {
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
    client_body_temp_path $scratch/tmp/b$1; proxy_temp_path $scratch/tmp/p$1; fastcgi_temp_path $scratch/tmp/f$1;
    uwsgi_temp_path $scratch/tmp/u$1; scgi_temp_path $scratch/tmp/s$1;
    upstream behind { server unix:$scratch/run/behind.sock; keepalive 64; keepalive_requests 1000000000; }
    server { listen $2; location / { $3 } }
}
END
    nginx -c "$scratch/$1.conf" -p "$scratch" 2>/dev/null & pids+=($!) leaders[3]="${leaders[3]:-} $!"
}
nginx_conf behind "unix:$scratch/run/behind.sock" "root $scratch/site;"
nginx_conf front "127.0.0.1:$((base + 3))" \
    'proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering on;'

names=('oxzmq, 1 worker' 'oxzmq, 2 workers' 'Mongrel2 + C handler' 'nginx before nginx')
for candidate in 0 1 2 3; do
    for file in 1k 100k; do
        for _ in $(seq 100); do
            curl -fsS -o "got" "http://127.0.0.1:$((base + candidate))/$file.bin" 2>/dev/null && break
            sleep 0.1
        done
        cmp -s got "site/$file.bin" || { echo "${names[candidate]} does not serve $file.bin" >&2; cat run/* logs/*; exit 1; }
    done
done

leaders[2]="$(cat run/mongrel2.pid) $handler"

# Processor time of a candidate's processes and their children so far, in hundredths of a second.
spent() { # CANDIDATE
    local pid all=
    for pid in ${leaders[$1]}; do all="$all $pid $(cat /proc/$pid/task/*/children)"; done
    for pid in $all; do sed 's/.*) //' /proc/$pid/stat; done | awk '{ ticks += $12 + $13 } END { print ticks }'
}

measure() { # CANDIDATE FILE: requests per second, and microseconds for each
    local before after
    before=$(spent $1)
    wrk -t1 -c64 -d"${seconds}s" "http://127.0.0.1:$((base + $1))/$2.bin" >out
    if grep -qE 'Non-2xx|Socket errors' out; then echo "${names[$1]}:" >&2; cat out >&2; fi
    after=$(spent $1)
    awk -v ticks=$((after - before)) -v hertz=$(getconf CLK_TCK) '
        / requests in / { requests = $1 } /^Requests\/sec:/ { rate = $2 }
        END { print rate, (requests > 0 ? ticks / hertz * 1e6 / requests : 0) }' out
}
for round in $(seq "$rounds"); do
    for file in 1k 100k; do
        for candidate in 0 1 2 3; do
            echo "$file $candidate $round $(measure $candidate $file)" >>figures
        done
    done
done

awk -v n="$rounds" '
    { figure[$1, $2, $3] = $4; cost[$1, $2, $3] = $5 }
    function median(list, count,    i, j, swap) {
        for (i = 1; i < count; i++) for (j = i + 1; j <= count; j++)
            if (list[i] > list[j]) { swap = list[i]; list[i] = list[j]; list[j] = swap }
        return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2
    }
    END {
        split("oxzmq, 1 worker|oxzmq, 2 workers|Mongrel2 + C handler|nginx before nginx", name, "|")
        printf "%-22s %12s %12s %9s %14s %12s %9s\n", "", "1 KiB req/s", "to Mongrel2", "us each", "100 KiB req/s", "to Mongrel2", "us each"
        for (c = 0; c < 4; c++) {
            printf "%-22s", name[c + 1]
            for (f = 1; f <= 2; f++) {
                file = f == 1 ? "1k" : "100k"
                for (r = 1; r <= n; r++) {
                    rate[r] = figure[file, c, r]
                    ratio[r] = figure[file, 2, r] > 0 ? rate[r] / figure[file, 2, r] : 0
                    each[r] = cost[file, c, r]
                }
                printf f == 1 ? " %12.0f %11.2fx %9.1f" : " %14.0f %11.2fx %9.1f", median(rate, n), median(ratio, n), median(each, n)
            }
            print ""
        }
        for (f = 1; f <= 2; f++) {
            file = f == 1 ? "1k" : "100k"
            for (r = 1; r <= n; r++) {
                one[r] = figure[file, 2, r] > 0 ? figure[file, 0, r] / figure[file, 2, r] : 0
                two[r] = figure[file, 1, r] / figure[file, 0, r]
                hop[r] = figure[file, 0, r] / figure[file, 3, r]
            }
            printf "%s: two workers to one %.2fx, one worker to nginx before nginx %.2fx\n", file, median(two, n), median(hop, n)
            bar(file ": to Mongrel2", median(one, n), f == 1 ? 1.3 : 1.5)
            bar(file ": to nginx before nginx", median(hop, n), 1)
            bar(file ": two workers to one", median(two, n), 0.97)
        }
        exit failed
    }
    function bar(what, ratio, least) {
        if (ratio < least) { printf "FAIL  %s %.2fx, at least %.2fx\n", what, ratio, least; failed = 1 }
        else printf "ok    %s %.2fx, at least %.2fx\n", what, ratio, least
    }' figures
