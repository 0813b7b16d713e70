#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The conversations of the Autobahn testsuite's client cases (1 to 7, 9, 10, 12, 13), played by a server of our own
against a client that sends everything back. Judged strictly: every echo that is due must come before the end, and
the close code is the one right one. WSXDP_CASES=full has as many messages as the suite has; WSXDP_CASES_ONLY=6.4.
only the cases that begin so. tools/autobahn runs the suite itself.
"""
import collections
import itertools
import os
import subprocess
import sys
import time

import support

sys.path.insert(0, support.SERVERS)
import cases_server  # noqa: E402
import cases_table  # noqa: E402

FULL = os.environ.get("WSXDP_CASES") == "full"
ONLY = os.environ.get("WSXDP_CASES_ONLY", "")
# The number of cases in each group of the suite; the table must not lose any.
GROUPS = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1, "12": 90, "13": 126}


def seen_by_client(case, output):
    """What the client's own CLOSE event says must fit."""
    if case.code is not None:
        return "closed code=1006 error=-5" in output and any(f"(closed with {code})" in output for code in case.code)
    code = 1000 if case.clean is None else case.clean or 1005
    return f"closed code={code} error=0 clean=1" in output


class Road:
    """How a client gets to the server: a socket of the server's, and the client's options."""

    def __init__(self, place=support.LOOPBACK, *options):
        self.listener, self.options = support.listener(place), options
        self.listener.settimeout(20)
        self.url = support.url(self.listener.getsockname()[1], path="/", place=place)


def run(road, case, *options):
    room = support.BIG if case.id.startswith("9.") else ()  # only there a message can be larger than the defaults
    command = support.client_command(road.url, *room, *road.options, *options, "deflate=yes", "--", "serve")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace")
    try:
        stream, _ = road.listener.accept()
        wrong = cases_server.play(stream, case)
        output, _ = process.communicate(timeout=10)
    except (TimeoutError, subprocess.TimeoutExpired):
        wrong, output = "the client does not come to an end", ""
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    if wrong is None and process.returncode != 0:
        wrong = "the client failed"
    if wrong is None and not seen_by_client(case, output):
        wrong = "the client was told otherwise"
    return wrong and f"FAIL {case.id}: {wrong}: {output.strip()[:300]}"


def broken_expectation(road):
    """A case that must fail, so that the others mean something."""
    return run(road, cases_table.Case("0.0", [cases_table.Frame(1, b"x")], [cases_table.text(b"y")])) is not None


def small_inbox(road):
    """Three times as many bytes of frames as the inbox holds, for one message that it does hold."""
    payload = cases_table.fill(b"BAsd7&jh23", 30000)
    case = cases_table.Case("0.1", cases_table.split(cases_table.TEXT, payload, 1), [cases_table.text(payload)])
    return run(road, case, "inbox.bytes=64KiB") is None


def play(cases, roads):
    """Plays each case once, on one road after the other; returns how many passed and failed."""
    passed, failed, seconds = collections.Counter(), collections.Counter(), collections.Counter()
    for case, road in zip(cases, itertools.cycle(roads)):
        group, began = case.id.split(".")[0], time.monotonic()
        wrong = run(road, case)
        if wrong:
            print(wrong, flush=True)
        (failed if wrong else passed)[group] += 1
        seconds[group] += time.monotonic() - began
    for group in sorted(set(passed) | set(failed), key=int):
        print(f"group {group:>2}: {passed[group]:3} passed, {failed[group]} failed, {seconds[group]:.1f} s")
    return sum(passed.values()), sum(failed.values())


def check(checks):
    """What must hold for the cases to mean something; returns how many did and did not."""
    for what, holds in checks.items():
        print(f"{'ok' if holds else 'FAIL'} {what}")
    return sum(checks.values()), len(checks) - sum(checks.values())


def main():
    cases = list(cases_table.cases(FULL))
    counts = collections.Counter(case.id.split(".")[0] for case in cases)
    with support.Workshop.make():
        road = Road()
        held, broken = check({"the table is complete": counts == GROUPS,
                              "a wrong answer is noticed": broken_expectation(road),
                              "a message in 30000 frames passes a small inbox": small_inbox(road)})
        passed, failed = play([case for case in cases if case.id.startswith(ONLY)], [road])
    print(f"{held + passed} passed, {broken + failed} failed, 0 skipped")
    return 1 if broken + failed else 0


if __name__ == "__main__":
    sys.exit(main())
