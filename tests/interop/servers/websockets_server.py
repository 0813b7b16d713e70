#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""websockets_server.py [--address A] [--tls CERT KEY] [--deflate JSON]: a peer made of Debian's python3-websockets.

Prints its port; ends with its standard input. The path chooses what it does: /echo sends messages back, frame by
frame as they came in size; /hash answers "KIND SIZE SHA256"; and both do as they are asked by "get KIND SIZE
FRAGMENTS", "ping TEXT" and "close CODE REASON".
"""
import argparse
import asyncio
import hashlib
import json
import logging
import random
import ssl
import sys

import websockets
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory


def describe(message):
    kind, data = ("t", message.encode()) if isinstance(message, str) else ("b", message)
    return f"{kind} {len(data)} {hashlib.sha256(data).hexdigest()}"


def make(kind, size):
    if kind == "b":
        return random.randbytes(size // 2) + bytes(size - size // 2)
    return "".join(random.choices("aen\u00e4\u20ac\U0001f600 ", k=64)) * (size // 64) + "." * (size % 64)


def pieces(message, count):
    step = max(1, -(-len(message) // count))
    return [message[at:at + step] for at in range(0, max(1, len(message)), step)]


async def get(peer, kind, size, fragments):
    message = make(kind, int(size))
    await peer.send(message if fragments == "1" else pieces(message, int(fragments)))
    await peer.send(describe(message))


async def obey(peer, words):
    if words[0] == "get":
        await get(peer, *words[1].split(","))
    elif words[0] == "ping":
        await (await peer.ping(words[1]))
        await peer.send("pong " + words[1])
    elif words[0] == "close":
        await peer.close(int(words[1]), words[2])
    else:
        return False
    return True


async def serve(peer):
    async for message in peer:
        words = message[:200].split(" ", 2) if isinstance(message, str) else [""]
        if await obey(peer, words):
            continue
        await peer.send(describe(message) if peer.path == "/hash" else message)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--deflate", type=json.loads)
    options = parser.parse_args()
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # that a client left is no news
    context = None
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*options.tls)
    extensions = [] if options.deflate is None else [ServerPerMessageDeflateFactory(**options.deflate)]
    server = await websockets.serve(serve, options.address, 0, ssl=context, compression=None, extensions=extensions,
                                    max_size=None, ping_interval=None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()
    await server.wait_closed()


asyncio.run(main())
