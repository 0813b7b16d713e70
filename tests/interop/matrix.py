# SPDX-License-Identifier: MIT
"""What each server goes through: sizes at every boundary of the frame format, text and binary, fragments both ways,
pings both ways, closes both ways, thousands of small messages; every byte is compared, or its hash is."""
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
    place = support.LOOPBACK

    def start(self):
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        """One server for all the cases, each of which has a connection of its own."""
        super().setUpClass()
        running = cls().start()
        cls.port = running.__enter__()
        cls.addClassCleanup(running.__exit__, None, None, None)

    def run_with(self, *commands, path="/echo", options=()):
        settings = [*BIG, *(support.trust() if self.tls else ()), *self.options, *options]
        if self.deflate is not None:
            settings += ["deflate=yes", "deflate.min_bytes=0"]
        return client(url(self.port, self.tls, path, self.place), *settings, "--", *commands, "info:extensions")

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
