# SPDX-License-Identifier: MIT
"""Programs of every kind with a handle in them (host.c says which), with each placement: whatever they do with threads,
signals and children of their own, the handle works, their children stay theirs, and nothing is left of the library's
when they free it, when they end without that, and when they are killed."""
import os
import signal

import support

# The first process of a namespace of its own, and whatever becomes of `unshare`, it ends with it.
FIRST = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


class Hosts(support.Case):
    build = staticmethod(support.build_c)

    def test_eight_busy_threads(self):
        self.whole("crowd")

    def test_own_children(self):
        self.whole("parent")

    def test_sigchld_ignored(self):
        self.whole("ignores")

    def test_sigchld_handler_reaps_everything(self):
        self.whole("reaps")

    def test_first_process_of_a_namespace(self):
        self.whole("first", FIRST)

    def test_a_killed_first_process(self):
        def check(program):
            program.until_ready()
            host = [pid for pid, name, _ in support.of_session(program.session) if name == "host"]
            os.kill(host[0], signal.SIGKILL)
            program.wait()
            self.assertEqual(program.left(lambda names: not names), [])
        self.each("waits", check, FIRST)

    def test_forks_with_an_open_handle(self):
        self.whole("forks")

    def only_the_forked_child_is_left(self, program):
        left = program.left(lambda names: "wsxdp-stage" not in names)
        self.assertEqual(left, ["host"])

    def test_forks_and_exits_without_free(self):
        def check(program):
            self.assertEqual(program.wait(), 0, program.text())
            self.only_the_forked_child_is_left(program)
        self.each("forks-and-exits", check)

    def test_forks_and_is_killed(self):
        def check(program):
            program.until_ready()
            program.process.kill()
            program.wait()
            self.only_the_forked_child_is_left(program)
        self.each("forks-and-waits", check)

    def test_ended_by_a_signal(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
            self.ended_by(number, -number)


support.main()
