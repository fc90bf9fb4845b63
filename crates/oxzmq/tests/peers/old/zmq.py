"""As much of pyzmq as peer.py needs, over any libzmq from 2.2 on: the one that OXZMQ_OLD_LIBZMQ names.

pyzmq itself no longer builds with releases this old. With this directory in PYTHONPATH, `import zmq`
finds this file. Where an old release lacks something (wildcard ports and the last endpoint came
with 3.2), it is done here.
"""

import ctypes
import os
import socket as sockets

library = ctypes.CDLL(os.environ["OXZMQ_OLD_LIBZMQ"], use_errno=True)

PAIR, PUB, SUB, REQ, REP, DEALER, ROUTER, PULL, PUSH, XPUB, XSUB, STREAM = range(12)
IDENTITY, SUBSCRIBE, RCVMORE, EVENTS, LINGER, RCVTIMEO, SNDTIMEO = 5, 6, 13, 15, 17, 27, 28
LAST_ENDPOINT = 32
SNDMORE, POLLIN = 2, 1


class ZMQError(Exception):
    pass


def version():
    parts = [ctypes.c_int() for _ in range(3)]
    library.zmq_version(*map(ctypes.byref, parts))
    return tuple(part.value for part in parts)


def zmq_version():
    return ".".join(map(str, version()))


OLD = version() < (3, 2)  # the API of 2.x


def function(name, result, *arguments):
    made = getattr(library, name)
    made.restype, made.argtypes = result, arguments
    return made


P, INT, SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
new_context = function("zmq_init", P, INT)
end_context = function("zmq_term", INT, P)
new_socket = function("zmq_socket", P, P, INT)
end_socket = function("zmq_close", INT, P)
set_option = function("zmq_setsockopt", INT, P, INT, P, SIZE)
get_option = function("zmq_getsockopt", INT, P, INT, P, P)
bind = function("zmq_bind", INT, P, ctypes.c_char_p)
connect = function("zmq_connect", INT, P, ctypes.c_char_p)
message_size = function("zmq_msg_init_size", INT, P, SIZE)
message_empty = function("zmq_msg_init", INT, P)
message_close = function("zmq_msg_close", INT, P)
message_data = function("zmq_msg_data", P, P)
message_length = function("zmq_msg_size", SIZE, P)
describe = function("zmq_strerror", ctypes.c_char_p, INT)
if OLD:
    send_message = function("zmq_send", INT, P, P, INT)
    receive_message = function("zmq_recv", INT, P, P, INT)
else:
    send = function("zmq_msg_send", INT, P, P, INT)
    receive = function("zmq_msg_recv", INT, P, P, INT)
    send_message = lambda socket, message, flags: send(message, socket, flags)
    receive_message = lambda socket, message, flags: receive(message, socket, flags)


class PollItem(ctypes.Structure):
    _fields_ = [("socket", P), ("fd", INT), ("events", ctypes.c_short), ("revents", ctypes.c_short)]


poll = function("zmq_poll", INT, ctypes.POINTER(PollItem), INT, ctypes.c_long)


def check(result):
    if result < 0:
        number = ctypes.get_errno()
        raise ZMQError(f"{number} {describe(number).decode()}")
    return result


class Context:
    def __init__(self):
        self.handle, self.sockets = new_context(1), []

    def socket(self, kind):
        made = Socket(self, kind)
        self.sockets.append(made)
        return made

    def destroy(self, linger=0):
        for one in self.sockets:
            one.linger = linger
            one.close()
        check(end_context(self.handle))


class Socket:
    def __init__(self, context, kind):
        self.handle = new_socket(context.handle, kind)
        if not self.handle:
            check(-1)
        self.context, self.endpoint = context, None

    def setsockopt(self, option, value):
        if isinstance(value, int):
            value = ctypes.c_int(value)
            check(set_option(self.handle, option, ctypes.byref(value), ctypes.sizeof(value)))
        else:
            check(set_option(self.handle, option, value, len(value)))

    def __setattr__(self, name, value):
        options = {"linger": LINGER, "rcvtimeo": RCVTIMEO, "sndtimeo": SNDTIMEO, "routing_id": IDENTITY}
        if name in options:
            self.setsockopt(options[name], value)
        elif name in ("handle", "context", "endpoint"):
            super().__setattr__(name, value)
        else:
            raise ZMQError(f"{name} is not among the options that this stand-in knows")

    def getsockopt_string(self, option):
        if OLD:
            return self.endpoint
        value, size = ctypes.create_string_buffer(512), ctypes.c_size_t(512)
        check(get_option(self.handle, option, value, ctypes.byref(size)))
        return value.value.decode()

    def bind(self, endpoint):
        if OLD and endpoint.endswith(":*"):
            with sockets.create_server(("127.0.0.1", 0)) as free:
                endpoint = endpoint[:-1] + str(free.getsockname()[1])
        check(bind(self.handle, endpoint.encode()))
        self.endpoint = endpoint

    def connect(self, endpoint):
        check(connect(self.handle, endpoint.encode()))

    def send_multipart(self, frames):
        for place, frame in enumerate(frames, 1):
            message = ctypes.create_string_buffer(64)  # zmq_msg_t has 32, 40 or 64 bytes
            check(message_size(message, len(frame)))
            ctypes.memmove(message_data(message), frame, len(frame))
            try:
                check(send_message(self.handle, message, SNDMORE if place < len(frames) else 0))
            finally:
                message_close(message)

    def send_string(self, text):
        self.send_multipart([text.encode()])

    def recv_multipart(self):
        frames, more = [], True
        while more:
            message = ctypes.create_string_buffer(64)
            check(message_empty(message))
            try:
                check(receive_message(self.handle, message, 0))
                frames.append(ctypes.string_at(message_data(message), message_length(message)))
            finally:
                message_close(message)
            more = self.integer(RCVMORE)
        return frames

    def integer(self, option):
        value, size = ctypes.c_int64(0), ctypes.c_size_t(8 if OLD else 4)
        check(get_option(self.handle, option, ctypes.byref(value), ctypes.byref(size)))
        return value.value & 0xFFFFFFFF

    def poll(self, milliseconds):
        item = PollItem(self.handle, 0, POLLIN, 0)
        return check(poll(ctypes.byref(item), 1, milliseconds * (1000 if OLD else 1)))

    def close(self):
        if self.handle:
            check(end_socket(self.handle))
            self.handle = None
            self.context.sockets.remove(self)
