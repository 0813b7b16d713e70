#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A small exchange to try a client on: trades and order books as JSON over wss (or ws with --plain).

A client sends   {"method":"subscribe","params":["btcusd@trade","btcusd@book"],"id":1}
and gets         {"result":["btcusd@book","btcusd@trade"],"id":1}, a snapshot of each book, then the updates,
every message with "stream" and "ts_ns", the time of sending. Methods: subscribe, unsubscribe,
list, ping, close (a code, a reason).
A path of /stream?streams=btcusd@trade/ethusd@book subscribes at once.

When it is ready it prints one line of JSON: {"ready":true,"url":...,"ca":...,"pid":...}. It ends
on SIGTERM, on SIGINT, after --duration, and when its standard input is a pipe that closes, so that it
never outlives its parent.
"""
import argparse
import asyncio
import json
import os
import signal
import ssl
import stat
import sys
import tempfile
import time
import urllib.parse

import websockets
import websockets.frames

import certificates
import market

PACE_SECONDS = 0.0005  # the shortest sleep: above 2,000 messages a second several leave at once


def compact(fields):
    return json.dumps(fields, separators=(",", ":"))


class Client:
    """One connection: its subscriptions, its market, and the task that sends the updates."""

    def __init__(self, socket, options):
        self.socket = socket
        self.options = options
        self.market = market.Market(options.seed)
        self.streams = []
        self.have_streams = asyncio.Event()
        self.sent = 0

    async def send(self, stream, fields):
        await self.socket.send(compact({"stream": stream, **fields, "ts_ns": time.time_ns()}))
        self.sent += 1
        if self.options.drop_after and self.sent >= self.options.drop_after:
            self.socket.transport.abort()
            raise ConnectionError("dropped as asked by --drop-after")

    async def subscribe(self, streams):
        for stream in [s for s in dict.fromkeys(streams) if s not in self.streams]:
            first = self.market.first(stream)
            if first:
                await self.send(stream, first)
            self.streams.append(stream)  # only now: no update may overtake the snapshot
        if self.streams:
            self.have_streams.set()

    def unsubscribe(self, streams):
        self.streams = [s for s in self.streams if s not in streams]
        if not self.streams:
            self.have_streams.clear()

    async def stream_updates(self):
        """Sends at the asked rate, counted from the first subscription; does not catch up after a pause."""
        rate, begin, count = self.options.rate, time.monotonic(), 0
        while True:
            if not self.have_streams.is_set():
                await self.have_streams.wait()
                begin, count = time.monotonic(), 0
            due = int((time.monotonic() - begin) * rate) - count if rate else 64
            if due > max(rate, 64):
                begin, count, due = time.monotonic(), 0, 1
            for _ in range(due):
                if not self.streams:
                    break
                await self.send(*self.market.update(self.streams))
                count += 1
            await asyncio.sleep(max(PACE_SECONDS, 0.25 / rate) if rate else 0)

    async def reply(self, request_id, **fields):
        await self.socket.send(compact({**fields, "id": request_id}))

    async def refuse(self, request_id, message):
        await self.reply(request_id, error={"code": -32602, "message": message})

    async def change_streams(self, request_id, method, params):
        unknown = [s for s in params if not market.known_stream(s)]
        if unknown or not params:
            names = ", ".join(sorted(market.SYMBOLS))
            return await self.refuse(
                request_id, f"params takes SYMBOL@trade and SYMBOL@book, SYMBOL one of {names}"
            )
        after = set(self.streams) | set(params) if method == "subscribe" else set(self.streams) - set(params)
        await self.reply(request_id, result=sorted(after))
        if method == "subscribe":
            await self.subscribe(params)
        else:
            self.unsubscribe(params)

    async def close(self, request_id, params):
        try:
            websockets.frames.Close(*(params + [""])[:2]).serialize()
        except Exception:  # whatever the library says of a code or reason that cannot be sent
            return await self.refuse(request_id, "params takes a close code and a reason")
        await self.socket.close(*params)

    async def on_request(self, text):
        try:
            request = json.loads(text)
            method, params, request_id = request["method"], request.get("params", []), request.get("id")
        except (ValueError, KeyError, TypeError, AttributeError):
            return await self.refuse(None, 'a request is {"method":...,"params":[...],"id":...}')
        if not isinstance(params, list):
            return await self.refuse(request_id, "params must be a list")
        if method in ("subscribe", "unsubscribe"):
            await self.change_streams(request_id, method, params)
        elif method == "list":
            await self.reply(request_id, result=sorted(self.streams))
        elif method == "ping":
            await self.reply(request_id, result="pong", ts_ns=time.time_ns())
        elif method == "close":
            await self.close(request_id, params)
        else:
            await self.refuse(request_id, f"unknown method {str(method)[:40]!r}")

    async def run(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.socket.path).query)
        wanted = [s for part in query.get("streams", []) for s in part.split("/") if market.known_stream(s)]
        await self.subscribe(wanted)
        updates = asyncio.ensure_future(self.stream_updates())
        try:
            async for text in self.socket:
                await self.on_request(text)
        finally:
            updates.cancel()
            await asyncio.gather(updates, return_exceptions=True)


async def serve_client(socket, options):
    try:
        await Client(socket, options).run()
    except (websockets.ConnectionClosed, ConnectionError):
        pass  # the client has left, or was dropped on purpose


def parse_options(arguments):
    parser = argparse.ArgumentParser(description="A small exchange to try a WebSocket client on.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument(
        "--rate", type=float, default=1000, help="messages a second to each client; 0: all it takes"
    )
    parser.add_argument("--plain", action="store_true", help="ws:// without TLS")
    parser.add_argument("--deflate", action="store_true", help="agree to permessage-deflate")
    parser.add_argument(
        "--ca-dir", help="write ca.pem and the server's key here (default: a temporary directory)"
    )
    parser.add_argument("--duration", type=float, help="end after this many seconds")
    parser.add_argument("--ping-interval", type=float, default=20, help="seconds between pings; 0: none")
    parser.add_argument("--drop-after", type=int, help="cut each connection after this many messages")
    parser.add_argument("--seed", type=int, help="the same market at every run")
    return parser.parse_args(arguments)


def watch_parent(loop, stop):
    """Stops when a pipe or socket on standard input closes: the parent is gone."""
    mode = os.fstat(0).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return

    def on_readable():
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop.set()

    loop.add_reader(0, on_readable)


def tls_context(directory):
    ca, certificate, key = certificates.make(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, ca


async def run(options, directory):
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    context, ca = (None, None) if options.plain else tls_context(directory)
    server = await websockets.serve(
        lambda socket: serve_client(socket, options),
        options.host,
        options.port,
        ssl=context,
        compression="deflate" if options.deflate else None,
        ping_interval=options.ping_interval or None,
        max_size=1 << 20,
        write_limit=1 << 18,
    )
    port = server.sockets[0].getsockname()[1]
    host = "localhost" if options.host in ("127.0.0.1", "::1", "0.0.0.0", "::") else options.host
    url = f"{'ws' if options.plain else 'wss'}://{host}:{port}/"
    print(compact({"ready": True, "url": url, "ca": ca, "pid": os.getpid()}), flush=True)
    watch_parent(loop, stop)
    try:
        await asyncio.wait_for(stop.wait(), options.duration)
    except asyncio.TimeoutError:
        pass
    server.close()
    await server.wait_closed()


def main():
    options = parse_options(sys.argv[1:])
    if options.ca_dir:
        os.makedirs(options.ca_dir, exist_ok=True)
        return asyncio.run(run(options, options.ca_dir))
    with tempfile.TemporaryDirectory(prefix="wsxdp-simulator-") as directory:
        asyncio.run(run(options, directory))


if __name__ == "__main__":
    main()
