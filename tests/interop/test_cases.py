#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The conversations of the Autobahn testsuite's client cases (1 to 7, 9, 10, 12, 13), played by a server of our own
against a client that sends everything back. Judged strictly: every echo that is due must come before the end, and
the close code is the one right one. WSXDP_CASES=full has as many messages as the suite has; WSXDP_CASES_ONLY=6.4.
only the cases that begin so. tools/autobahn runs the suite itself.
"""
import collections
import os
import socket
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


def run(listener, case, *options):
    port = listener.getsockname()[1]
    room = support.BIG if case.id.startswith("9.") else ()  # only there a message can be larger than the defaults
    command = [support.Workshop.client, f"ws://127.0.0.1:{port}/", *room, *options, "deflate=yes", "--", "serve"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace")
    try:
        stream, _ = listener.accept()
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


def broken_expectation(listener):
    """A case that must fail, so that the others mean something."""
    return run(listener, cases_table.Case("0.0", [cases_table.Frame(1, b"x")], [cases_table.text(b"y")])) is not None


def small_inbox(listener):
    """Three times as many bytes of frames as the inbox holds, for one message that it does hold."""
    payload = cases_table.fill(b"BAsd7&jh23", 30000)
    case = cases_table.Case("0.1", cases_table.split(cases_table.TEXT, payload, 1), [cases_table.text(payload)])
    return run(listener, case, "inbox.bytes=64KiB") is None


def main():
    cases = list(cases_table.cases(FULL))
    counts = collections.Counter(case.id.split(".")[0] for case in cases)
    passed, failed, seconds = collections.Counter(), collections.Counter(), collections.Counter()
    with support.Workshop.make(), socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        checks = {"the table is complete": counts == GROUPS, "a wrong answer is noticed": broken_expectation(listener),
                  "a message in 30000 frames passes a small inbox": small_inbox(listener)}
        for what, holds in checks.items():
            (passed if holds else failed)["0"] += 1
            print(f"{'ok' if holds else 'FAIL'} {what}")
        for case in cases:
            if not case.id.startswith(ONLY):
                continue
            group, began = case.id.split(".")[0], time.monotonic()
            wrong = run(listener, case)
            if wrong:
                print(wrong, flush=True)
            (failed if wrong else passed)[group] += 1
            seconds[group] += time.monotonic() - began
    for group in sorted(set(passed) | set(failed), key=int):
        print(f"group {group:>2}: {passed[group]:3} passed, {failed[group]} failed, {seconds[group]:.1f} s")
    print(f"{sum(passed.values())} passed, {sum(failed.values())} failed, 0 skipped")
    return 1 if sum(failed.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
