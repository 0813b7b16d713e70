/* SPDX-License-Identifier: MIT
 * What the programs of this folder share, in C for those in C and for those that bind to C: what a process
 * has (descriptors, shared memory, children), and a handle that is opened, used and has its helper killed.
 * What is wrong is said on stderr and counted. */
#ifndef WSXDP_TESTS_HOST_H
#define WSXDP_TESTS_HOST_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <wsxdp.h>

static int host_problems;

#define HOST_WRONG(...)                                                                                      \
    do {                                                                                                     \
        host_problems++;                                                                                     \
        fprintf(stderr, "wrong: " __VA_ARGS__);                                                              \
        fputc('\n', stderr);                                                                                 \
    } while (0)

static int host_wrong_so_far(void) { return host_problems; } /* for who sees no variables */

static const int host_signals[] = {SIGINT, SIGTERM, SIGHUP};

/* ---- what this process has ---- */

typedef struct host_view {
    int descriptors, maps, shared;
    int children, zombies, helpers;
    pid_t helper; /* the last one found */
} host_view;

static int host_entries(const char *folder, const char *with) {
    int found = 0;
    struct dirent *entry;
    DIR *entries = opendir(folder);
    if (entries == NULL) return 0;
    while ((entry = readdir(entries)) != NULL) found += strstr(entry->d_name, with) != NULL;
    closedir(entries);
    return found;
}

static int host_maps(void) {
    int found = 0;
    char line[1024];
    FILE *file = fopen("/proc/self/maps", "re");
    while (file != NULL && fgets(line, sizeof line, file)) found += strstr(line, "memfd:wsxdp") != NULL;
    if (file != NULL) fclose(file);
    return found;
}

static void host_look_at(pid_t pid, host_view *out) {
    char path[64], name[64] = "", state = 0;
    int parent = 0;
    FILE *file;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (file == NULL) return;
    if (fscanf(file, "%*d (%63[^)]) %c %d", name, &state, &parent) == 3 && parent == (int)getpid()) {
        out->children++;
        if (state == 'Z' || state == 'X') out->zombies++;
        if (strcmp(name, "wsxdp-stage") == 0 && state != 'Z') {
            out->helpers++;
            out->helper = pid;
        }
    }
    fclose(file);
}

static host_view host_look(void) {
    host_view out;
    struct dirent *entry;
    DIR *processes;
    memset(&out, 0, sizeof out);
    out.descriptors = host_entries("/proc/self/fd", "");
    out.maps = host_maps();
    out.shared = host_entries("/dev/shm", "wsxdp");
    processes = opendir("/proc");
    while (processes != NULL && (entry = readdir(processes)) != NULL)
        if (atoi(entry->d_name) > 0) host_look_at((pid_t)atoi(entry->d_name), &out);
    if (processes != NULL) closedir(processes);
    return out;
}

static void host_compare(host_view before, host_view after) {
    if (before.descriptors != after.descriptors)
        HOST_WRONG("%d descriptors, %d before", after.descriptors, before.descriptors);
    if (after.maps != 0) HOST_WRONG("%d maps of shared memory are left", after.maps);
    if (before.shared != after.shared) HOST_WRONG("/dev/shm: %d, %d before", after.shared, before.shared);
    if (before.children != after.children)
        HOST_WRONG("%d children, %d before", after.children, before.children);
    if (after.zombies != before.zombies) HOST_WRONG("%d zombies", after.zombies);
    if (after.helpers != 0) HOST_WRONG("%d helpers are left", after.helpers);
}

/* ---- a handle ---- */

static int64_t host_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* NULL when it is refused, which is said. */
static wsxdp *host_open(const char *url, const char *placement, const char *stage) {
    wsxdp *handle = NULL;
    wsxdp_error error;
    wsxdp_config *config = wsxdp_config_new();
    memset(&error, 0, sizeof error);
    error.struct_size = sizeof error;
    if (wsxdp_config_set(config, "placement", placement) != 0 ||
        wsxdp_config_set(config, "stage.path", stage) != 0 ||
        wsxdp_config_set(config, "inbox.bytes", "65536") != 0)
        HOST_WRONG("the options are refused");
    if (wsxdp_open(url, config, &handle, &error) < 0) HOST_WRONG("open: %d %s", error.code, error.text);
    wsxdp_config_free(config);
    return handle;
}

/* Polls until an event of that kind, whose text is copied; 0 when none comes within 10 s. */
static int host_wait(wsxdp *handle, uint32_t kind, char *text, size_t cap) {
    const int64_t end = host_now_ms() + 10000;
    wsxdp_event event;
    while (host_now_ms() < end) {
        const int count = wsxdp_poll(handle, &event, 1, 100000000);
        if (count < 0) {
            HOST_WRONG("poll: %d", count);
            return 0;
        }
        if (count == 1 && event.kind != kind && event.kind == WSXDP_EVENT_ERROR)
            fprintf(stderr, "told: %.*s\n", (int)event.len, (const char *)event.data);
        if (count == 0 || event.kind != kind) continue;
        if (cap != 0) {
            const size_t size = event.len < cap - 1 ? event.len : cap - 1;
            memcpy(text, event.data, size);
            text[size] = 0;
        }
        return 1;
    }
    HOST_WRONG("no event of kind %u within 10 s", kind);
    return 0;
}

/* Messages there and back; 0 when all is well. */
static int host_use(wsxdp *handle, int messages) {
    int i;
    for (i = 0; i < messages; i++) {
        char sent[64], got[64] = "";
        const int size = snprintf(sent, sizeof sent, "message %d", i);
        const int status = wsxdp_send(handle, 0, WSXDP_TEXT, sent, (size_t)size, 0);
        if (status != 0) {
            HOST_WRONG("send: %d", status);
            return 1;
        }
        if (!host_wait(handle, WSXDP_EVENT_MESSAGE, got, sizeof got)) return 1;
        if (strcmp(sent, got) != 0) {
            HOST_WRONG("got '%s' for '%s'", got, sent);
            return 1;
        }
    }
    return 0;
}

static wsxdp *host_open_and_use(const char *url, const char *placement, const char *stage, int messages) {
    wsxdp *handle = host_open(url, placement, stage);
    if (handle != NULL && host_wait(handle, WSXDP_EVENT_OPEN, NULL, 0)) host_use(handle, messages);
    return handle;
}

/* The helper gets a signal: its death is told with one of these parts of a sentence, and goes unnoticed
 * otherwise. Nothing where there is no helper. */
static void host_lose_helper(wsxdp *handle, int number, const char *part, const char *other) {
    const host_view now = host_look();
    char text[600] = "";
    if (now.helpers == 0) return;
    if (now.helpers != 1) HOST_WRONG("%d helpers", now.helpers);
    if (kill(now.helper, number) != 0) HOST_WRONG("kill: %s", strerror(errno));
    if (!host_wait(handle, WSXDP_EVENT_ERROR, text, sizeof text)) return;
    if (strstr(text, part) == NULL && strstr(text, other) == NULL)
        HOST_WRONG("signal %d to the helper: '%s' says neither '%s' nor '%s'", number, text, part, other);
    if (host_wait(handle, WSXDP_EVENT_OPEN, NULL, 0)) host_use(handle, 20);
}

#endif
