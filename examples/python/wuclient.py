#!/usr/bin/env python3
"""Weather updates, the client: subscribes to one postcode and averages its temperature.

usage: wuclient.py [POSTCODE] [ENDPOINT]
"""

import sys

import zmq

postcode = sys.argv[1] if len(sys.argv) > 1 else "10001"
endpoint = sys.argv[2] if len(sys.argv) > 2 else "tcp://localhost:5556"
UPDATES = 100

context = zmq.Context()
subscriber = context.socket(zmq.SUB)
subscriber.connect(endpoint)
print(f"Collecting {UPDATES} updates from {endpoint}", flush=True)
subscriber.setsockopt_string(zmq.SUBSCRIBE, f"{postcode} ")

total = 0
for _ in range(UPDATES):
    _, temperature, _ = subscriber.recv_string().split()
    total += int(temperature)
print(f"Average temperature for postcode {postcode} was {int(total / UPDATES)} °C", flush=True)
