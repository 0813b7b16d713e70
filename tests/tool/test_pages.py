# SPDX-License-Identifier: MIT
"""`wsxdp options`, `version`, `help` and the manual page: complete, and the same as the library says."""
import json
import os
import re
import subprocess
import unittest

import support

MANUAL = os.path.join(support.ROOT, "tools/wsxdp/wsxdp.1")


def options():
    return json.loads(support.wsxdp("options", "--json").stdout)


class Options(unittest.TestCase):
    def test_all_forms_list_the_same_names(self):
        names = [option["name"] for option in options()]
        self.assertGreater(len(names), 50)
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(support.wsxdp("options", "--names").stdout.split(), names)
        table = support.wsxdp("options").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in table], names)
        markdown = support.wsxdp("options", "--markdown").stdout
        self.assertEqual(re.findall(r"^\| `([^`]+)` \|", markdown, re.M), names)
        manual = support.wsxdp("options", "--man").stdout
        self.assertEqual(
            [n.replace("\\-", "-") for n in re.findall(r"^\.TP\n\.B (\S+)", manual, re.M)], names
        )

    def test_each_row_says_what_it_takes(self):
        for option in options():
            with self.subTest(option=option["name"]):
                self.assertIn(option["type"], ("text", "number", "yes|no", "choice", "bytes"))
                self.assertTrue(option["doc"])
                if option["type"] == "number":
                    self.assertLessEqual(option["minimum"], option["maximum"])
                if option["type"] == "choice":
                    self.assertIn(option["default"], option["choices"])

    def test_every_option_can_be_set_to_its_default_with_o(self):
        flags = []
        for option in options():
            name = option["name"].replace("*", "X-Test")
            flags += ["-o", f"{name}={option['default']}"]
        run = support.wsxdp("cat", "echo:", "--send", "hello", "--count", "1", *flags)
        self.assertEqual((run.returncode, run.stdout), (0, "hello\n"), run.stderr)

    def test_every_option_refuses_what_it_does_not_take(self):
        for option in options():
            if option["type"] not in ("number", "yes|no", "choice"):
                continue
            with self.subTest(option=option["name"]):
                run = support.wsxdp("cat", "echo:", "-o", option["name"] + "=perhaps")
                self.assertEqual(run.returncode, 2)
                self.assertIn(option["name"], run.stderr)

    def test_the_table_says_default_and_range(self):
        self.assertRegex(
            support.wsxdp("options", "inbox.bytes").stdout,
            r"inbox.bytes +\d+[KM]iB .*\[\d+[KM]iB\.\.\d+[MG]iB\]",
        )
        self.assertRegex(
            support.wsxdp("options", "close.timeout").stdout, r"close.timeout_ns +2s .*\[1ms\.\.1h\]"
        )

    def test_a_pattern_selects(self):
        names = support.wsxdp("options", "--names", "PING").stdout.split()
        self.assertIn("ping.interval_ns", names)
        self.assertLess(len(names), 10)


class Version(unittest.TestCase):
    def test_text(self):
        run = support.wsxdp("version")
        self.assertRegex(run.stdout, r"\Awsxdp \d+\.\d+\.\d+ \(")
        self.assertEqual(support.wsxdp("--version").stdout, run.stdout)

    def test_json(self):
        version = json.loads(support.wsxdp("version", "--json").stdout)
        self.assertRegex(version["version"], r"^\d+\.\d+\.\d+$")
        self.assertIn("socket", version["features"]["transports"])
        self.assertIn("openssl", version["features"]["TLS"])
        self.assertIn("TLSv1.3", version["features"]["TLS"])


class Help(unittest.TestCase):
    def test_front_page_names_every_command(self):
        run = support.wsxdp("help")
        self.assertEqual(run.returncode, 0)
        for command in ("wsxdp cat URL", "wsxdp options", "wsxdp version", "wsxdp help"):
            self.assertIn(command, run.stdout)
        self.assertEqual(support.wsxdp("--help").stdout, run.stdout)

    def test_help_of_a_command(self):
        page = support.wsxdp("help", "cat").stdout
        self.assertIn("Usage: wsxdp cat", page)
        self.assertEqual(support.wsxdp("cat", "--help").stdout, page)

    def test_the_manual_describes_every_flag_of_cat(self):
        with open(MANUAL, encoding="utf-8") as file:
            manual = file.read().replace("\\-", "-")
        for flag in re.findall(r"--[a-z-]+", support.wsxdp("help", "cat").stdout):
            if flag != "--help":
                self.assertIn(flag, manual)

    def test_the_manual_describes_every_exit_status(self):
        with open(MANUAL, encoding="utf-8") as file:
            statuses = re.findall(r"^\.B (\d+)$", file.read(), re.M)
        with open(os.path.join(support.ROOT, "tools/wsxdp/exit_codes.h"), encoding="utf-8") as file:
            self.assertEqual(statuses, re.findall(r"exit_\w+ = (\d+)", file.read()))

    def test_manual_pages_are_well_formed(self):
        page = support.wsxdp("options", "--man").stdout
        for source in (["-l", MANUAL], ["-l", "-"]):
            run = subprocess.run(
                ["man", "--warnings", "-E", "UTF-8", "-Tutf8", "-Z", *source],
                input=page,
                text=True,
                capture_output=True,
                check=False,
            )
            self.assertEqual((run.returncode, run.stderr), (0, ""))


if __name__ == "__main__":
    support.main()
