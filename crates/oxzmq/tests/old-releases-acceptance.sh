#!/usr/bin/env bash
# Proves that oxzmq talks with the releases of libzmq that people still run: 2.2, 3.2, 4.0, 4.1 and 4.2, which
# speak ZMTP 1.0, 2.0 and 3.0. (4.3 is what the interop tests of ./test talk with.)
#
# The libraries come from pyzmq's old packages on PyPI: three are built from the sources that those carry, three are
# taken out of wheels. The tests are those of tests/interop_pyzmq.rs: every pattern, over tcp and ipc, each
# side binding, and the restart of either side.
#
# Takes two or three minutes. Needs g++, uuid-dev, unzip and python3; installs what is missing where there is apt-get.
set -eu
cd "$(dirname "$0")/../../.."
tests=$PWD/crates/oxzmq/tests
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

.ci/need g++ uuid-dev unzip python3

# pip itself would run the packages' own installers, which no current Python can.
cat >"$scratch/fetch.py" <<'PYTHON'
import hashlib, os, re, subprocess, sys, urllib.parse, urllib.request

name, expected, target = sys.argv[1:]
index = os.environ.get("PIP_INDEX_URL")
if not index:
    ask = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    index = subprocess.run(ask, capture_output=True, text=True).stdout.strip()
page = (index or "https://pypi.org/simple").rstrip("/") + "/pyzmq/"
with urllib.request.urlopen(page, timeout=60) as answer:
    links = re.findall(r'href="([^"#]+)', answer.read().decode())
link = next(link for link in links if link.endswith("/" + name))
with urllib.request.urlopen(urllib.parse.urljoin(page, link), timeout=120) as answer:
    data = answer.read()
if hashlib.sha256(data).hexdigest() != expected:
    sys.exit(f"{name} is not the file it was: its SHA-256 has changed")
open(target, "wb").write(data)
PYTHON
fetch() { python3 "$scratch/fetch.py" "$1" "$2" "$scratch/$1"; }

# from_sources PACKAGE-VERSION SHA256
from_sources() {
    fetch "$1.tar.gz" "$2"
    tar xzf "$scratch/$1.tar.gz" -C "$scratch"
    mkdir -p "$scratch/configuration"
    : >"$scratch/configuration/platform.hpp" # all of it is on the command line
    sources=$scratch/$1/bundled/zeromq
    library=$scratch/$1.so
    g++ -w -O1 -fPIC -shared -std=gnu++98 -fpermissive -include unistd.h -include string.h \
        -DZMQ_HAVE_LINUX -DZMQ_HAVE_UIO -DZMQ_HAVE_EVENTFD \
        -I"$scratch/configuration" -I"$sources/include" "$sources"/src/*.cpp -o "$library" -lpthread -lrt -luuid 2>"$scratch/g++" ||
        { cat "$scratch/g++"; exit 2; }
}

# from_wheel FILE SHA256
from_wheel() {
    fetch "$1" "$2"
    unzip -qo "$scratch/$1" 'zmq/.libs/*' -d "$scratch/${1%.whl}"
    library=$(echo "$scratch/${1%.whl}"/zmq/.libs/libzmq*)
}

failed=''
# talk RELEASE [--skip TEST]...: with $library
talk() {
    release=$1
    shift
    printf '\n== libzmq %s\n' "$release"
    if (
        export OXZMQ_OLD_LIBZMQ=$library PYTHONPATH=$tests/peers/old PYTHONDONTWRITEBYTECODE=1
        LD_LIBRARY_PATH=$(dirname "$library")
        export LD_LIBRARY_PATH
        python3 -c "import zmq, sys; sys.exit(zmq.zmq_version() != '$release')" &&
            cargo test --quiet --workspace --test interop_pyzmq -- --skip ws_ --skip _ws "$@"
    ) >"$scratch/out" 2>&1; then
        grep '^test result' "$scratch/out"
    else
        cat "$scratch/out"
        failed="$failed $release"
    fi
}

# What is left out cannot be had from that release, whoever it talks with: 2.2 keeps its subscriptions to itself and its
# publishers send everything; an XSUB of 3.2 sends nothing but subscriptions and its XPUB passes on nothing else; STREAM
# came with 4.0 and told of connections from 4.1 on.
from_sources pyzmq-2.2.0.1 dae7423f4aa7c93f8c77dadd15e34ce6576121a6e7ae0ecdb6084d855097decc
talk 2.2.0 --skip stream_stream --skip xpub_ --skip xsub_
from_sources pyzmq-13.1.0 8e6fbe2999204456216a2da62429277117ed1761326bce00e48a0443ae3574a7
talk 3.2.2 --skip stream_stream --skip xpub_xsub --skip xsub_xpub
from_sources pyzmq-14.0.1 07c7f63aaa7709438345a5e5f4d90fe7decb147ff72d244acf4fa56f8801e5e0
talk 4.0.3 --skip stream_stream
from_wheel pyzmq-15.2.0-cp34-cp34m-manylinux1_x86_64.whl 651efb3b9a17075fc7483263f91e47a127219758067bbcd702b9cbfe94ee3086
talk 4.1.4
from_wheel pyzmq-16.0.4-cp36-cp36m-manylinux1_x86_64.whl 5f4c356d278a1017caeec91194b499f550a2c16cf2cb0c6a5ce7f1b3dff8d323
talk 4.1.6
from_wheel pyzmq-17.1.2-cp37-cp37m-manylinux1_x86_64.whl 76ea493bfab18dcb090d825f3662b5612e2def73dffc196d51a5194b0294a81d
talk 4.2.5

if [ -n "$failed" ]; then
    printf '\nOld releases: FAILED with%s\n' "$failed"
    exit 1
fi
printf '\nOld releases: passed with all six\n'
