#!/usr/bin/env python3
"""A worker of the web server: oxzmq master --workers tcp://127.0.0.1:5570; webworker.py [ENDPOINT [DIR]]"""

import mimetypes, os, stat, struct, sys, time
import zmq

master = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:5570"
root = os.path.realpath(sys.argv[2] if len(sys.argv) > 2 else ".")
socket = zmq.Context().socket(zmq.DEALER)
socket.routing_id = b"python-%d-%s" % (os.getpid(), os.urandom(8).hex().encode())
socket.connect(master)
say = lambda letter, *frames: socket.send_multipart([b"OXW1" + letter, *frames])
process = struct.pack(">II", os.getpid(), 64)
say(b"R", process, b"python-%d" % os.getpid(), os.uname().nodename.encode(), root.encode())
interval, heard, downloads = 1.0, time.monotonic(), {}

def answer(id, order, path):
    flags, credit, ns, s, size, offset, length = struct.unpack(">BIIqQQQ", order)
    refuse = lambda status: say(b"H", id, struct.pack(">HIqQQQB", status, 0, 0, 0, 0, 0, 0), b"", b"")
    name = os.path.realpath(os.path.join(os.fsencode(root), path.lstrip(b"/")))
    if not (name + b"/").startswith(os.fsencode(root) + b"/") or b"/." in path: return refuse(404)
    if os.path.isdir(name) and not path.endswith(b"/"): return refuse(301)
    if os.path.isdir(name): name += b"/index.html"
    if not os.path.isfile(name): return refuse(404)
    file = open(name, "rb")
    there = os.fstat(file.fileno())
    version = (there.st_mtime_ns % 10**9, there.st_mtime_ns // 10**9, there.st_size)
    if flags & 2 and version != (ns, s, size): return refuse(412)
    length = 0 if flags & 1 else min(length, max(there.st_size - offset, 0))
    kind = (mimetypes.guess_type(os.fsdecode(name))[0] or "application/octet-stream").encode()
    facts = struct.pack(">HIqQQQB", 200, *version, offset, length, 0)
    file.seek(offset)
    content = file.read(min(length, credit, 128 * 1024))
    say(b"H", id, facts, kind, content)
    downloads[id] = [file, length - len(content), credit - len(content)]
    pump(id)

def pump(id):
    while id in downloads:
        file, left, credit = downloads[id]
        size = min(left, credit, 128 * 1024)
        if left == 0: del downloads[id]
        if left == 0 or size < min(left, 16 * 1024): return
        say(b"C", id, file.read(size))
        downloads[id] = [file, left - size, credit - size]

while time.monotonic() < heard + 3 * interval:  # after that the master is gone; start anew then
    if not socket.poll(interval * 500):
        say(b"P")
        continue
    (mark, *frames), heard = socket.recv_multipart(), time.monotonic()
    letter = mark[4:]
    if letter == b"W": interval = int.from_bytes(frames[0], "big") / 1000
    elif letter == b"Q": answer(*frames)
    elif letter == b"G" and frames[0] in downloads:
        downloads[frames[0]][2] += int.from_bytes(frames[1], "big")
        pump(frames[0])
    elif letter == b"K": downloads.pop(frames[0], None); say(b"E", frames[0], b"cancelled")
    elif letter in b"SB": break  # a more patient worker would finish what it has in hand first
