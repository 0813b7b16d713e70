// SPDX-License-Identifier: MIT
// A process that forbids itself getrandom after open: nothing may leave under a mask that is not random.
//
// link: -Wl,--wrap=getrandom
#include "../../include/wsxdp.h"

#include <cerrno>
#include <cstring>
#include <sys/random.h>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bool refused = false;
ssize_t __real_getrandom(void *out, size_t bytes, unsigned flags);
ssize_t __wrap_getrandom(void *out, size_t bytes, unsigned flags) {
    if (!refused) return __real_getrandom(out, bytes, flags);
    errno = EPERM;
    return -1;
}
}

namespace {

void test_send_refused(void **) {
    wsxdp *handle = nullptr;
    refused = false;
    assert_int_equal(wsxdp_open("echo:", nullptr, &handle, nullptr), WSXDP_OK);
    wsxdp_event events[16];
    assert_int_equal(wsxdp_poll(handle, events, 16, 1000000000), 1);
    assert_int_equal(events[0].kind, WSXDP_EVENT_OPEN);
    refused = true;
    int status = WSXDP_OK, sent = 0;
    // What was drawn before is still good: one block of 4096 bytes is 1024 masks.
    for (; status == WSXDP_OK && sent < 5000; sent++) {
        status = wsxdp_send(handle, 0, WSXDP_TEXT, "x", 1, 0);
        wsxdp_poll(handle, events, 16, 0);
    }
    assert_int_equal(status, WSXDP_E_SYSTEM);
    assert_in_range(sent, 1000, 1100);
    char text[300];
    wsxdp_last_error(handle, text, sizeof text);
    assert_non_null(strstr(text, "random"));
    refused = false;
    wsxdp_free(handle);
}

void test_open_refused(void **) {
    wsxdp *handle = nullptr;
    wsxdp_error error;
    error.struct_size = sizeof error;
    refused = true;
    int status = wsxdp_open("echo:", nullptr, &handle, &error);
    refused = false;
    assert_int_equal(status, WSXDP_E_SYSTEM);
    assert_null(handle);
    assert_non_null(strstr(error.text, "getrandom"));
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_send_refused),
        cmocka_unit_test(test_open_refused),
    };
    return cmocka_run_group_tests_name("random refused", tests, nullptr, nullptr);
}
