#!/usr/bin/env python3
"""Request-reply through a broker, the client: sends "Hello" ten times.

usage: rrclient.py [ENDPOINT]
"""

import sys

import zmq

endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://localhost:5559"

context = zmq.Context()
socket = context.socket(zmq.REQ)
socket.connect(endpoint)
print(f"Connecting to {endpoint}", flush=True)

for number in range(10):
    socket.send_string("Hello")
    reply = socket.recv_string()
    print(f"Received reply {number}: {reply}", flush=True)
