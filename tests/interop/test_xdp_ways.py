#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Every server in every way over AF_XDP, on a link without tags."""
import unittest

import netns
import ways


class Untagged(ways.Ways, unittest.TestCase):
    network = netns.Veth


if __name__ == "__main__":
    netns.main()
