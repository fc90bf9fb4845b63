"""One server and one client of GSSAPI in a process each, on the libraries that the environment names.

gssapi.py encrypted|plaintext|refused|stranger, run by gssapi-acceptance.sh.
"""

import os
import subprocess
import sys
import threading

import zmq

MODE = sys.argv[1]
# A subscription of libzmq 4.3.4 is encrypted without the octet or the flag that tells it from a message.
SUBSCRIBES = MODE == "plaintext" or bool(os.environ["CLIENT_LIBRARY"])
GSSAPI_SERVER, GSSAPI_PRINCIPAL, GSSAPI_SERVICE_PRINCIPAL, GSSAPI_PLAINTEXT = 62, 63, 64, 65
PRINCIPAL_NAMETYPE, SERVICE_NAMETYPE = 90, 91
LARGE = bytes(range(256)) * 4096  # 1 MiB


def answer_zap(context, asked):
    """A handler that knows anna and nobody else."""
    handler = context.socket(zmq.REP)
    handler.bind("inproc://zeromq.zap.01")
    while True:
        try:
            version, request, _domain, _address, _identity, mechanism, principal = handler.recv_multipart()
        except zmq.ContextTerminated:
            handler.close()
            return
        asked.append((mechanism, principal))
        known = principal == b"anna@TEST.LOCAL"
        handler.send_multipart([version, request, b"200" if known else b"400", b"", principal, b""])


def prepare(socket, server):
    socket.linger = 0
    socket.rcvtimeo = socket.sndtimeo = 30_000
    if server:
        socket.setsockopt(GSSAPI_SERVER, 1)
        socket.setsockopt(GSSAPI_PRINCIPAL, b"zmq@localhost")
        socket.setsockopt(PRINCIPAL_NAMETYPE, 0)
    else:
        socket.setsockopt(GSSAPI_SERVICE_PRINCIPAL, b"zmq/localhost@TEST.LOCAL")
        socket.setsockopt(SERVICE_NAMETYPE, 2)
    # A stranger's mode differs from the server's: neither side is to take the other's words for messages.
    plain = MODE == "plaintext" or (MODE == "stranger" and not server)
    socket.setsockopt(GSSAPI_PLAINTEXT, int(plain))
    assert socket.getsockopt(zmq.MECHANISM) == 3
    return socket


def server():
    context = zmq.Context()
    asked = []
    handler = threading.Thread(target=answer_zap, args=(context, asked))
    handler.start()
    echo, publisher = prepare(context.socket(zmq.REP), True), prepare(context.socket(zmq.XPUB), True)
    for socket in (echo, publisher):
        socket.bind("tcp://127.0.0.1:*")
        print(socket.last_endpoint.decode().rstrip("\0"), flush=True)
    if MODE in ("refused", "stranger"):
        echo.rcvtimeo = 3_000
        try:
            raise SystemExit(f"a message came: {echo.recv_multipart()}")
        except zmq.Again:
            pass
    else:
        if SUBSCRIBES:
            assert publisher.recv() == b"\x01news", "the subscription"
            publisher.send(b"old topic")
            publisher.send_multipart([b"news", LARGE])
            assert publisher.recv() == b"\x00news", "the end of the subscription"
        for _ in range(103):
            message = echo.recv_multipart(copy=False)
            if os.environ["SERVER_LIBRARY"] or message[0].bytes:
                assert message[0].get("User-Id") == "anna@TEST.LOCAL", "the user id"
            echo.send_multipart(message)
        assert (b"GSSAPI", b"anna@TEST.LOCAL") in asked, asked
    for socket in (echo, publisher):
        socket.close()
    context.term()
    handler.join()


def client(echo_at, publisher_at):
    context = zmq.Context()
    request, subscriber = prepare(context.socket(zmq.REQ), False), prepare(context.socket(zmq.SUB), False)
    request.connect(echo_at)
    subscriber.connect(publisher_at)
    if MODE in ("refused", "stranger"):
        request.rcvtimeo = 2_000
        try:
            request.send(b"let me in")
            raise SystemExit(f"a reply came: {request.recv()}")
        except zmq.Again:
            pass
    else:
        if SUBSCRIBES:
            subscriber.subscribe(b"news")
            assert subscriber.recv_multipart() == [b"news", LARGE]
            subscriber.unsubscribe(b"news")
        messages = [[b"hello"], [b"", b"two", LARGE], [LARGE]] + [[b"%d" % n] for n in range(100)]
        for message in messages:
            request.send_multipart(message)
            assert request.recv_multipart() == message
    for socket in (request, subscriber):
        socket.close()
    context.term()


if len(sys.argv) == 3:
    server()
elif len(sys.argv) == 4:
    client(*sys.argv[2:])
else:

    def start(arguments, library, ticket, **more):
        environment = dict(os.environ, KRB5CCNAME=f"FILE:{os.environ['WORK']}/{ticket}.cc")
        if library:
            environment["LD_LIBRARY_PATH"] = library
        return subprocess.Popen([sys.executable, __file__, MODE, *arguments], env=environment, text=True, **more)

    serving = start(["server"], os.environ["SERVER_LIBRARY"], "service", stdout=subprocess.PIPE)
    places = [serving.stdout.readline().strip() for _ in range(2)]
    calling = start(places, os.environ["CLIENT_LIBRARY"], "bert" if MODE == "refused" else "anna")
    codes = calling.wait(60), serving.poll() if calling.returncode else serving.wait(60)
    serving.kill()
    sys.exit(0 if codes == (0, 0) else f"client and server ended with {codes}")
