// SPDX-License-Identifier: MIT
// A connection's options in the form that the stages use: read once, shared by every connection made with the
// same ones, never changed. Also holds the TLS context, which is shared by equal tls.* options, so that
// tickets and trusted certificates are loaded once and not a thousand times. It is the one thing here that
// comes later, and that two threads may want: the caller's, which connects, and that of the stages, which
// follows a redirect. All else, the counts of references to settings too, is the caller's.
#pragma once
#include "../host/resolver.h"
#include "../http/upgrade.h"
#include "../tls/tls.h"
#include "../ws/deflate.h"
#include "../ws/receiver.h"
#include "options.h"
#include <atomic>

namespace wx {

enum class Overflow : uint8_t { backpressure, conflate, close };

struct SharedTls {
    std::atomic<uint32_t> references{1};
    TlsContext *context = nullptr;
};

struct Settings {
    uint32_t references = 0;
    Options *options = nullptr;
    // Made when the first wss connection wants it; whoever sees it sees all of it, and it stays.
    std::atomic<SharedTls *> tls{nullptr};

    Overflow overflow;
    ReceiverLimits receiver;
    uint64_t message_max_bytes;
    bool send_check_utf8;
    uint64_t send_fragment_bytes;
    bool mask_zero;
    bool deflate;
    uint64_t deflate_min_bytes;
    DeflateOptions deflate_options;
    Nanos connect_timeout, attempt_timeout, attempt_delay, resolve_timeout, upgrade_timeout, tls_timeout;
    Nanos close_timeout, ping_interval, ping_timeout, idle_timeout;
    Nanos delay_min, delay_max, stable;
    bool reconnect, reconnect_initial;
    int64_t max_attempts;
    int64_t redirect_max;
    size_t head_max_bytes;
    size_t record_bytes;
    bool early_data;
    size_t read_bytes;
    Family family;
    bool fallback; // to sockets, where transport=xdp cannot be had
    LinkOptions link;
};

// Takes over `options`. inbox_bytes: what a message must fit in. E_MEMORY, E_INVALID with a sentence.
int settings_new(Options *options, uint64_t inbox_bytes, uint64_t outbox_bytes, Settings **out,
                 ErrorText *error);
// The handle spins (wait=spin): what timestamps=auto means then.
void settings_spinning(Settings *settings);
void settings_drop(Settings *settings);
// Takes the other's TLS context if there is one by equal options; whether settings->tls is there now.
bool settings_share_tls(Settings *settings, const Settings *other);
// Makes settings->tls if it is not there. Nobody waits for another thread that does the same. E_TLS_... with
// a sentence.
int settings_need_tls(Settings *settings, ErrorText *error);

// Inbox room that reading keeps free: a TLS record may surface after the bytes that were counted.
constexpr uint64_t inbox_slack_bytes = tls_record_plain_max + 1024;

} // namespace wx
