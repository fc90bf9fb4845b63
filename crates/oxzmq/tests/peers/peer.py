#!/usr/bin/env python3
"""A peer for the interop tests: libzmq, told on standard input what to do.

One command a line, one answer a line: "ok ..." or "error ...". Sockets have names. A frame is
written in hex, "-" when empty, and "~N" when it is N bytes of the pattern below. No command waits
longer than PATIENCE.

    socket NAME TYPE [OPTION=VALUE]...    OPTION as pyzmq calls it; VALUE a number or text
    bind NAME ENDPOINT                    answers with the endpoint in full
    connect NAME ENDPOINT
    subscribe NAME FRAME
    send NAME FRAME...
    burst NAME COUNT                      send the messages "0", "1", ...
    recv NAME                             answers with the frames
    user NAME                             receives a message and answers with its User-Id, in hex
    poll NAME MILLISECONDS                answers 1 if there is something to receive, else 0
    close NAME
    listen NAME                           a bare TCP socket; answers with its port
    accept NAME LISTENER
    dial NAME PORT                        a bare TCP connection
    write NAME FRAME
    read NAME COUNT                       answers with that many bytes, fewer at the end
    hangup NAME
"""

import socket
import sys

try:
    import zmq
except ImportError as problem:
    print(f"error {problem}", flush=True)
    sys.exit(1)

PATIENCE = 15  # seconds

context = zmq.Context()
named = {}


def pattern(size):
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def encode(frame):
    if len(frame) > 1000 and frame == pattern(len(frame)):
        return f"~{len(frame)}"
    return frame.hex() or "-"


def decode(text):
    if text.startswith("~"):
        return pattern(int(text[1:]))
    return b"" if text == "-" else bytes.fromhex(text)


def make(name, kind, *options):
    made = named[name] = context.socket(getattr(zmq, kind))
    made.linger = 0
    made.sndtimeo = made.rcvtimeo = PATIENCE * 1000
    for option in options:
        key, value = option.split("=", 1)
        setattr(made, key, int(value) if value.lstrip("-").isdigit() else value.encode())


def bind(name, endpoint):
    named[name].bind(endpoint)
    return named[name].getsockopt_string(zmq.LAST_ENDPOINT)


def burst(name, count):
    for number in range(int(count)):
        named[name].send_string(str(number))


def receive(name):
    return " ".join(encode(frame) for frame in named[name].recv_multipart())


def user(name):
    return encode(named[name].recv(copy=False).get("User-Id").encode())


def listen(name):
    named[name] = socket.create_server(("127.0.0.1", 0))
    named[name].settimeout(PATIENCE)
    return str(named[name].getsockname()[1])


def accept(name, listener):
    named[name], _ = named[listener].accept()
    named[name].settimeout(PATIENCE)


def dial(name, port):
    named[name] = socket.create_connection(("127.0.0.1", int(port)), PATIENCE)


def read(name, count):
    data = b""
    while len(data) < int(count) and (more := named[name].recv(int(count) - len(data))):
        data += more
    return encode(data)


commands = {
    "socket": make,
    "bind": bind,
    "connect": lambda name, endpoint: named[name].connect(endpoint),
    "subscribe": lambda name, topic: named[name].setsockopt(zmq.SUBSCRIBE, decode(topic)),
    "send": lambda name, *frames: named[name].send_multipart([decode(f) for f in frames]),
    "burst": burst,
    "recv": receive,
    "user": user,
    "poll": lambda name, time: str(int(named[name].poll(int(time)) != 0)),
    "close": lambda name: named.pop(name).close(),
    "listen": listen,
    "accept": accept,
    "dial": dial,
    "write": lambda name, data: named[name].sendall(decode(data)),
    "read": read,
    "hangup": lambda name: named.pop(name).close(),
}

print(f"ok {zmq.zmq_version()}", flush=True)
for line in sys.stdin:
    command, *arguments = line.split()
    try:
        result = commands[command](*arguments)
        print("ok", result or "", flush=True)
    except Exception as problem:  # whatever it is, the test wants to know
        print("error", f"{type(problem).__name__}: {problem}".replace("\n", " "), flush=True)
# The tests stop us by closing our input; what is still queued does not matter to them.
context.destroy(linger=0)
