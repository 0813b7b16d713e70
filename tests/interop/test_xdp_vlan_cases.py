#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The other half of the conversations of test_xdp_cases.py, on a link whose packets carry a tag."""
import sys

import netns
import test_xdp_cases

if __name__ == "__main__":
    sys.exit(test_xdp_cases.main(netns.Trunk, 1))
