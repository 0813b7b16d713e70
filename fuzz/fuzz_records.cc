// SPDX-License-Identifier: MIT
// The TLS record layer without a handshake: the input chooses the suite, how the bytes are portioned and how
// much room there is, and then, record by record, what the server seals: data, padding, alerts, KeyUpdates,
// tickets, wrong types, wrong lengths, damage. The server's side is written here a second time, from the
// RFCs, with OpenSSL's one-shot HMAC and ciphers, so that a mistake in the keys cannot hide on both sides.
//
// Holds: what comes out is what was sealed, in order, up to the first record that breaks a rule, then an
// error that stays the same, and never a byte more; the error is the expected one; input is used up unless
// the room is full; what the session says is whole records. Input and room are heap blocks of their exact
// size.
#ifdef WSXDP_TLS_NONE
#include <stddef.h>
#include <stdint.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *, size_t) { return 0; } // there is no record layer
#else
#include "../lib/base/alloc.h"
#include "../lib/tls/openssl_parts.h"
#include <memory>
#include <openssl/hmac.h>
#include <string>
#include <vector>

using namespace wx;

static void require(bool holds) {
    if (!holds) __builtin_trap();
}

namespace {

struct Suite {
    const char *cipher;
    size_t key_bytes;
    size_t hash_bytes;
    bool tls13;
};
constexpr Suite suites[] = {
    {"AES-128-GCM", 16, 32, true},  {"AES-256-GCM", 32, 48, true},  {"ChaCha20-Poly1305", 32, 32, true},
    {"AES-128-GCM", 16, 32, false}, {"AES-256-GCM", 32, 48, false}, {"ChaCha20-Poly1305", 32, 32, false},
};
constexpr size_t tag_bytes = 16;
constexpr size_t wire_max = 120000; // a few records of full size; more only costs time
constexpr int change_cipher = 20, alert = 21, handshake = 22, data = 23;

// The input as a program: at its end everything is 0.
struct Choices {
    ByteView left;
    uint8_t u8() {
        if (left.empty()) return 0;
        uint8_t byte = left.data[0];
        left = left.from(1);
        return byte;
    }
    size_t u16() {
        size_t high = u8();
        return high << 8 | u8();
    }
};

// ---- the server's side -------------------------------------------------------------------------------

struct Sealer {
    const Suite *suite;
    uint8_t secret[48];
    uint8_t key[32];
    uint8_t nonce[12];
    uint64_t sequence = 0;

    // RFC 8446 section 7.1; one block of RFC 5869's expand is enough for all labels here.
    void expand(const char *label, uint8_t *out, size_t size) const {
        std::string info = {0, static_cast<char>(size), static_cast<char>(6 + strlen(label))};
        info += std::string("tls13 ") + label;
        info += std::string("\0\1", 2);
        uint8_t block[64];
        HMAC(suite->hash_bytes == 48 ? EVP_sha384() : EVP_sha256(), secret,
             static_cast<int>(suite->hash_bytes), reinterpret_cast<const uint8_t *>(info.data()), info.size(),
             block, nullptr);
        memcpy(out, block, size);
    }
    void keys_from_secret() {
        expand("key", key, suite->key_bytes);
        expand("iv", nonce, sizeof nonce);
        sequence = 0;
    }
    void update() {
        uint8_t next[48];
        expand("traffic upd", next, suite->hash_bytes);
        memcpy(secret, next, suite->hash_bytes);
        keys_from_secret();
    }
    bool explicit_nonce() const { return !suite->tls13 && suite->cipher[0] == 'A'; }

    std::string encrypt(const uint8_t *iv, const std::string &additional, const std::string &plain) const {
        const EVP_CIPHER *cipher = suite->cipher[0] == 'C'  ? EVP_chacha20_poly1305()
                                   : suite->key_bytes == 16 ? EVP_aes_128_gcm()
                                                            : EVP_aes_256_gcm();
        std::string out(plain.size() + tag_bytes, 0);
        uint8_t *to = reinterpret_cast<uint8_t *>(&out[0]);
        int count = 0;
        EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
        require(EVP_EncryptInit_ex(context, cipher, nullptr, key, iv) == 1);
        EVP_EncryptUpdate(context, nullptr, &count, reinterpret_cast<const uint8_t *>(additional.data()),
                          static_cast<int>(additional.size()));
        if (!plain.empty())
            EVP_EncryptUpdate(context, to, &count, reinterpret_cast<const uint8_t *>(plain.data()),
                              static_cast<int>(plain.size()));
        require(EVP_EncryptFinal_ex(context, to + plain.size(), &count) == 1);
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, tag_bytes, to + plain.size());
        EVP_CIPHER_CTX_free(context);
        return out;
    }

    std::string seal(int type, const std::string &content, size_t padding) {
        std::string plain = content, additional, prefix;
        if (suite->tls13) {
            plain += static_cast<char>(type);
            plain.append(padding, 0);
            type = data;
        }
        uint8_t numbers[8], iv[12];
        store_be64(numbers, sequence++);
        memcpy(iv, nonce, sizeof iv);
        if (explicit_nonce()) {
            prefix.assign("explicit",
                          8); // the sender's choice (RFC 5288 section 3); unique is not our concern
            prefix[7] = static_cast<char>(sequence);
            memcpy(iv + 4, prefix.data(), 8);
        } else {
            for (int i = 0; i < 8; i++) iv[4 + i] ^= numbers[i];
        }
        size_t body = prefix.size() + plain.size() + tag_bytes;
        std::string head = {static_cast<char>(type), 3, 3, static_cast<char>(body >> 8),
                            static_cast<char>(body)};
        additional = head;
        if (!suite->tls13) {
            additional = std::string(reinterpret_cast<char *>(numbers), 8) + head.substr(0, 3);
            additional += static_cast<char>(plain.size() >> 8);
            additional += static_cast<char>(plain.size());
        }
        return head + prefix + encrypt(iv, additional, plain);
    }
};

// What the session must make of it.
struct Script {
    Sealer sealer;
    std::string wire;
    std::string plain;     // what must come out
    uint64_t records = 0;  // data records in it
    unsigned idle = 0;     // records in a row without data
    bool ended = false;    // a record broke a rule, or the end came
    bool open_end = false; // and it may be that only more bytes would show it
    int code = 0;          // expected then; 0: any error of the record layer
    bool tls13() const { return sealer.suite->tls13; }
    void end(int status) {
        ended = true;
        code = status;
    }
};

void put(Script *s, int type, const std::string &content, size_t padding = 0) {
    s->wire += s->sealer.seal(type, content, padding);
}

// More than 64 in a row are taken for an attack: the limit that openssl_records.cc sets itself.
void idle_record(Script *s) {
    if (++s->idle > 64) s->end(WSXDP_E_TLS_RECORD);
}

// ---- the records that an input may ask for ---------------------------------------------------------------

void put_data(Script *s, Choices *c, size_t size, size_t padding) {
    std::string content(size, 0);
    uint8_t seed = c->u8();
    for (size_t i = 0; i < size; i++) content[i] = static_cast<char>(seed + i * 7 + i / 256);
    if (!s->tls13()) padding = 0;
    put(s, data, content, padding);
    // TLS 1.3 counts type and padding to what a record may hold on the wire, and 256 are left for both and
    // the tag.
    size_t expansion =
        s->tls13() ? 1 + padding + tag_bytes : tag_bytes + (s->sealer.explicit_nonce() ? 8 : 0);
    if (size > tls_record_plain_max || size + expansion > tls_record_plain_max + tls_record_overhead) {
        s->end(WSXDP_E_TLS_RECORD);
        return;
    }
    if (size == 0) {
        idle_record(s);
        if (s->ended) return;
    } else {
        s->idle = 0;
    }
    s->records++;
    s->plain += content;
}

void put_alert(Script *s, Choices *c) {
    size_t size = c->u8() % 4; // 2 is right
    if (size == 3) size = 2;
    std::string content;
    for (size_t i = 0; i < size; i++) content += static_cast<char>(c->u8());
    put(s, alert, content);
    idle_record(s);
    if (s->ended) return;
    if (size != 2) {
        s->end(WSXDP_E_TLS_RECORD);
    } else if (content[1] == 0) {
        s->end(WSXDP_E_CLOSED); // close_notify, whatever its level (RFC 8446 section 6)
    } else if (s->tls13() ? content[1] != 90 : content[0] != 1) {
        s->end(content[1] == 116 ? WSXDP_E_TLS_CLIENT_CERT_REQUIRED
                                 : WSXDP_E_TLS_ALERT); // certificate_required
    }
}

void put_key_update(Script *s, Choices *c) {
    uint8_t asked = c->u8() % 3; // 2 is no value of this field
    put(s, handshake, std::string{24, 0, 0, 1, static_cast<char>(asked)});
    idle_record(s);
    if (!s->tls13() || asked == 2) s->end(WSXDP_E_TLS_RECORD);
    s->sealer.update(); // when it is refused, too: were it taken, what follows could be opened
}

// A ticket, whole or over several records; in TLS 1.2 tickets come before the end of the handshake.
void put_ticket(Script *s, Choices *c) {
    size_t size = c->u16() % 2000, piece = 1 + c->u16() % 1500;
    std::string message = {4, 0, static_cast<char>(size >> 8), static_cast<char>(size)};
    message.append(size, 't');
    for (size_t at = 0; at < message.size() && !s->ended; at += piece) {
        put(s, handshake, message.substr(at, piece));
        idle_record(s);
        if (!s->tls13()) s->end(WSXDP_E_TLS_RECORD);
    }
}

// The start of a message, and data before its rest.
void put_interrupted_ticket(Script *s, Choices *c) {
    size_t seen = 1 + c->u8() % 8;
    put(s, handshake, std::string("\4\0\0\x20tttttttt", 12).substr(0, seen));
    idle_record(s);
    if (!s->tls13() && seen >= 4) s->end(WSXDP_E_TLS_RECORD);
    if (s->ended) return;
    put(s, data, "interrupting");
    s->end(WSXDP_E_TLS_RECORD);
}

void put_hello_request(Script *s) {
    put(s, handshake, std::string(4, 0));
    idle_record(s);
    if (s->tls13()) s->end(WSXDP_E_TLS_RECORD);
}

void put_wrong_type(Script *s, Choices *c) {
    uint8_t type = c->u8();
    if (type >= alert && type <= data) type = change_cipher;
    put(s, type,
        std::string(c->u8() % 40, 'w')); // type 0 in TLS 1.3 is padding: no content, or content type 'w'
    s->end(WSXDP_E_TLS_RECORD);
}

// Not sealed: change_cipher_spec as middleboxes like it, which ends with the handshake (RFC 8446 section 5).
void put_plain_change_cipher(Script *s) {
    s->wire += std::string("\x14\3\3\0\1\1", 6);
    s->end(WSXDP_E_TLS_RECORD);
}

// A head alone, with the length up to the largest and beyond, and less behind it than it says.
void put_head(Script *s, Choices *c) {
    size_t body = c->u16(), given = c->u16() % 600;
    if (given > body) given = body;
    s->wire += {data, 3, 3, static_cast<char>(body >> 8), static_cast<char>(body)};
    s->wire.append(given, 'h');
    s->end(WSXDP_E_TLS_RECORD);
    s->open_end = given < body && body <= tls_record_wire_max - 5;
}

// A good record with one bit changed, a record that came before, or one that is missing.
void put_damaged(Script *s, Choices *c) {
    std::string content(c->u16() % 3000, 'd');
    std::string record = s->sealer.seal(data, content, 0);
    size_t at = c->u16() % record.size();
    record[at] = static_cast<char>(record[at] ^ 1 << c->u8() % 8);
    s->wire += record;
    s->end(WSXDP_E_TLS_RECORD);
    s->open_end = at == 3 || at == 4; // a larger length: the rest may never come
}

void put_replayed(Script *s, Choices *c) {
    size_t before = s->wire.size();
    put_data(s, c, 1 + c->u8() % 50, 0);
    if (s->ended) return;
    s->wire += std::string(s->wire, before);
    s->end(WSXDP_E_TLS_RECORD);
}

void put_after_missing(Script *s) {
    s->sealer.seal(data, "missing", 0);
    put(s, data, "next");
    s->end(WSXDP_E_TLS_RECORD);
}

void put_one(Script *s, Choices *c) {
    switch (c->u8() % 16) {
    case 0:
        return put_data(s, c, c->u8(), 0);
    case 1:
        return put_data(s, c, c->u16() % 4000, 0);
    case 2:
        return put_data(s, c, tls_record_plain_max - 3 + c->u8() % 8, 0); // 3 less than fits to 4 more
    case 3:
        return put_data(s, c, c->u8() % 100, c->u16() % 17000); // padding up to too much
    case 4:
        return put_data(s, c, 0, c->u8());
    case 5:
        return put_key_update(s, c);
    case 6:
        return put_ticket(s, c);
    case 7:
        return put_alert(s, c);
    case 8:
        return put_hello_request(s);
    case 9:
        return put_interrupted_ticket(s, c);
    case 10:
        return put_wrong_type(s, c);
    case 11:
        return put_plain_change_cipher(s);
    case 12:
        return put_head(s, c);
    case 13:
        return put_damaged(s, c);
    case 14:
        return put_replayed(s, c);
    default:
        return put_after_missing(s);
    }
}

// ---- the session
// -------------------------------------------------------------------------------------------

struct Run {
    TlsContext context;
    OpensslSession *session = allocate_object<OpensslSession>();
    ErrorText error;
    std::string got;  // plaintext
    std::string said; // ciphertext
    ~Run() {
        openssl_records_end(session);
        deallocate(session);
    }
};

void fixed_bytes(uint8_t *out, size_t size, uint8_t seed) {
    for (size_t i = 0; i < size; i++) out[i] = static_cast<uint8_t>(seed + i * 11);
}

void begin(Run *run, Script *s, const Suite &suite) {
    OpensslSession *session = run->session;
    Sealer *sealer = &s->sealer;
    sealer->suite = &suite;
    session->backend = tls_backend();
    session->context = &run->context;
    session->established = true;
    session->bytes_in = 4096; // of a handshake
    uint8_t block[record_key_block_bytes];
    fixed_bytes(block, sizeof block, 1);
    fixed_bytes(sealer->secret, sizeof sealer->secret, 2);
    if (suite.tls13) {
        RecordLayer *layer = &session->records;
        memcpy(layer->in.secret, sealer->secret, suite.hash_bytes);
        fixed_bytes(layer->out.secret, suite.hash_bytes, 3);
        layer->in.secret_size = layer->out.secret_size = suite.hash_bytes;
        sealer->keys_from_secret();
    } else {
        const size_t fixed =
            sealer->explicit_nonce() ? 4 : 12; // RFC 5246 section 6.3: the server's come second
        memcpy(sealer->key, block + suite.key_bytes, suite.key_bytes);
        memcpy(sealer->nonce, block + 2 * suite.key_bytes + fixed, fixed);
        sealer->sequence = 1; // Finished was 0
    }
    openssl_records_start(session, suite.cipher, suite.hash_bytes, suite.tls13 ? nullptr : block);
    require(session->records.active);
    session->records.openssl_in_step = false; // there is no handshake whose tickets OpenSSL could read
}

// One call with input and room in blocks of their own. What is left of the input comes back in *piece.
int64_t read_once(Run *run, std::string *piece, size_t cap, size_t output_room) {
    std::unique_ptr<uint8_t[]> input(new uint8_t[piece->size()]), out(new uint8_t[cap]),
        output(new uint8_t[output_room]);
    if (!piece->empty()) memcpy(input.get(), piece->data(), piece->size());
    TlsSession *session = run->session;
    session->input = ByteView(input.get(), piece->size());
    session->output = ByteSpan(output.get(), output_room);
    session->output_used = 0;
    int64_t got = session->backend->read(session, out.get(), cap, &run->error);
    require(got <= static_cast<int64_t>(cap) && session->output_used <= output_room);
    if (got > 0) run->got.append(reinterpret_cast<char *>(out.get()), static_cast<size_t>(got));
    run->said.append(reinterpret_cast<char *>(output.get()), session->output_used);
    if (got >= 0 && got < static_cast<int64_t>(cap)) require(session->input.empty() || session->more);
    piece->erase(0, piece->size() - session->input.size);
    session->input = ByteView();
    return got;
}

// Small portions only for so many calls: a long script byte by byte would tell nothing new.
constexpr size_t patient_turns = 400;
size_t size_of(uint8_t choice, size_t turn) {
    size_t size = choice < 128 ? choice + 1u : (choice - 127u) * 150u;
    return turn < patient_turns ? size : size + 4000;
}

// Delivers the wire in the portions that `sizes` says. The first error, or 0.
int deliver(Run *run, const Script &s, const uint8_t sizes[8]) {
    size_t turn = 0;
    for (size_t at = 0; at < s.wire.size();) {
        std::string piece = s.wire.substr(at, size_of(sizes[turn % 4], turn));
        at += piece.size();
        do {
            size_t cap = size_of(sizes[4 + turn % 3], turn);
            int64_t got = read_once(run, &piece, cap, sizes[7] % 3 * 100u);
            turn++;
            require(s.plain.compare(0, run->got.size(), run->got) == 0);
            if (got < 0) return static_cast<int>(got);
        } while (!piece.empty() || run->session->more);
    }
    return 0;
}

void check_said(Run *run) {
    OpensslSession *session = run->session;
    run->said.append(reinterpret_cast<char *>(session->kept), session->output_kept);
    size_t at = 0;
    while (at + 5 <= run->said.size()) {
        const uint8_t *head = reinterpret_cast<const uint8_t *>(&run->said[at]);
        require(head[1] == 3 && head[2] == 3);
        at += 5u + load_be16(head + 3);
    }
    require(at == run->said.size());
}

void check_end(Run *run, const Script &s, int code) {
    if (code < 0) {
        require(s.ended && (s.open_end || run->got == s.plain));
        require(s.code == code);
        require(run->error.code == code && run->error.size > 10);
        std::string more = s.wire; // whatever still comes
        require(read_once(run, &more, 1000, 100) == code && run->error.code == code);
    } else {
        require(!s.ended || s.open_end);
        require(run->got == s.plain);
        require(run->session->records_in == s.records);
    }
    require(run->got == s.plain);
    check_said(run);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (size < 9 || size > 2000) return 0;
    Choices choices{ByteView(bytes, size)};
    const Suite &suite = suites[choices.u8() % 6];
    uint8_t sizes[8];
    for (uint8_t &one : sizes) one = choices.u8();
    Run run;
    Script script;
    begin(&run, &script, suite);
    while (!choices.left.empty() && !script.ended && script.wire.size() < wire_max)
        put_one(&script, &choices);
    // Behind the end: a good record, of which nothing may come out.
    if (script.ended) put(&script, data, "never");
    check_end(&run, script, deliver(&run, script, sizes));
    return 0;
}
#endif
