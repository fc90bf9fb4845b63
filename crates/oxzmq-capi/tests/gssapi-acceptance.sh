#!/bin/bash
# GSSAPI, each side in turn on this library and on Debian's libzmq, with a Kerberos server of the script's own.
#
# Installs the Debian packages that it needs. What it makes is in one temporary directory; its servers listen on loopback
# only.
set -euo pipefail
cd "$(dirname "$0")/../../.."
.ci/need krb5-kdc krb5-admin-server krb5-user libkrb5-dev libclang-dev pkg-config gcc python3-zmq libzmq5
target=${CARGO_TARGET_DIR:-$PWD/target}
echo "building libzmq.so with GSSAPI"
cargo build --quiet --release -p oxzmq-capi --features gssapi --target-dir "$target/gssapi"

work=$(mktemp -d)
kdc=
cleanup() {
    [ -z "$kdc" ] || kill "$kdc" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
mkdir "$work/ours"
ln -s "$target/gssapi/release/libzmq.so" "$work/ours/libzmq.so.5"

# A realm with a service and two clients, one of which no handler lets in.
port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export KRB5_CONFIG=$work/krb5.conf KRB5_KDC_PROFILE=$work/kdc.conf KRB5_KTNAME=FILE:$work/service.keytab KRB5RCACHEDIR=$work
cat >"$KRB5_CONFIG" <<EOF
[libdefaults]
    default_realm = TEST.LOCAL
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    rdns = false
[realms]
    TEST.LOCAL = {
        kdc = 127.0.0.1:$port
    }
[domain_realm]
    localhost = TEST.LOCAL
EOF
cat >"$KRB5_KDC_PROFILE" <<EOF
[kdcdefaults]
    kdc_listen = 127.0.0.1:$port
    kdc_tcp_listen = 127.0.0.1:$port
[realms]
    TEST.LOCAL = {
        database_name = $work/principal
        key_stash_file = $work/stash
        acl_file = $work/acl
    }
[logging]
    kdc = FILE:$work/kdc.log
EOF
PATH=$PATH:/usr/sbin
{
    kdb5_util create -s -r TEST.LOCAL -P "$(head -c 18 /dev/urandom | base64)"
    kadmin.local addprinc -randkey zmq/localhost
    kadmin.local ktadd -k "$work/service.keytab" zmq/localhost
    for client in anna bert; do
        kadmin.local addprinc -randkey $client
        kadmin.local ktadd -k "$work/$client.keytab" $client
    done
} >"$work/setup.log" 2>&1 || {
    cat "$work/setup.log"
    exit 1
}
krb5kdc -n -P "$work/kdc.pid" >>"$work/setup.log" 2>&1 &
kdc=$!
for client in anna bert service; do
    # The server answers once it listens. libzmq's servers want a ticket as well as a key.
    name=$client
    [ $client != service ] || name=zmq/localhost
    tries=0
    until KRB5CCNAME=FILE:$work/$client.cc kinit -k -t "$work/$client.keytab" $name >>"$work/setup.log" 2>&1; do
        tries=$((tries + 1))
        if [ $tries -gt 100 ] || ! kill -0 $kdc; then
            cat "$work/setup.log" "$work/kdc.log"
            exit 1
        fi
        sleep 0.1
    done
done

failed=0
run() { # SERVER'S CLIENT'S MODE
    local server= client=
    [ "$1" = libzmq ] || server=$work/ours
    [ "$2" = libzmq ] || client=$work/ours
    if WORK=$work SERVER_LIBRARY=$server CLIENT_LIBRARY=$client timeout 120 \
        /usr/bin/python3 crates/oxzmq-capi/tests/gssapi.py "$3" >"$work/log" 2>&1; then
        printf '%-10s server %-7s client %-7s ok\n' "$3" "$1" "$2"
    else
        printf '%-10s server %-7s client %-7s FAILED\n' "$3" "$1" "$2"
        cat "$work/log"
        failed=1
    fi
}
for mode in encrypted plaintext refused stranger; do
    for pair in "libzmq libzmq" "oxzmq libzmq" "libzmq oxzmq" "oxzmq oxzmq"; do
        # libzmq's releases let in whom their handler refuses.
        case "$mode $pair" in refused\ libzmq*) continue ;; esac
        # shellcheck disable=SC2086
        run $pair $mode
    done
done
exit $failed
