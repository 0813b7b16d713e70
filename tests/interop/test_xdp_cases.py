#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The conversations of test_cases.py over AF_XDP, every second one; test_xdp_vlan_cases.py has the others. IP versions
and modes take turns. WSXDP_CASES and WSXDP_CASES_ONLY as there."""
import os
import sys

import netns
import support
import test_cases
from test_cases import Road, cases_table

WAYS = ((4, "driver"), (6, "generic"), (6, "driver"), (4, "generic"))


def roads(veth):
    return [Road(netns.There(veth, version), *netns.over_xdp(veth, mode)) for version, mode in WAYS]


def main(network, part):
    reason = netns.unavailable()
    if reason is not None:
        print(f"SKIP {os.path.basename(sys.argv[0])}: {reason}\n0 passed, 0 failed, 1 skipped")
        return 0
    cases = [case for case in cases_table.cases(test_cases.FULL) if case.id.startswith(test_cases.ONLY)]
    with support.Workshop.make():
        veth = network()
        there = roads(veth)
        held, broken = test_cases.check({
            "a wrong answer is noticed": test_cases.broken_expectation(there[0]),
            "a message in 30000 frames passes a small inbox": test_cases.small_inbox(there[1])})
        passed, failed = test_cases.play(cases[part::2], there)
        veth.close()
    print(f"{held + passed} passed, {broken + failed} failed, 0 skipped")
    return 1 if broken + failed else 0


if __name__ == "__main__":
    sys.exit(main(netns.Veth, 0))
