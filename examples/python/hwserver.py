#!/usr/bin/env python3
"""Hello World, the server: expects "Hello" from a client and answers "World".

usage: hwserver.py [ENDPOINT]
"""

import sys

import zmq

endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://*:5555"

context = zmq.Context()
socket = context.socket(zmq.REP)
socket.bind(endpoint)
bound = socket.getsockopt_string(zmq.LAST_ENDPOINT)
print(f"Listening on {bound}", flush=True)

while True:
    request = socket.recv_string()
    print(f"Received {request}", flush=True)
    socket.send_string("World")
