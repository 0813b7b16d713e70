/* SPDX-License-Identifier: MIT */
/* lws_server ADDRESS [CERT KEY]: an echoing peer made of libwebsockets, with its permessage-deflate. Prints
 * its port; ends with its standard input. What it has not sent back yet it keeps whole; messages of any size.
 */
#include <libwebsockets.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { piece_bytes = 8192 };

struct piece {
    struct piece *next;
    int flags;
    size_t size;
    unsigned char data[LWS_PRE + piece_bytes];
};

struct session {
    struct piece *first, *last;
};

static int keep(struct session *session, struct lws *wsi, const unsigned char *data, size_t size) {
    const unsigned char *at = data;
    int binary = lws_frame_is_binary(wsi), begins = lws_is_first_fragment(wsi),
        ends = lws_is_final_fragment(wsi);
    do {
        size_t take = size < piece_bytes ? size : piece_bytes;
        struct piece *piece = malloc(sizeof *piece);
        if (!piece) return -1;
        size -= take;
        piece->flags =
            lws_write_ws_flags(binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT, begins, ends && size == 0);
        piece->size = take;
        piece->next = NULL;
        memcpy(piece->data + LWS_PRE, at, take);
        at += take;
        begins = 0;
        *(session->first ? &session->last->next : &session->first) = piece;
        session->last = piece;
    } while (size != 0);
    lws_callback_on_writable(wsi);
    return 0;
}

static void drop_first(struct session *session) {
    struct piece *piece = session->first;
    session->first = piece->next;
    free(piece);
}

static int send_next(struct session *session, struct lws *wsi) {
    struct piece *piece = session->first;
    int sent;
    if (!piece) return 0;
    sent = lws_write(wsi, piece->data + LWS_PRE, piece->size, (enum lws_write_protocol)piece->flags);
    if (sent < (int)piece->size) return -1;
    drop_first(session);
    if (session->first) lws_callback_on_writable(wsi);
    return 0;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t size) {
    struct session *session = user;
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        memset(session, 0, sizeof *session);
        break;
    case LWS_CALLBACK_RECEIVE:
        return keep(session, wsi, in, size);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return send_next(session, wsi);
    case LWS_CALLBACK_CLOSED:
        while (session->first) drop_first(session);
        break;
    default:
        break;
    }
    return 0;
}

int main(int argc, char **argv) {
    static const struct lws_protocols protocols[] = {
        {"echo", on_event, sizeof(struct session), 65536, 0, NULL, 0}, {NULL, NULL, 0, 0, 0, NULL, 0}};
    static const struct lws_extension extensions[] = {
        {"permessage-deflate", lws_extension_callback_pm_deflate, "permessage-deflate"}, {NULL, NULL, NULL}};
    struct lws_context_creation_info info;
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    struct lws_context *context;
    struct lws_vhost *vhost;
    if (argc < 2) return 2;
    memset(&info, 0, sizeof info);
    lws_set_log_level(LLL_ERR, NULL);
    info.iface = argv[1];
    info.protocols = protocols;
    info.extensions = extensions;
    info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
    if (argc > 3) {
        info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
        info.ssl_cert_filepath = argv[2];
        info.ssl_private_key_filepath = argv[3];
    }
    context = lws_create_context(&info);
    vhost = context ? lws_create_vhost(context, &info) : NULL;
    if (!vhost) return 1;
    printf("%d\n", lws_get_vhost_listen_port(vhost));
    fflush(stdout);
    while (poll(&input, 1, 0) == 0 && lws_service(context, 0) >= 0) lws_cancel_service(context);
    lws_context_destroy(context);
    return 0;
}
