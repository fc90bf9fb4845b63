#!/usr/bin/env python3
"""Weather updates, the server: publishes "postcode temperature humidity" for ever.

usage: wuserver.py [ENDPOINT]
"""

import random
import sys
import time

import zmq

endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://*:5556"

context = zmq.Context()
publisher = context.socket(zmq.PUB)
publisher.bind(endpoint)
bound = publisher.getsockopt_string(zmq.LAST_ENDPOINT)
print(f"Publishing on {bound}", flush=True)

while True:
    for postcode in range(10_000, 11_000):
        temperature = random.randrange(-10, 40)
        humidity = random.randrange(10, 60)
        publisher.send_string(f"{postcode} {temperature} {humidity}")
    # Every station reports this often: a hundred updates for one postcode take two seconds.
    time.sleep(0.02)
