# SPDX-License-Identifier: MIT
"""tls.early_data against a server that is not ours: `openssl s_server -early_data`, with this test as what stands behind
its standard input and output. A reconnect's upgrade request arrives early, or is refused and comes again."""
import base64
import hashlib
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import support

sys.path.insert(0, os.path.join(support.ROOT, "tools/simulator"))
import certificates  # noqa: E402

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class SServer:
    """One s_server. What it prints, decrypted requests among it, is in `seen`."""

    def __init__(self, certificate, key, port=0):
        self.process = subprocess.Popen(
            ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", certificate, "-key", key,
             "-tls1_3", "-early_data", "-no_anti_replay"],  # which forgets a ticket when `q` cuts its connection
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
        self.seen = b""
        self.taken = 0
        self.port = port or int(self.wait_for(rb"ACCEPT [^\n]*:(\d+)\n").group(1))

    def wait_for(self, pattern):
        """The next match behind the last."""
        until = time.monotonic() + support.LIMIT_S
        while True:
            found = re.compile(pattern, re.S).search(self.seen, self.taken)
            if found:
                self.taken = found.end()
                return found
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, until - time.monotonic()))
            more = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not more:
                raise AssertionError(f"s_server did not print {pattern}: {self.seen}")
            self.seen += more

    def answer(self):
        """Answers the next upgrade request and says hello."""
        key = self.wait_for(rb"Sec-WebSocket-Key: (\S+)\r\n").group(1)
        self.wait_for(rb"\r\n\r\n")
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self.process.stdin.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n\x81\x05hello")

    def hang_up(self):
        """To be called when its last answer has arrived: `q` is a command of s_server's only when it is read alone."""
        self.process.stdin.write(b"q\n")

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Case(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.ca, self.certificate, self.key = certificates.make(directory.name, ("localhost", "127.0.0.1"))

    def server(self, port=0):
        server = SServer(self.certificate, self.key, port)
        self.addCleanup(server.stop)
        return server

    def client(self, server, early):
        return support.running("cat", f"wss://127.0.0.1:{server.port}/feed", "--count", "2",
                               "-o", f"tls.ca_file={self.ca}", "-o", f"tls.early_data={early}",
                               "-o", "close.timeout_ns=200ms")  # s_server does not answer a close

    def hello(self, client):
        """Waits until the first message is there, and with it what TLS sent before it: the tickets."""
        ready, _, _ = select.select([client.stdout], [], [], support.LIMIT_S)
        self.assertTrue(ready, "no first message")
        self.assertEqual(os.read(client.stdout.fileno(), 100), b"hello\n")

    def finish(self, client):
        out, said = client.communicate(timeout=support.LIMIT_S)
        self.assertEqual(client.returncode, 0, said)
        self.assertEqual(out, b"hello\n")

    def test_taken(self):
        server = self.server()
        with self.client(server, "yes") as client:
            server.wait_for(b"No early data received")
            server.answer()
            self.hello(client)
            server.hang_up()
            server.answer()
            self.finish(client)
            server.taken = 0  # it prints what was early before it says so
            server.wait_for(b"Early data received")
        self.assertEqual(server.seen.count(b"GET /feed"), 2)

    def test_refused(self):
        first = self.server()
        with self.client(first, "yes") as client:
            first.answer()
            self.hello(client)
            # A dying server may close the connection before the port: a client that came back at once would
            # spend its ticket there.
            client.send_signal(signal.SIGSTOP)
            first.stop()
            second = self.server(first.port)  # knows nothing of the ticket
            client.send_signal(signal.SIGCONT)
            second.wait_for(b"Early data was rejected")
            second.answer()
            self.finish(client)
        self.assertEqual(second.seen.count(b"GET /feed"), 1)

    def test_off(self):
        server = self.server()
        with self.client(server, "no") as client:
            server.answer()
            self.hello(client)
            server.hang_up()
            server.wait_for(b"No early data received")
            server.wait_for(b"No early data received")
            server.answer()
            self.finish(client)


if __name__ == "__main__":
    support.main()
