# SPDX-License-Identifier: MIT
"""The exchange simulator, through a client that is not ours, and the demo, as it is run."""
import asyncio
import json
import os
import signal
import ssl
import subprocess
import time
import unittest

import websockets

import support
from support import exchange, subscription


def talk(ready, conversation, path=""):
    """Runs conversation(socket) against the exchange with python3-websockets as the client."""

    async def connected():
        context = ssl.create_default_context(cafile=ready["ca"]) if ready["ca"] else None
        async with websockets.connect(ready["url"] + path, ssl=context, close_timeout=0.2) as socket:
            return await asyncio.wait_for(conversation(socket), support.LIMIT_S)

    return asyncio.run(connected())


async def take(socket, count):
    return [json.loads(await socket.recv()) for _ in range(count)]


class Market(unittest.TestCase):
    def check_book(self, messages):
        """Applies every change to the first snapshot."""
        sides, sequence = None, None
        for message in messages:
            if message.get("type") == "snapshot":
                sides, sequence = {s: dict(message[s]) for s in ("bids", "asks")}, message["seq"]
            elif message.get("type") == "delta":
                self.assertEqual((message["prev_seq"], message["seq"]), (sequence, sequence + 1))
                sequence += 1
                for name, side in sides.items():
                    for price, quantity in message[name]:
                        side.pop(price, None)
                        if quantity != "0":
                            side[price] = quantity
                self.assertLess(max(map(float, sides["bids"])), min(map(float, sides["asks"])))

    def test_subscribe_and_follow_the_book(self):
        async def conversation(socket):
            await socket.send(subscription("btcusd@trade", "btcusd@book"))
            return await take(socket, 1500)

        with exchange("--rate", "0", "--seed", "7") as ready:
            messages = talk(ready, conversation)
        self.assertEqual(messages[0], {"result": ["btcusd@book", "btcusd@trade"], "id": 1})
        kinds = [message.get("type") for message in messages[1:]]
        self.assertGreater(min(kinds.count("trade"), kinds.count("delta")), 300)
        self.assertEqual(kinds.count("snapshot"), 1)
        self.check_book(messages)
        stamps = [message["ts_ns"] for message in messages[1:]]
        self.assertEqual(stamps, sorted(stamps))
        self.assertLess(abs(time.time_ns() - stamps[-1]), 60_000_000_000)

    def test_other_methods_and_mistakes(self):
        async def conversation(socket):
            answers = []
            for request in (
                '{"method":"ping","id":2}',
                '{"method":"list","id":3}',
                "not json",
                '[1]',
                '{"method":"fly","id":4}',
                '{"method":"subscribe","params":["nosuch@trade"],"id":5}',
                '{"method":"subscribe","params":"btcusd@trade","id":6}',
                '{"method":"close","params":[9],"id":7}',
            ):
                await socket.send(request)
                answers += await take(socket, 1)
            return answers

        with exchange("--plain") as ready:
            answers = talk(ready, conversation)
        self.assertEqual((answers[0]["result"], answers[0]["id"]), ("pong", 2))
        self.assertEqual(answers[1]["result"], [])
        self.assertTrue(all("error" in answer for answer in answers[2:]), answers)
        self.assertEqual([answer["id"] for answer in answers[2:]], [None, None, 4, 5, 6, 7])

    def test_unsubscribe_stops_the_stream(self):
        async def conversation(socket):
            await take(socket, 20)
            await socket.send('{"method":"unsubscribe","params":["ethusd@trade"],"id":9}')
            while (await take(socket, 1))[0].get("id") != 9:
                pass
            try:
                return await asyncio.wait_for(socket.recv(), 0.3)
            except asyncio.TimeoutError:
                return None

        with exchange("--plain", "--rate", "500") as ready:
            self.assertIsNone(talk(ready, conversation, "stream?streams=ethusd@trade"))

    def test_rate(self):
        async def conversation(socket):
            begin = time.monotonic()
            await take(socket, 401)
            return 400 / (time.monotonic() - begin)

        with exchange("--plain", "--rate", "400") as ready:
            rate = talk(ready, conversation, "stream?streams=solusd@trade")
        self.assertTrue(300 < rate < 440, rate)

    def test_drop_after_and_deflate(self):
        with exchange("--plain", "--rate", "0", "--deflate", "--drop-after", "50") as ready:
            run = support.wsxdp(
                "cat",
                ready["url"] + "stream?streams=btcusd@trade",
                "--count",
                "120",
                "--json",
                "-o",
                "deflate=yes",
                "-o",
                "reconnect.delay_max_ns=20ms",
            )
        lines = [json.loads(line) for line in run.stdout.splitlines()]
        self.assertEqual((run.returncode, len(lines)), (0, 120), run.stderr)
        self.assertTrue(any(line["compressed"] for line in lines))
        self.assertGreaterEqual(run.stderr.count("open again"), 2)


class Life(unittest.TestCase):
    def start(self, *arguments, **options):
        process = subprocess.Popen(
            [support.PYTHON, support.EXCHANGE, "--plain", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        self.assertTrue(json.loads(process.stdout.readline())["ready"])
        return process

    def test_ends_when_its_parent_is_gone(self):
        process = self.start(stdin=subprocess.PIPE)
        process.stdin.close()
        self.assertEqual(process.wait(support.LIMIT_S), 0)

    def test_ends_on_sigterm_and_after_its_duration(self):
        process = self.start(stdin=subprocess.DEVNULL)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(support.LIMIT_S), 0)
        self.assertEqual(self.start("--duration", "0.2", stdin=subprocess.DEVNULL).wait(support.LIMIT_S), 0)

    def test_its_certificates_do_not_stay(self):
        with exchange() as ready:
            self.assertTrue(os.path.exists(ready["ca"]))
        self.assertFalse(os.path.exists(os.path.dirname(ready["ca"])))


class Demo(unittest.TestCase):
    def test_demo(self):
        environment = dict(os.environ, BUILD=os.path.dirname(support.WSXDP), DEMO_SECONDS="1")
        run = subprocess.run(
            [os.path.join(support.ROOT, "tools/demo")],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(len(run.stdout.splitlines()), 6)
        self.assertIn('"type":"snapshot"', run.stdout)
        self.assertRegex(run.stderr, r"tls +TLSv?1\.3 ")
        self.assertRegex(run.stderr, "sender to delivered( +[0-9.]+ [num]?s){5}")


if __name__ == "__main__":
    support.main()
