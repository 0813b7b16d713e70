// SPDX-License-Identifier: MIT
// The second half of connecting: TCP is there; ask the proxy for a tunnel, do the TLS handshake, send the
// upgrade request and judge the answer. Bytes are gathered in c->head until the connection is open; what
// follows the response head already belongs to the WebSocket and is handed on. Cold: allocates.
#include "../base/alloc.h"
#include "connecting.h"

namespace wx {

static void fail(Transport *t, Connection *c) { connect_failed(t, c); }

// A peer that refuses (an alert, a response) and resets: what it said is still to be read, and reading then
// finds the end itself. False when the connection was lost.
static bool survive_write_failure(Transport *t, Connection *c, int failure) {
    if (failure == WSXDP_E_RESET) {
        c->tx.begin = c->tx.end = 0;
        c->write_broken = true;
        watch(t, c, true, false);
        return true;
    }
    c->error.code = failure;
    fail(t, c);
    return false;
}

// Sends what is in tx and watches for what comes next. False when the connection was lost.
static bool send_tx(Transport *t, Connection *c) {
    int failure = 0;
    bool done = transmit_tx(t, c, &failure);
    if (failure != 0) return survive_write_failure(t, c, failure);
    watch(t, c, true, !done);
    return true;
}

static bool need_head_buffer(Transport *t, Connection *c) {
    if (c->head != nullptr) return true;
    // One record may surface beyond what was counted, and one read beyond the head.
    c->head_capacity = c->settings->head_max_bytes + 3 * tls_record_plain_max;
    c->head = static_cast<uint8_t *>(allocate(c->head_capacity));
    if (c->head != nullptr) return true;
    c->error.begin(WSXDP_E_MEMORY).add("connecting: out of memory for the response head");
    fail(t, c);
    return false;
}

// ---- upgrade ----

static size_t gather_headers(Connection *c, HeaderField *fields) {
    const Options &o = *c->settings->options;
    size_t count = 0;
    for (size_t i = 0; i < o.count(Option::header); i++) {
        const OptionText &text = o.at(Option::header, i);
        // The user's own fields may be credentials (Authorization, Cookie, API keys): they were meant for the
        // host in the URL and do not follow a redirect to another.
        if (c->left_host) continue;
        fields[count].name = text.name;
        fields[count].value = text.data;
        count++;
    }
    return count;
}

static int build_request(RandomSource *random, Connection *c, ByteSpan room, HeaderField *fields,
                         size_t *size) {
    const Options &o = *c->settings->options;
    uint8_t offer_bytes[256];
    Writer offer{ByteSpan(offer_bytes, sizeof offer_bytes - 1)};
    if (c->settings->deflate) deflate_offer(c->settings->deflate_options, &offer);
    offer_bytes[offer.size()] = 0;
    c->request = UpgradeRequest();
    c->request.url = &c->url;
    random->fill(random, c->request.key, sizeof c->request.key);
    if (random->failed) {
        c->error.begin(WSXDP_E_SYSTEM)
            .add("the kernel gives no random bytes for the upgrade request any more");
        return WSXDP_E_SYSTEM;
    }
    c->request.subprotocols = o.text(Option::subprotocol);
    c->request.extensions = reinterpret_cast<const char *>(offer_bytes);
    c->request.origin = o.text(Option::origin);
    c->request.user_agent = o.text(Option::user_agent);
    c->request.headers = fields;
    c->request.header_count = gather_headers(c, fields);
    Writer out{room};
    int status = upgrade_request_build(c->request, &out, &c->error);
    *size = out.size();
    // Kept for judging the answer; these two would dangle.
    c->request.extensions = c->settings->deflate ? "permessage-deflate" : "";
    c->request.headers = nullptr;
    c->request.header_count = 0;
    return status;
}

// Servers refuse far less.
constexpr size_t request_max_bytes = 65536;

// *out: the request, request_max_bytes of room, to be wiped and deallocated by the caller; null when out of
// memory.
static int make_request(RandomSource *random, Connection *c, uint8_t **out, size_t *size) {
    size_t count = c->settings->options->count(Option::header);
    HeaderField *fields = static_cast<HeaderField *>(allocate((count + 1) * sizeof(HeaderField)));
    *out = static_cast<uint8_t *>(allocate(request_max_bytes));
    *size = 0;
    int status = WSXDP_E_MEMORY;
    if (*out != nullptr && fields != nullptr)
        status = build_request(random, c, ByteSpan(*out, request_max_bytes), fields, size);
    else
        c->error.begin(status).add("connecting: out of memory for the upgrade request");
    deallocate(fields);
    return status;
}

static void drop_request(uint8_t *bytes, size_t size) {
    if (bytes != nullptr) explicit_bzero(bytes, size); // may hold credentials
    deallocate(bytes);
}

int upgrade_check_request(RandomSource *random, Connection *c) {
    if (c->url.scheme == Scheme::echo) return WSXDP_OK;
    uint8_t *bytes;
    size_t size;
    int status = make_request(random, c, &bytes, &size);
    drop_request(bytes, size);
    return status;
}

// What went out early and was taken is not said twice.
static bool server_has_request(const Connection *c) {
    return c->early_sent && equal(ByteView(c->facts.early), ByteView("accepted"));
}

static void send_request(Transport *t, Connection *c) {
    uint8_t *bytes;
    size_t size;
    int status = make_request(t->random, c, &bytes, &size);
    if (status >= 0 && !tx_reserve(c, request_max_bytes + 8 * tls_record_overhead)) {
        status = WSXDP_E_MEMORY;
        c->error.begin(status).add("connecting: out of memory for the upgrade request");
    }
    if (status >= 0) status = transmit_bytes(t, c, ByteView(bytes, size));
    drop_request(bytes, size);
    if (status < 0) {
        if (c->error.code == 0) c->error.begin(status).add("sending the upgrade request failed");
        fail(t, c);
    } else if (need_head_buffer(t, c)) {
        send_tx(t, c);
    }
}

static void begin_upgrade(Transport *t, Connection *c) {
    set_state(t, c, ConnectionState::upgrading);
    c->step_deadline = t->now + c->settings->upgrade_timeout;
    keep_schedule(t, c);
    c->scanner = HeadScanner();
    c->head_size = 0;
    if (!server_has_request(c))
        send_request(t, c);
    else if (need_head_buffer(t, c))
        send_tx(t, c); // the end of the handshake
}

static void copy_text(char *out, size_t cap, ByteView text) {
    size_t size = text.size < cap - 1 ? text.size : cap - 1;
    if (size != 0) memcpy(out, text.data, size); // an empty view may have no bytes to point at
    out[size] = 0;
}

static void follow_redirect(Transport *t, Connection *c, ByteView location) {
    uint8_t bytes[2048];
    Writer target{ByteSpan(bytes, sizeof bytes - 1)};
    ErrorText why;
    int status = url_resolve(c->url, location, &target, &why);
    char *text = status >= 0 ? duplicate_text(target.view().text(), target.size()) : nullptr;
    Url next;
    if (text != nullptr) status = url_parse(ByteView(text), &next, &why);
    bool downgrade = status >= 0 && c->url.scheme == Scheme::wss && next.scheme != Scheme::wss;
    if (text == nullptr || status < 0 || downgrade) {
        deallocate(text);
        c->error.add("; not followed: ").add(downgrade ? "it would leave TLS" : why.text);
        fail(t, c);
        return;
    }
    if (next.scheme == Scheme::wss && settings_need_tls(c->settings, &c->error) < 0) {
        deallocate(text);
        fail(t, c);
        return;
    }
    bool leaves = !equal_ignore_case(next.host, c->url.host) || next.port != c->url.port;
    int64_t redirects = c->redirects + 1;
    keep_drop_channel(t, c, false);
    connect_abandon(t, c);
    c->left_host |= leaves;
    free_secret_text(c->redirect_text);
    c->redirect_text = text;
    c->url = next;
    c->redirects = redirects;
    connect_begin(t, c);
}

// Everything about the response head but its place in the stream. True when the connection may open.
static bool judge_response(Transport *t, Connection *c, size_t head_bytes) {
    Response response;
    UpgradeResult result;
    int status = response_parse(ByteSpan(c->head, head_bytes), &response, &c->error);
    if (status >= 0)
        status = upgrade_response_check(response, c->request, tls_backend()->sha1, &result, &c->error);
    // RFC 8470 section 5.2: the server does not act on what may be a replay; the next attempt is without.
    if (response.status == 425 && c->early_sent) c->early_barred = true;
    if (status == WSXDP_E_REDIRECT && c->redirects < c->settings->redirect_max && !result.location.empty()) {
        follow_redirect(t, c, result.location);
        return false;
    }
    if (status >= 0 && c->settings->deflate) {
        status = deflate_accept(c->settings->deflate_options, result.extension_fields,
                                result.extension_field_count, &c->agreement, &c->error);
        c->deflating = status == 1;
    }
    if (status < 0) {
        fail(t, c);
        return false;
    }
    copy_text(c->subprotocol, sizeof c->subprotocol, result.subprotocol);
    if (result.extension_field_count != 0)
        copy_text(c->extensions, sizeof c->extensions, result.extension_fields[0]);
    return true;
}

void upgrade_feed(Transport *t, Connection *c) {
    int64_t head = c->scanner.feed(ByteView(c->head, c->head_size), c->settings->head_max_bytes, &c->error);
    if (head == 0) return;
    if (head < 0) {
        fail(t, c);
        return;
    }
    size_t size = static_cast<size_t>(head);
    if (!judge_response(t, c, size)) return;
    keep_opened(t, c, ByteView(c->head + size, c->head_size - size));
}

// ---- TLS ----

// The request, and nothing else, behind the first flight; a server that does not want it gets it again after
// the handshake, with another key. False when the connection was lost.
static bool send_early(Transport *t, Connection *c) {
    uint8_t *bytes;
    size_t size;
    int status = make_request(t->random, c, &bytes, &size);
    if (status >= 0) {
        c->tls->output = ByteSpan(c->tx.data + c->tx.end, c->tx.capacity - c->tx.end);
        c->tls->output_used = 0;
        status = c->tls->backend->early(c->tls, bytes, size, &c->error);
        c->tx.end += c->tls->output_used;
    }
    drop_request(bytes, size);
    c->early_sent = status == 1;
    if (status < 0) fail(t, c);
    return status >= 0;
}

static void begin_tls(Transport *t, Connection *c) {
    uint8_t key[320];
    Writer ticket{ByteSpan(key, sizeof key)};
    ticket.bytes(c->url.host.first(255));
    ticket.u8(':');
    ticket.decimal(c->url.port);
    const char *name = c->settings->options->text(Option::tls_server_name);
    ByteView host = name[0] ? ByteView(name) : c->url.host;
    const SharedTls *tls = c->settings->tls.load(std::memory_order_acquire);
    int status = tls_backend()->session_open(tls->context, host, ticket.view(), &c->tls, &c->error);
    if (status < 0) {
        c->tls = nullptr;
        fail(t, c);
        return;
    }
    set_state(t, c, ConnectionState::securing);
    c->step_deadline = t->now + c->settings->tls_timeout;
    keep_schedule(t, c);
    if (c->settings->early_data && !c->early_barred && !send_early(t, c)) return;
    continue_tls(t, c);
}

void continue_tls(Transport *t, Connection *c) {
    int status;
    size_t made;
    do { // output may need several rooms' worth
        c->tls->output = ByteSpan(c->tx.data + c->tx.end, c->tx.capacity - c->tx.end);
        c->tls->output_used = 0;
        status = c->tls->backend->handshake(c->tls, &c->error);
        made = c->tls->output_used;
        c->tx.end += made;
        int failure = 0;
        bool sent = transmit_tx(t, c, &failure); // an alert should leave even when the handshake failed
        if (status >= 0 && failure != 0) {
            survive_write_failure(t, c, failure);
            return;
        }
        if (!sent) break;
    } while (status == 0 && made != 0);
    if (status < 0) {
        fail(t, c);
    } else if (status == 0) {
        watch(t, c, true, c->tx.pending() != 0);
    } else {
        c->tls->backend->facts(c->tls, &c->facts);
        ByteView rest = c->tls->input; // tickets, or an eager server's first bytes
        begin_upgrade(t, c);
        if (c->state == ConnectionState::upgrading && rest.size != 0) decrypt_head(t, c, rest);
    }
}

void decrypt_head(Transport *t, Connection *c, ByteView input) {
    c->tls->input = input;
    c->tls->output = ByteSpan(c->tx.data + c->tx.end, c->tx.capacity - c->tx.end);
    c->tls->output_used = 0;
    int64_t got;
    do {
        got =
            c->tls->backend->read(c->tls, c->head + c->head_size, c->head_capacity - c->head_size, &c->error);
        if (got > 0) c->head_size += static_cast<size_t>(got);
    } while (got > 0 && (c->tls->more || c->tls->input.size != 0));
    c->tx.end += c->tls->output_used;
    if (c->head_size != 0) upgrade_feed(t, c);
    bool unfinished = c->state == ConnectionState::upgrading;
    if (got == WSXDP_E_CLOSED && unfinished) {
        c->error.begin(WSXDP_E_EOF)
            .add(c->url.host)
            .add(" closed the connection instead of answering the upgrade request");
        fail(t, c);
    } else if (got < 0 && unfinished) {
        fail(t, c);
    } else if (got == WSXDP_E_CLOSED && c->state == ConnectionState::open) {
        c->record_closed = true;
        receive_ended(t, c, WSXDP_E_EOF, 0);
    } else if (got < 0 && c->state == ConnectionState::open) {
        keep_lost(t, c, static_cast<int>(got));
    }
}

// ---- steps ----

void connected_begin(Transport *t, Connection *c) {
    c->tx.begin = c->tx.end = 0;
    bool room = tx_reserve(c, tx_bytes);
    bool watched = channel_tells(c->channel);
    int cause = room && watched ? channel_add(t, &c->channel, c->index, true, false) : 0;
    if (!room || cause != 0) {
        if (room)
            poller_explain(t->poller, cause, &c->error);
        else
            c->error.begin(WSXDP_E_MEMORY).add("connecting: out of memory");
        fail(t, c);
        return;
    }
    c->registered = watched;
    c->want_read = true;
    c->want_write = false;
    if (c->has_proxy && c->url.scheme != Scheme::ws_unix) {
        begin_tunnel(t, c);
    } else if (c->url.scheme == Scheme::wss) {
        begin_tls(t, c);
    } else {
        begin_upgrade(t, c);
    }
}

void begin_tunnel(Transport *t, Connection *c) {
    set_state(t, c, ConnectionState::tunneling);
    c->step_deadline = t->now + c->settings->upgrade_timeout;
    keep_schedule(t, c);
    c->head_size = 0;
    if (!need_head_buffer(t, c)) return;
    Writer out{ByteSpan(c->tx.data, c->tx.capacity)};
    int status =
        proxy_tunnel_open(&c->tunnel, c->proxy, c->url.host, c->url.host_is_ipv6, c->url.port, &c->error);
    if (status >= 0) status = proxy_tunnel_begin(&c->tunnel, &out, &c->error);
    if (status < 0) {
        fail(t, c);
        return;
    }
    c->tx.end = out.size();
    send_tx(t, c);
}

static void feed_tunnel(Transport *t, Connection *c) {
    size_t consumed = 0;
    Writer out{ByteSpan(c->tx.data + c->tx.end, c->tx.capacity - c->tx.end)};
    int status = proxy_tunnel_feed(&c->tunnel, ByteSpan(c->head, c->head_size), c->settings->head_max_bytes,
                                   &consumed, &out, &c->error);
    if (status < 0) {
        fail(t, c);
        return;
    }
    memmove(c->head, c->head + consumed, c->head_size - consumed);
    c->head_size -= consumed;
    c->tx.end += out.size();
    if (!send_tx(t, c) || status == 0) return;
    if (c->head_size != 0) {
        // The target has not been spoken to yet, whatever its protocol the client begins.
        c->error.begin(WSXDP_E_PROXY).add("the proxy sent bytes of its own after granting the tunnel");
        fail(t, c);
    } else if (c->url.scheme == Scheme::wss) {
        begin_tls(t, c);
    } else {
        begin_upgrade(t, c);
    }
}

static void explain_early_end(Connection *c, int code, int cause) {
    ErrorText &e = c->error;
    bool reset = code == WSXDP_E_RESET;
    if (code != WSXDP_E_EOF && !reset) {
        explain_link(c, code, cause, "connecting");
    } else if (c->state == ConnectionState::securing) {
        e.begin(WSXDP_E_TLS_EOF, cause).add(c->url.host).add(reset ? " reset" : " closed");
        e.add(" the connection during the TLS handshake; is this a TLS port?");
    } else if (c->state == ConnectionState::tunneling) {
        e.begin(WSXDP_E_PROXY, cause).add("the proxy closed the connection instead of answering");
    } else {
        e.begin(code, cause).add(c->url.host).add(reset ? " reset" : " closed");
        e.add(" the connection instead of answering the upgrade request");
        if (c->url.scheme == Scheme::ws) e.add("; if the port expects TLS, use wss://");
    }
}

void connected_on_ready(Transport *t, Connection *c) {
    if (c->tx.pending() != 0 && !send_tx(t, c)) return;
    bool secure = c->state == ConnectionState::securing || c->tls != nullptr;
    size_t room = c->head_capacity - c->head_size;
    uint8_t *target = secure ? t->scratch : c->head + c->head_size;
    // Small reads: what follows the head must fit in any inbox, and in c->head with a record on top.
    size_t limit = !secure && room < tls_record_plain_max ? room : tls_record_plain_max;
    ReadStamps stamps;
    int cause = 0;
    int64_t got = c->channel.backend->read(&c->channel, target, limit, &stamps, &cause);
    if (got == 0) return;
    // The kernel tells of a reset once; told to a write, it is an end to the next read.
    if (got == WSXDP_E_EOF && c->write_broken) got = WSXDP_E_RESET;
    if (got < 0) {
        explain_early_end(c, static_cast<int>(got), cause);
        fail(t, c);
        return;
    }
    size_t size = static_cast<size_t>(got);
    c->counters.bytes_received += size;
    if (c->state == ConnectionState::securing) {
        c->tls->input = ByteView(t->scratch, size);
        continue_tls(t, c);
    } else if (secure) {
        decrypt_head(t, c, ByteView(t->scratch, size));
    } else {
        c->head_size += size;
        if (c->state == ConnectionState::tunneling)
            feed_tunnel(t, c);
        else
            upgrade_feed(t, c);
    }
}

} // namespace wx
