// SPDX-License-Identifier: MIT
// The record layer after the handshake, for AEAD ciphers (RFC 8446 section 5, RFC 5246 section 6.2.3.3,
// RFC 7905). OpenSSL's own copies each record twice and allocates for each one; this one decrypts from the
// caller's input straight into the caller's buffer and allocates nothing. Keys come from the secrets that
// OpenSSL's key log callback and session hand out; the ciphers are OpenSSL's.
//
// OpenSSL's session still sees the TLS 1.3 handshake records that come before the first data, because in
// them are the tickets. Later tickets are passed over. It never delivers a byte of a record whose tag is
// wrong, and never writes two records under one nonce. Worst case: a record that arrives in pieces, or
// does not fit the caller's room, is copied once.
#include "openssl_parts.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>

namespace wx {
namespace {

constexpr uint8_t type_change_cipher = 20, type_alert = 21, type_handshake = 22, type_data = 23;
constexpr uint8_t message_hello_request = 0, message_ticket = 4, message_key_update = 24;
constexpr uint8_t alert_close = 0, alert_unexpected = 10, alert_bad_mac = 20, alert_overflow = 22,
                  alert_decode = 50, alert_internal = 80, alert_canceled = 90, alert_no_renegotiation = 100;
constexpr size_t head_bytes = 5, tag_bytes = 16, explicit_bytes = 8;
constexpr unsigned idle_records_max = 64; // records in a row that bring no data; more is an attack
constexpr size_t small_record_bytes = 64; // an alert or KeyUpdate, sealed

// ---- keys --------------------------------------------------------------------------------------

// RFC 8446 section 7.1, HKDF-Expand-Label with an empty context. One block of HKDF-Expand is enough: no
// key, nonce or secret is longer than the hash.
bool expand_label(const RecordLayer &layer, const uint8_t *secret, const char *label, uint8_t *out,
                  size_t size) {
    uint8_t info[64], block[EVP_MAX_MD_SIZE];
    Writer writer(ByteSpan(info, sizeof info));
    writer.be16(static_cast<uint16_t>(size));
    writer.u8(static_cast<uint8_t>(6 + strlen(label)));
    writer.text("tls13 ");
    writer.text(label);
    writer.u8(0);
    writer.u8(1);
    size_t block_size = 0;
    bool done = EVP_Q_mac(openssl_library(), "HMAC", nullptr, layer.digest, nullptr, secret,
                          layer.secret_size, info, writer.size(), block, sizeof block, &block_size) &&
                block_size >= size;
    if (done) memcpy(out, block, size);
    OPENSSL_cleanse(block, sizeof block);
    return done;
}

bool set_key(RecordKeys *keys, const EVP_CIPHER *cipher, const uint8_t *key, bool encrypt) {
    if (!keys->cipher) keys->cipher = EVP_CIPHER_CTX_new();
    return keys->cipher &&
           EVP_CipherInit_ex(keys->cipher, cipher, nullptr, key, nullptr, encrypt ? 1 : 0) == 1;
}

// RFC 8446 section 7.3. cipher null: the one in use.
bool key_from_secret(RecordLayer *layer, RecordKeys *keys, const EVP_CIPHER *cipher, bool encrypt) {
    uint8_t key[32];
    bool done = expand_label(*layer, keys->secret, "key", key, layer->key_size) &&
                expand_label(*layer, keys->secret, "iv", keys->nonce, sizeof keys->nonce) &&
                set_key(keys, cipher, key, encrypt);
    keys->sequence = 0;
    OPENSSL_cleanse(key, sizeof key);
    return done;
}

// RFC 8446 section 7.2
bool next_key(RecordLayer *layer, RecordKeys *keys, bool encrypt) {
    uint8_t next[sizeof keys->secret];
    if (!expand_label(*layer, keys->secret, "traffic upd", next, layer->secret_size)) return false;
    memcpy(keys->secret, next, layer->secret_size);
    OPENSSL_cleanse(next, sizeof next);
    return key_from_secret(layer, keys, nullptr, encrypt);
}

// RFC 5246 section 6.3: key_block = PRF(master_secret, "key expansion", server_random + client_random)
bool key_block(const OpensslSession *session, const char *digest, uint8_t *out, size_t size) {
    uint8_t master[48], seed[64];
    const size_t master_size =
        SSL_SESSION_get_master_key(SSL_get_session(session->ssl), master, sizeof master);
    SSL_get_server_random(session->ssl, seed, 32);
    SSL_get_client_random(session->ssl, seed + 32, 32);
    EVP_KDF *kdf = EVP_KDF_fetch(openssl_library(), "TLS1-PRF", nullptr);
    EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : nullptr;
    char label[] = "key expansion";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, const_cast<char *>(digest), 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, master, master_size),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, label, sizeof label - 1),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, seed, sizeof seed),
        OSSL_PARAM_construct_end(),
    };
    const bool done = context && master_size == 48 && EVP_KDF_derive(context, out, size, params) == 1;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    OPENSSL_cleanse(master, sizeof master);
    return done;
}

// In the key block: both keys, then both fixed nonces; the client's first.
bool keys_of_12(RecordLayer *layer, const EVP_CIPHER *cipher, const uint8_t *block) {
    const size_t key = layer->key_size, fixed = layer->explicit_nonce ? 4 : 12;
    memcpy(layer->out.nonce, block + 2 * key, fixed);
    memcpy(layer->in.nonce, block + 2 * key + fixed, fixed);
    layer->out.sequence = layer->in.sequence = 1; // Finished was 0
    return set_key(&layer->out, cipher, block, true) && set_key(&layer->in, cipher, block + key, false);
}

bool keys_of_13(RecordLayer *layer, const EVP_CIPHER *cipher) {
    return layer->in.secret_size == layer->secret_size && layer->out.secret_size == layer->secret_size &&
           key_from_secret(layer, &layer->out, cipher, true) &&
           key_from_secret(layer, &layer->in, cipher, false);
}

constexpr const char *chacha_name = "ChaCha20-Poly1305";

const char *digest_name(size_t hash_bytes) { return hash_bytes == 48 ? "SHA2-384" : "SHA2-256"; }

const char *aead_name(const SSL_CIPHER *cipher) {
    switch (SSL_CIPHER_get_cipher_nid(cipher)) {
    case NID_aes_128_gcm:
        return "AES-128-GCM";
    case NID_aes_256_gcm:
        return "AES-256-GCM";
    case NID_chacha20_poly1305:
        return chacha_name;
    default:
        return nullptr;
    }
}

// ---- one record ------------------------------------------------------------------------------------

void make_nonce(const RecordLayer &layer, const RecordKeys &keys, const uint8_t *explicit_part,
                uint8_t nonce[12]) {
    memcpy(nonce, keys.nonce, 12);
    if (layer.explicit_nonce) { // RFC 5288 section 3
        memcpy(nonce + 4, explicit_part, explicit_bytes);
        return;
    }
    store_be64(nonce + 4, load_be64(nonce + 4) ^ keys.sequence); // RFC 8446 section 5.3, RFC 7905 section 2
}

// What is authenticated beside the content: the head, in TLS 1.2 behind the sequence number and with the
// length of the plaintext.
size_t make_additional(const RecordLayer &layer, const RecordKeys &keys, const uint8_t *head, size_t plain,
                       uint8_t out[13]) {
    if (layer.tls13) {
        memcpy(out, head, head_bytes);
        return head_bytes;
    }
    store_be64(out, keys.sequence);
    memcpy(out + 8, head, 3);
    store_be16(out + 11, static_cast<uint16_t>(plain));
    return 13;
}

// Decrypts body (what follows the head) to out, which has room for it or is body itself. Bytes of
// plaintext (TLS 1.3: with the type and padding), or -1 when it is not authentic.
int64_t open_record(RecordLayer *layer, const uint8_t *head, ByteView body, uint8_t *out) {
    RecordKeys *keys = &layer->in;
    const size_t prefix = layer->explicit_nonce ? explicit_bytes : 0;
    if (body.size < prefix + tag_bytes) return -1;
    const size_t plain = body.size - prefix - tag_bytes;
    uint8_t nonce[12], additional[13], tag[tag_bytes], last[tag_bytes];
    make_nonce(*layer, *keys, body.data, nonce);
    const size_t additional_size = make_additional(*layer, *keys, head, plain, additional);
    memcpy(tag, body.data + prefix + plain, tag_bytes);
    int count = 0;
    EVP_CIPHER_CTX *cipher = keys->cipher;
    bool authentic =
        EVP_CipherInit_ex(cipher, nullptr, nullptr, nullptr, nonce, 0) == 1 &&
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, tag_bytes, tag) == 1 &&
        EVP_DecryptUpdate(cipher, nullptr, &count, additional, static_cast<int>(additional_size)) == 1 &&
        (plain == 0 ||
         EVP_DecryptUpdate(cipher, out, &count, body.data + prefix, static_cast<int>(plain)) == 1) &&
        EVP_DecryptFinal_ex(cipher, last, &count) == 1;
    keys->sequence++;
    return authentic ? static_cast<int64_t>(plain) : -1;
}

// Writes a whole record to out, which has room. Its size, or 0 when OpenSSL failed.
size_t seal_record(RecordLayer *layer, uint8_t type, const uint8_t *data, size_t size, uint8_t *out) {
    RecordKeys *keys = &layer->out;
    const size_t prefix = layer->explicit_nonce ? explicit_bytes : 0;
    const size_t body = prefix + size + (layer->tls13 ? 1 : 0) + tag_bytes;
    out[0] = layer->tls13 ? type_data : type;
    out[1] = 3;
    out[2] = 3;
    store_be16(out + 3, static_cast<uint16_t>(body));
    if (prefix) store_be64(out + head_bytes, keys->sequence);
    uint8_t nonce[12], additional[13];
    make_nonce(*layer, *keys, out + head_bytes, nonce);
    const size_t additional_size = make_additional(*layer, *keys, out, size, additional);
    uint8_t *at = out + head_bytes + prefix;
    int count = 0;
    EVP_CIPHER_CTX *cipher = keys->cipher;
    bool done =
        EVP_CipherInit_ex(cipher, nullptr, nullptr, nullptr, nonce, 1) == 1 &&
        EVP_EncryptUpdate(cipher, nullptr, &count, additional, static_cast<int>(additional_size)) == 1 &&
        (size == 0 || EVP_EncryptUpdate(cipher, at, &count, data, static_cast<int>(size)) == 1) &&
        (!layer->tls13 || EVP_EncryptUpdate(cipher, at + size, &count, &type, 1) == 1);
    at += size + (layer->tls13 ? 1 : 0);
    done = done && EVP_EncryptFinal_ex(cipher, at, &count) == 1 &&
           EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, tag_bytes, at) == 1;
    keys->sequence++;
    return done ? head_bytes + body : 0;
}

// An alert or KeyUpdate: into output, or kept back for the next call. False when neither has room.
bool send_small(OpensslSession *session, uint8_t type, const uint8_t *data, size_t size) {
    uint8_t wire[small_record_bytes];
    if (kept_bytes_max - session->output_kept < small_record_bytes) return false;
    const size_t count = seal_record(&session->records, type, data, size, wire);
    const size_t room = session->output_kept ? 0 : session->output.size - session->output_used;
    const size_t direct = room < count ? room : count;
    if (direct) memcpy(session->output.data + session->output_used, wire, direct);
    session->output_used += direct;
    memcpy(session->kept + session->output_kept, wire + direct, count - direct);
    session->output_kept += count - direct;
    return count > 0;
}

void send_alert(OpensslSession *session, uint8_t level, uint8_t alert) {
    const uint8_t bytes[2] = {level, alert};
    send_small(session, type_alert, bytes, 2);
}

int fatal(OpensslSession *session, uint8_t alert, const char *what) {
    send_alert(session, 2, alert);
    openssl_say(session, WSXDP_E_TLS_RECORD, &session->failure).add(what).add(" Reconnect.");
    ERR_clear_error();
    return WSXDP_E_TLS_RECORD;
}

// RFC 8446 section 4.6.3: the message under the old key, all that follows under the new one.
bool send_key_update(OpensslSession *session) {
    const uint8_t update[5] = {message_key_update, 0, 0, 1, 0};
    return send_small(session, type_handshake, update, 5) &&
           next_key(&session->records, &session->records.out, true);
}

// ---- what is not data -----------------------------------------------------------------------------------

int on_alert(OpensslSession *session, ByteView plain) {
    if (plain.size != 2) return fatal(session, alert_decode, "an alert of the wrong size arrived.");
    // NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): OpenSSL wrote it, unseen by the analyzer
    const uint8_t level = plain.data[0], alert = plain.data[1];
    if (alert == alert_close) {
        openssl_say(session, WSXDP_E_CLOSED, &session->failure).add("the server ended the session.");
        return WSXDP_E_CLOSED;
    }
    const bool warning = session->records.tls13 ? alert == alert_canceled : level == 1;
    return warning ? WSXDP_OK : openssl_on_alert(session, alert);
}

int on_message(OpensslSession *session, const uint8_t *head, bool last_in_record) {
    RecordLayer *layer = &session->records;
    if (!layer->tls13) {
        if (head[0] != message_hello_request)
            return fatal(session, alert_unexpected, "a handshake message came late.");
        send_alert(session, 1, alert_no_renegotiation);
        return WSXDP_OK;
    }
    if (head[0] != message_key_update) return WSXDP_OK;
    // RFC 8446 section 5.1: messages before a key change end with their record.
    if (!last_in_record || head[4] > 1) return fatal(session, alert_unexpected, "a bad KeyUpdate arrived.");
    if (head[4] == 1) layer->update_due = true;
    if (next_key(layer, &layer->in, false)) return WSXDP_OK;
    return fatal(session, alert_internal, "OpenSSL could not renew the key.");
}

// Walks the messages, which may span records; only the head and, of a KeyUpdate, the one byte behind it
// matter here.
int on_handshake(OpensslSession *session, ByteView plain) {
    RecordLayer *layer = &session->records;
    for (size_t i = 0; i < plain.size;) {
        if (layer->message_left > 0) {
            const size_t skip = layer->message_left < plain.size - i ? layer->message_left : plain.size - i;
            layer->message_left -= skip;
            i += skip;
            continue;
        }
        layer->message_head[layer->message_head_size++] = plain.data[i++];
        const uint8_t *head = layer->message_head;
        const bool update = layer->tls13 && head[0] == message_key_update;
        if (layer->message_head_size < (update ? 5u : 4u)) continue;
        const size_t size = load_be32(head) & 0xffffff;
        if (layer->tls13 && (update ? size != 1 : head[0] != message_ticket)) {
            return fatal(session, alert_unexpected, "an unexpected handshake message arrived.");
        }
        if (!layer->tls13 && size != 0)
            return fatal(session, alert_unexpected, "a handshake message came late.");
        layer->message_left = update ? 0 : size;
        layer->message_head_size = 0;
        const int status = on_message(session, head, i == plain.size);
        if (!ok(status)) return status;
    }
    return WSXDP_OK;
}

// OpenSSL reads the ticket from the record as it came; its answer to anything is not sent, see bio_write.
int give_openssl(OpensslSession *session, ByteView record) {
    const ByteView input = session->input;
    uint8_t none;
    size_t count = 0;
    session->input = record;
    session->starved = false;
    const int got = SSL_read_ex(session->ssl, &none, 1, &count);
    session->input = input;
    const bool fine = got != 1 && session->starved;
    ERR_clear_error();
    return fine ? WSXDP_OK : fatal(session, alert_unexpected, "a handshake message cannot be used.");
}

// ---- reading ----------------------------------------------------------------------------------------------

// The next whole record: in input as it is, or gathered in layer->record when it came in pieces.
int next_record(OpensslSession *session, ByteView *record) {
    RecordLayer *layer = &session->records;
    for (;;) {
        ByteView *input = &session->input;
        const uint8_t *head = layer->held ? layer->record : input->data;
        const size_t seen = layer->held ? layer->held : input->size;
        size_t whole = head_bytes;
        if (seen >= head_bytes) {
            const size_t body = load_be16(head + 3);
            if (head[1] != 3 || head[2] != 3)
                return fatal(session, alert_decode, "a record breaks the protocol.");
            if (body > tls_record_wire_max - head_bytes)
                return fatal(session, alert_overflow, "a record is too long.");
            whole += body;
        }
        if (seen >= head_bytes && seen >= whole) {
            *record = ByteView(head, whole);
            if (!layer->held) *input = input->from(whole);
            layer->held = 0;
            return 1;
        }
        if (input->empty()) return 0;
        const size_t missing = whole - layer->held;
        const size_t taken = missing < input->size ? missing : input->size;
        memcpy(layer->record + layer->held, input->data, taken);
        layer->held += taken;
        *input = input->from(taken);
    }
}

// Type and size of the content. TLS 1.3 has the type behind it, then zeros (RFC 8446 section 5.4).
bool find_content(const RecordLayer &layer, uint8_t outer, const uint8_t *plain, size_t *size,
                  uint8_t *type) {
    *type = outer;
    if (!layer.tls13) return true;
    size_t end = *size;
    while (end > 0 && plain[end - 1] == 0) end--;
    if (end == 0) return false;
    *type = plain[end - 1];
    *size = end - 1;
    return true;
}

int on_content(OpensslSession *session, uint8_t type, ByteView content, ByteView record) {
    RecordLayer *layer = &session->records;
    if (content.size > tls_record_plain_max) return fatal(session, alert_overflow, "a record is too long.");
    if (type == type_data && layer->message_left + layer->message_head_size == 0) {
        layer->idle_records = content.empty() ? layer->idle_records + 1 : 0;
        layer->openssl_in_step = false;
    } else {
        layer->idle_records++;
    }
    if (layer->idle_records > idle_records_max) {
        return fatal(session, alert_unexpected, "too many records without data arrived.");
    }
    if (type == type_data && layer->message_left + layer->message_head_size == 0) return WSXDP_OK;
    if (type == type_alert) return on_alert(session, content);
    if (type != type_handshake || content.empty()) {
        return fatal(session, alert_unexpected, "a record of an unexpected type arrived.");
    }
    int status = layer->openssl_in_step ? give_openssl(session, record) : WSXDP_OK;
    return ok(status) ? on_handshake(session, content) : status;
}

// Until the first data the record must survive its decryption, because OpenSSL may need it. Cold.
__attribute__((noinline)) int open_in_step(OpensslSession *session, ByteView record) {
    RecordLayer *layer = &session->records;
    uint8_t plain[tls_record_wire_max];
    int64_t opened = open_record(layer, record.data, record.from(head_bytes), plain);
    size_t size = opened < 0 ? 0 : static_cast<size_t>(opened);
    uint8_t type = 0;
    if (opened < 0) {
        return fatal(session, alert_bad_mac,
                     "a record failed authentication: it was changed or damaged on the way.");
    }
    if (!find_content(*layer, record.data[0], plain, &size, &type)) {
        return fatal(session, alert_unexpected, "a record without content arrived.");
    }
    int status = on_content(session, type, ByteView(plain, size), record);
    if (!ok(status) || type != type_data) return status;
    memcpy(layer->record, plain, size);
    layer->plain = layer->record;
    layer->plain_left = size;
    session->records_in++;
    return WSXDP_OK;
}

// Into out when the whole record fits there, else into our own buffer. *used grows by what is in out.
int open_next(OpensslSession *session, ByteView record, uint8_t *out, size_t room, size_t *used) {
    RecordLayer *layer = &session->records;
    if (layer->tls13 && record.data[0] != type_data) {
        return fatal(session, alert_unexpected, "a record that is not encrypted arrived.");
    }
    if (record.data[0] <= type_change_cipher || record.data[0] > type_data) {
        return fatal(session, alert_unexpected, "a record of an unexpected type arrived.");
    }
    if (layer->openssl_in_step) return open_in_step(session, record);
    const ByteView body = record.from(head_bytes);
    const bool direct = body.size <= room;
    uint8_t *to = out;
    // In our own buffer decryption is in place: the plaintext lies where the ciphertext was.
    if (!direct)
        to = record.data == layer->record ? layer->record + head_bytes + (layer->explicit_nonce ? 8 : 0)
                                          : layer->record;
    const int64_t opened = open_record(layer, record.data, body, to);
    if (opened < 0) {
        return fatal(session, alert_bad_mac,
                     "a record failed authentication: it was changed or damaged on the way.");
    }
    size_t size = static_cast<size_t>(opened);
    uint8_t type = 0;
    if (!find_content(*layer, record.data[0], to, &size, &type)) {
        return fatal(session, alert_unexpected, "a record without content arrived.");
    }
    const int status = on_content(session, type, ByteView(to, size), record);
    if (!ok(status) || type != type_data) return status;
    session->records_in++;
    if (direct) {
        *used += size;
    } else {
        layer->plain = to;
        layer->plain_left = size;
    }
    return WSXDP_OK;
}

} // namespace

// ---- for openssl.cc
// -----------------------------------------------------------------------------------------

void openssl_keep_secret(OpensslSession *session, const char *line) {
    const bool client = strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0;
    if (!client && strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) != 0) return;
    const char *hex = strchr(line + 24, ' ');
    RecordKeys *keys = client ? &session->records.out : &session->records.in;
    for (keys->secret_size = 0; hex && keys->secret_size < sizeof keys->secret; keys->secret_size++) {
        const int high = OPENSSL_hexchar2int(static_cast<unsigned char>(hex[1 + 2 * keys->secret_size]));
        if (high < 0) break;
        const int low = OPENSSL_hexchar2int(static_cast<unsigned char>(hex[2 + 2 * keys->secret_size]));
        if (low < 0) break;
        keys->secret[keys->secret_size] = static_cast<uint8_t>(high << 4 | low);
    }
}

void openssl_records_begin(OpensslSession *session) {
    const SSL_CIPHER *suite = SSL_get_current_cipher(session->ssl);
    const char *name = aead_name(suite);
    const EVP_MD *hash = name ? SSL_CIPHER_get_handshake_digest(suite) : nullptr;
    if (!hash) return;
    const size_t hash_bytes = static_cast<size_t>(EVP_MD_get_size(hash));
    uint8_t block[record_key_block_bytes];
    const bool tls13 = SSL_version(session->ssl) >= TLS1_3_VERSION;
    // A longer block begins with the shorter one: what the suite has no use for is left over.
    if (tls13 || key_block(session, digest_name(hash_bytes), block, sizeof block))
        openssl_records_start(session, name, hash_bytes, tls13 ? nullptr : block);
    OPENSSL_cleanse(block, sizeof block);
    ERR_clear_error();
}

void openssl_records_start(OpensslSession *session, const char *name, size_t hash_bytes,
                           const uint8_t *block) {
    RecordLayer *layer = &session->records;
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(openssl_library(), name, nullptr);
    if (!cipher) return;
    layer->tls13 = block == nullptr;
    layer->explicit_nonce = !layer->tls13 && !equal(ByteView(name), ByteView(chacha_name));
    layer->key_size = static_cast<size_t>(EVP_CIPHER_get_key_length(cipher));
    layer->secret_size = hash_bytes;
    layer->digest = digest_name(hash_bytes);
    layer->openssl_in_step = layer->tls13;
    layer->active = layer->tls13 ? keys_of_13(layer, cipher) : keys_of_12(layer, cipher, block);
    EVP_CIPHER_free(cipher);
}

void openssl_records_end(OpensslSession *session) {
    EVP_CIPHER_CTX_free(session->records.in.cipher);
    EVP_CIPHER_CTX_free(session->records.out.cipher);
    OPENSSL_cleanse(&session->records, sizeof session->records);
}

int64_t openssl_records_read(OpensslSession *session, uint8_t *out, size_t cap, ErrorText *error) {
    RecordLayer *layer = &session->records;
    size_t used = 0;
    while (used < cap) {
        if (layer->plain_left > 0) {
            const size_t count = layer->plain_left < cap - used ? layer->plain_left : cap - used;
            memcpy(out + used, layer->plain, count);
            layer->plain += count;
            layer->plain_left -= count;
            used += count;
            continue;
        }
        if (session->input.empty() && layer->held == 0) break;
        ByteView record;
        int status = next_record(session, &record);
        if (status == 0) break;
        if (ok(status)) status = open_next(session, record, out + used, cap - used, &used);
        if (ok(status)) continue;
        if (used == 0) {
            *error = session->failure;
            return status;
        }
        session->more = true;
        return static_cast<int64_t>(used);
    }
    // Without room it goes before the next data record, which is as early as RFC 8446 asks.
    const size_t room = session->output_kept ? 0 : session->output.size - session->output_used;
    if (layer->update_due && room >= small_record_bytes && send_key_update(session))
        layer->update_due = false;
    session->more = layer->plain_left > 0;
    return static_cast<int64_t>(used);
}

bool openssl_records_rekey(OpensslSession *session) {
    if (!session->records.tls13) return true;
    return send_key_update(session);
}

size_t openssl_records_write(OpensslSession *session, const uint8_t *data, size_t size) {
    const size_t count =
        seal_record(&session->records, type_data, data, size, session->output.data + session->output_used);
    session->output_used += count;
    return count;
}

void openssl_records_close(OpensslSession *session) { send_alert(session, 1, alert_close); }

} // namespace wx
