"""A worker of Majordomo 0.2, as one writes it from RFC 18.

usage: majordomo_worker.py BROKER SERVICE [immortal]
Echoes the frames of a request, joined by bars; /echo/whole gets a response of its own, /echo/die kills the worker.
"""

import os, sys, time
import zmq

READY, REQUEST, PARTIAL, FINAL, HEARTBEAT, DISCONNECT = (bytes([n]) for n in range(1, 7))
INTERVAL = 2.5

context = zmq.Context()


def connect():
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.connect(sys.argv[1])
    socket.send_multipart([b"", b"MDPW02", READY, sys.argv[2].encode()])
    return socket


socket, heard, told = connect(), time.monotonic(), time.monotonic()
while True:
    if socket.poll(INTERVAL * 1000 / 2):
        empty, mark, command, *rest = socket.recv_multipart()
        assert (empty, mark) == (b"", b"MDPW02"), (empty, mark)
        heard = time.monotonic()
        if command == DISCONNECT:
            socket.close()
            socket = connect()
        if command == REQUEST:
            client, empty, *body = rest
            if body[1] == b"/echo/die" and "immortal" not in sys.argv:
                os._exit(1)
            if body[1] == b"/echo/whole":
                raw = b"HTTP/1.1 418 Teapot\r\nContent-Length: 15\r\n\r\n"
                socket.send_multipart([b"", b"MDPW02", PARTIAL, client, b"", raw])
                socket.send_multipart([b"", b"MDPW02", FINAL, client, b"", b"short and stout"])
            else:
                socket.send_multipart([b"", b"MDPW02", FINAL, client, b"", b"|".join(body)])
            told = time.monotonic()
    elif time.monotonic() - heard > 3 * INTERVAL:
        socket.close()
        socket, heard = connect(), time.monotonic()
    if time.monotonic() - told > INTERVAL:
        socket.send_multipart([b"", b"MDPW02", HEARTBEAT])
        told = time.monotonic()
