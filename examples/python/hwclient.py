#!/usr/bin/env python3
"""Hello World, the client: sends "Hello" ten times and waits for "World" each time.

usage: hwclient.py [ENDPOINT]
"""

import sys

import zmq

endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://localhost:5555"

context = zmq.Context()
socket = context.socket(zmq.REQ)
socket.connect(endpoint)
print(f"Connecting to {endpoint}", flush=True)

for number in range(10):
    print(f"Sending Hello {number}", flush=True)
    socket.send_string("Hello")
    reply = socket.recv_string()
    print(f"Received {reply} {number}", flush=True)
