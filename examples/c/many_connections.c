/* SPDX-License-Identifier: MIT */
/* many_connections URL COUNT [--ca FILE]: COUNT connections in one handle, all served by one wsxdp_poll.
 * Prints every second how many are open and how many messages came, and leaves when the last connection has
 * closed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wsxdp.h>

struct fleet {
    unsigned long wanted;
    unsigned long alive; /* connections that have not ended for good */
    unsigned long open;
    unsigned long messages;
    char last_error[512];
};

static wsxdp_config *make_config(const char *count, const char *ca_file) {
    wsxdp_config *config = wsxdp_config_new();
    char why[512];
    if (!config) return NULL;
    if (wsxdp_config_set(config, "connections.max", count) >= 0 &&
        wsxdp_config_set(config, "reconnect", "no") >= 0 && /* count each connection once */
        (!ca_file || wsxdp_config_set(config, "tls.ca_file", ca_file) >= 0))
        return config;
    wsxdp_config_error(config, why, sizeof why);
    fprintf(stderr, "many_connections: %s\n", why);
    wsxdp_config_free(config);
    return NULL;
}

/* Connecting does not wait: what becomes of each arrives as its events. */
static int connect_all(wsxdp *handle, const char *url, struct fleet *fleet) {
    uint32_t conn;
    char why[512];
    while (fleet->alive < fleet->wanted) {
        if (wsxdp_connect(handle, url, NULL, &conn) < 0) {
            wsxdp_last_error(handle, why, sizeof why);
            fprintf(stderr, "many_connections: connection %lu: %s\n", fleet->alive + 1, why);
            return -1;
        }
        fleet->alive++;
    }
    return 0;
}

static void take_event(const wsxdp_event *event, struct fleet *fleet) {
    switch (event->kind) {
    case WSXDP_EVENT_OPEN:
        fleet->open++;
        break;
    case WSXDP_EVENT_MESSAGE:
        fleet->messages++;
        break;
    case WSXDP_EVENT_ERROR:
        snprintf(fleet->last_error, sizeof fleet->last_error, "%.*s", (int)event->len,
                 (const char *)event->data);
        break;
    case WSXDP_EVENT_CLOSE:
        fleet->alive--;
        break;
    default:
        break;
    }
}

static void report(wsxdp *handle, const struct fleet *fleet) {
    wsxdp_stats_t stats;
    stats.struct_size = sizeof stats;
    if (wsxdp_stats(handle, WSXDP_ALL, &stats) < 0) return;
    printf("%lu connections, opened %lu times, %lu messages, %lu bytes%s%s\n", fleet->alive, fleet->open,
           fleet->messages, (unsigned long)stats.bytes_received, fleet->last_error[0] ? "; " : "",
           fleet->last_error);
    fflush(stdout);
}

static int run(wsxdp *handle, struct fleet *fleet) {
    const int64_t second = 1000000000;
    static wsxdp_event events[512];
    int64_t newest = 0, reported = 0;
    int count = 0, i;

    while (fleet->alive > 0) {
        count = wsxdp_poll(handle, events, 512, second / 10);
        if (count < 0) break;
        for (i = 0; i < count; i++) {
            take_event(&events[i], fleet);
            /* The newest stamp of a message tells the time for nothing. */
            if (events[i].parse_ns > newest) newest = events[i].parse_ns;
        }
        if (newest - reported > second) {
            report(handle, fleet);
            reported = newest;
        }
    }
    report(handle, fleet);
    if (count < 0) fprintf(stderr, "many_connections: %s\n", wsxdp_strerror(count));
    return count < 0 || fleet->open == 0 ? 1 : 0;
}

int main(int argc, char **argv) {
    static struct fleet fleet;
    wsxdp_config *config;
    wsxdp *handle = NULL;
    wsxdp_error error;
    int result;

    if (argc >= 3) fleet.wanted = strtoul(argv[2], NULL, 10);
    if (fleet.wanted == 0 || !(argc == 3 || (argc == 5 && strcmp(argv[3], "--ca") == 0))) {
        fprintf(stderr, "usage: many_connections ws://host/path COUNT [--ca FILE]\n");
        return 2;
    }
    config = make_config(argv[2], argc == 5 ? argv[4] : NULL);
    if (!config) return 1;

    error.struct_size = sizeof error;
    result = wsxdp_open(NULL, config, &handle, &error); /* a handle without a connection yet */
    wsxdp_config_free(config);
    if (result < 0) {
        fprintf(stderr, "many_connections: %s\n", error.text);
        return 1;
    }
    result = connect_all(handle, argv[1], &fleet) < 0 ? 1 : run(handle, &fleet);
    wsxdp_free(handle);
    return result;
}
