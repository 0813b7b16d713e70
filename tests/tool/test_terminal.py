# SPDX-License-Identifier: MIT
"""The live line, on a terminal that each test makes for itself."""
import os
import tempfile
import time
import unittest

import support
from support import Server, Terminal, on_screen

LIVE = r"\d+:\d\d  [\d,.]+ msg/s  [\d.]+ k?B/s"


def steady(peer):
    support.send_until_close(peer, lambda number: "m" * 40)


def slow(peer):
    peer.upgrade()
    for number in range(4):
        peer.text(f"message {number}")
        time.sleep(0.35)
    peer.close_frame()
    peer.drain()


class Live(unittest.TestCase):
    def on_terminal(self, *arguments, **options):
        terminal = Terminal(*arguments, **options)
        self.addCleanup(terminal.close)
        return terminal

    def test_rate_and_latencies_with_output_elsewhere(self):
        with Server(steady) as server, open(os.devnull, "wb") as nothing:
            terminal = self.on_terminal("cat", server.url(), "--duration", "2", stdout=nothing)
            text = terminal.read_until()
            self.assertEqual(terminal.process.wait(), 0)
        self.assertRegex(text, LIVE + r" \| kernel-app p50 [\d.]+[num]?s p99 [\d.]+[num]?s max [\d.]+[num]?s")
        redraws = text.count("\r") - text.count("\r\n")
        self.assertTrue(6 <= redraws <= 13, redraws)  # four a second for two seconds
        rates = [float(r.replace(",", "")) for r in support.re.findall(r"([\d,.]+) msg/s", text)]
        self.assertTrue(all(60 < rate < 220 for rate in rates[-4:]), rates)
        final = on_screen(text)
        self.assertFalse([line for line in final if "msg/s" in line], "the live line must be gone at the end")
        self.assertTrue([line for line in final if line.startswith("  messages")])

    def test_messages_and_live_line_on_one_terminal(self):
        with Server(slow) as server:
            terminal = self.on_terminal("cat", server.url())
            text = terminal.read_until()
        self.assertRegex(text, LIVE)
        final = on_screen(text)
        shown = [line for line in final if line.startswith("message")]
        self.assertEqual(shown, [f"message {n}" for n in range(4)])
        self.assertFalse([line for line in final if "msg/s" in line])

    def test_a_narrow_terminal_is_not_overrun(self):
        with Server(steady) as server, open(os.devnull, "wb") as nothing:
            terminal = self.on_terminal("cat", server.url(), "--duration", "1", columns=40, stdout=nothing)
            text = terminal.read_until()
        live = [p.split("\033[K")[0] for p in text.split("\r") if "msg/s" in p]
        self.assertTrue(live)
        self.assertTrue(all(len(line) <= 39 for line in live), live)

    def test_control_c(self):
        with Server(steady) as server:
            terminal = self.on_terminal("cat", server.url())
            terminal.read_until("m{40}")
            terminal.press(b"\x03")
            text = terminal.read_until()
            self.assertEqual(terminal.process.wait(), 0)
        self.assertIn("ended by SIGINT", text)

    def test_typed_lines_are_sent(self):
        terminal = self.on_terminal("cat", "echo:", "--stdin")
        terminal.read_until("open")
        time.sleep(0.6)  # the time of two redraws, of which there must be none
        terminal.press(b"typed by hand\n")
        terminal.read_until(
            r"typed by hand\r\n[^\n]*typed by hand"
        )  # the terminal's own echo, and the answer
        terminal.press(b"\x03")
        terminal.read_until()
        self.assertEqual(terminal.process.wait(), 0)
        self.assertNotIn("msg/s", terminal.text)

    def test_no_live_line_when_not_wanted(self):
        for flag in ("--no-live", "--quiet"):
            with Server(slow) as server:
                terminal = self.on_terminal("cat", server.url(), flag, "--count", "3")
                self.assertNotIn("msg/s", terminal.read_until())

    def test_no_live_line_and_no_terminal_codes_in_a_pipe(self):
        with Server(slow) as server, tempfile.TemporaryFile() as file:
            with support.running("cat", server.url(), "--count", "3", stderr=file) as process:
                out, _ = process.communicate(timeout=support.LIMIT_S)
            file.seek(0)
            text = file.read() + out
        self.assertNotIn(b"\r", text)
        self.assertNotIn(b"\033", text)

    def test_waiting_is_shown(self):
        def script(peer):
            peer.upgrade()

        with Server(script) as server:
            terminal = self.on_terminal(
                "cat", server.url(), "-o", "reconnect.delay_min_ns=10s", "-o", "reconnect.delay_max_ns=10s"
            )
            terminal.read_until("reconnecting, attempt [2-9]")
            terminal.press(b"\x03")
            terminal.read_until()


if __name__ == "__main__":
    support.main()
