/* SPDX-License-Identifier: MIT */
/* busy_poll URL [--ca FILE] [--count N]: never sleeps. Polls with timeout 0 in a loop of its own, and says
 * how long messages took from the kernel's receive stamp to this program. Give it a core of its own. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wsxdp.h>

struct tally {
    unsigned long messages;
    unsigned long wanted;  /* 0: until the server closes */
    unsigned long stamped; /* messages whose arrival in the kernel is known */
    int64_t sum_ns;
    int64_t max_ns;
    int done;
};

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void take_message(wsxdp *handle, const wsxdp_event *event, struct tally *tally) {
    tally->messages++;
    if (event->kernel_last_ns != 0) { /* 0 where the transport cannot know */
        int64_t took_ns = now_ns() - event->kernel_last_ns;
        tally->stamped++;
        tally->sum_ns += took_ns;
        if (took_ns > tally->max_ns) tally->max_ns = took_ns;
    }
    if (tally->messages == tally->wanted) wsxdp_close(handle, event->conn, 1000, NULL, 0);
}

static void take_event(wsxdp *handle, const wsxdp_event *event, struct tally *tally) {
    if (event->kind == WSXDP_EVENT_MESSAGE && (!tally->wanted || tally->messages < tally->wanted))
        take_message(handle, event, tally);
    if (event->kind == WSXDP_EVENT_ERROR)
        fprintf(stderr, "busy_poll: %.*s\n", (int)event->len, (const char *)event->data);
    if (event->kind == WSXDP_EVENT_CLOSE) tally->done = 1;
}

static int set_options(int argc, char **argv, wsxdp_config *config, struct tally *tally) {
    int i;
    /* wsxdp_poll with a timeout would spin as well; here the loop is ours. */
    if (wsxdp_config_set(config, "wait", "spin") < 0 || wsxdp_config_set(config, "reconnect", "no") < 0)
        return -1;
    for (i = 2; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--ca") == 0 && wsxdp_config_set(config, "tls.ca_file", argv[i + 1]) >= 0)
            continue;
        if (strcmp(argv[i], "--count") == 0) {
            tally->wanted = strtoul(argv[i + 1], NULL, 10);
            continue;
        }
        return -1;
    }
    return argc >= 2 && i == argc ? 0 : -1;
}

int main(int argc, char **argv) {
    struct tally tally = {0, 0, 0, 0, 0, 0};
    wsxdp_config *config = wsxdp_config_new();
    wsxdp *handle = NULL;
    wsxdp_error error;
    wsxdp_event events[256];
    char why[256] = "";
    int count, i;

    error.struct_size = sizeof error;
    if (!config || set_options(argc, argv, config, &tally) < 0) {
        if (config) wsxdp_config_error(config, why, sizeof why);
        fprintf(stderr, "usage: busy_poll ws://host/path [--ca FILE] [--count N]\n%s\n", why);
        wsxdp_config_free(config);
        return 2;
    }
    if (wsxdp_open(argv[1], config, &handle, &error) < 0) {
        fprintf(stderr, "busy_poll: %s\n", error.text);
        wsxdp_config_free(config);
        return 1;
    }
    wsxdp_config_free(config);

    while (!tally.done && (count = wsxdp_poll(handle, events, 256, 0)) >= 0)
        for (i = 0; i < count; i++) take_event(handle, &events[i], &tally);

    wsxdp_free(handle);
    printf("%lu messages", tally.messages);
    if (tally.stamped)
        printf(", from the kernel to here: mean %ld ns, longest %ld ns",
               (long)(tally.sum_ns / (int64_t)tally.stamped), (long)tally.max_ns);
    printf("\n");
    return tally.messages ? 0 : 1;
}
