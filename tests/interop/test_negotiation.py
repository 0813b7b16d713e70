#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""permessage-deflate agreed upon with websockets and ws, every parameter asked for by either side; and that the
client program of these tests notices what it is there to notice."""
import re
import subprocess
import unittest

import support
from support import BIG, client, url


class Negotiation(unittest.TestCase):
    """Each parameter of permessage-deflate, asked for by either side, with data that needs the agreement kept."""
    work = ("hash:t:65536:1", "hash:b:1048576:3", "get:t,65536,1", "get:b,65536,3", "hash:t:100:1", "get:t,70000,2")
    ours = ("deflate.client_no_context_takeover=yes", "deflate.server_no_context_takeover=yes",
            "deflate.client_max_window_bits=9", "deflate.server_max_window_bits=9",
            "deflate.client_max_window_bits=12", "deflate.server_max_window_bits=10")

    place = support.LOOPBACK
    options = ()

    def talk(self, start, setting, expected, *options):
        with start(deflate=setting, place=self.place) as port:
            said = client(url(port, path="/hash", place=self.place), *BIG, "deflate=yes", *self.options, *options,
                          "--", *self.work, "info:extensions")
        extensions = re.search("extensions=(.*)", said)[1]
        self.assertIn("permessage-deflate", extensions)
        self.assertIn(expected, extensions)

    def test_asked_by_us_of_websockets(self):
        for option in self.ours:
            with self.subTest(option):
                wanted = option[len("deflate."):].replace("=yes", "") if "server" in option else "permessage-deflate"
                self.talk(support.websockets, {}, wanted, option)

    def test_asked_by_us_of_node(self):
        for option in self.ours:
            with self.subTest(option):
                wanted = option[len("deflate."):].replace("=yes", "") if "server" in option else "permessage-deflate"
                self.talk(support.node, {}, wanted, option)

    def test_asked_by_websockets(self):
        for setting, wanted in (({"server_no_context_takeover": True}, "server_no_context_takeover"),
                                ({"client_no_context_takeover": True}, "client_no_context_takeover"),
                                ({"client_max_window_bits": 10}, "client_max_window_bits=10"),
                                ({"server_max_window_bits": 11}, "server_max_window_bits=11")):
            with self.subTest(wanted):
                self.talk(support.websockets, setting, wanted, "deflate.min_bytes=0")

    def test_asked_by_node(self):
        for setting, wanted in (({"serverNoContextTakeover": True}, "server_no_context_takeover"),
                                ({"clientNoContextTakeover": True}, "client_no_context_takeover"),
                                ({"clientMaxWindowBits": 10}, "client_max_window_bits=10"),
                                ({"serverMaxWindowBits": 12}, "server_max_window_bits=12")):
            with self.subTest(wanted):
                self.talk(support.node, setting, wanted, "deflate.min_bytes=0")

    def test_not_asked_for_is_not_used(self):
        with support.websockets(deflate={}, place=self.place) as port:
            said = client(url(port, place=self.place), *self.options, "--", "get:t,5000,1", "compressed:NO", "info:extensions")
        self.assertIn("extensions=\n", said)


class Client(unittest.TestCase):
    """The client program notices what it is there to notice."""

    def test_other_bytes_fail(self):
        with support.websockets() as port, self.assertRaisesRegex(AssertionError, "FAILED expected"):
            client(url(port, path="/hash"), "--", "echo:t:100:1")

    def test_untrusted_server_fails(self):
        with support.websockets(tls=True) as port, self.assertRaisesRegex(AssertionError, "error -6"):
            client(url(port, tls=True), "--", "echo:t:100:1")

    def test_no_server_fails(self):
        run = subprocess.run([support.Workshop.client, f"ws://127.0.0.1:{support.free_port()}/", "--", "ping:"],
                             capture_output=True, text=True, timeout=support.LIMIT_S)
        self.assertEqual(run.returncode, 1)
        self.assertIn("error -312", run.stdout)

if __name__ == "__main__":
    support.main()
