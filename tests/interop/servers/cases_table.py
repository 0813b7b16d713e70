# SPDX-License-Identifier: MIT
"""The conversations that the Autobahn testsuite has with a client, as data. Each case is what the server sends, what
must come back before the end, and how the end must be. The numbers are the suite's; the texts and bytes are our own
where it does not matter which they are."""
import collections
import itertools

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

# send: Frames and Waits; echo: what must come back; code: None when the server closes with 1000 at the end, else the
# codes with which the client must; clean: the client answers the close that is among what is sent, with that code.
# count: how often send and echo happen, one after the other; deflate: parameters of the server's answer.
Case = collections.namedtuple("Case", "id send echo code clean count deflate fragment",
                              defaults=(None, None, 1, None, 0))
Frame = collections.namedtuple("Frame", "opcode payload fin rsv chop", defaults=(b"", True, 0, 0))
Wait = collections.namedtuple("Wait", "seconds alive", defaults=(True,))

WINDOW = 0.25  # how long it takes at most to notice a broken rule, seconds


def text(payload):
    return ("message", payload, False)


def binary(payload):
    return ("message", payload, True)


def pong(payload):
    return ("pong", payload)


def split(opcode, payload, size, chop=0):
    """The payload in frames of size bytes."""
    parts = [payload[at:at + size] for at in range(0, len(payload), size)] or [b""]
    return [Frame(opcode if i == 0 else 0, part, i == len(parts) - 1, 0, chop) for i, part in enumerate(parts)]


def fill(unit, size):
    return (unit * (size // len(unit) + 1))[:size]


def messages():
    for group, opcode, unit, answer in (("1.1", TEXT, b"*", text), ("1.2", BINARY, b"\xfe", binary)):
        for i, size in enumerate((0, 125, 126, 127, 128, 65535, 65536, 65536), 1):
            payload = unit * size
            yield Case(f"{group}.{i}", [Frame(opcode, payload, chop=997 if i == 8 else 0)], [answer(payload)])


def pings():
    ten = [b"payload-%d" % i for i in range(10)]
    for i, payload in enumerate((b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125), 1):
        yield Case(f"2.{i}", [Frame(PING, payload)], [pong(payload)])
    yield Case("2.5", [Frame(PING, b"\xfe" * 126)], [], (1002,))
    yield Case("2.6", [Frame(PING, b"\xfe" * 125, chop=1)], [pong(b"\xfe" * 125)])
    yield Case("2.7", [Frame(PONG)], [])
    yield Case("2.8", [Frame(PONG, b"unsolicited pong payload")], [])
    yield Case("2.9", [Frame(PONG, b"unsolicited pong payload"), Frame(PING, b"ping payload")], [pong(b"ping payload")])
    yield Case("2.10", [Frame(PING, p) for p in ten], [pong(p) for p in ten])
    yield Case("2.11", [Frame(PING, p, chop=1) for p in ten], [pong(p) for p in ten])


def reserved():
    small = b"Hello, world!"
    yield Case("3.1", [Frame(TEXT, small, rsv=1)], [], (1002,))
    for i, (rsv, chops) in enumerate(((2, (0, 0)), (3, (-1, -1)), (4, (1, 1))), 2):
        yield Case(f"3.{i}", [Frame(TEXT, small, chop=chops[0]), Frame(TEXT, small, rsv=rsv, chop=chops[1]), Frame(PING)],
                   [text(small)], (1002,))
    yield Case("3.5", [Frame(BINARY, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", rsv=5)], [], (1002,))
    yield Case("3.6", [Frame(PING, small, rsv=6)], [], (1002,))
    yield Case("3.7", [Frame(CLOSE, rsv=7)], [], (1002,))
    for group, first in (("4.1", 3), ("4.2", 11)):
        for i in range(5):
            bad = Frame(first + i, small if i in (1, 3, 4) else b"", chop=1 if i == 4 else 0)
            before = [Frame(TEXT, small), bad, Frame(PING)] if i >= 2 else [bad]
            yield Case(f"{group}.{i + 1}", before, [text(small)] if i >= 2 else [], (1002,))


def chopped(frames, chop):
    return [frame._replace(chop=chop) for frame in frames]


def fragments():
    one, two = b"fragment1", b"fragment2"
    both = [Frame(TEXT, one, False), Frame(0, two)]
    with_ping = [both[0], Frame(PING, b"ping payload"), both[1]]
    yield Case("5.1", [Frame(PING, one, False), Frame(0, two)], [], (1002,))
    yield Case("5.2", [Frame(PONG, one, False), Frame(0, two)], [], (1002,))
    # Together, one by one, and byte by byte.
    for i, chop in enumerate((0, -1, 1)):
        yield Case(f"5.{3 + i}", chopped(both, chop), [text(one + two)])
        yield Case(f"5.{6 + i}", chopped(with_ping, chop), [pong(b"ping payload"), text(one + two)])
        for first, fin in ((9, True), (12, False)):
            stray = [Frame(0, b"non-continuation payload", fin), Frame(TEXT, b"Hello, world!")]
            yield Case(f"5.{first + i}", chopped(stray, chop), [], (1002,))
    yield Case("5.15", [*both, Frame(0, b"fragment3", False), Frame(TEXT, b"fragment4")], [text(one + two)], (1002,))
    for i, fin in ((16, False), (17, True)):
        yield Case(f"5.{i}", [Frame(0, one, fin), Frame(TEXT, two, False), Frame(0, b"fragment3")] * 2, [], (1002,))
    yield Case("5.18", [Frame(TEXT, one, False), Frame(TEXT, two)], [], (1002,))
    five = [Frame(TEXT, one, False), Frame(0, two, False), Frame(PING, b"pongme 1!"), Wait(WINDOW),
            Frame(0, b"fragment3", False), Frame(0, b"fragment4", False), Frame(PING, b"pongme 2!"),
            Frame(0, b"fragment5")]
    answer = [pong(b"pongme 1!"), pong(b"pongme 2!"), text(one + two + b"fragment3fragment4fragment5")]
    yield Case("5.19", five, answer)
    yield Case("5.20", [f if isinstance(f, Wait) else f._replace(chop=-1) for f in five], answer)


GREETING = "Hello-\u00b5@\u00df\u00f6\u00e4\u00fc\u00e0\u00e1-UTF-8!!".encode()
KOSME = "\u03ba\u1f79\u03c3\u03bc\u03b5".encode()


def texts():
    middle = b"middle frame payload"
    yield Case("6.1.1", [Frame(TEXT)], [text(b"")])
    yield Case("6.1.2", [Frame(TEXT, b"", False), Frame(0, b"", False), Frame(0)], [text(b"")])
    yield Case("6.1.3", [Frame(TEXT, b"", False), Frame(0, middle, False), Frame(0)], [text(middle)])
    yield Case("6.2.1", [Frame(TEXT, GREETING)], [text(GREETING)])
    yield Case("6.2.2", split(TEXT, GREETING, 12), [text(GREETING)])
    yield Case("6.2.3", split(TEXT, GREETING, 1), [text(GREETING)])
    yield Case("6.2.4", split(TEXT, KOSME, 1), [text(KOSME)])
    bad = KOSME + b"\xed\xa0\x80edited"
    yield Case("6.3.1", [Frame(TEXT, bad)], [], (1007,))
    yield Case("6.3.2", split(TEXT, bad, 1), [], (1007,))
    # Refused as soon as it cannot become valid, not at the message's end.
    for i, (first, second) in enumerate(((KOSME, b"\xf4\x90\x80\x80"), (KOSME + b"\xf4", b"\x90")), 1):
        third = b"edited" if i == 1 else b"\x80\x80edited"
        yield Case(f"6.4.{i}", [Frame(TEXT, first, False), Wait(WINDOW), Frame(0, second, False), Wait(WINDOW, False)],
                   [], (1007,))
        head = b"\x81" + bytes([len(first + second + third)])
        yield Case(f"6.4.{i + 2}", [head + first, Wait(WINDOW), second, Wait(WINDOW, False)], [], (1007,))


# Of 6.5 to 6.23: what Markus Kuhn's stress test has, and the boundaries of Unicode. Whether each is valid is
# asked of Python.
SEQUENCES = (
    [b"hello$world", b"hello\xc2\xa2world", b"hello\xe2\x82\xacworld", b"hello\xf0\xa4\xad\xa2world", KOSME],
    [KOSME[:i] for i in range(1, len(KOSME) + 1)],
    [b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"],
    [b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"],
    [b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"],
    [b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"],
    [b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80"],
    [b"\x80", b"\xbf", *(b"\x80\xbf" * n + tail for n, tail in ((1, b""), (1, b"\x80"), (2, b""), (2, b"\x80"), (3, b""))),
     bytes(range(0x80, 0xc0))],
    [b"".join(bytes([b, 0x20]) for b in range(*span)) for span in
     ((0xc0, 0xe0), (0xe0, 0xf0), (0xf0, 0xf8), (0xf8, 0xfc), (0xfc, 0xfe))],
    [b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80", b"\xdf", b"\xef\xbf",
     b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf"],
    [b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xfc\x80\x80\x80\x80\xdf\xef\xbf\xf7\xbf\xbf\xfb\xbf\xbf\xbf\xfd\xbf\xbf\xbf\xbf"],
    [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"],
    [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xfc\x80\x80\x80\x80\xaf"],
    [b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf"],
    [b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf8\x80\x80\x80\x80", b"\xfc\x80\x80\x80\x80\x80"],
    [b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbe\x80", b"\xed\xbf\xbf"],
    [a + b for a, b in itertools.product((b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf"),
                                         (b"\xed\xb0\x80", b"\xed\xbf\xbf"))],
    [chr(plane * 0x10000 + last).encode() for plane in range(17) for last in (0xfffe, 0xffff)],
    [chr(code).encode() for code in (0xfff9, 0xfffa, 0xfffb, 0xfffc, 0xfffd, 0xfffe, 0xffff)],
)


def valid(data):
    try:
        return data.decode() is not None
    except UnicodeDecodeError:
        return False


def sequences():
    for group, members in enumerate(SEQUENCES, 5):
        for i, data in enumerate(members, 1):
            good = valid(data)
            yield Case(f"6.{group}.{i}", [Frame(TEXT, data)], [text(data)] if good else [], None if good else (1007,))


def close_frame(code, reason=b""):
    return Frame(CLOSE, code.to_bytes(2, "big") + reason)


def closes():
    hello = Frame(TEXT, b"Hello World!")
    end = close_frame(1000)
    yield Case("7.1.1", [hello], [text(b"Hello World!")])
    yield Case("7.1.2", [end, end], [], clean=1000)
    yield Case("7.1.3", [end, Frame(PING)], [], clean=1000)
    yield Case("7.1.4", [end, hello], [], clean=1000)
    yield Case("7.1.5", [Frame(TEXT, b"fragment1", False), end, Frame(0, b"fragment2")], [], clean=1000)
    large = fill(b"BAsd7&jh23", 256 << 10)
    # Whether these are echoed before the close is the client's choice.
    yield Case("7.1.6", [Frame(TEXT, large), hello, end, Frame(PING)], None, clean=1000)
    yield Case("7.3.1", [Frame(CLOSE)], [], clean=0)
    yield Case("7.3.2", [Frame(CLOSE, b"a")], [], (1002,))
    yield Case("7.3.3", [end], [], clean=1000)
    yield Case("7.3.4", [close_frame(1000, b"Hello World!")], [], clean=1000)
    yield Case("7.3.5", [close_frame(1000, b"*" * 123)], [], clean=1000)
    yield Case("7.3.6", [close_frame(1000, b"*" * 124)], [], (1002,))
    yield Case("7.5.1", [close_frame(1000, KOSME + b"\xed\xa0\x80edited")], [], (1002, 1007))
    for i, code in enumerate((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999), 1):
        yield Case(f"7.7.{i}", [close_frame(code)], [], clean=code)
    for i, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
        yield Case(f"7.9.{i}", [close_frame(code)], [], (1002,))
    yield Case("7.13.1", [close_frame(5000)], [], (1002,))
    yield Case("7.13.2", [close_frame(65535)], [], (1002,))


def large(full):
    kinds = ((TEXT, fill(b"BAsd7&jh23", 16 << 20), text), (BINARY, fill(b"\x00\xfe\x23\xfa\xf0", 16 << 20), binary))
    for k, (opcode, data, answer) in enumerate(kinds):
        for i, size in enumerate((64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20), 1):
            yield Case(f"9.{1 + k}.{i}", [Frame(opcode, data[:size])], [answer(data[:size])])
        whole = data[:4 << 20] if full else data[:1 << 20]
        for i, size in enumerate((64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20), 1):
            yield Case(f"9.{3 + k}.{i}", split(opcode, whole, size), [answer(whole)])
        whole = data[:1 << 20] if full else data[:128 << 10]
        for i, chop in enumerate((64, 128, 256, 512, 1024, 2048), 1):
            yield Case(f"9.{5 + k}.{i}", [Frame(opcode, whole, chop=chop)], [answer(whole)])
        for i, size in enumerate((0, 16, 64, 256, 1024, 4096), 1):
            payload = (b"*" if k == 0 else b"\xfe") * size
            yield Case(f"9.{7 + k}.{i}", [Frame(opcode, payload)], [answer(payload)], count=1000 if full else 100)
    payload = b"*" * 65536
    yield Case("10.1.1", split(TEXT, payload, 1300), [text(payload)])


SIZES = ((16, 0), (64, 0), (256, 0), (1024, 0), (4096, 0), (8192, 0), (16384, 0), (32768, 0), (65536, 0), (131072, 0),
         (8192, 256), (16384, 256), (32768, 256), (65536, 256), (131072, 256), (131072, 1024), (131072, 4096),
         (131072, 32768))
# What the server's answer asks of the client.
AGREEMENTS = ("", "client_no_context_takeover", "client_max_window_bits=9", "client_max_window_bits=15",
              "client_no_context_takeover; client_max_window_bits=9",
              "client_no_context_takeover; client_max_window_bits=15",
              "client_no_context_takeover; client_max_window_bits=9")


def compressed(full):
    def count(size):
        return 1000 if full else 50 if size <= 4096 else 8

    for group, opcode in enumerate((TEXT, BINARY, BINARY, TEXT, BINARY), 1):
        for i, (size, fragment) in enumerate(SIZES, 1):
            yield Case(f"12.{group}.{i}", [Frame(opcode, size)], group, None, None, count(size), "", fragment)
    for group, agreement in enumerate(AGREEMENTS, 1):
        for i, (size, fragment) in enumerate(SIZES, 1):
            yield Case(f"13.{group}.{i}", [Frame(TEXT, size)], 1, None, None, count(size), agreement, fragment)


def cases(full):
    yield from messages()
    yield from pings()
    yield from reserved()
    yield from fragments()
    yield from texts()
    yield from sequences()
    yield from closes()
    yield from large(full)
    yield from compressed(full)
