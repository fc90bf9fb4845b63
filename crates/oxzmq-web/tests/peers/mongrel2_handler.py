"""A handler as one writes it for Mongrel2: PULL, PUB, and a few lines to take messages apart.

usage: mongrel2_handler.py REQUESTS REPLIES
Answers with what it was told; /app/pieces comes in three messages and no length; /app/silence is not answered.
"""

import json, sys
import zmq

context = zmq.Context()
requests, replies = context.socket(zmq.PULL), context.socket(zmq.PUB)
replies.setsockopt(zmq.IDENTITY, b"82209006-86FF-4982-B5EA-D1E29E55D481")
requests.connect(sys.argv[1])
replies.connect(sys.argv[2])


def netstring(text):
    length, rest = text.split(b":", 1)
    length = int(length)
    return rest[:length], rest[length : length + 1], rest[length + 1 :]


def tnetstring(text):
    content, kind, rest = netstring(text)
    if kind == b",":
        return content.decode(), rest
    if kind == b"]":
        values = []
        while content:
            value, content = tnetstring(content)
            values.append(value)
        return values, rest
    assert kind == b"}", kind
    fields = {}
    while content:
        name, content = tnetstring(content)
        fields[name], content = tnetstring(content)
    return fields, rest


departed, silent = [], []
while True:
    sender, connection, path, rest = requests.recv().split(b" ", 3)
    content, kind, after = netstring(rest)
    if kind == b",":
        headers = json.loads(content)
    else:
        headers, after = tnetstring(rest)
    body, _, _ = netstring(after)

    def send(raw):
        replies.send(b"%s %d:%s, %s" % (sender, len(connection), connection, raw))

    if headers["METHOD"] == "JSON":
        departed.append(connection.decode())
        continue
    if path == b"/app/pieces":
        send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\none ")
        send(b"two ")
        send(b"three")
        send(b"")
        continue
    if path == b"/app/silence":
        silent.append(connection.decode())
        continue
    told = {"path": path.decode(), "headers": headers, "body": body.decode(), "departed": departed, "silent": silent, "sender": sender.decode()}
    told = json.dumps(told).encode()
    send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(told), told))
