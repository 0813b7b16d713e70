// SPDX-License-Identifier: MIT
// The echo link: client frames in any pieces come back as a server's; a ping as a pong; a close ends it; what
// does not fit waits; what is no frame ends it too.
#include "../../lib/base/alloc.h"
#include "../../lib/link/link.h"
#include "../../lib/ws/frame.h"
#include "../base/check.h"

using namespace wx;

namespace {

std::string client_frame(unsigned first, const std::string &payload, uint32_t mask) {
    uint8_t head[frame_head_max];
    size_t size = frame_head_build(head, static_cast<uint8_t>(first), payload.size(), true, mask);
    std::string frame(reinterpret_cast<char *>(head), size);
    for (size_t i = 0; i < payload.size(); i++)
        frame.push_back(static_cast<char>(payload[i] ^ reinterpret_cast<uint8_t *>(&mask)[i & 3]));
    return frame;
}
std::string server_frame(unsigned first, const std::string &payload) {
    uint8_t head[frame_head_max];
    size_t size = frame_head_build(head, static_cast<uint8_t>(first), payload.size(), false, 0);
    return std::string(reinterpret_cast<char *>(head), size) + payload;
}

struct Echo {
    Channel channel;
    int cause = 0;
    explicit Echo(uint64_t bytes = 4096) {
        LinkOptions options;
        options.echo_bytes = bytes;
        ErrorText error;
        assert_int_equal(echo_link.open(Address(), options, &channel, &error), 1);
        assert_ptr_equal(channel.backend, &echo_link);
        assert_int_equal(channel.fd, -1);
        assert_int_equal(echo_link.finish(&channel, &error), 1);
    }
    ~Echo() { echo_link.close(&channel, false); }
    int64_t write(const std::string &bytes) {
        return echo_link.write(&channel, reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size(),
                               &cause);
    }
    int64_t read(std::string *out, size_t cap) {
        ReadStamps stamps = {1, 1};
        std::string room(cap, 0);
        int64_t got = echo_link.read(&channel, reinterpret_cast<uint8_t *>(&room[0]), cap, &stamps, &cause);
        assert_true(stamps.kernel_ns == 0 && stamps.nic_ns == 0);
        if (got > 0) out->append(room, 0, static_cast<size_t>(got));
        return got;
    }
};

struct Talk {
    std::string sent, expected;
    Talk() {
        add(0x81, 0x81, "hello");
        add(0x82, 0x82, std::string(126, 'b')); // 16-bit length
        add(0x81, 0x81, "");                    // no payload
        add(0x89, 0x8A, "are you there");       // ping: pong
        add(0x8A, 0x8A, "unasked");             // pong: as any frame
        add(0x01, 0x01, "frag");                // fragments as they are
        add(0x80, 0x80, "ment");
        add(0x88, 0x88,
            "\x03\xE8"
            "bye");
    }
    void add(unsigned first, unsigned back, const std::string &payload) {
        sent += client_frame(first, payload, 0x11223344u * (first | 1));
        expected += server_frame(back, payload);
    }
};

void finish_talk(Echo *echo, const Talk &talk, std::string *got, size_t piece) {
    while (echo->read(got, piece) > 0) {
    }
    assert_true(*got == talk.expected);
    assert_true(echo_link.readable(&echo->channel)); // the end is something to read
    assert_int_equal(echo->read(got, piece), WSXDP_E_EOF);
    assert_int_equal(echo->write("anything"), 8); // taken and forgotten, as by a peer that has closed
    assert_int_equal(echo->read(got, piece), WSXDP_E_EOF);
}

void test_every_split(void **) {
    Talk talk;
    for (size_t split = 0; split <= talk.sent.size(); split++) {
        Echo echo;
        std::string got;
        assert_int_equal(echo.write(talk.sent.substr(0, split)), split);
        while (echo.read(&got, 100) > 0) {
        }
        assert_int_equal(echo.write(talk.sent.substr(split)), talk.sent.size() - split);
        finish_talk(&echo, talk, &got, 100);
    }
}

void test_bytewise(void **) {
    Talk talk;
    Echo echo;
    std::string got;
    assert_false(echo_link.readable(&echo.channel));
    for (char c : talk.sent) {
        assert_int_equal(echo.write(std::string(1, c)), 1);
        bool readable = echo_link.readable(&echo.channel);
        int64_t count = echo.read(&got, 1);
        assert_int_equal(count > 0, readable);
    }
    finish_talk(&echo, talk, &got, 1);
}

void test_full(void **) {
    Echo echo(1000);
    std::string stream, expected, got;
    for (int i = 0; i < 40; i++) {
        std::string payload(static_cast<size_t>(i * 53 % 700), static_cast<char>('a' + i % 26));
        stream += client_frame(0x82, payload, 0xDEADBEEF);
        expected += server_frame(0x82, payload);
    }
    size_t at = 0, refusals = 0;
    for (int rounds = 0; got.size() < expected.size() && rounds < 100000; rounds++) {
        int64_t taken = echo.write(stream.substr(at));
        assert_in_range(taken, 0, stream.size() - at);
        at += static_cast<size_t>(taken);
        refusals += at < stream.size();
        echo.read(&got, 97);
    }
    assert_true(got == expected);
    assert_int_equal(at, stream.size());
    assert_true(refusals > 0); // it was full at times
    // Nobody reads: it takes about echo_bytes, then nothing.
    Echo stuffed(1000);
    int64_t taken = stuffed.write(client_frame(0x82, std::string(5000, 'x'), 1));
    assert_in_range(taken, 900, 1100);
    assert_int_equal(stuffed.write("x"), 0);
}

void test_no_frame(void **) {
    Echo echo;
    std::string got;
    const char bad[] = "\x82\xFF\x80\0\0\0\0\0\0\0abcdefghijklmnopqrstuvwxyz"; // the length's top bit
    std::string bytes(bad, sizeof bad - 1);
    for (int i = 0; i < 3; i++) assert_int_equal(echo.write(bytes), bytes.size());
    assert_int_equal(echo.read(&got, 100), WSXDP_E_EOF);
}

void test_memory(void **) {
    LinkOptions options;
    options.echo_bytes = 4096;
    for (int64_t nth = 0; nth < 2; nth++) {
        Channel channel;
        ErrorText error;
        wx::allocation_fail_after(nth);
        int status = echo_link.open(Address(), options, &channel, &error);
        wx::allocation_fail_after(-1);
        check_error(status, error, WSXDP_E_MEMORY, "opening echo");
        echo_link.close(&channel, true); // closing what did not open does no harm
        echo_link.close(&channel, true);
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_every_split), cmocka_unit_test(test_bytewise), cmocka_unit_test(test_full),
        cmocka_unit_test(test_no_frame),    cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests_name("link: echo", tests, nullptr, nullptr);
}
