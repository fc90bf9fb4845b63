#!/usr/bin/env python3
"""Request-reply through a broker, the server: answers "Hello" with "World".

usage: rrserver.py [ENDPOINT]
"""

import sys

import zmq

endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://localhost:5560"

context = zmq.Context()
socket = context.socket(zmq.REP)
socket.connect(endpoint)
print(f"Serving {endpoint}", flush=True)

while True:
    request = socket.recv_string()
    print(f"Received request: {request}", flush=True)
    socket.send_string("World")
