# SPDX-License-Identifier: MIT
"""`wsxdp top` on pipelines of the command itself: in each placement, of names that are taken, stale or wrong, and of
programs that are killed while it looks. The names of this test have its process's number in them."""
import json
import os
import signal
import stat
import subprocess
import time
import unittest

import support

STAGE = os.path.join(os.path.dirname(support.WSXDP), "wsxdp-stage")
PLACEMENTS = ("inline", "threads: transport+ws", "threads: transport ws", "threads: rx tls+ws tx",
              "processes: transport+ws", "processes: transport ws")


def directory():
    session = f"/run/user/{os.geteuid()}"
    try:
        facts = os.stat(session)
        if facts.st_uid == os.geteuid() and stat.S_IMODE(facts.st_mode) == 0o700:
            return session + "/wsxdp"
    except FileNotFoundError:
        pass
    return f"/tmp/wsxdp-{os.geteuid()}"


class Pipeline:
    """wsxdp cat of an echo, with a name."""

    def __init__(self, name, placement="inline", url="echo:", more=(), **settings):
        self.name = name
        self.path = os.path.join(directory(), name)
        self.process = subprocess.Popen(
            [support.WSXDP, "cat", url, *more, "--stdin", "--summary-json", "--no-live", "-o", "name=" + name]
            + ["-o", "placement=" + placement, "-o", "stage.path=" + STAGE],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings)

    def say(self, count):
        for _ in range(count):
            self.process.stdin.write(b"hello\n")
            self.process.stdin.flush()
            assert self.process.stdout.readline() == b"hello\n"

    def end(self):
        """The last line of standard error: the summary, made of wsxdp_stats."""
        self.process.send_signal(signal.SIGINT)
        _, text = self.process.communicate(timeout=support.LIMIT_S)
        return json.loads(text.decode().strip().splitlines()[-1])

    def kill(self):
        self.process.kill()
        self.process.communicate()


def report(name, *more):
    run = support.wsxdp("top", name, "--once", "--json", "--interval", "400ms", *more)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


class Top(unittest.TestCase):
    def pipeline(self, *arguments, **settings):
        made = Pipeline(*arguments, **settings)
        self.addCleanup(lambda: made.process.poll() is None and made.kill())
        return made

    def name(self):
        return f"test-{os.getpid()}.{self.id().rsplit('.', 1)[1]}"

    def test_what_is_said_is_what_stats_say(self):
        for placement in PLACEMENTS:
            with self.subTest(placement):
                one = self.pipeline(self.name(), placement)
                one.say(40)
                seen = report(one.name)
                self.assertEqual((seen["name"], seen["pid"]), (one.name, one.process.pid))
                self.assertEqual(seen["placement"], placement.split(":")[0])
                roles = placement.split(": ")[1].split() + ["app"] if ":" in placement else ["transport+ws+app"]
                self.assertEqual([s["role"] for s in seen["stages"]], roles)
                for stage in seen["stages"]:
                    self.assertTrue(os.path.isdir(f"/proc/{stage['pid']}/task/{stage['tid']}"), stage)
                    self.assertEqual(stage["pid"] == one.process.pid,
                                     placement[:9] != "processes" or stage["role"] == "app")
                    self.assertGreaterEqual(stage["loops"], stage["busy"])
                    if stage["role"] not in ("rx", "tx"):  # echo: has no socket
                        self.assertGreater(stage["busy"], 0)
                connection, = seen["connections"]
                self.assertEqual((connection["peer"], connection["state"]), ("echo:", "open"))
                self.assertEqual(seen["latency"]["poll_to_parsed"]["samples"], 40)
                self.assertEqual(seen["latency"]["transport_to_tls"]["samples"], 0)
                summary = one.end()
                self.assertEqual(connection["messages_received"], 40)
                self.assertEqual(connection["payload_received"], 200)
                self.assertEqual(connection["messages_sent"], 40)
                self.assertEqual(summary["messages"], 40)
                self.assertFalse(os.path.exists(one.path))

    def test_a_server(self):
        """Its address without what is secret, TCP's facts, the time that decryption takes."""
        def echo(peer):
            peer.upgrade()
            while (text := peer.read_message()) is not None:
                peer.text(text)

        with support.certificate_for() as (ca, context), support.Server(echo, context) as server:
            url = server.url("wss", "user:secret@localhost", "/path?token=secret")
            one = self.pipeline(self.name(), "threads: transport ws", url, ("--ca", ca))
            one.say(30)
            seen = report(one.name)
            connection, = seen["connections"]
            self.assertEqual(connection["peer"], f"wss://localhost:{server.port}")
            self.assertNotIn("secret", json.dumps(seen))
            self.assertGreater(connection["tcp_round_trip_ns"], 0)
            self.assertEqual((connection["messages_received"], connection["opens"]), (30, 1))
            self.assertGreater(connection["bytes_received"], 30 * len("hello"))
            self.assertEqual(seen["latency"]["transport_to_tls"]["samples"], 30)
            self.assertGreater(seen["latency"]["transport_to_tls"]["p50_ns"], 0)
            self.assertEqual(one.end()["messages"], 30)

    def test_a_helper_that_was_replaced(self):
        one = self.pipeline(self.name(), "processes: transport ws")
        one.say(5)
        before = [stage["pid"] for stage in report(one.name)["stages"]]
        os.kill(before[0], signal.SIGKILL)

        def replaced():
            seen = report(one.name)
            pids = [stage["pid"] for stage in seen["stages"]]
            roles = [stage["role"] for stage in seen["stages"]]
            states = [connection["state"] for connection in seen["connections"]]
            return len(pids) == 3 and not {0, *before[:2]} & set(pids) and pids[2] == before[2] \
                and roles == ["transport", "ws", "app"] and states == ["open"]

        support.wait_until(replaced)
        self.assertTrue(replaced(), report(one.name))

    def test_a_list(self):
        one, two = self.pipeline(self.name() + "a"), self.pipeline(self.name() + "b")
        one.say(1), two.say(1)
        text = support.wsxdp("top").stdout
        for each in one, two:
            self.assertIn(f"{each.name}  process {each.process.pid}, placement inline, 1 connections", text)
        names = [json.loads(line)["name"] for line in support.wsxdp("top", "--json").stdout.splitlines()]
        self.assertLess(names.index(one.name), names.index(two.name))

    def test_a_name_is_taken_once(self):
        one = self.pipeline(self.name())
        one.say(1)
        second = support.wsxdp("cat", "echo:", "-o", "name=" + one.name)
        self.assertEqual(second.returncode, 2, second.stderr)
        self.assertIn(f"taken by process {one.process.pid}", second.stderr)
        one.say(1)
        one.end()
        again = self.pipeline(self.name())
        again.say(1)
        again.end()

    def test_names_that_are_none(self):
        for name in "a/b", "..", ".hidden", "../x", "a b", "x" * 65, "\u00e9":
            with self.subTest(name):
                run = support.wsxdp("cat", "echo:", "-o", "name=" + name)
                self.assertEqual(run.returncode, 2)
                self.assertIn("letters, digits, - _ and .", run.stderr)
        run = support.wsxdp("top", "../x")
        self.assertEqual(run.returncode, 2)
        self.assertIn("no pipeline is called", run.stderr)

    def test_killed(self):
        for placement in PLACEMENTS:
            with self.subTest(placement):
                one = self.pipeline(self.name(), placement)
                one.say(1)
                self.assertTrue(os.path.exists(one.path))
                one.kill()
                if placement.startswith("processes"):
                    support.wait_until(lambda: not os.path.exists(one.path))
                    self.assertFalse(os.path.exists(one.path))
                    continue
                self.assertTrue(os.path.exists(one.path))
                if placement == "inline":  # replaced
                    two = self.pipeline(self.name())
                    two.say(1)
                    self.assertEqual(report(two.name)["pid"], two.process.pid)
                    two.kill()
                self.assertEqual(support.wsxdp("top", one.name, "--once").returncode, 2)
                self.assertFalse(os.path.exists(one.path))

    def test_the_end_while_it_looks(self):
        for killed in True, False:
            with self.subTest(killed=killed):
                one = self.pipeline(self.name())
                one.say(1)
                with support.running("top", one.name, "--interval", "100ms") as top:
                    self.assertTrue(top.stdout.readline().startswith(one.name.encode()))
                    one.kill() if killed else one.end()
                    _, said = top.communicate(timeout=support.LIMIT_S)
                self.assertEqual(top.returncode, 0, said)
                self.assertIn(b"has ended", said)

    def test_a_file_that_is_no_name(self):
        one = self.pipeline(self.name())
        one.say(1)
        other = one.path + "-garbage"
        with open(other, "wb") as file:
            file.write(os.urandom(500))
        self.assertEqual(support.wsxdp("top").returncode, 0)
        self.assertFalse(os.path.exists(other))
        one.end()

    def test_it_costs_little(self):
        one = self.pipeline(self.name())
        one.say(10)
        with support.running("top", one.name) as top:
            time.sleep(4)
            with open(f"/proc/{top.pid}/stat", encoding="ascii") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            spent = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            top.send_signal(signal.SIGINT)
            top.communicate(timeout=support.LIMIT_S)
        self.assertEqual(top.returncode, 0)
        self.assertLessEqual(spent, 0.04)  # 1 % of 4 s

    def test_a_directory_of_somebody_else(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become a user of its own")
        user = 200000 + os.getpid() % 100000
        path = f"/tmp/wsxdp-{user}"

        def as_user(*arguments):
            return support.wsxdp(*arguments, preexec_fn=lambda: (os.setgid(user), os.setuid(user)))

        def refused():
            run = as_user("cat", "echo:", "-o", "name=x", "--count", "1", "--send", "x")
            self.assertNotEqual(run.returncode, 0)
            self.assertIn(f"the directory {path} is not this user's alone", run.stderr)
            self.assertEqual(as_user("top").returncode, 1)

        os.mkdir(path, 0o755)
        self.addCleanup(lambda: os.path.islink(path) and os.unlink(path) or os.path.isdir(path) and os.rmdir(path))
        refused()  # root's
        os.chown(path, user, user)
        refused()  # open to others
        os.chmod(path, 0o700)
        self.assertEqual(as_user("cat", "echo:", "-o", "name=x", "--count", "1", "--send", "x").returncode, 0)
        self.assertEqual(os.listdir(path), [])
        os.rmdir(path)
        os.symlink("/tmp", path)
        refused()


if __name__ == "__main__":
    support.main()
