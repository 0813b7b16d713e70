/* SPDX-License-Identifier: MIT */
/* minimal URL [--ca FILE]: prints what the server sends, one message per line, until it closes.
 * The shortest whole program: open, poll, look at the events, free. */
#include <stdio.h>
#include <string.h>
#include <wsxdp.h>

static int print_event(const wsxdp_event *event) {
    switch (event->kind) {
    case WSXDP_EVENT_MESSAGE:
        fwrite(event->data, 1, (size_t)event->len, stdout);
        putchar('\n');
        return 0;
    case WSXDP_EVENT_ERROR:
        fprintf(stderr, "minimal: %.*s\n", (int)event->len, (const char *)event->data);
        return 0; /* a CLOSE follows */
    case WSXDP_EVENT_CLOSE:
        return event->error ? 2 : 1;
    default: /* later versions add kinds */
        return 0;
    }
}

int main(int argc, char **argv) {
    wsxdp_config *config = wsxdp_config_new();
    wsxdp *handle = NULL;
    wsxdp_error error;
    wsxdp_event events[64];
    int count = 0, i, done = 0;

    error.struct_size = sizeof error;
    if (argc != 2 && !(argc == 4 && strcmp(argv[2], "--ca") == 0)) {
        fprintf(stderr, "usage: minimal ws://host/path [--ca FILE]\n");
        return 2;
    }
    /* By default a lost connection is made again for ever; this program rather leaves. */
    if (!config || wsxdp_config_set(config, "reconnect", "no") < 0 ||
        (argc == 4 && wsxdp_config_set(config, "tls.ca_file", argv[3]) < 0)) {
        fprintf(stderr, "minimal: the options cannot be set\n");
        return 1;
    }
    if (wsxdp_open(argv[1], config, &handle, &error) < 0) {
        fprintf(stderr, "minimal: %s\n", error.text);
        wsxdp_config_free(config);
        return 1;
    }
    wsxdp_config_free(config); /* open copied it */

    while (!done && (count = wsxdp_poll(handle, events, 64, -1)) >= 0)
        for (i = 0; i < count; i++) done |= print_event(&events[i]);
    if (count < 0) fprintf(stderr, "minimal: %s\n", wsxdp_strerror(count));
    wsxdp_free(handle);
    return count < 0 || done != 1 ? 1 : 0;
}
