# SPDX-License-Identifier: MIT
"""A first-time user's mistakes: each gets one sentence that says what to do, and status 2."""
import unittest

import support

# the command line, and words that the sentence must hold
MISTAKES = [
    ((), ["wsxdp cat URL", "wsxdp help"]),
    (("caat", "ws://host"), ["'caat'", "did you mean 'wsxdp cat'"]),
    (("optoins",), ["did you mean 'wsxdp options'"]),
    (("frobnicate",), ["'frobnicate'", "wsxdp help"]),
    (("ws://host/",), ["write: wsxdp cat ws://host/"]),
    (("--jsno",), ["'--jsno'", "wsxdp help"]),
    (("cat",), ["needs an address", "wsxdp cat wss://HOST"]),
    (("cat", "http://host:80/x"), ["write ws://host:80/x"]),
    (("cat", "https://host/x?y=1"), ["write wss://host/x?y=1"]),
    (("cat", "localhost:8080"), ["write wss://localhost:8080", "ws://localhost:8080"]),
    (("cat", "tcp://host:1"), ["'tcp://host:1'", "ws://host:1"]),
    (("cat", "ws://"), ["no host"]),
    (("cat", "ws:///path"), ["no host"]),
    (("cat", "ws://host:notaport/"), ["port"]),
    (("cat", "ws://host:99999/"), ["port"]),
    (("cat", "ws://u:secret@"), ["no host"]),
    (("cat", "--sned", "hello", "ws://host"), ["'--sned'", "did you mean --send?"]),
    (("cat", "ws://host", "--sumary-json"), ["did you mean --summary-json?"]),
    (("cat", "ws://host", "--zzzzzzzzz"), ["'--zzzzzzzzz'", "wsxdp help cat"]),
    (("cat", "--send", "two", "ws://host", "words"), ["'words'", "quotes"]),
    (("cat", "ws://host", "--send"), ["'--send' needs a value"]),
    (("cat", "ws://host", "--count", "0"), ["--count", "whole number", "'0'"]),
    (("cat", "ws://host", "--count", "five"), ["--count", "'five'"]),
    (("cat", "ws://host", "--count", "-1"), ["--count", "'-1'"]),
    (("cat", "ws://host", "--duration", "soon"), ["--duration", "500ms", "'soon'"]),
    (("cat", "ws://host", "--duration", "-3"), ["--duration"]),
    (("cat", "ws://host", "--duration", "5 parsecs"), ["--duration"]),
    (("cat", "ws://host", "--close-on-eof"), ["--stdin"]),
    (("cat", "ws://host", "--binary"), ["--send or --stdin"]),
    (("cat", "ws://host", "--header", "NoColon"), ["--header", "Name: value"]),
    (("cat", "ws://host", "--header", ": x"), ["--header", "Name: value"]),
    (("cat", "ws://host", "-o", "tls.cafile=x"), ["'tls.cafile'", "did you mean tls.ca_file?"]),
    (("cat", "ws://host", "-o", "ca_file=x"), ["did you mean tls.ca_file?"]),
    (("cat", "ws://host", "-o", "inbox.byte=1"), ["did you mean inbox.bytes?"]),
    (("cat", "ws://host", "-o", "qqqqqqqqqqqqqq=1"), ["'qqqqqqqqqqqqqq'", "wsxdp options"]),
    (("cat", "ws://host", "-o", "wait"), ["NAME=VALUE", "'wait'"]),
    (("cat", "ws://host", "-o", "wait=sometimes"), ["wait", "spin"]),
    (("cat", "ws://host", "-o", "connections.max=0"), ["connections.max"]),
    (("cat", "ws://host", "-o", "inbox.bytes=lots"), ["inbox.bytes"]),
    (("options", "qqqqqqq"), ["'qqqqqqq'"]),
    (("options", "--jsn"), ["did you mean --json?"]),
    (("version", "--jsn"), ["did you mean --json?"]),
    (("version", "now"), ["'now'"]),
    (("help", "caat"), ["did you mean 'wsxdp cat'?"]),
]


class Mistakes(unittest.TestCase):
    def test_one_sentence_and_status_2(self):
        for arguments, words in MISTAKES:
            with self.subTest(arguments=arguments):
                run = support.wsxdp(*arguments)
                self.assertEqual(run.returncode, 2, run.stderr)
                self.assertEqual(run.stdout, "")
                self.assertRegex(run.stderr, r"\Awsxdp: [^\n]+\n\Z")
                for word in words:
                    self.assertIn(word, run.stderr)

    def test_control_codes_in_a_mistake_do_not_reach_the_terminal(self):
        run = support.wsxdp("cat", "\033[2Jboo")
        self.assertEqual(run.returncode, 2)
        self.assertNotIn("\033", run.stderr)
        self.assertIn("\\x1b[2Jboo", run.stderr)

    def test_credentials_in_a_mistake_are_not_shown(self):
        run = support.wsxdp("cat", "http://user:secret@host/")
        self.assertEqual(run.returncode, 2)
        self.assertNotIn("secret", run.stderr)
        self.assertIn("ws://host/", run.stderr)


class Values(unittest.TestCase):
    """Values that look like something else are still values."""

    def test_messages_are_taken_as_they_are(self):
        messages = ['["a",1]', "-x", "--json", "", "[a,b]", "a b", "{}", "%s", "cat"]
        flags = [word for message in messages for word in ("--send", message)]
        run = support.wsxdp("cat", "echo:", *flags, "--count", str(len(messages)))
        self.assertEqual(run.stdout, "".join(m + "\n" for m in messages))
        self.assertEqual(run.returncode, 0, run.stderr)

    def test_flags_may_come_in_any_order_and_with_equals(self):
        run = support.wsxdp("cat", "--count=1", "--send=a=b", "echo:", "--quiet")
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, "a=b\n", ""))

    def test_o_is_stronger_than_flags(self):
        run = support.wsxdp(
            "cat", "echo:", "--send", "x", "--count", "1", "--insecure", "-o", "tls.insecure_skip_verify=no"
        )
        self.assertNotIn("WARNING", run.stderr)
        self.assertEqual(run.returncode, 0, run.stderr)


if __name__ == "__main__":
    support.main()
