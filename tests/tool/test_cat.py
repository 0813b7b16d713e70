# SPDX-License-Identifier: MIT
"""`wsxdp cat` where all goes well: what it writes, what it sends, when and how it ends."""
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import support
from support import Server, running, summary, wsxdp


def ticking(peer):
    support.send_until_close(peer, str)


class Output(unittest.TestCase):
    def test_text_messages_one_per_line(self):
        def script(peer):
            peer.upgrade()
            peer.text("one")
            peer.frame(1, "t", final=False)
            peer.frame(9, "ping between")
            peer.frame(0, "wo")
            peer.text("with\na line feed")
            peer.text("")
            peer.text("żółć 🙂")
            peer.drain()

        with Server(script) as server:
            run = wsxdp("cat", server.url(), "--count", "5")
        self.assertEqual(run.stdout, "one\ntwo\nwith\na line feed\n\nżółć 🙂\n")
        self.assertEqual(run.returncode, 0, run.stderr)

    def test_binary_messages_raw(self):
        every = bytes(range(256)) * 300

        def script(peer):
            peer.upgrade()
            peer.frame(2, every)
            peer.frame(2, b"\n")
            peer.drain()

        with Server(script) as server, running("cat", server.url(), "--count", "2", "--quiet") as process:
            out, err = process.communicate(timeout=support.LIMIT_S)
        self.assertEqual((out, err, process.returncode), (every + b"\n", b"", 0))

    def test_json_lines(self):
        text = 'q"uo\\te\n\x01\u2028🙂'

        def script(peer):
            peer.upgrade()
            peer.text(text)
            peer.frame(2, b"\x00\xff\x10")
            peer.drain()

        before = time.time_ns()
        with Server(script) as server:
            run = wsxdp("cat", server.url(), "--json", "--count", "2", "--quiet")
        first, second = [json.loads(line) for line in run.stdout.strip().split("\n")]
        self.assertEqual(
            (first["data"], first["encoding"], first["opcode"], first["sequence"]), (text, "text", 1, 1)
        )
        self.assertEqual(first["len"], len(text.encode()))
        self.assertEqual(
            (second["data"], second["encoding"], second["opcode"], second["sequence"]),
            ("AP8Q", "base64", 2, 2),
        )
        self.assertEqual(first.keys(), second.keys())
        slack = 5_000_000  # the clocks of the kernel and of the library need not agree to the nanosecond
        self.assertTrue(first["poll_last_ns"] and first["parse_ns"] and first["delivered_ns"])
        times = [
            before,
            *(first[n + "_ns"] for n in ("kernel_first", "kernel_last", "poll_last", "parse", "delivered")),
            time.time_ns(),
        ]
        times = [t for t in times if t]  # the kernel begins to stamp a little after it is asked to
        for earlier, later in zip(times, times[1:]):
            self.assertLessEqual(earlier, later + slack)

    def test_streamed_fragments(self):
        def script(peer):
            peer.upgrade()
            peer.frame(1, "ab", final=False)
            peer.frame(0, "cd", final=False)
            peer.frame(0, "ef")
            peer.text("next")
            peer.drain()

        with Server(script) as server:
            run = wsxdp("cat", server.url(), "--count", "2", "-o", "message.stream=yes")
            lines = wsxdp(
                "cat", server.url(), "--count", "2", "-o", "message.stream=yes", "--json"
            ).stdout.splitlines()
        self.assertEqual((run.stdout, run.returncode), ("abcdef\nnext\n", 0), run.stderr)
        pieces = [json.loads(line) for line in lines]
        self.assertTrue(all(p["encoding"] == "base64" for p in pieces))
        self.assertTrue(pieces[0]["first"] and pieces[-1]["final"])

    def test_nothing_after_count(self):
        def script(peer):
            peer.upgrade()
            for i in range(50):
                peer.text(str(i))
            peer.drain()

        with Server(script) as server:
            run = wsxdp("cat", server.url(), "--count", "3", "--summary-json")
        self.assertEqual(run.stdout, "0\n1\n2\n")
        self.assertEqual(summary(run)["messages"], 3)


class Sending(unittest.TestCase):
    def collect(self, *arguments, messages, stdin=None):
        got = []

        def script(peer):
            peer.upgrade()
            for _ in range(messages):
                got.append(peer.read_message())
            peer.text("done")
            peer.drain()

        with Server(script) as server:
            run = wsxdp("cat", server.url(), "--count", "1", *arguments, stdin=stdin)
        self.assertEqual((run.returncode, run.stdout), (0, "done\n"), run.stderr)
        return got

    def test_subscribe_goes_before_send_and_both_in_order(self):
        got = self.collect("--send", "s1", "--send", "s2", "--subscribe", "a", "--subscribe", "b", messages=4)
        self.assertEqual(got, ["a", "b", "s1", "s2"])

    def test_lines_of_standard_input(self):
        got = self.collect("--stdin", messages=4, stdin="one\n\nthree\r\nlast without line feed")
        self.assertEqual(got, ["one", "", "three\r", "last without line feed"])

    def test_many_lines_more_than_the_queue_holds(self):
        lines = [f"line {i} " + "x" * 200 for i in range(5000)]
        got = self.collect("--stdin", "-o", "outbox.bytes=64KiB", messages=5000, stdin="\n".join(lines))
        self.assertEqual(got, lines)

    def test_lines_of_standard_input_without_a_descriptor_to_wait_on(self):
        lines = [f"line {i} " + "x" * 200 for i in range(2000)]
        got = self.collect("--stdin", "-o", "poller=poll", "-o", "outbox.bytes=64KiB", messages=2000,
                           stdin="\n".join(lines))
        self.assertEqual(got, lines)

    def test_text_that_is_not_utf8_is_left_out_and_said(self):
        run = wsxdp("cat", "echo:", "--stdin", "--close-on-eof", stdin="good\n\udcff\nalso good\n")
        self.assertEqual((run.returncode, run.stdout), (0, "good\nalso good\n"))
        self.assertRegex(run.stderr, "not UTF-8.*--binary")
        run = wsxdp("cat", "echo:", "--stdin", "--binary", "--close-on-eof", stdin="good\n\udcff\n")
        self.assertEqual((run.returncode, run.stdout), (0, "good\udcff"))

    def test_standard_input_without_the_flag_is_left_alone(self):
        run = wsxdp("cat", "echo:", "--duration", "200ms", stdin="not for sending\n")
        self.assertEqual((run.returncode, run.stdout), (0, ""))

    def test_headers_and_options_reach_the_request(self):
        seen = []

        def script(peer):
            seen.append(peer.read_request())
            peer.upgrade()
            peer.text("hi")
            peer.drain()

        with Server(script) as server:
            run = wsxdp(
                "cat",
                server.url(host="u:p%40@127.0.0.1", path="/a?b=c"),
                "--count",
                "1",
                "--header",
                "X-Key:  a: b ",
                "--header",
                "X-Two: 2",
                "-o",
                "origin=https://o.example",
            )
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertRegex(seen[0], r"^GET /a\?b=c HTTP/1.1\r\n")
        self.assertRegex(seen[0], r"(?i)\r\nX-Key: a: b\r\n")
        self.assertRegex(seen[0], r"(?i)\r\nX-Two: 2\r\n")
        self.assertRegex(seen[0], r"(?i)\r\nOrigin: https://o.example\r\n")
        self.assertRegex(seen[0], r"(?i)\r\nAuthorization: Basic dTpwQA==\r\n")
        self.assertNotIn("p%40", run.stderr)


class Ends(unittest.TestCase):
    def test_duration(self):
        with Server(ticking) as server:
            begin = time.monotonic()
            run = wsxdp("cat", server.url(), "--duration", "400ms")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertGreater(time.monotonic() - begin, 0.39)
        numbers = [int(line) for line in run.stdout.split()]
        self.assertEqual(numbers, list(range(len(numbers))))
        self.assertGreater(len(numbers), 5)

    def end_by(self, number):
        # Whoever runs the tests may ignore signals (nohup), and the command would go on doing so.
        heard = {"preexec_fn": lambda: signal.signal(number, signal.SIG_DFL)}
        with Server(ticking) as server, running("cat", server.url(), **heard) as process:
            first = process.stdout.readline()
            process.send_signal(number)
            out, err = process.communicate(timeout=support.LIMIT_S)
        self.assertEqual(process.returncode, 0)
        numbers = [int(line) for line in (first + out).split()]
        self.assertEqual(numbers, list(range(len(numbers))))
        self.assertIn(f"ended by {number.name}".encode(), err)
        self.assertIn(b"messages", err)

    def test_signals_end_with_the_summary(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number.name):
                self.end_by(number)

    def test_the_close_is_polite(self):
        frames = []

        def script(peer):
            peer.upgrade()
            peer.text("x")
            frames.append(peer.read_frame())
            peer.frame(8, frames[0][1])

        with Server(script) as server:
            wsxdp("cat", server.url(), "--count", "1")
        self.assertEqual(frames[0], (8, b"\x03\xe8"))

    def test_a_second_signal_does_not_wait(self):
        def script(peer):
            peer.upgrade()
            peer.text("x")
            while peer.read_frame()[0] is not None:
                pass  # never answers the close

        with Server(script) as server, running("cat", server.url(), "-o", "close.timeout_ns=60s") as process:
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
            self.assertIsNone(process.poll())
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(5), 130)

    def test_a_server_that_does_not_answer_the_close(self):
        def script(peer):
            peer.upgrade()
            peer.text("x")
            while peer.read_frame()[0] is not None:
                pass

        with Server(script) as server:
            begin = time.monotonic()
            run = wsxdp("cat", server.url(), "--count", "1", "-o", "close.timeout_ns=200ms")
        self.assertEqual(run.returncode, 0)
        self.assertIn("did not answer the close", run.stderr)
        self.assertLess(time.monotonic() - begin, 5)

    def test_reader_that_leaves(self):
        with Server(ticking) as server, running("cat", server.url()) as process:
            process.stdout.readline()
            process.stdout.close()
            process.stdout = None
            _, err = process.communicate(timeout=support.LIMIT_S)
        self.assertEqual(process.returncode, 0, err)
        self.assertIn(b"standard output was closed", err)

    def test_full_disk(self):
        with Server(ticking) as server, open("/dev/full", "wb") as full, running(
            "cat", server.url(), stdout=full
        ) as process:
            _, err = process.communicate(timeout=support.LIMIT_S)
        self.assertEqual(process.returncode, 9)
        self.assertIn(b"cannot write to standard output: No space left", err)

    def test_standard_output_that_is_not_open(self):
        with Server(ticking) as server:
            run = subprocess.run(
                ["sh", "-c", '"$0" cat "$1" <&- >&-', support.WSXDP, server.url()],
                text=True,
                stderr=subprocess.PIPE,
                timeout=support.LIMIT_S,
                check=False,
            )
        self.assertEqual(run.returncode, 9)
        self.assertIn("cannot write to standard output", run.stderr)

    def test_a_slow_reader_loses_nothing(self):
        total = 60000

        def script(peer):
            peer.upgrade()
            for number in range(total):
                peer.text(f"{number:6} " + "x" * 300)
            peer.close_frame()
            peer.drain()

        with Server(script) as server, running(
            "cat", server.url(), "--summary-json", "-o", "inbox.bytes=1MiB", "-o", "message.max_bytes=64KiB"
        ) as process:
            time.sleep(0.7)  # long enough to fill the pipe, the inbox and the socket
            lines = process.stdout.read().splitlines()
            account = json.loads(process.stderr.read().splitlines()[-1])
        self.assertEqual([int(line.split()[0]) for line in lines], list(range(total)))
        self.assertEqual((process.wait(), account["messages"]), (0, total))

    def test_signal_while_the_reader_is_stuck(self):
        def script(peer):
            peer.upgrade()
            while True:
                peer.text("x" * 10000)

        with Server(script) as server, running("cat", server.url()) as process:
            time.sleep(0.5)  # the pipe is full by now, nobody reads it
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(10), 0)

    def test_server_closes_normally(self):
        def script(peer):
            peer.upgrade()
            peer.text("bye")
            peer.close_frame(1000, "all sent")
            peer.drain()

        with Server(script) as server:
            for flags in ((), ("--no-reconnect",)):
                run = wsxdp("cat", server.url(), *flags)
                self.assertEqual((run.returncode, run.stdout), (0, "bye\n"), run.stderr)
                self.assertIn("the server closed the connection, code 1000", run.stderr)

    def test_close_on_eof_still_writes_the_answers(self):
        def script(peer):
            peer.upgrade()
            got = [peer.read_message(), peer.read_message()]
            self.assertIsNotNone(got[1])
            opcode, payload = peer.read_frame()
            self.assertEqual(opcode, 8)
            for message in got:
                peer.text("answer to " + message)
            peer.frame(8, payload)

        with Server(script) as server:
            run = wsxdp("cat", server.url(), "--stdin", "--close-on-eof", stdin="a\nb\n")
        self.assertEqual((run.returncode, run.stdout), (0, "answer to a\nanswer to b\n"), run.stderr)

    def test_unix_socket(self):
        def script(peer):
            peer.upgrade()
            peer.text(peer.request.split()[1])
            peer.drain()

        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "socket")
            with Server(script, path=path):
                run = wsxdp("cat", f"ws+unix://{path}:/resource", "--count", "1")
        self.assertEqual((run.returncode, run.stdout), (0, "/resource\n"), run.stderr)


class Reconnecting(unittest.TestCase):
    def test_a_lost_connection_is_made_again_with_its_subscriptions(self):
        requests = []

        def script(peer):
            peer.upgrade()
            requests.append([peer.read_message()])
            if len(requests) == 1:
                requests[0].append(peer.read_message())
            peer.text(f"connection {len(requests)}")
            if len(requests) == 3:
                peer.drain()

        with Server(script) as server:
            run = wsxdp(
                "cat", server.url(), "--subscribe", "sub", "--send", "once", "--count", "3", "--summary-json"
            )
        self.assertEqual(run.stdout, "connection 1\nconnection 2\nconnection 3\n")
        self.assertEqual(requests, [["sub", "once"], ["sub"], ["sub"]])
        self.assertEqual(run.stderr.count("open again"), 2)
        self.assertEqual(run.stderr.count("(attempt "), 2)
        self.assertEqual((summary(run)["stats"]["reconnects"], run.returncode), (2, 0))

    def test_retry_waits_for_a_server_that_is_not_there_yet(self):
        port = support.free_port()
        with running(
            "cat", f"ws://127.0.0.1:{port}/", "--retry", "--count", "1", "-o", "reconnect.delay_max_ns=50ms"
        ) as process:
            line = process.stderr.readline()
            self.assertIn(b"refused", line)

            def script(peer):
                peer.upgrade()
                peer.text("at last")
                peer.drain()

            server = Server(script)
            server.listener.close()
            server.listener = socket.create_server(("127.0.0.1", port))
            with server:
                out, err = process.communicate(timeout=support.LIMIT_S)
        self.assertEqual((out, process.returncode), (b"at last\n", 0), err)

    def test_quiet_says_nothing_of_it(self):
        seen = []

        def script(peer):
            seen.append(1)
            peer.upgrade()
            peer.text("x")
            if len(seen) > 1:
                peer.drain()

        with Server(script) as server:
            run = wsxdp("cat", server.url(), "--quiet", "--count", "2")
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, "x\nx\n", ""))


class Summary(unittest.TestCase):
    def test_over_tls_with_one_way_latency(self):
        with support.exchange("--rate", "500") as ready:
            arguments = (
                "cat",
                ready["url"],
                "--ca",
                ready["ca"],
                "--subscribe",
                support.subscription("btcusd@trade", "btcusd@book"),
                "--latency-field",
                "ts_ns",
                "--count",
                "200",
            )
            text, document = wsxdp(*arguments), wsxdp(*arguments, "--summary-json")
        self.assertEqual((text.returncode, document.returncode), (0, 0), text.stderr + document.stderr)
        self.assertEqual(len(text.stdout.splitlines()), 200)
        self.assertRegex(text.stderr, r"tls +TLSv?1\.3 TLS_")
        self.assertRegex(text.stderr, r"messages +200, [\d,]+ a second")
        self.assertRegex(text.stderr, r"allocations +0 ")
        self.assertRegex(text.stderr, r"latency +p50 +p90 +p99 +p99\.9 +max")
        for stage in ("kernel to read", "read to decrypted", "kernel to delivered", "sender to delivered"):
            self.assertRegex(text.stderr, stage + r"( +[\d.]+ [num]?s){5}\n")
        account = summary(document)
        self.assertEqual((account["messages"], account["text"], account["exit_code"]), (200, 200, 0))
        self.assertIn("1.3", account["connection"]["tls_version"])
        self.assertEqual(account["stats"]["allocations"], 0)
        one_way, inside = account["latency"]["sender_to_delivered"], account["latency"]["kernel_to_delivered"]
        self.assertGreaterEqual(
            inside["count"], 100
        )  # the kernel begins to stamp a little after it is asked to
        self.assertGreaterEqual(one_way["count"], 190)  # all but the acknowledgement
        for latency in (one_way, inside):
            numbers = [latency[k] for k in ("p50_ns", "p90_ns", "p99_ns", "p99_9_ns", "max_ns")]
            self.assertEqual(numbers, sorted(numbers))
            self.assertLess(0, numbers[0])
            self.assertLess(numbers[0], 100_000_000)
        self.assertGreater(one_way["p50_ns"], inside["p50_ns"])

    def one_way(self, fields, name):
        def script(peer):
            peer.upgrade()
            peer.text(fields)
            peer.drain()

        with Server(script) as server:
            run = wsxdp("cat", server.url(), "--count", "1", "--latency-field", name, "--summary-json")
        return summary(run)

    def test_forms_of_the_senders_time(self):
        ago_ns = time.time_ns() - 5_000_000_000
        forms = [
            (json.dumps({"T": ago_ns}), "T"),
            (json.dumps({"T": ago_ns // 1000}), "T"),
            (json.dumps({"T": str(ago_ns // 1000000)}), "T"),
            (json.dumps({"a": {"b": ago_ns / 1e9}}), "a.b"),
        ]
        for message, name in forms:
            with self.subTest(message=message):
                latency = self.one_way(message, name)["latency"]["sender_to_delivered"]["p50_ns"]
                self.assertLess(5_000_000_000 - 2_000_000, latency)
                self.assertLess(latency, 25_000_000_000)

    def test_messages_without_the_senders_time(self):
        for message in (
            "not json",
            "{}",
            '{"T":"x"}',
            '{"T":1}',
            '{"T":null}',
            '{"T":99999999999999999999999}',
            "[1]",
        ):
            with self.subTest(message=message):
                self.assertNotIn("sender_to_delivered", self.one_way(message, "T")["latency"])

    def test_a_sender_whose_clock_is_ahead(self):
        account = self.one_way(json.dumps({"T": time.time_ns() + 60_000_000_000}), "T")
        self.assertEqual(account["sent_in_the_future"], 1)
        self.assertEqual(account["latency"]["sender_to_delivered"]["max_ns"], 0)

    def test_insecure_warns_even_when_quiet(self):
        with support.certificate_for("elsewhere.example") as (_, context):

            def script(peer):
                peer.upgrade()
                peer.text("x")
                peer.drain()

            with Server(script, context) as server:
                for flags in (("--insecure",), ("-o", "tls.insecure_skip_verify=yes")):
                    run = wsxdp("cat", server.url("wss"), "--count", "1", "--quiet", *flags)
                    self.assertEqual((run.returncode, run.stdout), (0, "x\n"), run.stderr)
                    self.assertRegex(run.stderr, r"\Awsxdp: WARNING: certificates are not checked[^\n]*\n\Z")


if __name__ == "__main__":
    support.main()
