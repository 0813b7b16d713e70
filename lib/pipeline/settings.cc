// SPDX-License-Identifier: MIT
// Options to settings. Cold. Never changes settings that a connection already uses.
#include "settings.h"
#include "../base/alloc.h"

namespace wx {

static void read_messages(Settings *s, uint64_t inbox_bytes) {
    const Options &o = *s->options;
    // A message must leave room for its frame heads and for the read that completes it.
    uint64_t fits = inbox_bytes - inbox_bytes / 8 - inbox_slack_bytes;
    uint64_t asked = static_cast<uint64_t>(o.integer(Option::message_max_bytes));
    s->receiver.stream = o.flag(Option::message_stream);
    s->message_max_bytes = asked != 0 ? asked : (s->receiver.stream ? UINT64_MAX : fits);
    s->receiver.message_bytes_max = s->message_max_bytes;
    s->receiver.frame_bytes_max = static_cast<uint64_t>(o.integer(Option::frame_max_bytes));
    s->receiver.check_utf8 = o.flag(Option::message_check_utf8);
    s->send_check_utf8 = o.flag(Option::send_check_utf8);
    s->send_fragment_bytes = static_cast<uint64_t>(o.integer(Option::send_fragment_bytes));
    s->mask_zero = o.flag(Option::mask_zero);
    s->overflow = static_cast<Overflow>(o.integer(Option::overflow));
    s->deflate = o.flag(Option::deflate);
    s->deflate_min_bytes = static_cast<uint64_t>(o.integer(Option::deflate_min_bytes));
    DeflateOptions &d = s->deflate_options;
    d.client_no_context_takeover = o.flag(Option::deflate_client_no_context_takeover);
    d.server_no_context_takeover = o.flag(Option::deflate_server_no_context_takeover);
    d.client_max_window_bits = static_cast<uint8_t>(o.integer(Option::deflate_client_max_window_bits));
    d.server_max_window_bits = static_cast<uint8_t>(o.integer(Option::deflate_server_max_window_bits));
    d.level = static_cast<uint8_t>(o.integer(Option::deflate_level));
    d.memory_level = static_cast<uint8_t>(o.integer(Option::deflate_memory_level));
    d.ratio_max = static_cast<uint32_t>(o.integer(Option::deflate_max_ratio));
}

static void read_times(Settings *s) {
    const Options &o = *s->options;
    s->connect_timeout = o.integer(Option::connect_timeout_ns);
    s->attempt_timeout = o.integer(Option::connect_attempt_timeout_ns);
    s->attempt_delay = o.integer(Option::connect_attempt_delay_ns);
    s->resolve_timeout = o.integer(Option::resolve_timeout_ns);
    s->upgrade_timeout = o.integer(Option::upgrade_timeout_ns);
    s->tls_timeout = o.integer(Option::tls_timeout_ns);
    s->close_timeout = o.integer(Option::close_timeout_ns);
    s->ping_interval = o.integer(Option::ping_interval_ns);
    s->ping_timeout = o.integer(Option::ping_timeout_ns);
    s->idle_timeout = o.integer(Option::idle_timeout_ns);
    s->delay_min = o.integer(Option::reconnect_delay_min_ns);
    s->delay_max = o.integer(Option::reconnect_delay_max_ns);
    s->stable = o.integer(Option::reconnect_stable_ns);
    s->reconnect = o.flag(Option::reconnect);
    s->reconnect_initial = o.flag(Option::reconnect_initial);
    s->max_attempts = o.integer(Option::reconnect_max_attempts);
    s->redirect_max = o.integer(Option::redirect_max);
}

static void read_link(Settings *s, uint64_t outbox_bytes) {
    const Options &o = *s->options;
    s->head_max_bytes = static_cast<size_t>(o.integer(Option::upgrade_max_head_bytes));
    s->record_bytes = static_cast<size_t>(o.integer(Option::tls_record_bytes));
    s->early_data = o.flag(Option::tls_early_data);
    s->read_bytes = static_cast<size_t>(o.integer(Option::socket_read_bytes));
    s->family = static_cast<Family>(o.integer(Option::connect_family));
    s->fallback = o.integer(Option::fallback) == 1;
    s->link.no_delay = o.flag(Option::socket_no_delay);
    s->link.busy_poll_us = o.integer(Option::socket_busy_poll_us);
    s->link.receive_buffer_bytes = o.integer(Option::socket_receive_buffer_bytes);
    s->link.send_buffer_bytes = o.integer(Option::socket_send_buffer_bytes);
    s->link.interface = o.text(Option::socket_interface);
    int64_t stamps = o.integer(Option::timestamps); // auto, then as in TimestampSource
    s->link.timestamps = stamps == 0 ? TimestampSource::software : static_cast<TimestampSource>(stamps - 1);
    s->link.echo_bytes = outbox_bytes;
}

// What the options say together. The sentence names both sides.
static int check_together(const Settings &s, uint64_t inbox_bytes, ErrorText *error) {
    uint64_t fits = inbox_bytes - inbox_bytes / 8 - inbox_slack_bytes;
    if (!s.receiver.stream && s.message_max_bytes > fits) {
        error->begin(WSXDP_E_INVALID)
            .add("message.max_bytes=")
            .number(static_cast<int64_t>(s.message_max_bytes));
        error->add(" does not fit in inbox.bytes=").number(static_cast<int64_t>(inbox_bytes));
        error->add(", which holds whole messages up to ").number(static_cast<int64_t>(fits));
        error->add("; raise inbox.bytes or set message.stream");
        return WSXDP_E_INVALID;
    }
    if (s.early_data && !s.options->flag(Option::tls_resumption)) {
        error->begin(WSXDP_E_INVALID)
            .add("tls.early_data=yes needs the tickets that tls.resumption=no turns off");
        return WSXDP_E_INVALID;
    }
    return WSXDP_OK;
}

int settings_new(Options *options, uint64_t inbox_bytes, uint64_t outbox_bytes, Settings **out,
                 ErrorText *error) {
    *out = nullptr;
    Settings *settings = allocate_object<Settings>();
    if (settings == nullptr) {
        options_free(options);
        error->begin(WSXDP_E_MEMORY).add("reading the options: out of memory");
        return WSXDP_E_MEMORY;
    }
    settings->references = 1;
    settings->options = options;
    read_messages(settings, inbox_bytes);
    read_times(settings);
    read_link(settings, outbox_bytes);
    int status = check_together(*settings, inbox_bytes, error);
    if (status < 0) {
        settings_drop(settings);
        return status;
    }
    *out = settings;
    return WSXDP_OK;
}

void settings_spinning(Settings *settings) {
    if (settings->options->integer(Option::timestamps) == 0) settings->link.timestamps = TimestampSource::off;
}

static void tls_drop(SharedTls *tls) {
    // Acquire: what the other thread did with it, it did before.
    if (tls == nullptr || tls->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    tls_backend()->context_free(tls->context);
    deallocate(tls);
}

void settings_drop(Settings *settings) {
    if (settings == nullptr || --settings->references != 0) return;
    tls_drop(settings->tls.load(std::memory_order_acquire));
    options_free(settings->options);
    deallocate(settings);
}

static int tls_open(const Settings *settings, const char **pins, TlsContext **out, ErrorText *error) {
    const Options &o = *settings->options;
    TlsOptions t;
    t.ca_file = o.text(Option::tls_ca_file);
    t.ca_dir = o.text(Option::tls_ca_dir);
    t.ca_pem = o.data(Option::tls_ca_pem);
    t.system_ca = o.flag(Option::tls_system_ca);
    t.verify = !o.flag(Option::tls_insecure_skip_verify);
    t.cert_file = o.text(Option::tls_cert_file);
    t.key_file = o.text(Option::tls_key_file);
    t.key_password = o.text(Option::tls_key_password);
    t.pin_count = o.count(Option::tls_pin_sha256);
    for (size_t i = 0; i < t.pin_count; i++) pins[i] = o.at(Option::tls_pin_sha256, i).data;
    t.pins_sha256 = pins;
    t.alpn = o.text(Option::tls_alpn);
    t.version_min = o.integer(Option::tls_version_min) == 0 ? 12 : 13;
    t.ciphers = o.text(Option::tls_ciphers);
    t.ciphersuites = o.text(Option::tls_ciphersuites);
    t.resumption = o.flag(Option::tls_resumption);
    t.keylog_file = o.text(Option::tls_keylog_file);
    t.record_bytes = settings->record_bytes;
    return tls_backend()->context_open(t, out, error);
}

static int tls_make(const Settings *settings, SharedTls **out, ErrorText *error) {
    size_t pin_count = settings->options->count(Option::tls_pin_sha256);
    const char **pins = static_cast<const char **>(allocate((pin_count + 1) * sizeof(char *)));
    SharedTls *tls = allocate_object<SharedTls>();
    int status = WSXDP_E_MEMORY;
    error->begin(WSXDP_E_MEMORY).add("setting up TLS: out of memory");
    if (pins != nullptr && tls != nullptr) status = tls_open(settings, pins, &tls->context, error);
    deallocate(pins);
    if (status < 0) {
        deallocate(tls);
        return status;
    }
    error->clear();
    *out = tls;
    return WSXDP_OK;
}

// Certificates were read without a lock, which would hold up the stages: of two threads that did so at the
// same time the slower one gives up its own.
static void publish_tls(Settings *settings, SharedTls *tls) {
    SharedTls *first = nullptr;
    if (!settings->tls.compare_exchange_strong(first, tls, std::memory_order_acq_rel)) tls_drop(tls);
}

bool settings_share_tls(Settings *settings, const Settings *other) {
    if (settings->tls.load(std::memory_order_acquire) != nullptr) return true;
    SharedTls *tls = other->tls.load(std::memory_order_acquire);
    if (tls == nullptr || !options_equal(other->options, settings->options, "tls.")) return false;
    tls->references.fetch_add(1, std::memory_order_relaxed); // theirs keeps it alive
    publish_tls(settings, tls);
    return true;
}

int settings_need_tls(Settings *settings, ErrorText *error) {
    if (settings->tls.load(std::memory_order_acquire) != nullptr) return WSXDP_OK;
    SharedTls *tls = nullptr;
    int status = tls_make(settings, &tls, error);
    if (status >= 0) publish_tls(settings, tls);
    return status;
}

} // namespace wx
