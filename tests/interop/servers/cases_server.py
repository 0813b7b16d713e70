# SPDX-License-Identifier: MIT
"""Plays one case of cases_table.py on one connection, with frames made here and zlib, and judges the client by what
came back: exactly what was expected, in order, and then exactly the end that was expected."""
import base64
import hashlib
import random
import re
import select
import socket
import struct
import time
import zlib

from cases_table import CLOSE, PING, PONG, TEXT, Frame, Wait, close_frame

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
LIMIT_S = 20
PAUSE_S = 0.0005  # between two pieces that must not share a segment, for the first few hundred


class Wrong(Exception):
    pass


def material(kind, size, draw):
    """Some megabytes to compress: JSON, a picture, prose, a page, noise."""
    words = ["".join(draw.choices("etaoinshrdlu\u00e4\u00fc\u20ac", k=draw.randint(2, 9))) for _ in range(400)]
    out = bytearray()
    while len(out) < size:
        word, number = draw.choice(words), draw.randint(0, 99999)
        if kind == 1:
            out += f'{{"id": {number}, "name": "{word}", "tags": ["{draw.choice(words)}"]}},\n'.encode()
        elif kind == 2:
            out += bytes([(number >> 9) + draw.randint(0, 3) & 255 for _ in range(64)])
        elif kind == 3:
            out += (word + " ").encode()
        elif kind == 4:
            out += f'<tr class="{draw.choice(words)}"><td>{word}</td><td>{number}</td></tr>\n'.encode()
        else:
            out += draw.randbytes(48) + b"endobj " + word.encode()
    return bytes(out)


class Stock:
    """Pieces of the material; pieces of text do not split a character."""
    made = {}

    def __init__(self, kind):
        if kind not in self.made:
            self.made[kind] = material(kind, 1 << 20, random.Random(kind))
        self.data, self.at, self.is_text = self.made[kind], 0, kind in (1, 4)

    def take(self, size):
        self.at = self.at if self.at + size <= len(self.data) else 0
        piece = self.data[self.at:self.at + size]
        self.at += size
        return piece.decode("utf-8", "ignore").encode() if self.is_text else piece


class Peer:
    def __init__(self, stream):
        self.stream = stream
        self.stream.settimeout(LIMIT_S)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.message, self.opcode, self.packed = bytearray(), 0, False
        self.received, self.closed, self.pauses = [], None, 400
        self.unsent = bytearray()
        self.deflater = self.inflater = None

    # ---- the upgrade ----

    def upgrade(self, deflate):
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer = bytearray(rest)
        request = head.decode("latin-1")
        key = re.search(r"(?im)^Sec-WebSocket-Key: *(\S+)", request)[1]
        accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
        answer = ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  f"Sec-WebSocket-Accept: {accept}\r\n")
        if deflate is not None:
            self.agree(request, deflate)
            answer += "Sec-WebSocket-Extensions: " + "; ".join(["permessage-deflate"] + ([deflate] if deflate else []))
            answer += "\r\n"
        self.stream.sendall((answer + "\r\n").encode())

    def agree(self, request, deflate):
        offer = re.search(r"(?im)^Sec-WebSocket-Extensions: *(.*)", request)
        if not offer or "permessage-deflate" not in offer[1]:
            raise Wrong("did not offer permessage-deflate")
        if "client_max_window_bits" in deflate and "client_max_window_bits" not in offer[1]:
            raise Wrong("did not offer client_max_window_bits")
        bits = re.search(r"client_max_window_bits=(\d+)", deflate)
        self.window = -int(bits[1]) if bits else -15
        self.forget = "client_no_context_takeover" in deflate
        self.deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
        self.inflater = zlib.decompressobj(self.window)

    # ---- sending ----

    def send_pieces(self, data, size):
        for at in range(0, len(data), size):
            self.stream.sendall(data[at:at + size])
            if self.pauses > 0:
                self.pauses -= 1
                time.sleep(PAUSE_S)

    def flush(self):
        data, self.unsent = self.unsent, bytearray()
        self.stream.sendall(data)

    def send_frame(self, frame):
        size = len(frame.payload)
        length = (bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size) if size < 65536
                  else b"\x7f" + struct.pack(">Q", size))
        data = bytes([frame.fin << 7 | frame.rsv << 4 | frame.opcode]) + length + frame.payload
        if frame.chop == 0:
            # With its neighbours: what follows a message must not keep the client from answering it.
            self.unsent += data
            return
        self.flush()
        self.send_pieces(data, frame.chop if frame.chop > 0 else len(data))

    def send_compressed(self, frame, payload, fragment):
        packed = (self.deflater.compress(payload) + self.deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
        step = fragment or max(1, len(packed))
        parts = [packed[at:at + step] for at in range(0, len(packed), step)]
        for i, part in enumerate(parts):
            self.send_frame(frame._replace(opcode=0 if i else frame.opcode, payload=part, rsv=0 if i else 4,
                                           fin=i == len(parts) - 1))

    # ---- receiving ----

    def fill(self):
        data = self.stream.recv(1 << 18)
        if not data:
            raise EOFError
        self.buffer += data

    def read_frame(self):
        def need(count):
            while len(self.buffer) < count:
                self.fill()
        need(2)
        size, at = self.buffer[1] & 127, 2
        if not self.buffer[1] & 128:
            raise Wrong("sent a frame without a mask")
        if size >= 126:
            at = 4 if size == 126 else 10
            need(at)
            size = int.from_bytes(self.buffer[2:at], "big")
        need(at + 4 + size)
        first, mask = self.buffer[0], bytes(self.buffer[at:at + 4])
        payload = bytes(self.buffer[at + 4:at + 4 + size])
        del self.buffer[:at + 4 + size]
        whole = mask * (size // 4 + 1)
        plain = (int.from_bytes(payload, "little") ^ int.from_bytes(whole[:size], "little")).to_bytes(size, "little")
        return first >> 7, first >> 4 & 7, first & 15, plain

    def take_frame(self):
        fin, rsv, opcode, payload = self.read_frame()
        if opcode >= 8:
            return self.take_control(fin, rsv, opcode, payload)
        if (opcode == 0) != (self.opcode != 0) or rsv not in ((0, 4) if self.deflater and opcode else (0,)):
            raise Wrong(f"sent a frame with opcode {opcode} and reserved bits {rsv}")
        if opcode:
            self.opcode, self.packed = opcode, rsv == 4
        self.message += payload
        if fin:
            self.received.append(("message", self.unpack(bytes(self.message)), self.opcode != TEXT))
            self.message.clear()
            self.opcode = 0

    def take_control(self, fin, rsv, opcode, payload):
        if not fin or rsv or len(payload) > 125 or opcode not in (CLOSE, PING, PONG) or len(payload) == 1 == opcode - 7:
            raise Wrong("sent a control frame against the rules")
        if opcode == CLOSE:
            self.closed = int.from_bytes(payload[:2], "big")
        elif opcode == PONG:
            self.received.append(("pong", payload))
        elif opcode == PING:  # the client's keepalive, in cases that last
            self.send_frame(Frame(PONG, payload))
            self.flush()

    def unpack(self, data):
        if not self.packed:
            return data
        plain = self.inflater.decompress(data + b"\x00\x00\xff\xff")
        if self.forget:
            self.inflater = zlib.decompressobj(self.window)
        return plain

    def receive(self, count):
        while len(self.received) < count and self.closed is None:
            self.take_frame()

    # ---- the case ----

    def wait(self, step):
        """The connection must be alive, or must be failed, at the end of the time."""
        until = time.monotonic() + (step.seconds if step.alive else LIMIT_S)
        while self.closed is None and time.monotonic() < until:
            if self.buffer or select.select([self.stream], [], [], max(0, until - time.monotonic()))[0]:
                self.take_frame()
        if step.alive == (self.closed is not None):
            raise Wrong("was failed too early" if step.alive else "was not failed as soon as it could be known")

    def send(self, case):
        for step in case.send:
            if isinstance(step, Wait):
                self.flush()
                self.wait(step)
            elif isinstance(step, bytes):
                self.unsent += step
            else:
                self.send_frame(step)
        self.flush()

    def converse(self, case):
        for _ in range(case.count):
            self.received.clear()
            self.send(case)
            if case.echo is not None:
                self.receive(len(case.echo))
                self.compare(case.echo)

    def converse_compressed(self, case):
        frame, stock = case.send[0], Stock(case.echo)
        for _ in range(case.count):
            self.received.clear()
            payload = stock.take(frame.payload)
            self.send_compressed(frame, payload, case.fragment)
            self.flush()
            self.receive(1)
            self.compare([("message", payload, frame.opcode != TEXT)])

    def compare(self, wanted):
        if self.received != wanted:
            raise Wrong(f"answered {str(self.received)[:200]}, not {str(wanted)[:200]}; close {self.closed}")

    def finish(self, case):
        if case.code is None and case.clean is None:
            self.send_frame(close_frame(1000))
            self.flush()
        before = None if case.echo is None else len(self.received)
        while self.closed is None:
            self.take_frame()
        if before is not None and len(self.received) != before:
            raise Wrong(f"said more: {str(self.received[before:])[:200]}")
        wanted = case.code or ((1000,) if case.clean is None else (case.clean,))
        if self.closed not in wanted:
            raise Wrong(f"closed with {self.closed}, not {wanted}")


def play(stream, case):
    """None, or what the client did wrong."""
    peer = Peer(stream)
    try:
        peer.upgrade(case.deflate)
        (peer.converse if case.deflate is None else peer.converse_compressed)(case)
        peer.finish(case)
    except Wrong as wrong:
        return str(wrong)
    except (EOFError, ConnectionError):
        return "dropped the connection without a close frame"
    except (TimeoutError, zlib.error) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        stream.close()
    return None
