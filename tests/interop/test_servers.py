#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The library against servers that other people wrote: websockets, ws, libwebsockets, Beast, nginx. Sizes at every
boundary of the frame format, text and binary, fragments both ways, pings both ways, closes both ways, thousands of
small messages, with and without TLS and compression; every byte is compared, or its hash is."""
import re
import subprocess
import unittest

import support
from support import BIG, client, url

SIZES = (0, 1, 125, 126, 127, 65535, 65536, 1 << 20)
LARGEST = 16 << 20


def everything(command, smallest=0):
    return [f"{command}:{kind}:{size}:{fragments}" for size in SIZES if size >= smallest
            for kind in "tb" for fragments in (1, 3)]


def received():
    return [f"get:{kind},{size},{fragments}" for size in SIZES for kind in "tb" for fragments in (1, 3)]


class Matrix:
    """What each server goes through; `start` is its own."""
    tls = False
    deflate = None
    options = ()
    smallest = 0

    def start(self):
        raise NotImplementedError

    def run_with(self, *commands, path="/echo", options=()):
        settings = [*BIG, *(support.trust() if self.tls else ()), *self.options, *options]
        if self.deflate is not None:
            settings += ["deflate=yes", "deflate.min_bytes=0"]
        with self.start() as port:
            return client(url(port, self.tls, path), *settings, "--", *commands, "info:extensions")

    def test_echo_at_every_boundary(self):
        said = self.run_with(*everything("echo", self.smallest), "close:1000:done")
        self.assertIn("closed code=1000 error=0 clean=1 by_peer=0", said)
        self.assertEqual("permessage-deflate" in said, self.deflate is not None)

    def test_thousands_of_small_messages(self):
        self.run_with("many:10000:60")

    def test_largest(self):
        self.run_with(f"echo:b:{LARGEST}:1", f"echo:t:{LARGEST}:5")

    def test_small_frames_sent(self):
        self.run_with("echo:t:65536:1", "echo:b:65536:1", f"echo:t:{self.smallest}:1", options=("send.fragment_bytes=1000",))

    def test_ping_is_answered(self):
        self.run_with("ping:are you there", "ping:", "echo:t:5:1", "ping:" + "x" * 125)


class Scripted(Matrix):
    """More, with servers that do as they are asked."""

    def test_hash_at_every_boundary(self):
        self.run_with(*everything("hash"), f"hash:b:{LARGEST}:7", path="/hash")

    def test_received_at_every_boundary(self):
        said = self.run_with(*received(), f"get:b,{LARGEST},9", f"get:t,{LARGEST},1")
        self.assertEqual(said.count("ok get"), len(received()) + 2)

    def test_server_pings(self):
        self.run_with("pinged:hello", "echo:t:1:1", "pinged:" + "y" * 125)

    def test_server_closes(self):
        for code, reason in ((1000, "bye"), (1001, "away"), (4999, "private"), (3000, "\u00e4\u20ac")):
            said = self.run_with(f"say:close {code} {reason}", "closed")
            self.assertIn(f"closed code={code} error=0 clean=1 by_peer=1 reason={reason}", said)

    def test_compressed_is_marked(self):
        self.run_with("get:t,5000,1", "compressed:" + ("NO" if self.deflate is None else "YES"))


class WebsocketsPlain(Scripted, unittest.TestCase):
    def start(self):
        return support.websockets(self.tls, self.deflate)


class WebsocketsTls(WebsocketsPlain):
    tls = True


class WebsocketsDeflate(WebsocketsPlain):
    deflate = {}


class WebsocketsDeflateTls(WebsocketsPlain):
    tls = True
    deflate = {"server_no_context_takeover": True, "client_no_context_takeover": True}


class NodePlain(Scripted, unittest.TestCase):
    def start(self):
        return support.node(self.tls, self.deflate)


class NodeTls(NodePlain):
    tls = True


class NodeDeflate(NodePlain):
    deflate = {}


class LibwebsocketsPlain(Matrix, unittest.TestCase):
    def start(self):
        return support.libwebsockets(self.tls)


class LibwebsocketsTls(LibwebsocketsPlain):
    tls = True


class LibwebsocketsDeflate(LibwebsocketsPlain):
    """Debian's libwebsockets 4.1 cannot compress an empty message; it closes with an error of its own."""
    deflate = {}
    smallest = 1


class BeastPlain(Matrix, unittest.TestCase):
    fragment = 0

    def start(self):
        return support.beast(self.tls, self.deflate is not None, self.fragment)


class BeastTls(BeastPlain):
    tls = True


class BeastDeflateTls(BeastPlain):
    tls = True
    deflate = {}


class BeastFragments(BeastPlain):
    fragment = 100

    def test_largest(self):
        self.run_with(f"echo:b:{LARGEST >> 2}:1")  # 42,000 frames


class NginxInFront(Scripted, unittest.TestCase):
    tls = True

    def start(self):
        return Stack(support.websockets(), support.nginx)


class NginxInFrontOlderTls(NginxInFront):
    deflate = {}

    def start(self):
        return Stack(support.websockets(deflate={}), lambda port: support.nginx(port, "TLSv1.2"))


class Stack:
    """A server and what stands in front of it."""

    def __init__(self, behind, make_front):
        self.behind, self.make_front = behind, make_front

    def __enter__(self):
        port = self.behind.__enter__()
        try:
            self.front = self.make_front(port)
            return self.front.__enter__()
        except BaseException:
            self.behind.__exit__(None, None, None)
            raise

    def __exit__(self, *error):
        self.front.__exit__(*error)
        return self.behind.__exit__(*error)


class Negotiation(unittest.TestCase):
    """Each parameter of permessage-deflate, asked for by either side, with data that needs the agreement kept."""
    work = ("hash:t:65536:1", "hash:b:1048576:3", "get:t,65536,1", "get:b,65536,3", "hash:t:100:1", "get:t,70000,2")
    ours = ("deflate.client_no_context_takeover=yes", "deflate.server_no_context_takeover=yes",
            "deflate.client_max_window_bits=9", "deflate.server_max_window_bits=9",
            "deflate.client_max_window_bits=12", "deflate.server_max_window_bits=10")

    def talk(self, start, expected, *options):
        with start as port:
            said = client(url(port, path="/hash"), *BIG, "deflate=yes", *options, "--", *self.work, "info:extensions")
        extensions = re.search("extensions=(.*)", said)[1]
        self.assertIn("permessage-deflate", extensions)
        self.assertIn(expected, extensions)

    def test_asked_by_us_of_websockets(self):
        for option in self.ours:
            with self.subTest(option):
                wanted = option[len("deflate."):].replace("=yes", "") if "server" in option else "permessage-deflate"
                self.talk(support.websockets(deflate={}), wanted, option)

    def test_asked_by_us_of_node(self):
        for option in self.ours:
            with self.subTest(option):
                wanted = option[len("deflate."):].replace("=yes", "") if "server" in option else "permessage-deflate"
                self.talk(support.node(deflate={}), wanted, option)

    def test_asked_by_websockets(self):
        for setting, wanted in (({"server_no_context_takeover": True}, "server_no_context_takeover"),
                                ({"client_no_context_takeover": True}, "client_no_context_takeover"),
                                ({"client_max_window_bits": 10}, "client_max_window_bits=10"),
                                ({"server_max_window_bits": 11}, "server_max_window_bits=11")):
            with self.subTest(wanted):
                self.talk(support.websockets(deflate=setting), wanted, "deflate.min_bytes=0")

    def test_asked_by_node(self):
        for setting, wanted in (({"serverNoContextTakeover": True}, "server_no_context_takeover"),
                                ({"clientNoContextTakeover": True}, "client_no_context_takeover"),
                                ({"clientMaxWindowBits": 10}, "client_max_window_bits=10"),
                                ({"serverMaxWindowBits": 12}, "server_max_window_bits=12")):
            with self.subTest(wanted):
                self.talk(support.node(deflate=setting), wanted, "deflate.min_bytes=0")

    def test_not_asked_for_is_not_used(self):
        with support.websockets(deflate={}) as port:
            said = client(url(port), "--", "get:t,5000,1", "compressed:NO", "info:extensions")
        self.assertIn("extensions=\n", said)


class PackagedLibwebsocketsServer(unittest.TestCase):
    """libwebsockets' own test server: it counts, unasked, and repeats to everybody what one says."""

    def start(self):
        port = support.free_port()
        return support.listening(port, "libwebsockets-test-server", "-p", str(port), "-i", "lo")

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
