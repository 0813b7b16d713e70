# SPDX-License-Identifier: MIT
"""What the tests of the command share: running it, in a pipe or on a terminal, and servers for it."""
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import pty
import re
import select
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WSXDP = os.path.join(ROOT, os.environ.get("BUILD", "build"), "wsxdp")
EXCHANGE = os.path.join(ROOT, "tools/simulator/exchange.py")
PYTHON = os.environ.get("PYTHON", "/usr/bin/python3")
LIMIT_S = 20

sys.path[:0] = [os.path.join(ROOT, "tools/simulator"), os.path.join(ROOT, "tests")]
import cases  # noqa: E402
import certificates  # noqa: E402


main = cases.main

# ---- the command ----


def wsxdp(*arguments, stdin=None, **options):
    """Runs the command to its end in pipes: returncode, stdout and stderr (text)."""
    options.setdefault("timeout", LIMIT_S)
    source = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    return subprocess.run(
        [WSXDP, *arguments], capture_output=True, text=True, errors="surrogateescape", **source, **options
    )


@contextlib.contextmanager
def running(*arguments, **options):
    """The command running in pipes; killed at the end if it still is."""
    settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    process = subprocess.Popen([WSXDP, *arguments], **settings)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()


def summary(run):
    """The object of --summary-json, the last line of standard error."""
    return json.loads(run.stderr.strip().splitlines()[-1])


class Terminal:
    """The command on a terminal of its own: both outputs, or only standard error when stdout is given."""

    def __init__(self, *arguments, columns=100, stdout=None):
        self.main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            [WSXDP, *arguments],
            stdin=side,
            stdout=stdout or side,
            stderr=side,
            preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)),
        )
        os.close(side)
        self.text = ""

    def read_until(self, pattern=None, limit_s=LIMIT_S):
        """Reads until the pattern is seen, or without one until the command ends."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            if pattern and re.search(pattern, self.text):
                return self.text
            ready, _, _ = select.select([self.main], [], [], 0.05)
            try:
                data = os.read(self.main, 65536) if ready else None
            except OSError:  # the other side is closed
                data = b""
            if data == b"":
                break
            self.text += (data or b"").decode("utf-8", "replace")
        if pattern and not re.search(pattern, self.text):
            raise AssertionError(f"{pattern!r} did not appear in {self.text!r}")
        return self.text

    def press(self, keys):
        os.write(self.main, keys)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.main)


def on_screen(text):
    """The lines that stay on a terminal after all carriage returns and erasures."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        shown = ""
        for part in re.split(r"\r", line):
            kept = part.split("\033[K")
            shown = (kept[0] + shown[len(kept[0]) :]) if len(kept) == 1 else "".join(kept)
        lines.append(shown)
    return lines


# ---- servers ----


class Peer:
    """The server's side of one connection, at the level of frames."""

    def __init__(self, stream):
        self.stream = stream
        self.file = stream.makefile("rb")
        self.request = ""

    def read_request(self):
        for line in iter(self.file.readline, b""):
            self.request += line.decode("latin-1")
            if line == b"\r\n":
                break
        return self.request

    def header(self, name):
        found = re.search(rf"^{re.escape(name)}:\s*(.*?)\r$", self.request, re.I | re.M)
        return found and found.group(1)

    def upgrade(self, accept=None):
        if not self.request:
            self.read_request()
        key = (self.header("Sec-WebSocket-Key") or "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = accept or base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )

    def write(self, data):
        self.stream.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def frame(self, opcode, payload=b"", final=True, extra_bits=0):
        payload = payload.encode() if isinstance(payload, str) else payload
        size = len(payload)
        length = (
            bytes([size])
            if size < 126
            else b"\x7e" + struct.pack(">H", size)
            if size < 65536
            else b"\x7f" + struct.pack(">Q", size)
        )
        self.write(bytes([(0x80 if final else 0) | extra_bits | opcode]) + length + payload)

    def text(self, payload):
        self.frame(1, payload)

    def close_frame(self, code=1000, reason=""):
        self.frame(8, struct.pack(">H", code) + reason.encode())

    def read_frame(self):
        """(opcode, payload), or (None, b"") at the end."""
        head = self.file.read(2)
        if len(head) < 2:
            return None, b""
        size = head[1] & 0x7F
        if size == 126:
            size = struct.unpack(">H", self.file.read(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self.file.read(8))[0]
        mask = self.file.read(4)
        return head[0] & 15, bytes(b ^ mask[i & 3] for i, b in enumerate(self.file.read(size)))

    def read_message(self):
        """The next data message as text; None at the end or at a close frame, which is answered."""
        while True:
            opcode, payload = self.read_frame()
            if opcode in (1, 2):
                return payload.decode("utf-8", "surrogateescape")
            if opcode == 8:
                self.frame(8, payload[:2])
            if opcode in (None, 8):
                return None

    def drain(self):
        """Reads until the client has left."""
        while self.read_message() is not None:
            pass


def send_until_close(peer, message):
    """Sends message(number) every 5 ms until the client closes, and answers that."""
    peer.upgrade()
    number = 0
    while not select.select([peer.stream], [], [], 0.005)[0]:
        peer.text(message(number))
        number += 1
    opcode, payload = peer.read_frame()
    if opcode == 8:
        peer.frame(8, payload)


class Server:
    """Runs script(peer) for each connection, on a free loopback port, in threads that end with the server."""

    def __init__(self, script, context=None, path=None):
        self.script, self.context = script, context
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            self.listener.listen()
        else:
            self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = None if path else self.listener.getsockname()[1]
        self.streams, self.threads, self.errors = [], [], []
        self.acceptor = threading.Thread(target=self.accept)

    def accept(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=(stream,))
            self.threads.append(thread)
            thread.start()

    def serve(self, stream):
        stream.settimeout(LIMIT_S)
        self.streams.append(stream)
        try:
            if self.context:
                stream = self.context.wrap_socket(stream, server_side=True)
                self.streams.append(stream)
            self.script(Peer(stream))
            if self.context:
                stream.unwrap()
        except OSError:
            pass  # the client has left, which some tests are about, or the script wants no goodbye
        except Exception as error:  # noqa: BLE001: told to the test at the end
            self.errors.append(error)
        with contextlib.suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)
        stream.close()

    def __enter__(self):
        self.acceptor.start()
        return self

    def __exit__(self, kind, error, trace):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.acceptor.join()
        for stream in self.streams:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        if self.errors and not error:
            raise self.errors[0]

    def url(self, scheme="ws", host="127.0.0.1", path="/"):
        return f"{scheme}://{host}:{self.port}{path}"


def free_port():
    """A loopback port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def certificate_for(*hosts):
    """(CA file, server's TLS context) of an authority made on the spot."""
    with tempfile.TemporaryDirectory() as directory:
        ca, certificate, key = certificates.make(directory, hosts or ("localhost", "127.0.0.1"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        yield ca, context


@contextlib.contextmanager
def exchange(*arguments):
    """The exchange simulator: what its readiness line says."""
    process = subprocess.Popen(
        [PYTHON, EXCHANGE, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def subscription(*streams):
    return json.dumps({"method": "subscribe", "params": streams, "id": 1})


def wait_until(condition, limit_s=LIMIT_S):
    until = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until:
            raise AssertionError("what was waited for did not happen")
        time.sleep(0.01)
