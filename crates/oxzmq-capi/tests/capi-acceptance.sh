#!/bin/bash
# Shows that the library is a drop-in for libzmq.so.5: exported names, layouts and constants, what C programs see, and
# other projects' own tests run on it. Installs the Debian packages and Python modules that it needs. Set
# OXZMQ_CAPI_PARTS to run some only, e.g. "symbols c".
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
parts=${OXZMQ_CAPI_PARTS:-symbols header c memory pyzmq}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

need() {
    local missing=()
    for package; do dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package"); done
    [ ${#missing[@]} -eq 0 ] && return
    local sudo=''
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        { $sudo apt-get update -qq &&
            $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }
}

prefix=$work/prefix
"$here/../install" --prefix "$prefix"
ours=$prefix/lib

# The names that programs link to, and no others.
part_symbols() {
    need binutils
    nm -D --defined-only "$ours/libzmq.so" | awk '{ print $3 }' | LC_ALL=C sort | diff "$here/symbols.txt" -
    objdump -p "$ours/libzmq.so" | grep -q 'SONAME *libzmq.so.5$'
    echo "97 names"
}

# Constants of a header: every one whose name and value both have, but for the version's.
constants() { # HEADER-DIRECTORY
    { echo '#include <stdio.h>'
      echo "#include <zmq.h>"
      echo 'int main(void) {'
      LC_ALL=C sort "$work/names" | sed 's/.*/printf("& %lld\\n", (long long)(&));/'
      echo 'return 0; }'; } >"$work/constants.c"
    gcc -w -DZMQ_BUILD_DRAFT_API=1 -isystem "$1" "$work/constants.c" -o "$work/constants" && "$work/constants"
}

part_header() {
    need gcc g++ libzmq3-dev cppzmq-dev pkg-config
    for compiler in 'gcc -x c' 'gcc -x c -DZMQ_BUILD_DRAFT_API=1' 'g++ -x c++ -DZMQ_BUILD_DRAFT_API=1'; do
        echo '#include <zmq_utils.h>' | $compiler -Wall -Wextra -Werror -pedantic -I"$prefix/include" -fsyntax-only -
    done
    echo '#include <zmq.h>' | gcc -dM -E -DZMQ_BUILD_DRAFT_API=1 -isystem /usr/include - |
        awk '/^#define (ZMQ_[A-Z_0-9]+|EFSM|ETERM|EMTHREAD|ENOCOMPATPROTO) [^"]/ { print $2 }' |
        grep -vE '^ZMQ_(VERSION|VERSION_PATCH|EXPORT|BUILD_DRAFT_API)$' >"$work/names"
    constants /usr/include >"$work/theirs"
    constants "$prefix/include" | diff "$work/theirs" -
    gcc -isystem /usr/include "$here/c/layout.c" -o "$work/layout" && "$work/layout" >"$work/theirs-layout"
    gcc -I"$prefix/include" "$here/c/layout.c" -o "$work/layout" && "$work/layout" | diff "$work/theirs-layout" -
    printf '%s\n' '#include <zmq_addon.hpp>' 'int main() { zmq::context_t c; zmq::socket_t s(c, zmq::socket_type::push);' \
        '  return zmq::message_t("abc", 3).size() == 3 ? 0 : 1; }' >"$work/cpp.cc"
    export PKG_CONFIG_PATH=$ours/pkgconfig
    # shellcheck disable=SC2046
    g++ -std=c++17 $(pkg-config --cflags libzmq) "$work/cpp.cc" $(pkg-config --libs libzmq) -o "$work/cpp"
    LD_LIBRARY_PATH=$ours "$work/cpp"
    echo "$(wc -l <"$work/names") constants"
}

# The same program on both libraries prints the same.
part_c() {
    need gcc libzmq3-dev libzmq5
    gcc -g -Wall "$here/c/calls.c" -o "$work/calls" -lzmq -lpthread
    timeout 60 "$work/calls" >"$work/calls-theirs"
    LD_LIBRARY_PATH=$ours timeout 60 "$work/calls" >"$work/calls-ours"
    diff "$work/calls-theirs" "$work/calls-ours"
    echo "$(wc -l <"$work/calls-ours") lines"
}

part_memory() {
    need gcc valgrind
    gcc -g -Wall -I"$prefix/include" "$here/c/calls.c" -o "$work/calls" -L"$ours" -lzmq -lpthread
    LD_LIBRARY_PATH=$ours timeout 300 valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite \
        "$work/calls" >"$work/valgrind-out"
    gcc -g -fsanitize=address,undefined -I"$prefix/include" "$here/c/calls.c" -o "$work/calls" -L"$ours" -lzmq -lpthread
    ASAN_OPTIONS=allocator_may_return_null=1 LD_LIBRARY_PATH=$ours timeout 120 "$work/calls" >/dev/null
    echo "clean"
}

# Debian's pyzmq, as it is. Left out: what needs the network or another compiler's types (mypy), and the sockets of the
# draft API, for which this pyzmq was not built (it asks the library, which has them).
part_pyzmq() {
    need python3-zmq python3-venv cython3 python3-dev gcc libzmq3-dev
    python3 -m venv --system-site-packages "$work/venv"
    "$work/venv/bin/pip" install --quiet pytest pytest-asyncio pytest-timeout tornado
    cp -r /usr/lib/python3/dist-packages/zmq/tests "$work/tests"
    cd "$work"
    export LD_LIBRARY_PATH=$ours
    "$work/venv/bin/python" -c 'import zmq; assert zmq.has("oxzmq") and zmq.zmq_version() == "4.3.6"'
    timeout 500 "$work/venv/bin/python" -m pytest -q --timeout 60 -p no:cacheprovider -W ignore --tb=short \
        --deselect tests/test_mypy.py --deselect tests/test_draft.py tests 2>&1 | tail -30
}

for part in $parts; do
    echo "== $part"
    "part_$part"
done
