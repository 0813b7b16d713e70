# SPDX-License-Identifier: MIT
"""A market that moves by itself: prices on a random walk, a book of orders per symbol, trades, changes.

Pure arithmetic: no clock, no network. One Market serves one connection, so that the sequence numbers a client
sees have no gaps. A book never crosses (best bid < best ask), and applying every change to the first snapshot
gives the book again, so a client can check that it lost nothing.
"""
import random

# symbol: (first price in ticks, decimals of a price, usual quantity)
SYMBOLS = {
    "btcusd": (6_512_340, 2, 0.25),
    "ethusd": (348_215, 2, 3.0),
    "solusd": (17_642, 2, 40.0),
    "xrpusd": (52_310, 5, 2_500.0),
    "ltcusd": (8_457, 2, 25.0),
    "dogeusd": (12_345, 5, 9_000.0),
}
DEPTH = 10  # levels of a side in a snapshot
SPREAD_MAX = 12  # ticks around the middle price where changes happen


class Book:
    """One symbol: the middle price in ticks and the quantity at each price of either side."""

    def __init__(self, symbol, rng):
        self.rng = rng
        self.symbol = symbol.upper()
        self.middle, self.decimals, self.usual = SYMBOLS[symbol]
        self.sequence = rng.randrange(1_000_000, 9_000_000)
        self.trade_id = rng.randrange(10_000_000, 90_000_000)
        self.bids = {self.middle - i: self.quantity() for i in range(1, DEPTH + 1)}
        self.asks = {self.middle + i: self.quantity() for i in range(1, DEPTH + 1)}

    def quantity(self):
        return round(self.usual * self.rng.lognormvariate(0, 1), 4) + 0.0001

    def price(self, ticks):
        return f"{ticks / 10**self.decimals:.{self.decimals}f}"

    def walk(self):
        """Moves the middle price by at most two ticks and empties levels that it has crossed."""
        self.middle = max(100, self.middle + self.rng.choice((-2, -1, -1, 0, 0, 0, 1, 1, 2)))
        gone_bids = [p for p in self.bids if p >= self.middle or p < self.middle - 8 * DEPTH]
        gone_asks = [p for p in self.asks if p <= self.middle or p > self.middle + 8 * DEPTH]
        for price in gone_bids:
            del self.bids[price]
        for price in gone_asks:
            del self.asks[price]
        return gone_bids, gone_asks

    def change_side(self, side, direction, gone):
        """Changes up to three levels near the middle; rows of [price, quantity], quantity 0 for removed."""
        rows = {price: 0 for price in gone}
        for _ in range(self.rng.randint(1, 3)):
            price = self.middle + direction * self.rng.randint(1, SPREAD_MAX)
            if price in side and len(side) > 5 and self.rng.random() < 0.3:
                del side[price]
                rows[price] = 0
            else:
                side[price] = self.quantity()
                rows[price] = side[price]
        return self.rows(rows, direction)

    def rows(self, levels, direction):
        order = sorted(levels, reverse=direction < 0)
        return [[self.price(p), f"{levels[p]:.4f}" if levels[p] else "0"] for p in order]

    def snapshot(self):
        return {
            "type": "snapshot",
            "symbol": self.symbol,
            "seq": self.sequence,
            "bids": self.rows(self.bids, -1),
            "asks": self.rows(self.asks, 1),
        }

    def delta(self):
        gone_bids, gone_asks = self.walk()
        previous, self.sequence = self.sequence, self.sequence + 1
        return {
            "type": "delta",
            "symbol": self.symbol,
            "prev_seq": previous,
            "seq": self.sequence,
            "bids": self.change_side(self.bids, -1, gone_bids),
            "asks": self.change_side(self.asks, 1, gone_asks),
        }

    def trade(self):
        """A trade at the best price of one side; does not change the book, the next delta does."""
        bought = self.rng.random() < 0.5
        side = self.asks if bought else self.bids
        price = (min(side) if bought else max(side)) if side else self.middle
        self.trade_id += 1
        return {
            "type": "trade",
            "symbol": self.symbol,
            "trade_id": self.trade_id,
            "price": self.price(price),
            "quantity": f"{self.quantity() / 4:.4f}",
            "side": "buy" if bought else "sell",
        }


class Market:
    def __init__(self, seed=None):
        self.rng = random.Random(seed)
        self.books = {}

    def book(self, symbol):
        if symbol not in self.books:
            self.books[symbol] = Book(symbol, self.rng)
        return self.books[symbol]

    def first(self, stream):
        """What a new subscriber of a stream gets before the updates, or None."""
        symbol, kind = stream.split("@")
        return self.book(symbol).snapshot() if kind == "book" else None

    def update(self, streams):
        """The next message for one of the subscribed streams (a non-empty list): (stream, fields)."""
        stream = self.rng.choice(streams)
        symbol, kind = stream.split("@")
        book = self.book(symbol)
        return stream, book.trade() if kind == "trade" else book.delta()


def known_stream(stream):
    symbol, at, kind = str(stream).partition("@")
    return bool(at) and symbol in SYMBOLS and kind in ("trade", "book")
