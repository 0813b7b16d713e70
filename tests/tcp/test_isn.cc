// SPDX-License-Identifier: MIT
// SipHash-2-4 against its authors' vectors and against OpenSSL; every field of the tuple, the secret and the
// purpose change the hash; the initial sequence number moves by one every 4 us and never back for one tuple.
#include "../../lib/base/random.h"
#include "../../lib/tcp/isn.h"
#include "../base/check.h"
#include <cstdlib>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <set>
#include <vector>

using namespace wx;

namespace {

uint64_t seed() {
    const char *text = getenv("WSXDP_SEED");
    return text ? strtoull(text, nullptr, 10) : 1;
}

TcpTuple tuple4() {
    TcpTuple t;
    t.local = ip4_address(192, 0, 2, 1);
    t.remote = ip4_address(198, 51, 100, 7);
    t.local_port = 40000;
    t.remote_port = 443;
    return t;
}

TcpSecret secret_of(uint8_t first) {
    TcpSecret s;
    for (uint8_t i = 0; i < 16; i++) s.key[i] = static_cast<uint8_t>(first + i);
    return s;
}

// The first sixteen of the reference implementation's table: key 00..0f, message 00, 01, 02... of each
// length.
void test_siphash_vectors(void **) {
    const uint64_t wanted[] = {
        0x726FDB47DD0E0E31, 0x74F839C593DC67FD, 0x0D6C8009D9A94F5A, 0x85676696D7FB7E2D,
        0xCF2794E0277187B7, 0x18765564CD99A68D, 0xCBC9466E58FEE3CE, 0xAB0200F58B01D137,
        0x93F5F5799A932462, 0x9E0082DF0BA9E4B0, 0x7A5DBBC594DDB9F3, 0xF4B32F46226BADA7,
        0x751E8FBC860EE5FB, 0x14EA5627C0843D90, 0xF723CA908E7AF2EE, 0xA129CA6149BE45E5,
    };
    uint8_t message[16];
    for (uint8_t i = 0; i < 16; i++) message[i] = i;
    TcpSecret key = secret_of(0);
    for (size_t size = 0; size < 16; size++) {
        if (siphash(key.key, ByteView(message, size)) != wanted[size]) fail_msg("length %zu", size);
    }
}

uint64_t openssl_siphash(const uint8_t key[16], ByteView data) {
    EVP_MAC *mac = EVP_MAC_fetch(nullptr, "SIPHASH", nullptr);
    assert_non_null(mac);
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
    size_t wanted = 8, size = 0;
    OSSL_PARAM parameters[] = {OSSL_PARAM_construct_size_t("size", &wanted), OSSL_PARAM_construct_end()};
    uint8_t out[8] = {0};
    assert_int_equal(EVP_MAC_init(context, key, 16, parameters), 1);
    assert_int_equal(EVP_MAC_update(context, data.data, data.size), 1);
    assert_int_equal(EVP_MAC_final(context, out, &size, sizeof out), 1);
    assert_int_equal(size, 8);
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(mac);
    return __builtin_bswap64(load_be64(out));
}

void test_siphash_like_openssl(void **) {
    FixedRandom random;
    fixed_random_open(&random, seed());
    for (size_t size = 0; size < 300; size++) {
        TcpSecret key;
        std::vector<uint8_t> data(size + 1);
        random.fill(&random, key.key, sizeof key.key);
        random.fill(&random, data.data(), data.size());
        ByteView odd(data.data() + 1, size); // not aligned
        if (siphash(key.key, odd) != openssl_siphash(key.key, odd))
            fail_msg("seed %llu, length %zu", (unsigned long long)seed(), size);
    }
}

void test_every_field_counts(void **) {
    TcpSecret secret = secret_of(7);
    std::set<uint64_t> seen;
    TcpTuple base = tuple4();
    seen.insert(tuple_hash(secret, 1, base));
    seen.insert(tuple_hash(secret, 2, base));
    for (unsigned bit = 0; bit < 16; bit++) {
        TcpTuple t = base;
        t.local_port = static_cast<uint16_t>(t.local_port ^ 1u << bit);
        seen.insert(tuple_hash(secret, 1, t));
        t = base;
        t.remote_port = static_cast<uint16_t>(t.remote_port ^ 1u << bit);
        seen.insert(tuple_hash(secret, 1, t));
    }
    for (unsigned bit = 0; bit < 32; bit++) {
        TcpTuple t = base;
        t.local.bytes[bit / 8] = static_cast<uint8_t>(t.local.bytes[bit / 8] ^ 1u << bit % 8);
        seen.insert(tuple_hash(secret, 1, t));
        t = base;
        t.remote.bytes[bit / 8] = static_cast<uint8_t>(t.remote.bytes[bit / 8] ^ 1u << bit % 8);
        seen.insert(tuple_hash(secret, 1, t));
    }
    for (unsigned byte = 0; byte < 16; byte++) {
        TcpSecret other = secret;
        other.key[byte] ^= 1;
        seen.insert(tuple_hash(other, 1, base));
    }
    assert_int_equal(seen.size(), 2 + 32 + 64 + 16);
}

void test_versions_and_direction(void **) {
    TcpSecret secret = secret_of(7);
    TcpTuple four = tuple4(), six = four, turned = four;
    six.local.version = six.remote.version = 6; // the same bytes, as the start of longer addresses
    assert_true(tuple_hash(secret, 1, four) != tuple_hash(secret, 1, six));
    turned.local = four.remote;
    turned.remote = four.local;
    turned.local_port = four.remote_port;
    turned.remote_port = four.local_port;
    assert_true(tuple_hash(secret, 1, four) != tuple_hash(secret, 1, turned));
    std::set<uint64_t> seen;
    for (unsigned byte = 0; byte < 16; byte++) {
        TcpTuple t = six;
        t.local.bytes[byte] ^= 0x80;
        seen.insert(tuple_hash(secret, 1, t));
        t = six;
        t.remote.bytes[byte] ^= 0x80;
        seen.insert(tuple_hash(secret, 1, t));
    }
    assert_int_equal(seen.size(), 32);
    TcpTuple behind = four; // what lies behind an IPv4 address is not part of it
    behind.local.bytes[9] = 1;
    assert_true(tuple_hash(secret, 1, four) == tuple_hash(secret, 1, behind));
}

void test_tuple_equality(void **) {
    TcpTuple a = tuple4(), b = a;
    assert_true(a == b);
    b.local_port++;
    assert_false(a == b);
    b = a;
    b.remote_port++;
    assert_false(a == b);
    b = a;
    b.local.bytes[3]++;
    assert_false(a == b);
    b = a;
    b.remote.bytes[0]++;
    assert_false(a == b);
}

void test_isn_clock(void **) {
    TcpSecret secret = secret_of(1);
    TcpTuple t = tuple4();
    Nanos now = 123456 * ns_per_s;
    uint32_t first = isn_make(secret, t, now);
    assert_int_equal(isn_make(secret, t, now + 3999), first);
    assert_int_equal(isn_make(secret, t, now + 4000), first + 1);
    assert_int_equal(static_cast<uint32_t>(isn_make(secret, t, now + ns_per_s) - first), 250000);
    // Once round in 2^32 ticks: 4 h 46 min, longer than a segment lives.
    assert_int_equal(isn_make(secret, t, now + (Nanos{4000} << 32)), first);
}

void test_isn_of_neighbours(void **) {
    // From one tuple's number the next port's cannot be told: the distances look like any numbers.
    TcpSecret secret = secret_of(1);
    TcpTuple t = tuple4();
    std::set<uint32_t> distances;
    uint32_t last = isn_make(secret, t, 0), high = 0;
    for (int i = 0; i < 1000; i++) {
        t.local_port++;
        uint32_t isn = isn_make(secret, t, 0);
        distances.insert(isn - last);
        high += isn >> 31;
        last = isn;
    }
    assert_int_equal(distances.size(), 1000);
    assert_in_range(high, 400, 600);
    assert_int_not_equal(isn_make(secret, t, 0), isn_make(secret_of(2), t, 0));
}

void test_timestamps_and_labels(void **) {
    TcpSecret secret = secret_of(3);
    TcpTuple t = tuple4();
    assert_int_equal(timestamp_offset(secret, t), timestamp_offset(secret, t));
    assert_int_not_equal(timestamp_offset(secret, t), isn_make(secret, t, 0));
    std::set<uint32_t> offsets, labels;
    for (int i = 0; i < 4096; i++) {
        t.local_port++;
        uint32_t label = flow_label_make(secret, t);
        assert_in_range(label, 1, 0xFFFFF);
        labels.insert(label);
        offsets.insert(timestamp_offset(secret, t));
    }
    assert_true(offsets.size() >= 4095);
    assert_true(labels.size() > 4050); // 8 collisions are expected in 20 bits
}

// A hash whose 20 bits are all 0 must not become the label that means none. One in a million: they are
// searched for.
void test_label_never_zero(void **) {
    TcpTuple t = tuple4();
    unsigned zero = 0;
    for (uint32_t i = 0; zero == 0 && i < 30000000; i++) {
        TcpSecret secret;
        memcpy(secret.key, &i, sizeof i);
        if ((tuple_hash(secret, 3, t) & 0xFFFFF) != 0) continue;
        zero++;
        assert_int_equal(flow_label_make(secret, t), 1);
    }
    assert_int_equal(zero, 1);
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_siphash_vectors),    cmocka_unit_test(test_siphash_like_openssl),
        cmocka_unit_test(test_every_field_counts), cmocka_unit_test(test_versions_and_direction),
        cmocka_unit_test(test_tuple_equality),     cmocka_unit_test(test_isn_clock),
        cmocka_unit_test(test_isn_of_neighbours),  cmocka_unit_test(test_timestamps_and_labels),
        cmocka_unit_test(test_label_never_zero),
    };
    return cmocka_run_group_tests_name("tcp: isn", tests, nullptr, nullptr);
}
