// SPDX-License-Identifier: MIT
// Sorts the library's error codes into exit statuses. Never prints. A code that is new to this file falls
// into its class by the hundreds digit, so the worst case is a coarse but true status.
#include "exit_codes.h"

#include "../../include/wsxdp.h"

static bool is_timeout(int status) {
    switch (status) {
    case WSXDP_E_RESOLVE_TIMEOUT:
    case WSXDP_E_CONNECT_TIMEOUT:
    case WSXDP_E_DEAD:
    case WSXDP_E_PING_TIMEOUT:
    case WSXDP_E_CLOSE_TIMEOUT:
    case WSXDP_E_UPGRADE_TIMEOUT:
    case WSXDP_E_TLS_TIMEOUT:
        return true;
    default:
        return false;
    }
}

static int exit_code_of_system(int status) {
    return status <= WSXDP_E_RESOLVE ? exit_connect : exit_internal;
}

static int exit_code_of_protocol(int status) {
    bool upgrade = status > WSXDP_E_FRAME_RSV || status == WSXDP_E_NOT_HTTP;
    return upgrade ? exit_http : exit_protocol;
}

int exit_code_of(int status) {
    if (status >= 0) return exit_ok;
    if (is_timeout(status)) return exit_timeout;
    if (status == WSXDP_E_TLS_TRUNCATED) return exit_closed; // lost like any other, only noticed by TLS
    switch (-status / 100) {
    case 1:
        return exit_usage;
    case 3:
        return exit_code_of_system(status);
    case 4:
        return exit_closed;
    case 5:
        return exit_code_of_protocol(status);
    case 6:
        return exit_tls;
    case 7:
        return exit_protocol;
    default:
        return exit_internal;
    }
}
