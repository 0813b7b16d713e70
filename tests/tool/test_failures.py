# SPDX-License-Identifier: MIT
"""`wsxdp cat` where something goes wrong: one sentence on standard error and the exit status of its cause."""
import json
import ssl
import tempfile
import unittest

import support
from support import Server, certificate_for, wsxdp


class Case(unittest.TestCase):
    def fails(self, run, status, *words):
        """Nothing was ever open: one sentence, no summary."""
        self.assertEqual(run.returncode, status, run.stderr)
        self.assertRegex(run.stderr, r"\Awsxdp: [^\n]+\n\Z")
        self.assertEqual(run.stdout, "")
        for word in words:
            self.assertIn(word, run.stderr)

    def against(self, script, *arguments, scheme="ws", context=None, host="127.0.0.1"):
        with Server(script, context) as server:
            return wsxdp("cat", server.url(scheme, host), *arguments), server.port


def answer(text):
    def script(peer):
        peer.read_request()
        peer.write(text)

    return script


def silent(peer):
    while peer.stream.recv(4096):
        pass


def hello(peer):
    peer.upgrade()
    peer.text("hello")
    peer.drain()


class Connect(Case):
    def test_wrong_port(self):
        port = support.free_port()
        run = wsxdp("cat", f"ws://127.0.0.1:{port}/")
        self.fails(run, 3, f"127.0.0.1:{port}", "refused", "is this its port")

    def test_proxy_that_is_not_there_is_what_is_named(self):
        port = support.free_port()
        run = wsxdp("cat", "ws://target.example/", "-o", f"proxy=http://127.0.0.1:{port}")
        self.fails(run, 3, f"127.0.0.1:{port}", "refused")

    def test_unknown_host(self):
        run = wsxdp("cat", "ws://no-such-host.invalid/", "-o", "resolve.timeout_ns=10s")
        self.fails(run, 3, "no-such-host.invalid")

    def test_missing_unix_socket(self):
        self.fails(wsxdp("cat", "ws+unix:///nowhere/socket:/"), 3, "/nowhere/socket")

    def test_no_answer(self):
        run, _ = self.against(silent, "-o", "upgrade.timeout_ns=300ms")
        self.fails(run, 8, "127.0.0.1")

    def test_no_connection_within_the_duration(self):
        run, _ = self.against(silent, "--duration", "300ms")
        self.fails(run, 8, "no connection", "duration")

    def test_summary_json_comes_also_after_a_failure(self):
        run = wsxdp("cat", f"ws://127.0.0.1:{support.free_port()}/", "--summary-json", "--quiet")
        sentence, account = run.stderr.splitlines()
        self.assertEqual((json.loads(account)["exit_code"], run.returncode), (3, 3))
        self.assertIn(json.loads(account)["ending"], sentence)

    def test_retries_that_are_used_up(self):
        port = support.free_port()
        run = wsxdp(
            "cat",
            f"ws://127.0.0.1:{port}/",
            "--retry",
            "--quiet",
            "-o",
            "reconnect.max_attempts=2",
            "-o",
            "reconnect.delay_max_ns=10ms",
        )
        self.fails(run, 3, "refused")


class Tls(Case):
    def test_tls_to_a_plain_server(self):
        def answers(peer):
            peer.stream.recv(4096)
            peer.write("HTTP/1.1 400 Bad Request\r\n\r\n")

        def leaves(peer):
            peer.stream.recv(4096)

        for script, flags, status in (
            (answers, (), 4),
            (leaves, (), 4),
            (silent, ("-o", "tls.timeout_ns=200ms"), 8),
        ):
            with self.subTest(script=script.__name__):
                run, port = self.against(script, *flags, scheme="wss")
                self.fails(run, status, "TLS", f"write ws://127.0.0.1:{port}/")

    def test_plain_to_a_tls_server(self):
        with certificate_for() as (_, context):
            run, port = self.against(hello, context=context)
        self.fails(run, 5, f"write wss://127.0.0.1:{port}/")

    def test_unknown_authority(self):
        with certificate_for() as (_, context):
            run, port = self.against(hello, scheme="wss", context=context)
        self.fails(run, 4, f"127.0.0.1:{port}", "not trust", "--ca FILE")

    def test_wrong_name(self):
        with certificate_for("elsewhere.example") as (ca, context):
            run, _ = self.against(hello, "--ca", ca, scheme="wss", context=context)
        self.fails(run, 4, "127.0.0.1")

    def test_names_and_addresses_are_checked_and_right(self):
        with certificate_for("localhost", "127.0.0.1") as (ca, context):
            for host in ("localhost", "127.0.0.1"):
                run, _ = self.against(
                    hello, "--ca", ca, "--count", "1", scheme="wss", context=context, host=host
                )
                self.assertEqual((run.returncode, run.stdout), (0, "hello\n"), run.stderr)

    def test_client_certificate_wanted(self):
        with certificate_for() as (ca, context):
            context.verify_mode = ssl.CERT_REQUIRED
            context.maximum_version = (
                ssl.TLSVersion.TLSv1_2
            )  # in 1.3 the server says so only after the handshake
            context.load_verify_locations(ca)
            run, _ = self.against(hello, "--ca", ca, scheme="wss", context=context)
        self.fails(run, 4, "tls.cert_file")

    def test_missing_ca_file(self):
        self.fails(wsxdp("cat", "wss://127.0.0.1:1/", "--ca", "/nowhere/ca.pem"), 4, "/nowhere/ca.pem")

    def test_ca_file_that_is_none(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("not a certificate\n")
            file.flush()
            self.fails(wsxdp("cat", "wss://127.0.0.1:1/", "--ca", file.name), 4, file.name)


class Http(Case):
    def test_not_a_websocket(self):
        run, _ = self.against(answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
        self.fails(run, 5, "404")

    def test_credentials_wanted(self):
        run, _ = self.against(answer("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"))
        self.fails(run, 5, "401")

    def test_redirect_names_the_target(self):
        run, _ = self.against(answer("HTTP/1.1 302 Found\r\nLocation: ws://elsewhere.example/x\r\n\r\n"))
        self.fails(run, 5, "ws://elsewhere.example/x")

    def test_wrong_accept_key(self):
        run, _ = self.against(lambda peer: peer.upgrade(accept="AAAAAAAAAAAAAAAAAAAAAAAAAAA="))
        self.fails(run, 5, "Sec-WebSocket-Accept")

    def test_not_http_at_all(self):
        run, _ = self.against(answer("220 mail.example ESMTP\r\n"))
        self.fails(run, 5)

    def test_proxy_that_refuses(self):
        with Server(answer("HTTP/1.1 403 Forbidden\r\n\r\n")) as proxy:
            run = wsxdp("cat", "ws://target.example/", "-o", f"proxy=http://127.0.0.1:{proxy.port}")
        self.fails(run, 5, "proxy")


class AfterOpen(Case):
    """The connection was open, so a summary follows the sentence."""

    def ends(self, script, status, *words, arguments=("--no-reconnect",)):
        run, _ = self.against(script, *arguments)
        self.assertEqual(run.returncode, status, run.stderr)
        for word in words:
            self.assertIn(word, run.stderr)
        self.assertIn("reconnects", run.stderr)
        return run

    def test_broken_rule(self):
        def script(peer):
            peer.upgrade()
            peer.frame(3, "reserved opcode")
            peer.drain()

        self.ends(script, 6)

    def test_text_that_is_not_utf8(self):
        def script(peer):
            peer.upgrade()
            peer.text(b"\xff")
            peer.drain()

        self.ends(script, 6)

    def test_message_above_the_limit(self):
        def script(peer):
            peer.upgrade()
            peer.text("x" * 5000)
            peer.drain()

        self.ends(
            script, 6, "message.max_bytes", arguments=("--no-reconnect", "-o", "message.max_bytes=4KiB")
        )

    def test_connection_cut(self):
        def script(peer):
            peer.upgrade()
            peer.text("last words")

        run = self.ends(script, 7)
        self.assertEqual(run.stdout, "last words\n")

    def test_closed_with_an_error_code(self):
        def script(peer):
            peer.upgrade()
            peer.close_frame(4003, "no \x1b[31mcredit")
            peer.drain()

        run = self.ends(script, 7, "4003", "no \\x1b[31mcredit")
        self.assertNotIn("\x1b", run.stderr)

    def test_unanswered_ping(self):
        def script(peer):
            peer.upgrade()
            silent(peer)

        self.ends(
            script,
            8,
            "ping",
            arguments=("--no-reconnect", "-o", "ping.interval_ns=50ms", "-o", "ping.timeout_ns=100ms"),
        )

    def test_silence(self):
        def script(peer):
            peer.upgrade()
            silent(peer)

        self.ends(script, 8, "idle.timeout_ns", arguments=("--no-reconnect", "-o", "idle.timeout_ns=200ms"))

    def test_tls_cut_without_goodbye(self):
        def script(peer):
            peer.upgrade()
            peer.text("x")
            raise ConnectionAbortedError  # the server then leaves without TLS's close_notify

        with certificate_for() as (ca, context):
            run, _ = self.against(script, "--ca", ca, "--no-reconnect", scheme="wss", context=context)
        self.assertEqual(run.returncode, 7, run.stderr)
        self.assertEqual(run.stdout, "x\n")


if __name__ == "__main__":
    support.main()
