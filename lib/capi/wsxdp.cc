// SPDX-License-Identifier: MIT
// The C interface: checks arguments, takes the owner word, calls the engine. Nothing else happens here. The
// owner word is one compare-and-swap per call; a second thread inside gets WSXDP_E_THREAD instead of a race.
#include "../base/alloc.h"
#include "../pipeline/engine.h"

using namespace wx;

static Engine *engine_of(wsxdp *handle) { return reinterpret_cast<Engine *>(handle); }
static const Engine *engine_of(const wsxdp *handle) { return reinterpret_cast<const Engine *>(handle); }
static Sender *sender_of(wsxdp_sender *sender) { return reinterpret_cast<Sender *>(sender); }
static const Options *options_of(const wsxdp_config *config) {
    return reinterpret_cast<const Options *>(config);
}

// Inside while this lives, if `held`.
struct Inside {
    Engine *engine;
    bool held;
    explicit Inside(wsxdp *handle) : engine(engine_of(handle)) {
        uint32_t nobody = 0;
        held = engine->owner.compare_exchange_strong(nobody, 1, std::memory_order_acquire);
    }
    ~Inside() {
        if (held) engine->owner.store(0, std::memory_order_release);
    }
};

[[gnu::cold]] static AppConnection *stale(Engine *e) {
    e->app.error.begin(WSXDP_E_STALE).add("the connection is gone: its id is stale");
    return nullptr;
}

static inline AppConnection *find(Engine *e, uint32_t conn) {
    AppConnection *c = app_find(&e->app, conn == 0 ? e->first_id : conn);
    return c != nullptr ? c : stale(e);
}

static int invalid(Engine *e, const char *text) {
    e->app.error.begin(WSXDP_E_INVALID).add(text);
    return WSXDP_E_INVALID;
}

static int copy_out(ByteView text, char *buf, size_t cap) {
    if (buf != nullptr && cap != 0) {
        size_t size = text.size < cap - 1 ? text.size : cap - 1;
        memcpy(buf, text.data, size);
        buf[size] = 0;
    }
    return static_cast<int>(text.size);
}

// As it was in 0.1.0 before TCP's part, and as it is.
static bool stats_size_known(uint32_t size) {
    return size == offsetof(wsxdp_stats_t, tcp_segments_received) || size == sizeof(wsxdp_stats_t);
}

extern "C" {

int wsxdp_open(const char *url, const wsxdp_config *config, wsxdp **out, wsxdp_error *err) {
    ErrorText error;
    if (out == nullptr) return WSXDP_E_INVALID;
    *out = nullptr;
    if (err != nullptr && err->struct_size != sizeof(wsxdp_error)) return WSXDP_E_STRUCT_SIZE;
    Options *options = config ? options_copy(options_of(config)) : options_new();
    int status = WSXDP_E_MEMORY;
    Engine *engine = nullptr;
    if (options != nullptr)
        status = engine_open(url, options, &engine, &error);
    else
        error.begin(WSXDP_E_MEMORY).add("opening: out of memory for the options");
    *out = reinterpret_cast<wsxdp *>(engine);
    if (err != nullptr) {
        err->code = status;
        err->system_errno = status < 0 ? error.system_errno : 0;
        err->reserved = 0;
        copy_out(ByteView(error.text, status < 0 ? error.size : 0), err->text, sizeof err->text);
    }
    return status < 0 ? status : WSXDP_OK;
}

int wsxdp_connect(wsxdp *handle, const char *url, const wsxdp_config *config, uint32_t *conn) {
    if (handle == nullptr || url == nullptr || conn == nullptr) return WSXDP_E_INVALID;
    Inside inside(handle);
    if (!inside.held) return WSXDP_E_THREAD;
    return engine_connect(inside.engine, url, options_of(config), conn, &inside.engine->app.error);
}

void wsxdp_free(wsxdp *handle) {
    if (handle != nullptr) engine_free(engine_of(handle));
}

int wsxdp_poll(wsxdp *handle, wsxdp_event *events, size_t cap, int64_t timeout_ns) {
    if (handle == nullptr) return WSXDP_E_INVALID;
    Inside inside(handle);
    if (!inside.held) return WSXDP_E_THREAD;
    if (events == nullptr || cap == 0)
        return invalid(inside.engine, "wsxdp_poll needs room for at least one event");
    if (cap > INT32_MAX) cap = INT32_MAX;
    return engine_poll(inside.engine, events, cap, timeout_ns);
}

int wsxdp_release(wsxdp *handle) {
    if (handle == nullptr) return WSXDP_E_INVALID;
    Inside inside(handle);
    return inside.held ? engine_release(inside.engine) : WSXDP_E_THREAD;
}

int wsxdp_hold(wsxdp *handle, const wsxdp_event *event) {
    if (handle == nullptr || event == nullptr) return WSXDP_E_INVALID;
    Inside inside(handle);
    return inside.held ? app_hold(&inside.engine->app, event) : WSXDP_E_THREAD;
}

int wsxdp_unhold(wsxdp *handle, const wsxdp_event *event) {
    if (handle == nullptr || event == nullptr) return WSXDP_E_INVALID;
    Inside inside(handle);
    if (!inside.held) return WSXDP_E_THREAD;
    return engine_unhold(inside.engine, event);
}

int wsxdp_send(wsxdp *handle, uint32_t conn, uint32_t opcode, const void *data, size_t len, uint32_t flags) {
    if (handle == nullptr || (data == nullptr && len != 0)) return WSXDP_E_INVALID;
    Inside inside(handle);
    if (!inside.held) return WSXDP_E_THREAD;
    AppConnection *c = find(inside.engine, conn);
    if (c == nullptr) return WSXDP_E_STALE;
    uint64_t before = allocation_count();
    int status = app_send(&inside.engine->app, c, opcode, ByteView(data ? data : "", len), flags);
    status = engine_sent(inside.engine, c, status, flags);
    inside.engine->allocations += allocation_count() - before;
    return status;
}

int wsxdp_send_begin(wsxdp *handle, uint32_t conn, uint32_t opcode, size_t cap, void **buf) {
    if (handle == nullptr || buf == nullptr) return WSXDP_E_INVALID;
    Inside inside(handle);
    if (!inside.held) return WSXDP_E_THREAD;
    AppConnection *c = find(inside.engine, conn);
    return c ? app_send_begin(&inside.engine->app, c, opcode, cap, buf) : WSXDP_E_STALE;
}

int wsxdp_send_commit(wsxdp *handle, uint32_t conn, size_t len, uint32_t flags) {
    if (handle == nullptr) return WSXDP_E_INVALID;
    Inside inside(handle);
    if (!inside.held) return WSXDP_E_THREAD;
    AppConnection *c = find(inside.engine, conn);
    if (c == nullptr) return WSXDP_E_STALE;
    return engine_sent(inside.engine, c, app_send_commit(&inside.engine->app, c, len, flags), flags);
}

int wsxdp_close(wsxdp *handle, uint32_t conn, uint16_t code, const char *reason, size_t len) {
    if (handle == nullptr || (reason == nullptr && len != 0)) return WSXDP_E_INVALID;
    Inside inside(handle);
    if (!inside.held) return WSXDP_E_THREAD;
    AppConnection *c = find(inside.engine, conn);
    if (c == nullptr) return WSXDP_E_STALE;
    return engine_close(inside.engine, c, code, ByteView(reason ? reason : "", len));
}

int wsxdp_abort(wsxdp *handle, uint32_t conn) {
    if (handle == nullptr) return WSXDP_E_INVALID;
    Inside inside(handle);
    if (!inside.held) return WSXDP_E_THREAD;
    AppConnection *c = find(inside.engine, conn);
    if (c == nullptr) return WSXDP_E_STALE;
    return engine_abort(inside.engine, c);
}

int wsxdp_fd(const wsxdp *handle) {
    if (handle == nullptr) return WSXDP_E_INVALID;
    const Engine *e = engine_of(handle);
    if (e->poller.epoll_fd < 0) return WSXDP_E_UNSUPPORTED;
    if (!e->fd_used) {
        e->fd_used = true;
        engine_prepare_fd(const_cast<Engine *>(e));
    }
    return e->poller.epoll_fd;
}

int64_t wsxdp_deadline(const wsxdp *handle) {
    if (handle == nullptr) return WSXDP_E_INVALID;
    return engine_of(handle)->runner->deadline(engine_of(handle));
}

int wsxdp_wakeup(wsxdp *handle) { return handle ? engine_wakeup(engine_of(handle)) : WSXDP_E_INVALID; }

int wsxdp_sender_open(wsxdp *handle, uint32_t conn, size_t bytes, wsxdp_sender **out) {
    if (handle == nullptr || out == nullptr) return WSXDP_E_INVALID;
    *out = nullptr;
    Inside inside(handle);
    if (!inside.held) return WSXDP_E_THREAD;
    AppConnection *c = find(inside.engine, conn);
    if (c == nullptr) return WSXDP_E_STALE;
    Sender *sender = nullptr;
    int status = engine_sender_open(inside.engine, c, bytes, &sender);
    *out = reinterpret_cast<wsxdp_sender *>(sender);
    return status;
}

int wsxdp_sender_send(wsxdp_sender *sender, uint32_t opcode, const void *data, size_t len, uint32_t flags) {
    if (sender == nullptr || (data == nullptr && len != 0)) return WSXDP_E_INVALID;
    return sender_push(sender_of(sender), opcode, ByteView(data ? data : "", len), flags);
}

void wsxdp_sender_free(wsxdp_sender *sender) {
    if (sender == nullptr) return;
    Engine *e = static_cast<Engine *>(sender_of(sender)->bell);
    engine_sender_free(e, sender_of(sender));
}

int wsxdp_stats(wsxdp *handle, uint32_t conn, wsxdp_stats_t *out) {
    if (handle == nullptr || out == nullptr) return WSXDP_E_INVALID;
    if (!stats_size_known(out->struct_size)) return WSXDP_E_STRUCT_SIZE;
    Inside inside(handle);
    if (!inside.held) return WSXDP_E_THREAD;
    if (conn == WSXDP_ALL) return engine_stats(inside.engine, nullptr, out);
    AppConnection *c = find(inside.engine, conn);
    return c ? engine_stats(inside.engine, c, out) : WSXDP_E_STALE;
}

int wsxdp_info(wsxdp *handle, uint32_t conn, const char *what, char *buf, size_t cap) {
    if (handle == nullptr || what == nullptr) return WSXDP_E_INVALID;
    Inside inside(handle);
    if (!inside.held) return WSXDP_E_THREAD;
    AppConnection *c = conn == WSXDP_ALL ? nullptr : find(inside.engine, conn);
    if (c == nullptr && conn != WSXDP_ALL) return WSXDP_E_STALE;
    uint8_t text[fact_bytes_max];
    Writer writer{ByteSpan(text, sizeof text)};
    int status = engine_info(inside.engine, c, what, &writer);
    return status < 0 ? status : copy_out(writer.view(), buf, cap);
}

int wsxdp_last_error(wsxdp *handle, char *buf, size_t cap) {
    if (handle == nullptr) return WSXDP_E_INVALID;
    Inside inside(handle);
    if (!inside.held) return WSXDP_E_THREAD;
    const ErrorText &error = inside.engine->app.error;
    return copy_out(ByteView(error.text, error.size), buf, cap);
}

const char *wsxdp_strerror(int code) { return status_text(code); }

} // extern "C"
