/* SPDX-License-Identifier: MIT */
/* epoll_loop URL [--ca FILE]: the handle as one descriptor in a loop that the program owns. Lines typed on
 * standard input (a terminal or a pipe) are sent, messages are printed; at the end of input it closes
 * politely. */
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <wsxdp.h>

struct client {
    wsxdp *handle;
    int loop;       /* the epoll descriptor */
    int is_reading; /* standard input is in the loop */
    int is_closed;
    int was_open;
    size_t filled; /* bytes in line */
    char line[4096];
};

static void watch(struct client *client, int operation, int descriptor) {
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = EPOLLIN; /* level-triggered, as wsxdp_fd wants it */
    event.data.fd = descriptor;
    if (epoll_ctl(client->loop, operation, descriptor, &event) != 0) perror("epoll_loop: epoll_ctl");
}

static void read_more(struct client *client, int wanted) {
    if (client->is_reading == wanted) return;
    client->is_reading = wanted;
    watch(client, wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, STDIN_FILENO);
}

/* Sends the whole lines in the buffer. When the queue is full the input rests until WRITABLE. */
static void send_lines(struct client *client) {
    char *end;
    while ((end = (char *)memchr(client->line, '\n', client->filled)) != NULL) {
        size_t size = (size_t)(end - client->line);
        int result = wsxdp_send(client->handle, 0, WSXDP_TEXT, client->line, size, 0);
        if (result == WSXDP_E_AGAIN) {
            read_more(client, 0);
            return;
        }
        if (result < 0) fprintf(stderr, "epoll_loop: not sent: %s\n", wsxdp_strerror(result));
        client->filled -= size + 1;
        memmove(client->line, end + 1, client->filled);
    }
    read_more(client, 1);
}

static void read_input(struct client *client) {
    ssize_t got = read(STDIN_FILENO, client->line + client->filled, sizeof client->line - client->filled);
    if (got > 0) {
        client->filled += (size_t)got;
        send_lines(client);
        if (client->filled < sizeof client->line || !client->is_reading) return;
        fprintf(stderr, "epoll_loop: a line is too long\n");
    }
    read_more(client, 0);
    wsxdp_close(client->handle, 0, 1000, NULL, 0); /* a CLOSE event follows */
}

static void take_event(struct client *client, const wsxdp_event *event) {
    switch (event->kind) {
    case WSXDP_EVENT_OPEN:
        client->was_open = 1;
        send_lines(client);
        break;
    case WSXDP_EVENT_WRITABLE: /* there is room again */
        send_lines(client);
        break;
    case WSXDP_EVENT_MESSAGE:
        printf("%.*s\n", (int)event->len, (const char *)event->data);
        fflush(stdout);
        break;
    case WSXDP_EVENT_RECONNECTING: /* nothing can be sent now */
        read_more(client, 0);
        break;
    case WSXDP_EVENT_ERROR:
        fprintf(stderr, "epoll_loop: %.*s\n", (int)event->len, (const char *)event->data);
        break;
    case WSXDP_EVENT_CLOSE:
        read_more(client, 0);
        client->is_closed = 1;
        break;
    default:
        break;
    }
}

/* Takes everything that is there, without waiting. */
static void drain(struct client *client) {
    wsxdp_event events[64];
    int i, count;
    do {
        count = wsxdp_poll(client->handle, events, 64, 0);
        for (i = 0; i < count; i++) take_event(client, &events[i]);
    } while (count == 64);
    if (count < 0) client->is_closed = 1;
}

static void run(struct client *client) {
    struct epoll_event ready[4];
    int i, count;
    watch(client, EPOLL_CTL_ADD, wsxdp_fd(client->handle));
    while (!client->is_closed) {
        count = epoll_wait(client->loop, ready, 4, -1);
        for (i = 0; i < count; i++)
            if (ready[i].data.fd == STDIN_FILENO) read_input(client);
        drain(client);
    }
}

int main(int argc, char **argv) {
    static struct client client;
    wsxdp_config *config = wsxdp_config_new();
    wsxdp_error error;
    int result;

    error.struct_size = sizeof error;
    error.text[0] = 0;
    if (argc != 2 && !(argc == 4 && strcmp(argv[2], "--ca") == 0)) {
        fprintf(stderr, "usage: epoll_loop ws://host/path [--ca FILE]\n");
        return 2;
    }
    if (!config || (argc == 4 && wsxdp_config_set(config, "tls.ca_file", argv[3]) < 0)) {
        fprintf(stderr, "epoll_loop: the options cannot be set\n");
        return 1;
    }
    result = wsxdp_open(argv[1], config, &client.handle, &error);
    wsxdp_config_free(config);
    client.loop = epoll_create1(EPOLL_CLOEXEC);
    if (result < 0 || client.loop < 0) {
        fprintf(stderr, "epoll_loop: %s\n", result < 0 ? error.text : "no descriptor for epoll");
        wsxdp_free(client.handle);
        return 1;
    }
    run(&client);
    wsxdp_free(client.handle);
    close(client.loop);
    return client.was_open ? 0 : 1;
}
