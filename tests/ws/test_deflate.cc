// SPDX-License-Identifier: MIT
// Both directions of permessage-deflate against zlib used plainly as the other side: the like of Autobahn
// groups 12 and 13 (sizes, fragments, every takeover and window), in and out in pieces of any size; final
// blocks, empty and broken messages, bombs; no memory taken per message; every failure of memory at open.
extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}
#include "../../lib/base/alloc.h"
#include "../../lib/ws/deflate.h"
#include <string>
#include <zlib.h>

namespace {

using Bytes = std::string;
using wx::ByteSpan;
using wx::ByteView;

// The server: compresses and inflates with zlib's own memory.
struct Server {
    z_stream out{}, in{};
    bool reset_out, reset_in;
    Server(int out_bits, bool out_no_takeover, int in_bits, bool in_no_takeover)
        : reset_out(out_no_takeover), reset_in(in_no_takeover) {
        deflateInit2(&out, 6, Z_DEFLATED, -(out_bits < 9 ? 9 : out_bits), 8, Z_DEFAULT_STRATEGY);
        inflateInit2(&in, -in_bits);
    }
    ~Server() {
        deflateEnd(&out);
        inflateEnd(&in);
    }
    Bytes compress(const Bytes &message) {
        Bytes result(message.size() + message.size() / 4 + 100, '\0');
        out.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(message.data()));
        out.avail_in = static_cast<uInt>(message.size());
        out.next_out = reinterpret_cast<Bytef *>(&result[0]);
        out.avail_out = static_cast<uInt>(result.size());
        deflate(&out, Z_SYNC_FLUSH);
        result.resize(result.size() - out.avail_out);
        if (result.empty()) return Bytes(1, '\0');
        result.resize(result.size() - 4);
        if (reset_out) deflateReset(&out);
        return result;
    }
    // false when it is no valid stream within the window.
    bool inflate(const Bytes &payload, Bytes *message) {
        const Bytes all = payload + Bytes("\0\0\xFF\xFF", 4);
        char buffer[4096];
        in.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(all.data()));
        in.avail_in = static_cast<uInt>(all.size());
        message->clear();
        do {
            in.next_out = reinterpret_cast<Bytef *>(buffer);
            in.avail_out = sizeof buffer;
            const int status = ::inflate(&in, Z_SYNC_FLUSH);
            if (status != Z_OK && status != Z_BUF_ERROR) return false;
            message->append(buffer, sizeof buffer - in.avail_out);
        } while (in.avail_out == 0);
        if (reset_in) inflateReset(&in);
        return in.avail_in == 0;
    }
};

struct Inflated {
    int status = 0;
    Bytes text;
};

// Feeds in steps of `piece`, into room of `room` at a time. last comes with the last piece, or alone.
Inflated feed(wx::Inflater *inflater, const Bytes &payload, size_t piece, size_t room, uint64_t total_max = 0,
              bool last_alone = false) {
    Inflated result;
    Bytes buffer(room, '\0');
    size_t at = 0;
    for (int rounds = 0; rounds < 20000000; rounds++) {
        size_t size = piece < payload.size() - at ? piece : payload.size() - at;
        ByteView input(payload.data() + at, size);
        const bool last = last_alone ? size == 0 : at + size == payload.size();
        size_t produced = 0;
        result.status =
            wx::inflater_feed(inflater, &input, last, ByteSpan(&buffer[0], room), total_max, &produced);
        if (produced > room) fail_msg("wrote %zu into %zu", produced, room);
        if (result.status == 0 && !produced && input.size == size && (size || last)) fail_msg("no progress");
        at += size - input.size;
        result.text.append(buffer.data(), produced);
        if (result.status != 0) {
            if (result.status == 1 && at != payload.size()) fail_msg("complete with input left");
            return result;
        }
    }
    fail_msg("does not end");
    return result;
}

Bytes sample(size_t size, unsigned kind) {
    Bytes text;
    uint64_t x = 0x9E3779B97F4A7C15u + size;
    while (text.size() < size) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        if (kind == 0) text += "{\"price\":" + std::to_string(x >> 54) + ",\"side\":\"buy\"},";
        if (kind == 1) text += static_cast<char>(x >> 56);
        if (kind == 2) text += 'a';
    }
    text.resize(size);
    return text;
}

struct Pair {
    wx::Inflater *inflater = nullptr;
    wx::Deflater *deflater = nullptr;
    Pair(const wx::DeflateAgreement &agreement, const wx::DeflateOptions &options = wx::DeflateOptions()) {
        assert_int_equal(wx::inflater_open(agreement, options, &inflater), 0);
        assert_int_equal(wx::deflater_open(agreement, options, &deflater), 0);
    }
    ~Pair() {
        wx::inflater_free(inflater);
        wx::deflater_free(deflater);
    }
    Bytes compress(const Bytes &message, bool final = true) {
        Bytes out(wx::deflater_bound(deflater, message.size()), '\0');
        const int64_t size = wx::deflater_message(deflater, ByteView(message.data(), message.size()), final,
                                                  ByteSpan(&out[0], out.size()));
        if (size < 0) fail_msg("deflater says %d for %zu bytes", static_cast<int>(size), message.size());
        out.resize(static_cast<size_t>(size));
        return out;
    }
};

constexpr size_t sizes[] = {0, 16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072, 0, 1};

void groups_12_13(void **) {
    for (int server_bits = 8; server_bits <= 15; server_bits++) {
        for (int client_bits = 8; client_bits <= 15; client_bits++) {
            for (int takeover = 0; takeover < 4; takeover++) {
                if (server_bits != client_bits && takeover != (server_bits + client_bits) % 4) continue;
                wx::DeflateAgreement agreement;
                agreement.server_no_context_takeover = takeover & 1;
                agreement.client_no_context_takeover = takeover & 2;
                agreement.server_max_window_bits = static_cast<uint8_t>(server_bits);
                agreement.client_max_window_bits = static_cast<uint8_t>(client_bits);
                wx::DeflateOptions options;
                options.level = static_cast<uint8_t>(1 + (server_bits + client_bits) % 9);
                options.ratio_max = 0;
                Pair client(agreement, options);
                Server server(server_bits, takeover & 1, client_bits, takeover & 2);
                for (size_t size : sizes) {
                    for (unsigned kind = 0; kind < 3; kind++) {
                        const Bytes message = sample(size, kind);
                        const Inflated got = feed(client.inflater, server.compress(message), 5000, 1 << 16);
                        assert_int_equal(got.status, 1);
                        assert_true(got.text == message);
                        Bytes back;
                        assert_true(server.inflate(client.compress(message), &back));
                        assert_true(back == message);
                    }
                }
            }
        }
    }
}

void pieces_of_any_size(void **) {
    Pair client{wx::DeflateAgreement()};
    Server server(15, false, 15, false);
    for (size_t size : {size_t(0), size_t(1), size_t(700), size_t(3000)}) {
        for (unsigned kind = 0; kind < 2; kind++) {
            for (size_t piece : {1, 2, 3, 7, 64, 100000}) {
                for (size_t room : {1, 2, 5, 100, 699, 700, 701, 100000}) {
                    for (bool last_alone : {false, true}) {
                        const Bytes message = sample(size, kind);
                        const Inflated got =
                            feed(client.inflater, server.compress(message), piece, room, size, last_alone);
                        assert_int_equal(got.status, 1);
                        assert_true(got.text == message);
                    }
                }
            }
        }
    }
}

void every_split(void **) {
    Pair client{wx::DeflateAgreement()};
    Server server(15, false, 15, false);
    for (int round = 0; round < 400; round++) {
        const Bytes message = sample(200 + static_cast<size_t>(round), static_cast<unsigned>(round) % 2);
        const Bytes payload = server.compress(message);
        const size_t split = static_cast<size_t>(round) % (payload.size() + 1);
        char out[1000];
        size_t first = 0, second = 0;
        ByteView a(payload.data(), split), b(payload.data() + split, payload.size() - split);
        assert_int_equal(wx::inflater_feed(client.inflater, &a, false, ByteSpan(out, sizeof out), 0, &first),
                         0);
        assert_int_equal(a.size, 0);
        assert_int_equal(wx::inflater_feed(client.inflater, &b, true,
                                           ByteSpan(out + first, sizeof out - first), 0, &second),
                         1);
        assert_int_equal(first + second, message.size());
        assert_memory_equal(out, message.data(), message.size());
    }
}

void outgoing_fragments(void **) {
    for (bool no_takeover : {false, true}) {
        wx::DeflateAgreement agreement;
        agreement.client_no_context_takeover = no_takeover;
        Pair client(agreement);
        Server server(15, false, 15, no_takeover);
        for (size_t part : {size_t(1), size_t(10), size_t(999), size_t(1000), size_t(5000)}) {
            const Bytes message = sample(1000, 0);
            Bytes payload;
            for (size_t at = 0; at < message.size(); at += part)
                payload += client.compress(message.substr(at, part), false);
            payload += client.compress("", true); // ends with an empty fragment
            Bytes back;
            assert_true(server.inflate(payload, &back));
            assert_true(back == message);
            payload = client.compress("", false) + client.compress(message, true);
            assert_true(server.inflate(payload, &back));
            assert_true(back == message);
        }
    }
    Pair client{wx::DeflateAgreement()};
    assert_true(client.compress("") == Bytes(1, '\0')); // RFC 7692 section 7.2.3.6
    Bytes none(1, 'x');
    assert_int_equal(wx::deflater_message(client.deflater, ByteView("hello"), true, ByteSpan(&none[0], 1)),
                     WSXDP_E_INTERNAL);
}

// The examples of RFC 7692 section 7.2.3.
void standard_examples(void **) {
    Pair client{wx::DeflateAgreement()};
    const Bytes hello("\xF2\x48\xCD\xC9\xC9\x07\x00", 7), again("\xF2\x00\x11\x00\x00", 5);
    const Bytes stored("\x00\x05\x00\xFA\xFF\x48\x65\x6C\x6C\x6F\x00", 11);
    const Bytes final_block("\xF3\x48\xCD\xC9\xC9\x07\x00\x00", 8);
    const Bytes two_blocks("\xF2\x48\x05\x00\x00\x00\xFF\xFF\xCA\xC9\xC9\x07\x00", 13);
    for (size_t piece : {size_t(1), size_t(2), size_t(100)}) {
        for (size_t room : {size_t(1), size_t(5), size_t(100)}) {
            for (bool alone : {false, true}) {
                for (const Bytes &payload :
                     {hello, again, stored, again, final_block, again, two_blocks, again}) {
                    const Inflated got = feed(client.inflater, payload, piece, room, 5, alone);
                    assert_int_equal(got.status, 1);
                    assert_string_equal(got.text.c_str(), "Hello");
                }
                // A final block at the very end, without the byte after it; and the empty message in both
                // forms.
                for (const Bytes &payload : {final_block.substr(0, 7), Bytes(1, '\0'), Bytes()}) {
                    const Inflated got = feed(client.inflater, payload, piece, room, 5, alone);
                    assert_int_equal(got.status, 1);
                    assert_int_equal(got.text.size(), payload.size() == 7 ? 5 : 0);
                }
            }
        }
    }
    assert_true(client.compress("Hello") == hello);
    assert_true(client.compress("Hello") == again);
    wx::DeflateAgreement fresh;
    fresh.client_no_context_takeover = fresh.server_no_context_takeover = true;
    Pair other(fresh);
    for (int i = 0; i < 3; i++) {
        assert_true(other.compress("Hello") == hello);
        assert_int_equal(feed(other.inflater, hello, 100, 100).status, 1);
    }
    assert_int_equal(feed(other.inflater, again, 100, 100).status, WSXDP_E_DEFLATE); // looks back to nothing
}

void broken(void **) {
    const Bytes good("\xF2\x48\xCD\xC9\xC9\x07\x00", 7);
    for (const Bytes &payload :
         {Bytes("\x07", 1), Bytes("\xF3\x48\xCD\xC9\xC9\x07", 6), Bytes("\xFF\xFF\xFF", 3),
          Bytes("\x00\x05\x00\xFA\xFE", 5), good.substr(0, 3), good.substr(0, 5),
          Bytes("\x00\x05\x00\xFA\xFFHel", 8), Bytes("\xF2\x00\x11\x00\x00", 5)}) {
        for (size_t piece : {size_t(1), size_t(100)}) {
            Pair client{wx::DeflateAgreement()};
            const int status = feed(client.inflater, payload, piece, 10).status;
            if (status != WSXDP_E_DEFLATE)
                fail_msg("%zu bytes from %02X: %d", payload.size(), payload[0] & 0xFF, status);
        }
    }
    // A distance past the agreed window; zlib looks back in the room itself as far as that goes.
    wx::DeflateAgreement small;
    small.server_max_window_bits = 9;
    Pair client(small);
    Server server(15, false, 15, false);
    const Bytes block = sample(2000, 1);
    assert_int_equal(feed(client.inflater, server.compress(block + block), 100000, 300).status,
                     WSXDP_E_DEFLATE);
}

void sizes_are_capped(void **) {
    wx::DeflateOptions options;
    options.ratio_max = 0;
    for (size_t room : {size_t(1), size_t(100), size_t(999), size_t(1000), size_t(1001), size_t(50000)}) {
        Pair client(wx::DeflateAgreement(), options);
        Server server(15, false, 15, false);
        const Bytes message = sample(1000, 2);
        for (int i = 0; i < 2; i++) {
            const Inflated got = feed(client.inflater, server.compress(message), 3, room, 1000);
            assert_int_equal(got.status, 1);
            assert_true(got.text == message);
        }
        const Inflated more = feed(client.inflater, server.compress(message + "a"), 3, room, 1000);
        assert_int_equal(more.status, WSXDP_E_INFLATE_SIZE);
        assert_int_equal(more.text.size(), 1000);
    }
    // What just fits is complete at once; what does not is refused at once.
    Pair client(wx::DeflateAgreement(), options);
    Server server(15, false, 15, false);
    char out[1000];
    size_t produced = 0;
    for (size_t size : {size_t(1000), size_t(1001)}) {
        const Bytes payload = server.compress(sample(size, 0));
        ByteView input(payload.data(), payload.size());
        assert_int_equal(
            wx::inflater_feed(client.inflater, &input, true, ByteSpan(out, 1000), 1000, &produced),
            size == 1000 ? 1 : WSXDP_E_INFLATE_SIZE);
        assert_int_equal(produced, 1000);
    }
}

// Whatever bits zlib still holds when the room is exactly full, the message is known to be complete.
void exact_room_is_enough(void **) {
    for (size_t size = 1; size < 900; size++) {
        const Bytes message = sample(size, 0);
        Pair fresh{wx::DeflateAgreement()};
        const Bytes alone = fresh.compress(message);
        Bytes out(size, '\0');
        for (size_t cut = 0; cut <= 1; cut++) {
            ByteView input(alone.data(), alone.size() - cut);
            size_t first = 0, second = 0;
            int status =
                wx::inflater_feed(fresh.inflater, &input, cut == 0, ByteSpan(&out[0], size), size, &first);
            if (cut) {
                assert_int_equal(status, 0);
                input = ByteView(alone.data() + alone.size() - 1, 1);
                status = wx::inflater_feed(fresh.inflater, &input, true, ByteSpan(&out[first], size - first),
                                           size, &second);
            }
            assert_int_equal(status, 1);
            assert_int_equal(first + second, size);
            assert_true(out == message);
        }
    }
}

void bombs_are_refused(void **) {
    wx::DeflateOptions options;
    options.ratio_max = 100;
    for (size_t room : {size_t(512), size_t(1) << 20}) {
        Pair client(wx::DeflateAgreement(), options);
        Server server(15, false, 15, false);
        const Bytes bomb = server.compress(Bytes(8 << 20, '\0'));
        const Inflated got = feed(client.inflater, bomb, 64, room);
        assert_int_equal(got.status, WSXDP_E_INFLATE_SIZE);
        assert_true(got.text.size() < (room < 1024 ? 20000u : 300000u));
    }
    Pair client(wx::DeflateAgreement(), options);
    Server server(15, false, 15, false);
    assert_int_equal(feed(client.inflater, server.compress(Bytes(4000, 'x')), 64, 9999).status,
                     1); // small is no bomb
    assert_int_equal(feed(client.inflater, server.compress(sample(200000, 0)), 64, 9999).status, 1);
}

void messages_take_no_memory(void **) {
    for (bool takeover : {false, true}) {
        wx::DeflateAgreement agreement;
        agreement.client_no_context_takeover = agreement.server_no_context_takeover = takeover;
        Pair client(agreement);
        Server server(15, takeover, 15, takeover);
        const uint64_t before = wx::allocation_count();
        for (size_t i = 0; i < 300; i++) {
            const Bytes message = sample(i * 97, static_cast<unsigned>(i) % 2);
            const Inflated got = feed(client.inflater, server.compress(message), 1000, 700);
            assert_true(got.status == 1 && got.text == message);
            Bytes back;
            assert_true(server.inflate(client.compress(message), &back) && back == message);
        }
        assert_int_equal(feed(client.inflater, Bytes("\xF3\x48\xCD\xC9\xC9\x07\x00\x00", 8), 3, 2).status, 1);
        assert_int_equal(wx::allocation_count(), before);
    }
}

void open_out_of_memory(void **) {
    const wx::DeflateAgreement agreement;
    const wx::DeflateOptions options;
    int failures = 0;
    for (int64_t n = 0; n < 30; n++) {
        wx::Inflater *inflater = reinterpret_cast<wx::Inflater *>(&failures);
        wx::allocation_fail_after(n);
        const int status = wx::inflater_open(agreement, options, &inflater);
        wx::allocation_fail_after(-1);
        if (status == 0) {
            wx::inflater_free(inflater);
            break;
        }
        failures++;
        assert_int_equal(status, WSXDP_E_MEMORY);
        assert_null(inflater);
    }
    assert_in_range(failures, 3, 10); // ours, zlib's state, the window
    failures = 0;
    for (int64_t n = 0; n < 30; n++) {
        wx::Deflater *deflater = reinterpret_cast<wx::Deflater *>(&failures);
        wx::allocation_fail_after(n);
        const int status = wx::deflater_open(agreement, options, &deflater);
        wx::allocation_fail_after(-1);
        if (status == 0) {
            wx::deflater_free(deflater);
            break;
        }
        failures++;
        assert_int_equal(status, WSXDP_E_MEMORY);
        assert_null(deflater);
    }
    assert_in_range(failures, 4, 12);
    wx::inflater_free(nullptr);
    wx::deflater_free(nullptr);
}

void open_checks_ranges(void **) {
    wx::Inflater *inflater;
    wx::Deflater *deflater;
    for (int bits : {0, 7, 16, 255}) {
        wx::DeflateAgreement agreement;
        agreement.client_max_window_bits = agreement.server_max_window_bits = static_cast<uint8_t>(bits);
        assert_int_equal(wx::inflater_open(agreement, wx::DeflateOptions(), &inflater), WSXDP_E_INVALID);
        assert_int_equal(wx::deflater_open(agreement, wx::DeflateOptions(), &deflater), WSXDP_E_INVALID);
    }
    for (int level : {0, 10}) {
        wx::DeflateOptions options;
        options.level = static_cast<uint8_t>(level);
        assert_int_equal(wx::deflater_open(wx::DeflateAgreement(), options, &deflater), WSXDP_E_INVALID);
        options = wx::DeflateOptions();
        options.memory_level = static_cast<uint8_t>(level);
        assert_int_equal(wx::deflater_open(wx::DeflateAgreement(), options, &deflater), WSXDP_E_INVALID);
    }
}

// Noise is the largest output; the bound must hold for every level and memory.
void bound_is_enough(void **) {
    for (int level = 1; level <= 9; level++) {
        for (int memory = 1; memory <= 9; memory++) {
            wx::DeflateOptions options;
            options.level = static_cast<uint8_t>(level);
            options.memory_level = static_cast<uint8_t>(memory);
            wx::DeflateAgreement agreement;
            agreement.client_max_window_bits = static_cast<uint8_t>(8 + (level + memory) % 8);
            Pair client(agreement, options);
            Server server(15, false, agreement.client_max_window_bits, false);
            for (size_t size : {1, 2, 5, 126, 127, 128, 1000, 40000}) {
                Bytes back;
                const Bytes message = sample(static_cast<size_t>(size), 1);
                assert_true(server.inflate(client.compress(message), &back) && back == message);
            }
        }
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(groups_12_13),
        cmocka_unit_test(pieces_of_any_size),
        cmocka_unit_test(every_split),
        cmocka_unit_test(outgoing_fragments),
        cmocka_unit_test(standard_examples),
        cmocka_unit_test(broken),
        cmocka_unit_test(sizes_are_capped),
        cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(exact_room_is_enough),
        cmocka_unit_test(open_out_of_memory),
        cmocka_unit_test(messages_take_no_memory),
        cmocka_unit_test(open_checks_ranges),
        cmocka_unit_test(bound_is_enough),
    };
    return cmocka_run_group_tests_name("ws/deflate", tests, nullptr, nullptr);
}
