/* SPDX-License-Identifier: MIT */
/*
 * wsxdp.h - a WebSocket client engine for programs that count microseconds.
 *
 * CONVENTIONS
 *
 *  1. One handle type, `wsxdp`: an engine with any number of connections in it. A connection is a
 *     plain uint32_t id. Ids carry a generation: an id whose connection is gone gives WSXDP_E_STALE,
 *     never another connection's data. Id 0 always means the connection that wsxdp_open made.
 *  2. Functions return an int: >= 0 is success or a count, < 0 is one of the WSXDP_E_ codes below.
 *     The hundreds digit is the class: 1 usage, 2 try again, 3 system, 4 closed, 5 protocol, 6 TLS,
 *     7 limit, 9 internal. wsxdp_strerror names a code; wsxdp_last_error says what was tried, on
 *     what, what failed and what to try. No result is kept per thread.
 *  3. A handle has one owner at a time. It may move between threads; two threads in it at once get
 *     WSXDP_E_THREAD. Any thread at any time may call wsxdp_wakeup and, each sender by one thread at
 *     a time, wsxdp_sender_send. Configs are plain data: any thread, one at a time.
 *  4. Pointers in an event stay valid until the next wsxdp_poll or wsxdp_release on the handle.
 *     wsxdp_hold keeps the bytes of one event longer.
 *  5. Nothing blocks except wsxdp_poll with a timeout, and that no longer than the timeout.
 *  6. The library never prints, exits, aborts, installs a signal handler, changes a caller thread's
 *     mask, affinity or priority, reads the environment after open, or sets process-wide state.
 *     Threads of its own run with all signals blocked. No write raises SIGPIPE.
 *  7. Times are int64_t nanoseconds. Time stamps are CLOCK_REALTIME, 0 where a transport cannot
 *     know. Durations are differences.
 *  8. Structs that the caller fills or receives begin with struct_size, which the caller sets to
 *     sizeof; the event is 128 bytes for ever. Unknown flag bits are refused. Unknown event kinds
 *     must be ignored: later versions add some.
 *
 * "hot" functions neither allocate nor block and are meant for every message; "cold" ones may
 * allocate. Since: 0.1 for all that has no other note.
 */
#ifndef WSXDP_H
#define WSXDP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) && __GNUC__ >= 4
#define WSXDP_API __attribute__((visibility("default")))
#else
#define WSXDP_API
#endif

#define WSXDP_VERSION_MAJOR 0
#define WSXDP_VERSION_MINOR 1
#define WSXDP_VERSION_PATCH 0

/* ---- results ------------------------------------------------------------------------------- */

#define WSXDP_OK 0

/* usage: the call itself is wrong */
#define WSXDP_E_INVALID (-100)          /* an argument is null, out of range or contradictory */
#define WSXDP_E_OPTION_UNKNOWN (-101)   /* no option has this name */
#define WSXDP_E_OPTION_TYPE (-102)      /* the option takes another type of value */
#define WSXDP_E_OPTION_RANGE (-103)     /* the value is outside the option's range */
#define WSXDP_E_URL (-104)              /* the URL cannot be used */
#define WSXDP_E_THREAD (-105)           /* another thread is inside the handle */
#define WSXDP_E_STALE (-106)            /* the id's connection is gone */
#define WSXDP_E_STATE (-107)            /* not possible in the connection's present state */
#define WSXDP_E_FLAGS (-108)            /* an unknown flag bit is set */
#define WSXDP_E_STRUCT_SIZE (-109)      /* struct_size is not one this library knows */
#define WSXDP_E_UNSUPPORTED (-110)      /* not in this build; the text says what is missing */
#define WSXDP_E_SEND_UTF8 (-111)        /* a text message to send is not UTF-8 */

/* again */
#define WSXDP_E_AGAIN (-200)            /* queue full, nothing taken; a WRITABLE event follows */

/* system: the kernel or the network said no */
#define WSXDP_E_MEMORY (-300)           /* out of memory */
#define WSXDP_E_SYSTEM (-301)           /* a system call failed; the text names it and errno */
#define WSXDP_E_DESCRIPTORS (-302)      /* no file descriptors left */
#define WSXDP_E_REGION (-303)           /* the shared region could not be created or mapped */
#define WSXDP_E_THREAD_START (-304)     /* a thread could not be started */
#define WSXDP_E_PERMISSION (-305)       /* the kernel refused for lack of permission */
#define WSXDP_E_RESOLVE (-310)          /* the host name does not resolve */
#define WSXDP_E_RESOLVE_TIMEOUT (-311)  /* name resolution took too long */
#define WSXDP_E_REFUSED (-312)          /* the peer refused the connection (RST to our SYN) */
#define WSXDP_E_CONNECT_TIMEOUT (-313)  /* no answer to the connection attempt */
#define WSXDP_E_UNREACHABLE (-314)      /* no route to the host or network */
#define WSXDP_E_UNIX_SOCKET (-315)      /* the ws+unix socket is missing or not listening */
#define WSXDP_E_XDP_INTERFACE (-320)    /* the interface does not exist or cannot carry AF_XDP to this peer */
#define WSXDP_E_XDP_PROGRAM (-321)      /* the XDP program could not be loaded or attached */
#define WSXDP_E_XDP_OCCUPIED (-322)     /* another XDP program or AF_XDP socket is in the place */
#define WSXDP_E_XDP_MODE (-323)         /* the mode asked for cannot be had on this interface */
#define WSXDP_E_XDP_QUEUES (-324)       /* answers could arrive on a queue that is not ours */
#define WSXDP_E_XDP_MEMLOCK (-325)      /* RLIMIT_MEMLOCK is too low for the frames */
#define WSXDP_E_XDP_LINK_DOWN (-326)    /* the interface is down or gone */
#define WSXDP_E_XDP_PORTS (-327)        /* no source port is left */
#define WSXDP_E_STAGE_START (-330)      /* the process of a stage could not be started in time */
#define WSXDP_E_STAGE_DIED (-331)       /* the process of a stage ended; the text says how */

/* closed: the connection is over */
#define WSXDP_E_CLOSED (-400)           /* the connection is closed or closing */
#define WSXDP_E_EOF (-401)              /* the peer ended TCP without a WebSocket close */
#define WSXDP_E_RESET (-402)            /* the peer reset the TCP connection */
#define WSXDP_E_DEAD (-403)             /* nothing arrived for idle.timeout_ns */
#define WSXDP_E_PING_TIMEOUT (-404)     /* a keepalive ping went unanswered */
#define WSXDP_E_CLOSE_TIMEOUT (-405)    /* the peer did not finish the close handshake */
#define WSXDP_E_OVERFLOW (-406)         /* overflow=close and the caller was too slow */
#define WSXDP_E_ABORTED (-407)          /* dropped by wsxdp_abort */
#define WSXDP_E_RETRIES (-408)          /* reconnect.max_attempts is used up */

/* protocol: HTTP, proxy and WebSocket rules */
#define WSXDP_E_HTTP_HEAD (-500)        /* the response head is malformed */
#define WSXDP_E_HTTP_HEAD_SIZE (-501)   /* the response head exceeds upgrade.max_head_bytes */
#define WSXDP_E_HTTP_STATUS (-502)      /* the server answered with a status other than 101 */
#define WSXDP_E_REDIRECT (-503)         /* the server redirects; the text names the target */
#define WSXDP_E_UPGRADE_HEADER (-504)   /* no "Upgrade: websocket" in the response */
#define WSXDP_E_CONNECTION_HEADER (-505)/* no "Connection: Upgrade" in the response */
#define WSXDP_E_ACCEPT (-506)           /* Sec-WebSocket-Accept missing or wrong */
#define WSXDP_E_SUBPROTOCOL (-507)      /* the server chose a subprotocol that was not offered */
#define WSXDP_E_EXTENSION (-508)        /* the server chose an extension or parameter not offered */
#define WSXDP_E_UPGRADE_TIMEOUT (-509)  /* no complete response within upgrade.timeout_ns */
#define WSXDP_E_AUTH_REQUIRED (-510)    /* the server answered 401 or 403 */
#define WSXDP_E_PROXY (-511)            /* the proxy broke its protocol */
#define WSXDP_E_PROXY_REFUSED (-512)    /* the proxy will not make the connection */
#define WSXDP_E_PROXY_AUTH (-513)       /* the proxy wants other credentials */
#define WSXDP_E_FRAME_RSV (-520)        /* reserved bit set without an extension that gives it meaning */
#define WSXDP_E_FRAME_OPCODE (-521)     /* reserved opcode */
#define WSXDP_E_FRAME_MASKED (-522)     /* the server masked a frame */
#define WSXDP_E_FRAME_LENGTH (-523)     /* length not in its shortest form, or its top bit is set */
#define WSXDP_E_FRAME_CONTROL (-524)    /* a control frame is fragmented or longer than 125 bytes */
#define WSXDP_E_FRAME_CONTINUATION (-525) /* continuation with nothing to continue */
#define WSXDP_E_FRAME_INTERLEAVED (-526)/* a new message began inside a fragmented one */
#define WSXDP_E_UTF8 (-527)             /* a text message is not UTF-8 */
#define WSXDP_E_CLOSE_CODE (-528)       /* a close frame has a forbidden code or a 1-byte body */
#define WSXDP_E_CLOSE_UTF8 (-529)       /* a close reason is not UTF-8 */
#define WSXDP_E_DEFLATE (-530)          /* compressed data is corrupt */
#define WSXDP_E_NOT_HTTP (-531)         /* the answer is not HTTP; perhaps a TLS port */

/* tls */
#define WSXDP_E_TLS_SETUP (-600)        /* a TLS option cannot be used */
#define WSXDP_E_TLS_CA (-601)           /* the CA file, directory or PEM cannot be loaded */
#define WSXDP_E_TLS_CLIENT_CERT (-602)  /* the client certificate or key cannot be loaded */
#define WSXDP_E_TLS_HANDSHAKE (-603)    /* the handshake failed for a reason not listed here */
#define WSXDP_E_TLS_NOT_TLS (-604)      /* the answer is not TLS; perhaps a plain ws:// port */
#define WSXDP_E_TLS_VERSION (-605)      /* no common protocol version */
#define WSXDP_E_TLS_UNTRUSTED (-606)    /* the certificate's issuer is not trusted */
#define WSXDP_E_TLS_SELF_SIGNED (-607)  /* the certificate is self-signed and not trusted */
#define WSXDP_E_TLS_EXPIRED (-608)      /* the certificate has expired */
#define WSXDP_E_TLS_NOT_YET_VALID (-609)/* the certificate is not valid yet */
#define WSXDP_E_TLS_HOSTNAME (-610)     /* the certificate is for another name or address */
#define WSXDP_E_TLS_CERTIFICATE (-611)  /* the certificate chain is unacceptable otherwise */
#define WSXDP_E_TLS_PIN (-612)          /* the key matches none of tls.pin_sha256 */
#define WSXDP_E_TLS_CLIENT_CERT_REQUIRED (-613) /* the server wants a client certificate */
#define WSXDP_E_TLS_ALERT (-614)        /* the peer sent a fatal alert; the text names it */
#define WSXDP_E_TLS_RECORD (-615)       /* a record failed authentication or is malformed */
#define WSXDP_E_TLS_TIMEOUT (-616)      /* the handshake exceeded tls.timeout_ns */
#define WSXDP_E_TLS_TRUNCATED (-617)    /* TCP ended without close_notify: data may be missing */
#define WSXDP_E_TLS_CIPHER (-618)       /* no common cipher suite */
#define WSXDP_E_TLS_EOF (-619)          /* the peer closed TCP during the handshake */

/* limit */
#define WSXDP_E_TOO_BIG (-700)          /* a message to send exceeds the outbox or the frame limit */
#define WSXDP_E_MESSAGE_SIZE (-701)     /* a received message exceeds message.max_bytes */
#define WSXDP_E_CONNECTIONS (-702)      /* connections.max is reached */
#define WSXDP_E_HOLDS (-703)            /* hold.max is reached */
#define WSXDP_E_SENDERS (-704)          /* senders.max is reached */
#define WSXDP_E_INFLATE_SIZE (-705)     /* a compressed message grows past deflate.max_ratio or the size limit */

#define WSXDP_E_INTERNAL (-900)         /* a bug in this library; the text says where */

/* ---- types --------------------------------------------------------------------------------- */

typedef struct wsxdp wsxdp;
typedef struct wsxdp_config wsxdp_config;
typedef struct wsxdp_sender wsxdp_sender;

/* Filled by wsxdp_open when it fails. */
typedef struct wsxdp_error {
    uint32_t struct_size;  /* in: sizeof(wsxdp_error) */
    int32_t code;          /* the WSXDP_E_ code */
    int32_t system_errno;  /* errno where a system call failed, else 0 */
    uint32_t reserved;
    char text[496];        /* what was tried, on what, what failed, what to try; ends in a zero byte */
} wsxdp_error;

/* Event kinds. */
#define WSXDP_EVENT_OPEN 1          /* upgraded; data/len = negotiated subprotocol, see wsxdp_info for more */
#define WSXDP_EVENT_MESSAGE 2       /* a whole message in data/len */
#define WSXDP_EVENT_FRAGMENT 3      /* message.stream: a piece of one; flags FIRST and FINAL */
#define WSXDP_EVENT_PING 4          /* the peer's ping, already answered; data/len = its payload */
#define WSXDP_EVENT_PONG 5          /* a pong; value = round trip in ns when it answers our keepalive, else 0 */
#define WSXDP_EVENT_CLOSE 6         /* the connection is over: code, reason in data/len, error, flags */
#define WSXDP_EVENT_RECONNECTING 7  /* attempt, value = delay in ns, error = cause, data/len = cause in words */
#define WSXDP_EVENT_ERROR 8         /* something failed: error, data/len = text; a CLOSE or RECONNECTING follows */
#define WSXDP_EVENT_WRITABLE 9      /* there is room again after WSXDP_E_AGAIN */
#define WSXDP_EVENT_LOST 10         /* overflow=conflate dropped value messages before this point */
#define WSXDP_EVENT_WAKEUP 11       /* wsxdp_wakeup was called */
#define WSXDP_EVENT_NOTICE 12       /* worth knowing, changes nothing by itself: error, data/len = text */

/* Event flags. */
#define WSXDP_FLAG_TEXT 0x0001u          /* MESSAGE, FRAGMENT: text (checked UTF-8) */
#define WSXDP_FLAG_BINARY 0x0002u        /* MESSAGE, FRAGMENT: binary */
#define WSXDP_FLAG_LAST_IN_BATCH 0x0004u /* the last message of one read from the network */
#define WSXDP_FLAG_COMPRESSED 0x0008u    /* MESSAGE, FRAGMENT: arrived compressed. OPEN: deflate was negotiated */
#define WSXDP_FLAG_FIRST 0x0010u         /* FRAGMENT: the first piece of a message */
#define WSXDP_FLAG_FINAL 0x0020u         /* FRAGMENT: the last piece of a message */
#define WSXDP_FLAG_BY_PEER 0x0040u       /* CLOSE: the peer began the close */
#define WSXDP_FLAG_CLEAN 0x0080u         /* CLOSE: both close frames were exchanged */
#define WSXDP_FLAG_RESUMED 0x0100u       /* OPEN: the TLS session was resumed from a ticket */
#define WSXDP_FLAG_RECONNECTED 0x0200u   /* OPEN: not the connection's first */
#define WSXDP_FLAG_TLS 0x0400u           /* OPEN: the connection is encrypted and, unless switched off, verified */

/* 128 bytes, the same for the life of the ABI. Which fields mean something depends on kind; the
 * others are 0. Time stamps: "first" and "last" are those of the first and the last packet or read
 * that carried the message, equal where only one did. */
typedef struct wsxdp_event {
    uint32_t kind;              /* WSXDP_EVENT_ */
    uint32_t flags;             /* WSXDP_FLAG_ */
    uint32_t conn;              /* which connection */
    uint16_t code;              /* CLOSE: RFC 6455 status code, 1005 none given, 1006 lost */
    uint16_t opcode;            /* MESSAGE, FRAGMENT: WSXDP_TEXT or WSXDP_BINARY */
    const uint8_t *data;        /* valid until the next poll or release, see convention 4 */
    uint64_t len;               /* bytes at data */
    int32_t error;              /* WSXDP_E_ code, 0 if none */
    uint32_t attempt;           /* RECONNECTING: number of the attempt, from 1 */
    int64_t value;              /* by kind, see above; OPEN: ns from the start of the attempt to open */
    int64_t nic_first_ns;       /* NIC hardware clock */
    int64_t nic_last_ns;
    int64_t kernel_first_ns;    /* kernel receive (socket, uring) or XDP program entry (xdp) */
    int64_t kernel_last_ns;
    int64_t poll_first_ns;      /* taken from the kernel or the RX ring by us */
    int64_t poll_last_ns;
    int64_t transport_last_ns;  /* TCP segment processed (xdp); taken from the stage rx; else equal to poll */
    int64_t tls_last_ns;        /* TLS record opened; 0 without TLS */
    int64_t parse_ns;           /* WebSocket frames parsed, message complete */
    uint64_t sequence;          /* counts the messages of this connection from 1, never reset */
} wsxdp_event;

/* Opcodes for wsxdp_send (RFC 6455 section 5.2). */
#define WSXDP_CONTINUATION 0u
#define WSXDP_TEXT 1u
#define WSXDP_BINARY 2u
#define WSXDP_PING 9u
#define WSXDP_PONG 10u

/* Flags for wsxdp_send and wsxdp_send_commit. */
#define WSXDP_SEND_MORE 0x1u         /* more follows at once: keep it back until a send without MORE, or the next poll */
#define WSXDP_SEND_NOT_FINAL 0x2u    /* a fragment; the message goes on with opcode WSXDP_CONTINUATION */
#define WSXDP_SEND_UNCOMPRESSED 0x4u /* do not compress this one although deflate was negotiated */

/* Counters since open; for one connection or, with WSXDP_ALL, for the handle. */
typedef struct wsxdp_stats_t {
    uint32_t struct_size;        /* in: sizeof(wsxdp_stats_t) */
    uint32_t state;              /* WSXDP_STATE_ of the connection; 0 for the handle */
    uint64_t bytes_received;     /* from the network, TLS included */
    uint64_t bytes_sent;
    uint64_t messages_received;
    uint64_t messages_sent;
    uint64_t payload_received;   /* message payload, uncompressed */
    uint64_t payload_sent;
    uint64_t frames_received;    /* WebSocket frames, control frames included */
    uint64_t frames_sent;
    uint64_t tls_records_received;
    uint64_t tls_records_sent;
    uint64_t pings_received;
    uint64_t pings_sent;
    uint64_t pongs_received;
    uint64_t pongs_sent;
    int64_t round_trip_ns;       /* newest keepalive ping; 0 before the first */
    int64_t round_trip_min_ns;
    uint64_t inbox_bytes;        /* received and not yet released */
    uint64_t inbox_bytes_max;    /* high-water mark */
    uint64_t outbox_bytes;       /* queued to be sent */
    uint64_t outbox_bytes_max;
    uint64_t events_queued;      /* handle only */
    uint64_t holds;              /* events held by wsxdp_hold */
    uint64_t opens;              /* how often the connection reached OPEN */
    uint64_t reconnects;         /* attempts after the first */
    uint64_t messages_lost;      /* dropped by overflow=conflate */
    uint64_t stalls;             /* times that reading stopped because the caller was slow */
    uint64_t sends_refused;      /* WSXDP_E_AGAIN answers */
    uint64_t reads;              /* receive system calls that brought data */
    uint64_t connections;        /* handle only: connections that exist */
    uint64_t allocations;        /* memory allocations by the library while a connection was open and
                                    stayed open: 0, or a bug */
    /* TCP (RFC 9293) of what is connected now: our own with transport=xdp, the kernel's (TCP_INFO) with
       sockets. Of a handle, the counters are sums and the rest is 0. */
    uint64_t tcp_segments_received;
    uint64_t tcp_segments_sent;
    uint64_t tcp_retransmits;      /* segments sent again */
    uint64_t tcp_out_of_order;     /* received before what precedes them */
    uint64_t tcp_zero_windows;     /* times that the peer's window was closed; xdp only */
    int64_t tcp_round_trip_ns;     /* smoothed (RFC 6298) */
    int64_t tcp_round_trip_min_ns; /* least of the last seconds */
    uint64_t tcp_congestion_window; /* bytes */
    uint64_t tcp_in_flight;         /* bytes sent and not acknowledged */
} wsxdp_stats_t;

#define WSXDP_ALL 0xFFFFFFFFu

#define WSXDP_STATE_CONNECTING 1u
#define WSXDP_STATE_OPEN 2u
#define WSXDP_STATE_CLOSING 3u
#define WSXDP_STATE_WAITING 4u /* for the next attempt */
#define WSXDP_STATE_CLOSED 5u

#define WSXDP_OPTION_TEXT 1u
#define WSXDP_OPTION_INT 2u
#define WSXDP_OPTION_BOOL 3u   /* set_int 0 or 1; text yes no true false on off 1 0 */
#define WSXDP_OPTION_CHOICE 4u /* one of a few words, listed in choices */
#define WSXDP_OPTION_DATA 5u   /* bytes; text is taken as bytes */

#define WSXDP_OPTION_REPEATS 0x1u /* each set adds a value; setting "" empties the list */
#define WSXDP_OPTION_PREFIX 0x2u  /* the name ends in ".*": any name that begins so is accepted */
#define WSXDP_OPTION_HANDLE 0x4u  /* counts at wsxdp_open only, refused at wsxdp_connect */
#define WSXDP_OPTION_SECRET 0x8u  /* do not show the value */

/* One row of the option table. All strings are static. */
typedef struct wsxdp_option {
    uint32_t struct_size;      /* in: sizeof(wsxdp_option) */
    uint32_t type;             /* WSXDP_OPTION_TEXT ... */
    uint32_t flags;
    uint32_t reserved;
    int64_t minimum;           /* INT only */
    int64_t maximum;
    const char *name;
    const char *default_value; /* in the form that wsxdp_config_set takes */
    const char *unit;          /* "ns", "bytes", "" ... ; set accepts 250ms, 4MiB and the like */
    const char *choices;       /* CHOICE: words separated by '|', else "" */
    const char *doc;           /* one line */
} wsxdp_option;

/* ---- configuration (cold; any thread, one at a time) ---------------------------------------- */

/* A new config with every option at its default, or NULL when out of memory. Free it with
 * wsxdp_config_free; wsxdp_open and wsxdp_connect copy what they need. */
WSXDP_API wsxdp_config *wsxdp_config_new(void);
WSXDP_API void wsxdp_config_free(wsxdp_config *config);

/* Sets one option from text, whatever its type. Copies value. Errors: E_OPTION_UNKNOWN,
 * E_OPTION_TYPE, E_OPTION_RANGE, E_INVALID, E_MEMORY; the config is then unchanged and
 * wsxdp_config_error has a sentence that names the option and what it takes. */
WSXDP_API int wsxdp_config_set(wsxdp_config *config, const char *name, const char *value);

/* Sets an INT, BOOL (0, 1) option. Errors as above. */
WSXDP_API int wsxdp_config_set_int(wsxdp_config *config, const char *name, int64_t value);

/* Sets a DATA or TEXT option from len bytes, which are copied. Errors as above. */
WSXDP_API int wsxdp_config_set_data(wsxdp_config *config, const char *name, const void *data, size_t len);

/* The sentence of the last failed set on this config, "" if none. Copies at most cap bytes, zero
 * byte included, and returns the length of the whole sentence. */
WSXDP_API int wsxdp_config_error(const wsxdp_config *config, char *buf, size_t cap);

/* Row index of the option table into *out, whose struct_size must be set. Returns the number of
 * rows, or E_INVALID when index is past the end. */
WSXDP_API int wsxdp_option_at(size_t index, wsxdp_option *out);

/* ---- open and connect (cold) ---------------------------------------------------------------- */

/* Makes a handle with one connection to url and starts connecting; does not wait for the network.
 * What happens next arrives as events from wsxdp_poll.
 *   url     ws:// wss:// ws+unix:///socket:/path or echo: (no network: what is sent comes back)
 *   config  NULL for the defaults; copied
 *   out     the handle, to be freed with wsxdp_free; NULL after an error
 *   err     may be NULL; else struct_size must be set; filled on error
 * With placement threads or processes it starts them first; a process is the program wsxdp-stage, which
 * is waited for (stage.start_timeout_ns). When one of them ends later each connection gets an ERROR
 * (E_STAGE_DIED), then RECONNECTING or CLOSE as after any loss.
 * Errors: E_URL, E_INVALID, E_UNSUPPORTED, E_MEMORY, E_REGION, E_DESCRIPTORS, E_SYSTEM, E_TLS_SETUP,
 * E_TLS_CA, E_TLS_CLIENT_CERT, E_THREAD_START, E_STAGE_START, and of transport=xdp E_PERMISSION and
 * E_XDP_INTERFACE. url NULL makes a handle without a connection, for wsxdp_connect. */
WSXDP_API int wsxdp_open(const char *url, const wsxdp_config *config, wsxdp **out, wsxdp_error *err);

/* Adds a connection to the handle; *conn receives its id. config NULL means the options given to
 * wsxdp_open; options marked HANDLE must not differ. Owner thread. Errors as wsxdp_open's, and
 * E_CONNECTIONS, E_THREAD, E_AGAIN (what runs the stages has not taken in those before: poll, then
 * try again); wsxdp_last_error has the text. */
WSXDP_API int wsxdp_connect(wsxdp *handle, const char *url, const wsxdp_config *config, uint32_t *conn);

/* Ends everything in bounded time from any state: open connections are dropped (call wsxdp_close
 * and poll for CLOSE first to part politely), memory, descriptors and threads are released. NULL is
 * allowed. Free senders first. */
WSXDP_API void wsxdp_free(wsxdp *handle);

/* ---- receive (hot; owner thread) ------------------------------------------------------------- */

/* Releases the previous batch, does the engine's work, and fills up to cap events.
 *   timeout_ns  0 never waits; > 0 waits that long at most; < 0 waits for an event for ever.
 *               Waiting spins or sleeps as the option wait says.
 * Returns the number of events, 0 on timeout. Errors: E_INVALID, E_THREAD, E_SYSTEM. */
WSXDP_API int wsxdp_poll(wsxdp *handle, wsxdp_event *events, size_t cap, int64_t timeout_ns);

/* Releases the last batch now instead of at the next poll, so that the peer may send on. */
WSXDP_API int wsxdp_release(wsxdp *handle);

/* Keeps the bytes of one event of the last batch valid until wsxdp_unhold with an event of the same
 * conn and sequence or data pointer; counts against the inbox, so what is held long enough stops the
 * peer. Errors: E_HOLDS (hold.max reached), E_INVALID (the event has no bytes in the inbox, or is
 * not of the last batch), E_STALE, E_THREAD. */
WSXDP_API int wsxdp_hold(wsxdp *handle, const wsxdp_event *event);
WSXDP_API int wsxdp_unhold(wsxdp *handle, const wsxdp_event *event);

/* ---- send (hot; owner thread) ---------------------------------------------------------------- */

/* Sends one message (or fragment, or ping): all of it or nothing. data is copied before return.
 *   opcode  WSXDP_TEXT, WSXDP_BINARY, WSXDP_CONTINUATION, WSXDP_PING, WSXDP_PONG
 *   flags   WSXDP_SEND_
 * Errors: E_AGAIN (queue full; WRITABLE follows), E_TOO_BIG (send it in fragments), E_CLOSED,
 * E_STATE (not open yet, or a fragment out of order), E_SEND_UTF8, E_FLAGS, E_STALE, E_THREAD. */
WSXDP_API int wsxdp_send(wsxdp *handle, uint32_t conn, uint32_t opcode, const void *data, size_t len,
                         uint32_t flags);

/* The same without a copy: begin gives room for cap bytes to write to, commit sends the first len of
 * them. One begun message per connection; the room is valid until commit, any other send on the
 * connection, or poll. Errors as wsxdp_send's; E_STATE for a commit without a begin. Room is not
 * given on a connection that negotiated compression: E_UNSUPPORTED. */
WSXDP_API int wsxdp_send_begin(wsxdp *handle, uint32_t conn, uint32_t opcode, size_t cap, void **buf);
WSXDP_API int wsxdp_send_commit(wsxdp *handle, uint32_t conn, size_t len, uint32_t flags);

/* Starts the close handshake (RFC 6455 section 7) without blocking; a CLOSE event follows, and the
 * connection is not made again. code is 1000-1003, 1007-1014 or 3000-4999, or 0 for a close frame
 * without a code; reason is UTF-8 of at most 123 bytes. While connecting it cancels.
 * Errors: E_INVALID, E_CLOSED, E_STALE, E_THREAD. */
WSXDP_API int wsxdp_close(wsxdp *handle, uint32_t conn, uint16_t code, const char *reason, size_t len);

/* Drops the connection now (TCP reset). A CLOSE event with E_ABORTED follows. */
WSXDP_API int wsxdp_abort(wsxdp *handle, uint32_t conn);

/* ---- waiting in the caller's own loop -------------------------------------------------------- */

/* One descriptor for the life of the handle, readable while wsxdp_poll has an event or work to do.
 * Wait on it (level-triggered) and call wsxdp_poll with timeout 0; do nothing else with it.
 * Errors: E_INVALID; E_UNSUPPORTED when the handle waits with poll(2), which has no one descriptor for
 * many sockets: with poller=poll, or with poller=auto where the system refuses epoll. Then call
 * wsxdp_poll with a timeout, in a thread of its own if the host must wait for other things, too. */
WSXDP_API int wsxdp_fd(const wsxdp *handle);

/* When wsxdp_poll must be called next even if nothing arrives, CLOCK_MONOTONIC ns; INT64_MAX for
 * never, which is usual when threads or processes of its own look after timers (placement). The
 * descriptor of wsxdp_fd becomes readable then by itself. Owner thread. */
WSXDP_API int64_t wsxdp_deadline(const wsxdp *handle);

/* Makes a waiting or the next wsxdp_poll return with a WAKEUP event. Sticky: several calls before
 * the poll give one event. Any thread, any time before wsxdp_free; async-signal-safe. */
WSXDP_API int wsxdp_wakeup(wsxdp *handle);

/* ---- sending from other threads -------------------------------------------------------------- */

/* A queue of bytes bytes (rounded up to a power of two; 0 for 64 KiB) from one other thread to one
 * connection. Owner thread; cold. Errors: E_SENDERS, E_MEMORY, E_STALE, E_THREAD. */
WSXDP_API int wsxdp_sender_open(wsxdp *handle, uint32_t conn, size_t bytes, wsxdp_sender **out);

/* Queues a message and wakes the owner. One thread at a time per sender. All or nothing: E_AGAIN when
 * the queue is full (try later; no event), E_TOO_BIG, E_CLOSED when the connection is gone, E_FLAGS.
 * Messages queued while the connection is not open wait for it. Hot. */
WSXDP_API int wsxdp_sender_send(wsxdp_sender *sender, uint32_t opcode, const void *data, size_t len,
                                uint32_t flags);

/* Owner thread, before wsxdp_free, once the sending thread has stopped using it. Messages still
 * queued are sent first if the connection takes them. */
WSXDP_API void wsxdp_sender_free(wsxdp_sender *sender);

/* ---- facts ----------------------------------------------------------------------------------- */

/* Counters of one connection, or of the handle with conn = WSXDP_ALL. out->struct_size must be set.
 * Stages in threads or processes of their own are asked, which takes some microseconds; one that does
 * not answer within 100 ms leaves what it told before. Owner thread. */
WSXDP_API int wsxdp_stats(wsxdp *handle, uint32_t conn, wsxdp_stats_t *out);

/* A fact about a connection as text: "url", "state", "transport", "subprotocol", "extensions",
 * "peer", "local", "tls.version", "tls.cipher", "tls.resumed", "tls.alpn", "tls.early_data" (no,
 * accepted, rejected), "mode", "poller"; with transport=xdp also "xdp.interface", "xdp.queues",
 * "xdp.ladder" (why no better mode), "xdp.counters" (of the interface's frames, as NAME=NUMBER). With
 * conn = WSXDP_ALL what is true of the handle, with and without connections: "poller" and "xdp.*".
 * Copies at most cap bytes with the zero byte and returns the whole length. Errors: E_INVALID (no such
 * fact), E_STALE, E_THREAD, E_AGAIN (the stages' thread or process does not answer). Owner thread; cold. */
WSXDP_API int wsxdp_info(wsxdp *handle, uint32_t conn, const char *what, char *buf, size_t cap);

/* What the last failing call on this handle, or the last ERROR event, was about. Copies at most cap
 * bytes with the zero byte and returns the whole length. Owner thread; cold. */
WSXDP_API int wsxdp_last_error(wsxdp *handle, char *buf, size_t cap);

/* A static one-line text for a code. Any thread. */
WSXDP_API const char *wsxdp_strerror(int code);

/* Version and features, "0.1.0 (transports: ...; placements: ...; TLS: ...; permessage-deflate: ...)"; static. Any
 * thread. */
WSXDP_API const char *wsxdp_version(void);

#ifdef __cplusplus
}
#endif
#endif
