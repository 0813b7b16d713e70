#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Every server in every way over AF_XDP, on a link whose packets carry a tag (IEEE 802.1Q), which option xdp.vlan
names."""
import unittest

import netns
import ways


class Tagged(ways.Ways, unittest.TestCase):
    network = netns.Trunk

    def test_without_the_option_nobody_is_reached(self):
        """What proves that the tag is there: the switch drops what has none."""
        place = netns.There(self.veth, 4)
        with ways.support.websockets(place=place) as port, self.assertRaisesRegex(AssertionError, "error -313"):
            ways.client(ways.url(port, place=place), "transport=xdp", "connect.timeout_ns=1s", "--", "ping:")


if __name__ == "__main__":
    netns.main()
