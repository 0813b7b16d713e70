# SPDX-License-Identifier: MIT
"""Every server in every way to it over AF_XDP: ws and wss, both IP versions, driver mode and generic mode, on the
network that a test file names. One connection each, with everything that depends on the way: messages of every size
there and back, thousands of small ones under way at once, a ping, both closes."""
import re

import netns
import support
from matrix import everything
from support import BIG, client, url
from test_scripted_servers import Stack

COMMANDS = (*everything("echo", 1), "many:3000:60", "ping:are you there")


def behind_nginx(place):
    return Stack(support.websockets(place=place), lambda port: support.nginx(port, "TLSv1.3", place))


# What makes a server at a place, and whether it is wss.
SERVERS = {
    "python3-websockets, ws": (lambda place: support.websockets(place=place), False),
    "python3-websockets, wss": (lambda place: support.websockets(tls=True, place=place), True),
    "node ws, ws": (lambda place: support.node(place=place), False),
    "node ws, wss": (lambda place: support.node(tls=True, place=place), True),
    "nginx, wss": (behind_nginx, True),
    "libwebsockets, ws": (lambda place: support.libwebsockets(place=place), False),
    "libwebsockets, wss": (lambda place: support.libwebsockets(tls=True, place=place), True),
    "Boost.Beast, ws": (lambda place: support.beast(place=place), False),
    "Boost.Beast, wss": (lambda place: support.beast(tls=True, place=place), True),
}


class Ways:
    """`network` is a test's own."""
    network = None

    @classmethod
    def setUpClass(cls):
        cls.veth = cls.network()
        cls.addClassCleanup(cls.veth.close)

    def talk(self, mode, version, port, tls):
        place = netns.There(self.veth, version)
        said = client(url(port, tls, place=place), *BIG, *netns.over_xdp(self.veth, mode),
                      *(support.trust() if tls else ()), "--", *COMMANDS, "info:transport", "info:mode",
                      "info:xdp.counters", "close:1000:done")
        for line in ("transport=xdp", f"mode={mode}", "closed code=1000 error=0 clean=1 by_peer=0 .*"):
            self.assertRegex(said, f"(?m)^{line}$")
        counters = dict(re.findall(r"(\w+)=(\d+)", re.search("^xdp.counters=(.*)$", said, re.M)[1]))
        self.assertGreater(int(counters["received"]), 1000)
        for name in ("bad_checksum", "malformed", "unknown", "filter_malformed", "filter_vlan", "double_puts"):
            self.assertEqual(counters[name], "0", f"{name}: {counters}")

    def every_way(self, version):
        for name, (start, tls) in SERVERS.items():
            with start(netns.There(self.veth, version)) as port:
                for mode in ("driver", "generic"):
                    with self.subTest(server=name, mode=mode, version=version):
                        self.talk(mode, version, port, tls)

    def test_ipv4(self):
        self.every_way(4)

    def test_ipv6(self):
        self.every_way(6)

    def test_zero_copy_is_refused_by_veth(self):
        """A mode that is asked for is had or refused, with the reason, and never replaced by another."""
        place = netns.There(self.veth, 4)
        with support.websockets(place=place) as port, self.assertRaises(AssertionError) as refused:
            client(url(port, place=place), *netns.over_xdp(self.veth, "zero-copy"), "--", "ping:")
        self.assertRegex(str(refused.exception), r"error -323 .*xdp0.*zero-copy")
        self.assertNotIn("ok ping", str(refused.exception))
