/* SPDX-License-Identifier: MIT */
/* echo_offline: a whole life of a connection without a network. On an echo: URL everything sent comes back as
 * a message, so that programs and bindings can be tested anywhere. Exits 0 when all came back as it left. */
#include <stdio.h>
#include <string.h>
#include <wsxdp.h>

static const char *const texts[] = {"first", "second", "third and last"};
enum { text_count = sizeof texts / sizeof texts[0] };

struct progress {
    int received; /* messages that came back in order and unharmed */
    int closed;
    int failed;
};

static void send_all(wsxdp *handle, struct progress *progress) {
    int i;
    for (i = 0; i < text_count; i++) {
        int result = wsxdp_send(handle, 0, WSXDP_TEXT, texts[i], strlen(texts[i]), 0);
        if (result < 0) {
            fprintf(stderr, "echo_offline: send: %s\n", wsxdp_strerror(result));
            progress->failed = 1;
        }
    }
}

static void check_message(const wsxdp_event *event, struct progress *progress) {
    const char *expected = progress->received < text_count ? texts[progress->received] : "";
    int good = event->len == strlen(expected) && memcmp(event->data, expected, (size_t)event->len) == 0;

    printf("%.*s%s\n", (int)event->len, (const char *)event->data, good ? "" : "  (not what was sent)");
    progress->received += good;
    progress->failed |= !good;
}

static void take_event(wsxdp *handle, const wsxdp_event *event, struct progress *progress) {
    if (event->kind == WSXDP_EVENT_OPEN) send_all(handle, progress);
    if (event->kind == WSXDP_EVENT_MESSAGE) {
        check_message(event, progress);
        if (progress->received == text_count && wsxdp_close(handle, 0, 1000, "done", 4) < 0)
            progress->failed = 1;
    }
    if (event->kind == WSXDP_EVENT_CLOSE) {
        printf("closed with code %d\n", (int)event->code);
        progress->closed = 1;
    }
}

int main(void) {
    const int64_t second = 1000000000;
    struct progress progress = {0, 0, 0};
    wsxdp *handle = NULL;
    wsxdp_error error;
    wsxdp_event events[16];
    int count = 1, i;

    error.struct_size = sizeof error;
    if (wsxdp_open("echo:", NULL, &handle, &error) < 0) {
        fprintf(stderr, "echo_offline: %s\n", error.text);
        return 1;
    }
    /* An empty batch after a second means that something is lost. */
    while (!progress.closed && !progress.failed && count > 0) {
        count = wsxdp_poll(handle, events, 16, second);
        for (i = 0; i < count; i++) take_event(handle, &events[i], &progress);
    }
    wsxdp_free(handle);
    return progress.closed && !progress.failed && progress.received == text_count ? 0 : 1;
}
