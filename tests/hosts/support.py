# SPDX-License-Identifier: MIT
"""What the tests in this folder share: the programs, built as a user would build them, a server that sends back what it
gets, and which processes a program has left."""
import base64
import contextlib
import hashlib
import os
import shlex
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
STAGE = os.path.join(BUILD, "wsxdp-stage")
CC = shlex.split(os.environ.get("CC", "gcc"))
PLACEMENTS = ("inline", "threads: transport+ws", "processes: transport+ws")
LIMIT_S = 60
GONE_S = 3  # a helper whose program has ended closes its sockets and ends

sys.path.insert(0, os.path.join(ROOT, "tests"))
import cases  # noqa: E402

main = cases.main


def build_c(target):
    subprocess.run([*CC, "-std=gnu99", "-Wall", "-Wextra", "-O1", "-g", "-I", os.path.join(ROOT, "include"), "-o", target,
                    os.path.join(HERE, "host.c"), os.path.join(BUILD, "libwsxdp.a"), *cases.libraries(BUILD)], check=True)


def build_go(target):
    """With what is installed, and nothing from anywhere else."""
    settings = {"CGO_ENABLED": "1", "GO111MODULE": "off", "GOFLAGS": "", "GOPROXY": "off", "GOTOOLCHAIN": "local",
                "GOCACHE": os.path.join(BUILD, "go-cache"), "CC": " ".join(CC),
                "CGO_CFLAGS": "-O1 -Wno-unused-function -I" + os.path.join(ROOT, "include"),
                "CGO_LDFLAGS": " ".join([os.path.join(BUILD, "libwsxdp.a"), *cases.libraries(BUILD)])}
    subprocess.run(["go", "build", "-o", target, "main.go"], cwd=os.path.join(HERE, "go"),
                   env={**os.environ, **settings}, check=True)


# ---- the server ----


def exactly(stream, size):
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def echo(connection):
    """One connection: the upgrade, then every message back; until it ends."""
    with contextlib.suppress(OSError, EOFError), connection, connection.makefile("rb") as stream:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += exactly(stream, 1)
        key = next(line.split(b":", 1)[1].strip() for line in head.split(b"\r\n")
                   if line.lower().startswith(b"sec-websocket-key:"))
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        while True:
            first, second = exactly(stream, 2)
            size = second & 127
            if size > 125:
                size = struct.unpack(">H", exactly(stream, 2))[0] if size == 126 else 1 << 30
            mask = exactly(stream, 4)
            data = bytes(byte ^ mask[at & 3] for at, byte in enumerate(exactly(stream, size)))
            connection.sendall(bytes([first if first & 15 != 9 else 0x8A, size]) + data)
            if first & 15 == 8:
                return


@contextlib.contextmanager
def echo_server():
    """Its URL. Messages of up to 125 bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def accept():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)


# ---- programs ----


def of_session(session):
    """(pid, name, state) of every process of a session."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            with open(f"/proc/{int(entry)}/stat", encoding="utf-8", errors="replace") as file:
                text = file.read()
            fields = text[text.rindex(")") + 2:].split()
            if int(fields[3]) == session:
                found.append((int(entry), text[text.index("(") + 1:text.rindex(")")], fields[0]))
    return found


def names_of(session):
    return [name for _, name, _ in of_session(session)]


class Program:
    """A host in a session of its own, which is how what it leaves is found. Its output goes to a file: what it forked
    may hold a pipe open for longer than it lives."""

    def __init__(self, *command):
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT,
                                        start_new_session=True)
        self.session = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid, _, _ in of_session(self.session):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        self.process.wait()
        self.output.close()

    def text(self):
        self.output.seek(0)
        return self.output.read().decode("utf-8", "replace")

    def wait(self):
        return self.process.wait(LIMIT_S)

    def until_ready(self):
        end = time.monotonic() + LIMIT_S
        while "ready" not in self.text():
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError("it did not become ready: " + self.text())
            time.sleep(0.005)

    def left(self, gone):
        """What is left of the session once `gone` is true of it, or after a while."""
        end = time.monotonic() + GONE_S
        while not gone(names_of(self.session)) and time.monotonic() < end:
            time.sleep(0.005)
        return names_of(self.session)


class Case(unittest.TestCase):
    """Runs one program with each placement, against one server."""
    build = None

    @classmethod
    def setUpClass(cls):
        cls.host = os.path.join(cls.enterClassContext(tempfile.TemporaryDirectory()), "host")
        cls.url = cls.enterClassContext(echo_server())
        cls.build(cls.host)

    def each(self, kind, check, prefix=()):
        for placement in PLACEMENTS:
            with self.subTest(placement), Program(*prefix, self.host, kind, self.url, placement, STAGE) as program:
                check(program)

    def whole(self, kind, prefix=()):
        """It ends by itself, finds nothing wrong, and leaves no helper."""
        def check(program):
            self.assertEqual(program.wait(), 0, program.text())
            self.assertNotIn("wsxdp-stage", names_of(program.session))
        self.each(kind, check, prefix)

    def ended_by(self, number, code):
        """Nothing is left of a program that uses its handle when that signal ends it."""
        def check(program):
            program.until_ready()
            helpers = names_of(program.session).count("wsxdp-stage")
            self.assertEqual(helpers, int("processes: transport+ws" in program.process.args))
            program.process.send_signal(number)
            self.assertEqual(program.wait(), code, program.text())
            self.assertEqual(program.left(lambda names: not names), [])
        self.each("waits", check)
