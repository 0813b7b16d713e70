# SPDX-License-Identifier: MIT
"""A program in Go with a handle in it, with each placement: it is told of signals, which neither its handle nor the
helper minds; the helper itself has no handlers of Go's; ended by each signal it leaves nothing."""
import shutil
import signal
import unittest

import support


@unittest.skipUnless(shutil.which("go"), "no go")
class Go(support.Case):
    build = staticmethod(support.build_go)

    def test_told_of_signals(self):
        self.whole("notify")

    def test_ended_by_a_signal(self):
        # Go's runtime ends a program by raising the signal again.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
            self.ended_by(number, -number)


support.main()
