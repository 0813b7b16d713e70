// SPDX-License-Identifier: MIT
// So many bytes there and back, over a network that loses, reorders, doubles and delays packets: every byte
// is compared where it comes back, and three hashes are equal, of what was sent, of what the server got and
// of what came back. In a test with few bytes, in endurance_runner with as many as one likes.
#pragma once
#include "ledger.h"
#include "stream.h"
#include <openssl/evp.h>

struct Digest {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    Digest() { EVP_DigestInit_ex(context, EVP_sha256(), nullptr); }
    ~Digest() { EVP_MD_CTX_free(context); }
    Digest(const Digest &) = delete;
    Digest &operator=(const Digest &) = delete;
    void add(const std::string &bytes) { EVP_DigestUpdate(context, bytes.data(), bytes.size()); }
    std::string text() const {
        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned size = 0;
        EVP_DigestFinal_ex(context, digest, &size);
        std::string out;
        for (unsigned i = 0; i < size; i++) {
            char hex[3];
            snprintf(hex, sizeof hex, "%02x", digest[i]);
            out += hex;
        }
        return out;
    }
};

// Sends back what is binary; a text asks for the hash of all that was.
inline void echo_and_hash(scripted::Wire &wire) {
    Digest digest;
    wire.upgrade();
    for (scripted::Frame f = wire.read_frame(); f.opcode > 0 && f.opcode != 8; f = wire.read_frame()) {
        if (f.opcode == 2) digest.add(f.payload);
        wire.write(f.opcode == 1 ? scripted::frame(1, digest.text()) : scripted::frame(f.opcode, f.payload));
    }
    wire.write(scripted::close_frame(1000));
}

// Some of everything, in both directions; none of it so much that TCP stands still.
inline wx::SimPathOptions rough_path() {
    wx::SimPathOptions path;
    path.loss.ppm = 500;
    path.reorder.ppm = 2000;
    path.reorder.delay = 300 * 1000;
    path.duplicate.ppm = 1000;
    path.delay.fixed = 100 * 1000;
    path.delay.jitter = 50 * 1000;
    return path;
}

struct VolumeResult {
    double seconds = 0;
    wsxdp_stats_t stats;
    Counters counters;
    netns::BridgeCount out, back;
    std::string hash;
};

inline void check_bridge(const netns::BridgeCount &count) {
    assert_int_equal(count.overruns, 0);
    assert_true(count.lost != 0 && count.reordered != 0 && count.doubled != 0 && count.delayed != 0);
}

inline VolumeResult run_volume(uint64_t bytes, const Way &way, const OptionList &more = {}) {
    constexpr uint64_t slice = 16 << 20; // Stream's patience is for one of these
    netns::BridgeOptions options;
    options.out = options.back = rough_path();
    options.seed = random_seed();
    BridgeWorld world(options);
    Echo<BridgeWorld> echo(world, way, more, echo_and_hash);
    Session session(echo.url, echo.options);
    if (session.status != 0) fail_msg("open: %d %s", session.status, session.text.c_str());
    Stream stream(session);
    stream.ahead = 1 << 20;
    Digest sent, received;
    stream.on_sent = [&](const std::string &part) { sent.add(part); };
    stream.on_received = [&](const std::string &part) { received.add(part); };
    VolumeResult result;
    const int64_t began = now_ms();
    for (uint64_t left = bytes; left != 0;) {
        const uint64_t part = left < slice ? left : slice;
        stream.need_flow(part);
        left -= part;
    }
    result.seconds = static_cast<double>(now_ms() - began) / 1000;
    result.stats = session.stats();
    assert_int_equal(session.send("hash"), 0);
    const std::string servers = session.need(WSXDP_EVENT_MESSAGE, patience_ms).data;
    result.hash = sent.text();
    assert_string_equal(servers.c_str(), result.hash.c_str());
    assert_string_equal(received.text().c_str(), result.hash.c_str());
    assert_int_equal(result.stats.payload_sent, bytes);
    assert_int_equal(result.stats.payload_received, bytes);
    assert_int_equal(result.stats.allocations, 0);
    assert_true(result.stats.tcp_retransmits != 0 && result.stats.tcp_out_of_order != 0);
    assert_int_equal(wsxdp_close(session.handle, 0, 1000, "", 0), 0);
    const Seen &close = session.need(WSXDP_EVENT_CLOSE, patience_ms);
    assert_int_equal(close.error, 0);
    assert_true(close.flags & WSXDP_FLAG_CLEAN);
    result.counters = need_balance(session, 0, patience_ms);
    result.out = world.bridge.count(netns::Direction::out);
    result.back = world.bridge.count(netns::Direction::back);
    check_bridge(result.out);
    check_bridge(result.back);
    return result;
}
