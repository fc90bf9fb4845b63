#!/usr/bin/env python3
"""Request-reply through a broker, the broker: passes requests back and replies forth.

usage: rrbroker.py [FRONT] [BACK]
"""

import sys

import zmq

front = sys.argv[1] if len(sys.argv) > 1 else "tcp://*:5559"
back = sys.argv[2] if len(sys.argv) > 2 else "tcp://*:5560"

context = zmq.Context()
frontend = context.socket(zmq.ROUTER)
backend = context.socket(zmq.DEALER)
frontend.bind(front)
backend.bind(back)
front = frontend.getsockopt_string(zmq.LAST_ENDPOINT)
back = backend.getsockopt_string(zmq.LAST_ENDPOINT)
print(f"Clients on {front}", flush=True)
print(f"Servers on {back}", flush=True)

zmq.proxy(frontend, backend)
