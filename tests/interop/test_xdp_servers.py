#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The servers of test_scripted_servers.py and test_echo_servers.py once more, on another host, and the library over
AF_XDP: its own TCP against the kernel's, under everything else. Each goes through the whole matrix; IP versions and
modes take turns. test_xdp_ways.py has every server in every way, with less to do."""
import netns
import test_echo_servers as echo
import test_scripted_servers as scripted
from netns import Driver4, Driver6, Generic4, Generic6


class WebsocketsPlain(Driver4, scripted.WebsocketsPlain):
    pass


class WebsocketsTls(Generic6, scripted.WebsocketsTls):
    pass


class WebsocketsDeflateTls(Generic4, scripted.WebsocketsDeflateTls):
    pass


class NodePlain(Generic4, scripted.NodePlain):
    pass


class NodeTls(Driver6, scripted.NodeTls):
    pass


class NginxInFront(Driver4, scripted.NginxInFront):
    pass


class LibwebsocketsPlain(Generic6, echo.LibwebsocketsPlain):
    pass


class LibwebsocketsTls(Driver6, echo.LibwebsocketsTls):
    pass


class BeastPlain(Driver6, echo.BeastPlain):
    pass


class BeastTls(Driver4, echo.BeastTls):
    pass


class BeastDeflateTls(Generic4, echo.BeastDeflateTls):
    pass


class BeastFragments(Generic6, echo.BeastFragments):
    pass


if __name__ == "__main__":
    netns.main()
