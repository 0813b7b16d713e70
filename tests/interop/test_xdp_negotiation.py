#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""permessage-deflate agreed upon as in test_negotiation.py, over AF_XDP."""
import netns
import test_negotiation


class Negotiation(netns.Generic6, test_negotiation.Negotiation):
    pass


if __name__ == "__main__":
    netns.main()
