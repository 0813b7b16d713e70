// SPDX-License-Identifier: MIT
// The C interface to options, and the version text. Checks pointers, then hands on; keeps nothing of its own.
// The worst it is given is a name or a value that fits nothing: the option table answers that.
#include "../pipeline/options.h"
#include "../tls/tls.h"

using namespace wx;

static Options *options_of(wsxdp_config *config) { return reinterpret_cast<Options *>(config); }
static const Options *options_of(const wsxdp_config *config) {
    return reinterpret_cast<const Options *>(config);
}

extern "C" {

wsxdp_config *wsxdp_config_new(void) { return reinterpret_cast<wsxdp_config *>(options_new()); }

void wsxdp_config_free(wsxdp_config *config) { options_free(options_of(config)); }

int wsxdp_config_set(wsxdp_config *config, const char *name, const char *value) {
    if (config == nullptr || name == nullptr || value == nullptr) return WSXDP_E_INVALID;
    return options_set(options_of(config), name, ByteView(value));
}

int wsxdp_config_set_int(wsxdp_config *config, const char *name, int64_t value) {
    if (config == nullptr || name == nullptr) return WSXDP_E_INVALID;
    return options_set_int(options_of(config), name, value);
}

int wsxdp_config_set_data(wsxdp_config *config, const char *name, const void *data, size_t len) {
    if (config == nullptr || name == nullptr || (data == nullptr && len != 0)) return WSXDP_E_INVALID;
    return options_set_data(options_of(config), name, ByteView(data ? data : "", len));
}

int wsxdp_config_error(const wsxdp_config *config, char *buf, size_t cap) {
    if (config == nullptr) return WSXDP_E_INVALID;
    const ErrorText &error = options_of(config)->error;
    if (buf != nullptr && cap != 0) {
        size_t size = error.size < cap - 1 ? error.size : cap - 1;
        memcpy(buf, error.text, size);
        buf[size] = 0;
    }
    return static_cast<int>(error.size);
}

int wsxdp_option_at(size_t index, wsxdp_option *out) {
    if (out == nullptr || index >= option_count) return WSXDP_E_INVALID;
    if (out->struct_size != sizeof(wsxdp_option)) return WSXDP_E_STRUCT_SIZE;
    const OptionRow &row = option_rows[index];
    out->type = row.type;
    out->flags = row.flags;
    out->reserved = 0;
    out->minimum = row.type == WSXDP_OPTION_INT ? row.minimum : 0;
    out->maximum = row.type == WSXDP_OPTION_INT ? row.maximum : 0;
    out->name = row.name;
    out->default_value = row.default_value;
    out->unit = row.unit;
    out->choices = row.choices;
    out->doc = row.doc;
    return static_cast<int>(option_count);
}

const char *wsxdp_version(void) {
#ifdef WSXDP_XDP_LIBBPF
#define TRANSPORTS "transports: socket, xdp"
#else
#define TRANSPORTS "transports: socket"
#endif
    return tls_backend()->available
               ? "0.1.0 (" TRANSPORTS "; placements: inline, threads, processes; TLS: openssl, TLSv1.2 TLSv1.3; "
                 "permessage-deflate: zlib)"
               : "0.1.0 (" TRANSPORTS "; placements: inline, threads, processes; TLS: none; permessage-deflate: zlib)";
#undef TRANSPORTS
}

} // extern "C"
