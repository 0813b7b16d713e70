#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The library against Debian's python3-websockets and node-ws, with and without TLS and compression, and through nginx
as the end of TLS."""
import unittest

import support
from matrix import Scripted


class WebsocketsPlain(Scripted, unittest.TestCase):
    def start(self):
        return support.websockets(self.tls, self.deflate, self.place)


class WebsocketsTls(WebsocketsPlain):
    tls = True


class WebsocketsDeflate(WebsocketsPlain):
    deflate = {}


class WebsocketsDeflateTls(WebsocketsPlain):
    tls = True
    deflate = {"server_no_context_takeover": True, "client_no_context_takeover": True}


class NodePlain(Scripted, unittest.TestCase):
    def start(self):
        return support.node(self.tls, self.deflate, self.place)


class NodeTls(NodePlain):
    tls = True


class NodeDeflate(NodePlain):
    deflate = {}


class NginxInFront(Scripted, unittest.TestCase):
    tls = True

    def behind_nginx(self, protocols):
        return Stack(support.websockets(deflate=self.deflate, place=self.place),
                     lambda port: support.nginx(port, protocols, self.place))

    def start(self):
        return self.behind_nginx("TLSv1.3")


class NginxInFrontOlderTls(NginxInFront):
    deflate = {}

    def start(self):
        return self.behind_nginx("TLSv1.2")


class Stack:
    """A server and what stands in front of it."""

    def __init__(self, behind, make_front):
        self.behind, self.make_front = behind, make_front

    def __enter__(self):
        port = self.behind.__enter__()
        try:
            self.front = self.make_front(port)
            return self.front.__enter__()
        except BaseException:
            self.behind.__exit__(None, None, None)
            raise

    def __exit__(self, *error):
        self.front.__exit__(*error)
        return self.behind.__exit__(*error)

if __name__ == "__main__":
    support.main()
