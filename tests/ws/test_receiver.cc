// SPDX-License-Identifier: MIT
// The receiver against the like of every Autobahn case group that concerns frames: 1 framing, 2 pings, 3
// reserved bits, 4 opcodes, 5 fragmentation, 6 UTF-8, 7 closing, 9 limits, 10 automatic fragmentation. Every
// stream is fed whole, byte by byte, at every split, with the gaps closed all the time, and streamed.
extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}
#include "feed.h"
#include <initializer_list>

using namespace feed;
using wx::ReceiverLimits;

namespace {

struct Expected {
    std::vector<Bytes> log;
    int status = 0;
};

void compare(const Outcome &got, const Expected &want, const char *how, size_t split) {
    bool same = got.status == want.status && got.log.size() == want.log.size() + (want.status ? 1 : 0);
    for (size_t i = 0; same && i < want.log.size(); i++) same = got.log[i] == want.log[i];
    if (same) return;
    for (const Bytes &line : want.log) print_error("want %zu bytes: %.60s\n", line.size(), line.c_str());
    for (const Bytes &line : got.log) print_error("got  %zu bytes: %.60s\n", line.size(), line.c_str());
    fail_msg("%s, split %zu: status %d, wanted %d", how, split, got.status, want.status);
}

void compare_all(ReceiverLimits limits, const Bytes &bytes, const Expected &want, const char *how) {
    compare(run(limits, bytes, {bytes.size()}), want, how, 0);
    compare(run(limits, bytes, {1}), want, how, 1);
    compare(run(limits, bytes, {1}, true), want, how, 1);
    compare(run(limits, bytes, {3, 7, 5}, true), want, how, 357);
    const size_t step = bytes.size() > 4000 ? bytes.size() / 500 : 1;
    for (size_t split = 1; split < bytes.size(); split += step) {
        compare(run(limits, bytes, {split, bytes.size()}), want, how, split);
    }
    // All bytes of whole messages are given back; a close frame may leave a fragmented message behind.
    if (want.status == 0 && want.log.back().compare(0, 6, "close:") != 0)
        assert_int_equal(run(limits, bytes, {bytes.size()}).left, 0);
}

void expect_with(ReceiverLimits limits, const Bytes &bytes, const Expected &want) {
    limits.stream = false;
    compare_all(limits, bytes, want, "whole");
    limits.stream = true;
    compare_all(limits, bytes, want, "stream");
}

void expect(const Bytes &bytes, const Expected &want) { expect_with(ReceiverLimits(), bytes, want); }

Bytes join(std::initializer_list<Bytes> parts) {
    Bytes all;
    for (const Bytes &part : parts) all += part;
    return all;
}

void group_1_framing(void **) {
    for (size_t size : {0, 1, 125, 126, 127, 128, 1000, 65535, 65536, 70000}) {
        const Bytes body(size, '*');
        expect(text(body), {{"text:" + body}});
        expect(binary(Bytes(size, '\xFE')), {{"binary:" + Bytes(size, '\xFE')}});
    }
    Bytes many;
    Expected want;
    for (int i = 0; i < 20; i++) {
        many += text("message " + std::to_string(i)) + binary(Bytes(static_cast<size_t>(i), '\x80'));
        want.log.push_back("text:message " + std::to_string(i));
        want.log.push_back("binary:" + Bytes(static_cast<size_t>(i), '\x80'));
    }
    expect(many, want);
}

void group_1_length_forms(void **) {
    const Expected wrong{{}, WSXDP_E_FRAME_LENGTH};
    for (size_t size : {0, 1, 5, 124, 125}) {
        expect(frame(fin | 2, Bytes(size, 'x'), 126), wrong);
        expect(frame(fin | 1, Bytes(size, 'x'), 126), wrong);
    }
    for (size_t size : {0, 1, 125, 126, 65535}) expect(frame(fin | 2, Bytes(size, 'x'), 127), wrong);
    expect(Bytes("\x82\x7F\x80\0\0\0\0\0\0\0", 10), wrong);
    // The top bit is judged as soon as its byte is there.
    assert_int_equal(run(ReceiverLimits(), Bytes("\x82\x7F\x80\0\0\0\0\0\0\0", 10), {1}).fed, 3);
    assert_int_equal(run(ReceiverLimits(), Bytes("\x82\x7E\x00\x7D", 4) + Bytes(125, 'x'), {1}).fed, 4);
}

void masked_by_server(void **) {
    const Expected wrong{{}, WSXDP_E_FRAME_MASKED};
    expect(Bytes("\x81\x85\x01\x02\x03\x04hello", 11), wrong);
    expect(Bytes("\x82\xFE\x00\x7E\x01\x02\x03\x04", 8), wrong);
    expect(Bytes("\x89\x80\x01\x02\x03\x04", 6), wrong);
    expect(Bytes("\x82\x80\x01\x02\x03\x04", 6), wrong);
    assert_int_equal(run(ReceiverLimits(), Bytes("\x81\x85\x01\x02\x03\x04hello", 11), {1}).fed, 2);
}

void group_2_pings(void **) {
    expect(ping(""), {{"ping:"}});
    expect(ping("Hello, world!"), {{"ping:Hello, world!"}});
    expect(ping(Bytes("\x00\xFF\xFE\xFD\xFC\xFB\x00\xFF", 8)),
           {{Bytes("ping:\x00\xFF\xFE\xFD\xFC\xFB\x00\xFF", 13)}});
    expect(ping(Bytes(125, '\xFE')), {{"ping:" + Bytes(125, '\xFE')}});
    expect(frame(fin | 9, Bytes(126, '\xFE')), {{}, WSXDP_E_FRAME_CONTROL});
    expect(frame(fin | 10, Bytes(70000, 'x')), {{}, WSXDP_E_FRAME_CONTROL});
    expect(pong("unasked") + ping("x") + pong(""), {{"pong:unasked", "ping:x", "pong:"}});
    Bytes ten;
    Expected want;
    for (int i = 0; i < 10; i++) {
        ten += ping("payload-" + std::to_string(i));
        want.log.push_back("ping:payload-" + std::to_string(i));
    }
    expect(ten, want);
}

void group_3_reserved_bits(void **) {
    for (unsigned rsv = 1; rsv < 8; rsv++) {
        const unsigned bits = rsv << 4;
        for (unsigned opcode : {0u, 1u, 2u, 8u, 9u, 10u}) {
            expect(text("good") + frame(fin | bits | opcode, "x"), {{"text:good"}, WSXDP_E_FRAME_RSV});
            assert_int_equal(run(ReceiverLimits(), frame(fin | bits | opcode, "x"), {1}).fed, 1);
        }
    }
    ReceiverLimits deflate;
    deflate.deflate = true;
    expect_with(deflate, frame(fin | 0x40 | 1, "\xFF\xFF"),
                {{"deflated text:\xFF\xFF"}}); // not ours to check
    expect_with(deflate, frame(0x40 | 2, "ab") + frame(fin, "c") + text("d"),
                {{"deflated binary:abc", "text:d"}});
    expect_with(deflate, text("\xFF"), {{}, WSXDP_E_UTF8});
    expect_with(deflate, frame(0x40 | 2, "ab") + frame(fin | 0x40, "c"), {{}, WSXDP_E_FRAME_RSV});
    for (unsigned first : {0x40u | 8, 0x40u | 9, 0x40u | 10, 0x20u | 1, 0x10u | 2, 0x60u | 1, 0x50u | 2}) {
        expect_with(deflate, frame(fin | first, "x"), {{}, WSXDP_E_FRAME_RSV});
    }
}

void group_4_opcodes(void **) {
    for (unsigned opcode : {3u, 4u, 5u, 6u, 7u, 11u, 12u, 13u, 14u, 15u}) {
        expect(frame(fin | opcode, ""), {{}, WSXDP_E_FRAME_OPCODE});
        expect(text("a") + frame(fin | opcode, "b") + ping(""), {{"text:a"}, WSXDP_E_FRAME_OPCODE});
        expect(frame(2, "a") + frame(opcode, "b"), {{}, WSXDP_E_FRAME_OPCODE});
    }
}

void group_5_fragments(void **) {
    const Bytes a = "fragment1", b = "fragment2";
    expect(frame(1, a) + frame(fin, b), {{"text:" + a + b}});
    expect(frame(1, a) + ping("p") + frame(fin, b), {{"ping:p", "text:" + a + b}});
    expect(frame(2, a) + ping("p") + pong("q") + ping("r") + frame(0, b) + pong("") + frame(fin, ""),
           {{"ping:p", "pong:q", "ping:r", "pong:", "binary:" + a + b}});
    expect(frame(1, "") + frame(0, "") + frame(fin, ""), {{"text:"}});
    expect(frame(1, "") + frame(0, "middle") + frame(fin, ""), {{"text:middle"}});
    expect(frame(fin, "x"), {{}, WSXDP_E_FRAME_CONTINUATION});
    expect(frame(0, "x") + text("y"), {{}, WSXDP_E_FRAME_CONTINUATION});
    expect(text("y") + frame(fin, "x"), {{"text:y"}, WSXDP_E_FRAME_CONTINUATION});
    expect(frame(1, a) + frame(fin, b) + frame(0, "x"), {{"text:" + a + b}, WSXDP_E_FRAME_CONTINUATION});
    expect(frame(1, a) + text(b), {{}, WSXDP_E_FRAME_INTERLEAVED});
    expect(frame(1, a) + frame(2, b), {{}, WSXDP_E_FRAME_INTERLEAVED});
    expect(frame(1, a) + frame(0, b) + ping("") + binary("x"), {{"ping:"}, WSXDP_E_FRAME_INTERLEAVED});
    for (unsigned opcode : {8u, 9u, 10u}) {
        expect(frame(opcode, "part"), {{}, WSXDP_E_FRAME_CONTROL});
        expect(frame(1, a) + frame(opcode, ""), {{}, WSXDP_E_FRAME_CONTROL});
    }
    // Control frames larger than the fragments around them, and the reverse.
    const Bytes big(125, 'P'), large(3000, 'x');
    expect(join({frame(2, "1"), ping(big), frame(0, "2"), ping(big), frame(0, large), ping("s"),
                 frame(fin, "3")}),
           {{"ping:" + big, "ping:" + big, "ping:s", "binary:12" + large + "3"}});
}

void group_6_valid(void **) {
    const Bytes greek = "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5";
    expect(text(greek), {{"text:" + greek}});
    for (size_t size = 1; size <= 3; size++) { // fragments that split code points
        Bytes stream;
        for (size_t at = 0; at < greek.size(); at += size) {
            const bool last = at + size >= greek.size();
            stream +=
                frame((at ? 0u : 1u) | (last ? fin : 0u), greek.substr(at, size)) + (last ? "" : ping("i"));
        }
        Expected want;
        want.log.assign((greek.size() + size - 1) / size - 1, "ping:i");
        want.log.push_back("text:" + greek);
        expect(stream, want);
    }
    expect(binary("\xFF\xFE"), {{"binary:\xFF\xFE"}});
    ReceiverLimits unchecked;
    unchecked.check_utf8 = false;
    expect_with(unchecked, text("\xFF\xFE"), {{"text:\xFF\xFE"}});
    expect_with(unchecked, frame(1, "\xC3") + frame(fin, "a"),
                {{"text:\xC3"
                  "a"}});
}

void group_6_invalid(void **) {
    const Expected wrong{{}, WSXDP_E_UTF8};
    for (const char *bad :
         {"\x80", "\xC0\xAF", "\xC3", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80",
          "\xE0\x80\xAF", "\xF0\x80\x80\xAF", "\xFE", "\xFF", "\xE4\xBD", "\xF0\x90\x8D"}) {
        expect(text(bad), wrong);
        expect(text(Bytes(200, 'a') + bad), wrong);
        expect(text("ok") + frame(1, Bytes(70, 'b')) + frame(0, bad) + frame(fin, "a"),
               {{"text:ok"}, WSXDP_E_UTF8});
    }
    expect(frame(1, "\xC3") + ping("") + frame(fin, ""), {{"ping:"}, WSXDP_E_UTF8});
}

void group_6_fails_fast(void **) {
    // The byte after which no text can be valid any more ends it, whatever the frame would still bring.
    const Bytes good = "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5";
    struct Case {
        Bytes bad;
        size_t fatal; // which byte of bad
    };
    for (const Case &c : {Case{"\xF4\x90\x80\x80", 2}, Case{"\xED\xA0\x80", 2}, Case{"\xE0\x9F\xBF", 2},
                          Case{"\xF0\x8F\xBF\xBF", 2}, Case{"\xC1\xBF", 1}, Case{"\xF5\x80", 1},
                          Case{"\xE1\x80\xC0", 3}, Case{"\xF1\x80\x80\x7F", 4}}) {
        for (bool stream : {false, true}) {
            for (size_t before : {size_t(0), size_t(31), size_t(63), size_t(64), size_t(200)}) {
                ReceiverLimits limits;
                limits.stream = stream;
                const Bytes lead(before, 'a');
                const Bytes bytes = text(lead + good + c.bad + Bytes(300, 'z'));
                const Outcome got = run(limits, bytes, {1});
                assert_int_equal(got.status, WSXDP_E_UTF8);
                assert_int_equal(got.fed, 4 + lead.size() + good.size() + c.fatal);
            }
        }
    }
}

void group_7_close(void **) {
    expect(frame(fin | 8, ""), {{"close:"}});
    expect(frame(fin | 8, Bytes("\x03\xE8", 2) + "bye"), {{Bytes("close:\x03\xE8", 8) + "bye"}});
    expect(frame(fin | 8, Bytes(125, 'x')), {{"close:" + Bytes(125, 'x')}});
    expect(frame(fin | 8, Bytes(126, 'x')), {{}, WSXDP_E_FRAME_CONTROL});
    expect(frame(1, "frag") + frame(fin | 8, Bytes("\x03\xE8", 2)), {{Bytes("close:\x03\xE8", 8)}});
}

void group_9_limits(void **) {
    ReceiverLimits limits;
    limits.message_bytes_max = 100;
    limits.stream = false;
    compare_all(limits, text(Bytes(100, 'x')), {{"text:" + Bytes(100, 'x')}}, "at the limit");
    compare_all(limits, text(Bytes(101, 'x')), {{}, WSXDP_E_MESSAGE_SIZE}, "above");
    assert_int_equal(run(limits, text(Bytes(101, 'x')), {1}).fed, 2); // known by its head
    compare_all(limits, frame(2, Bytes(60, 'x')) + frame(fin, Bytes(40, 'y')),
                {{"binary:" + Bytes(60, 'x') + Bytes(40, 'y')}}, "sum at the limit");
    compare_all(limits, frame(2, Bytes(60, 'x')) + ping("p") + frame(fin, Bytes(41, 'y')),
                {{"ping:p"}, WSXDP_E_MESSAGE_SIZE}, "sum above");
    compare_all(limits, frame(2, Bytes(60, 'x')) + Bytes("\x80\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 10),
                {{}, WSXDP_E_MESSAGE_SIZE}, "a length that would wrap");
    compare_all(limits, text("a") + Bytes("\x82\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 10),
                {{"text:a"}, WSXDP_E_MESSAGE_SIZE}, "huge");
    ReceiverLimits frames;
    frames.frame_bytes_max = 50;
    expect_with(frames, frame(1, Bytes(50, 'x')) + frame(fin, Bytes(50, 'y')),
                {{"text:" + Bytes(50, 'x') + Bytes(50, 'y')}});
    expect_with(frames, text(Bytes(51, 'x')), {{}, WSXDP_E_MESSAGE_SIZE});
    expect_with(frames, frame(1, "a") + frame(fin, Bytes(51, 'y')), {{}, WSXDP_E_MESSAGE_SIZE});
    ReceiverLimits stream = limits;
    stream.stream = true; // a stream has no whole message that could be too large
    compare_all(stream, text(Bytes(300, 'x')), {{"text:" + Bytes(300, 'x')}}, "stream");
}

void group_9_large(void **) {
    const size_t size = 16u << 20;
    const Bytes body(size, 'x');
    ReceiverLimits limits;
    for (bool stream : {false, true}) {
        limits.stream = stream;
        for (size_t piece : {size_t(65536), size_t(16384 + 29), size + 100}) {
            assert_true(run(limits, binary(body) + text("t"), {piece}).log ==
                        (std::vector<Bytes>{"binary:" + body, "text:t"}));
        }
    }
}

void group_10_fragmented_in_small(void **) {
    const Bytes body(65536, '*');
    for (size_t part : {size_t(1), size_t(64), size_t(1300), size_t(4096)}) {
        Bytes stream;
        for (size_t at = 0; at < body.size(); at += part) {
            const bool last = at + part >= body.size();
            stream += frame((at ? 0u : 1u) | (last ? fin : 0u), body.substr(at, part));
        }
        for (bool streamed : {false, true}) {
            ReceiverLimits limits;
            limits.stream = streamed;
            for (size_t piece : {stream.size(), size_t(997), size_t(4096)}) {
                const Outcome got = run(limits, stream, {piece});
                assert_true(got.log == std::vector<Bytes>{"text:" + body});
                assert_int_equal(got.frames, (body.size() + part - 1) / part);
                assert_int_equal(got.left, 0);
            }
        }
    }
}

void counts_frames(void **) {
    const Bytes bytes = join({text("a"), frame(1, "b"), ping("c"), frame(0, ""), frame(fin, "d"), pong("e")});
    for (bool stream : {false, true}) {
        ReceiverLimits limits;
        limits.stream = stream;
        assert_int_equal(run(limits, bytes, {bytes.size()}).frames, 6);
        assert_int_equal(run(limits, bytes, {1}).frames, 6);
    }
}

void stream_gives_parts_at_once(void **) {
    ReceiverLimits limits;
    limits.stream = true;
    Feeder feeder(limits, 64);
    const Bytes bytes = binary("abcdef");
    wx::Item item{};
    memcpy(feeder.inbox.data(), bytes.data(), bytes.size());
    assert_int_equal(feeder.receiver.next(feeder.inbox.data(), 2, &item), 0); // only a head: nothing to say
    assert_int_equal(feeder.receiver.next(feeder.inbox.data(), 5, &item), 1);
    assert_int_equal(item.size, 3);
    assert_memory_equal(item.data, "abc", 3);
    assert_true(item.first && !item.final && item.frames == 0 && item.consumed == 5);
    assert_int_equal(feeder.receiver.next(feeder.inbox.data() + 5, 0, &item), 0);
    assert_int_equal(feeder.receiver.next(feeder.inbox.data() + 5, 3, &item), 1);
    assert_true(!item.first && item.final && item.frames == 1 && item.consumed == 3 && item.size == 3);
}

void compact_makes_room(void **) {
    // A window of 1200 bytes and a message of 1000 one-byte fragments with heads and empty ones between them:
    // several times what the window can hold.
    wx::Receiver receiver;
    std::vector<uint8_t> window(1200);
    uint64_t held = 0;
    Bytes stream;
    for (int i = 0; i < 1000; i++) {
        stream += frame(i ? 0u : 2u, Bytes(1, static_cast<char>(i))) + frame(0, "") +
                  (i % 7 ? "" : ping("0123456789"));
    }
    stream += frame(fin, "");
    wx::Item item{};
    bool done = false;
    for (char c : stream) {
        if (held == window.size()) {
            const uint64_t moved = receiver.compact(window.data());
            assert_true(moved > 0 && moved <= held);
            memmove(window.data(), window.data() + moved, held - moved);
            held -= moved;
        }
        window[held++] = static_cast<uint8_t>(c);
        for (int got; (got = receiver.next(window.data(), held, &item)) != 0;) {
            assert_int_equal(got, 1);
            done = item.kind == wx::ItemKind::message;
            if (done) break;
            assert_int_equal(item.consumed, 0);
            assert_memory_equal(item.data, "0123456789", 10);
        }
    }
    assert_true(done);
    assert_int_equal(item.size, 1000);
    assert_int_equal(item.frames, 2001);
    assert_int_equal(item.consumed, held);
    for (int i = 0; i < 1000; i++) assert_int_equal(item.data[i], i & 0xFF);
}

void wanted_tells_how_much(void **) {
    wx::Receiver receiver;
    uint8_t window[400] = {0};
    wx::Item item{};
    assert_int_equal(receiver.bytes_wanted(), 0);
    const Bytes bytes = frame(2, Bytes(300, 'x'));
    memcpy(window, bytes.data(), 10);
    assert_int_equal(receiver.next(window, 10, &item), 0);
    assert_int_equal(receiver.bytes_wanted(), 304);
    assert_int_equal(receiver.compact(window), 4);
    assert_int_equal(receiver.bytes_wanted(), 300);
    memcpy(window + 4, bytes.data() + 4, 300);
    assert_int_equal(receiver.next(window + 4, 300, &item), 0);
    assert_true(receiver.bytes_wanted() > 300); // a whole fragment is gathered, then heads and control frames
    receiver.limits.frame_bytes_max = 7;
    receiver.reset();
    assert_int_equal(receiver.bytes_wanted(), 0);
    assert_int_equal(receiver.limits.frame_bytes_max, 7);
    assert_false(receiver.in_message || receiver.in_frame);
    // The largest length there is does not wrap around.
    wx::Receiver huge;
    assert_int_equal(huge.next(reinterpret_cast<uint8_t *>(
                                   const_cast<char *>("\x82\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFFzz")),
                               12, &item),
                     0);
    assert_true(huge.bytes_wanted() > (uint64_t(1) << 62));
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(group_1_framing),       cmocka_unit_test(group_1_length_forms),
        cmocka_unit_test(masked_by_server),      cmocka_unit_test(group_2_pings),
        cmocka_unit_test(group_3_reserved_bits), cmocka_unit_test(group_4_opcodes),
        cmocka_unit_test(group_5_fragments),     cmocka_unit_test(group_6_valid),
        cmocka_unit_test(group_6_invalid),       cmocka_unit_test(group_6_fails_fast),
        cmocka_unit_test(group_7_close),         cmocka_unit_test(group_9_limits),
        cmocka_unit_test(group_9_large),         cmocka_unit_test(group_10_fragmented_in_small),
        cmocka_unit_test(counts_frames),         cmocka_unit_test(stream_gives_parts_at_once),
        cmocka_unit_test(compact_makes_room),    cmocka_unit_test(wanted_tells_how_much),
    };
    return cmocka_run_group_tests_name("ws/receiver", tests, nullptr, nullptr);
}
