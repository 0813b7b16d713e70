#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The library against libwebsockets, its packaged test server, and Boost.Beast."""
import unittest

import support
from matrix import LARGEST, Matrix
from support import client, url


class LibwebsocketsPlain(Matrix, unittest.TestCase):
    def start(self):
        return support.libwebsockets(self.tls, self.place)


class LibwebsocketsTls(LibwebsocketsPlain):
    tls = True


class LibwebsocketsDeflate(LibwebsocketsPlain):
    """Debian's libwebsockets 4.1 cannot compress an empty message; it closes with an error of its own."""
    deflate = {}
    smallest = 1


class BeastPlain(Matrix, unittest.TestCase):
    fragment = 0

    def start(self):
        return support.beast(self.tls, self.deflate is not None, self.fragment, self.place)


class BeastTls(BeastPlain):
    tls = True


class BeastDeflateTls(BeastPlain):
    tls = True
    deflate = {}

    def test_largest(self):
        self.run_with(f"echo:b:{LARGEST >> 3}:1")  # Beast compresses a few MiB a second


class BeastFragments(BeastPlain):
    fragment = 100

    def test_largest(self):
        self.run_with(f"echo:b:{LARGEST >> 2}:1")  # 42,000 frames


class PackagedLibwebsocketsServer(unittest.TestCase):
    """libwebsockets' own test server: it counts, unasked, and repeats to everybody what one says."""

    def start(self):
        port = support.free_port()
        return support.listening(support.LOOPBACK, port, "libwebsockets-test-server", "-p", str(port), "-i", "lo")

    def test_counts(self):
        with self.start() as port:
            said = client(url(port, path="/"), "subprotocol=dumb-increment-protocol", "--", "numbers:40",
                          "info:subprotocol", "close:1000:enough")
        self.assertIn("subprotocol=dumb-increment-protocol", said)
        self.assertIn("closed code=1000", said)

    def test_mirrors(self):
        with self.start() as port:
            client(url(port, path="/"), "subprotocol=lws-mirror-protocol", "--", "reply:20", "reply:125", "reply:126",
                   "reply:1000")

if __name__ == "__main__":
    support.main()
