// SPDX-License-Identifier: MIT
// The one table of options: X(identifier, name, type, flags, default, minimum, maximum, unit, choices, doc).
// From it come the enum, the parser, the checks, wsxdp_option_at, `wsxdp options` and the reference page.
// The reason for a limit stands beside it where it is not evident.
#pragma once

#define WX_H WSXDP_OPTION_HANDLE
#define WX_R WSXDP_OPTION_REPEATS
#define WX_S WSXDP_OPTION_SECRET
#define WX_P WSXDP_OPTION_PREFIX
#define WX_TEXT WSXDP_OPTION_TEXT
#define WX_INT WSXDP_OPTION_INT
#define WX_BOOL WSXDP_OPTION_BOOL
#define WX_CHOICE WSXDP_OPTION_CHOICE
#define WX_DATA WSXDP_OPTION_DATA
#define WX_HOUR_NS 3600000000000LL
#define WX_DAY_NS 86400000000000LL
#define WX_GIB 1073741824LL

#define WX_OPTIONS_ENGINE(X)                                                                                 \
    X(transport, "transport", WX_CHOICE, WX_H, "auto", 0, 0, "", "auto|socket|uring|xdp",                    \
      "how the network is reached; auto takes the best that this build has")                                 \
    X(placement, "placement", WX_TEXT, WX_H, "inline", 0, 0, "", "",                                         \
      "where the stages run; inline: in the caller's thread, inside wsxdp_poll; 'threads: transport+ws@N': " \
      "network, TLS and WebSocket in one thread of the handle's own, @N: on processor N only; "              \
      "'threads: rx@0 tls@2 tx@4': with sockets, receiving, TLS and sending in a thread each, ws (unless "   \
      "named) with tls; 'threads: rx tx': tls and ws with rx; "                                              \
      "'processes: transport+ws@N': in a process of its own; with transport=xdp nic is a stage as well: "    \
      "'threads: nic@N transport+ws@M'")                                                                     \
    X(wait, "wait", WX_CHOICE, WX_H, "adaptive", 0, 0, "", "spin|adaptive|sleep|yield",                      \
      "how wsxdp_poll waits: spin never sleeps, adaptive spins for wait.spin_ns first, sleep does not "      \
      "spin, "                                                                                               \
      "yield spins for wait.spin_ns and then lets others run between any two looks; a place of a placement " \
      "may wait in a way of its own: transport@2/spin")                                                      \
    X(wait_spin_ns, "wait.spin_ns", WX_INT, WX_H, "50us", 0, WX_HOUR_NS, "ns", "",                           \
      "how long wait=adaptive spins before it sleeps, wait=yield before it yields")                          \
    X(poller, "poller", WX_CHOICE, WX_H, "auto", 0, 0, "", "auto|epoll|poll",                                \
      "how sockets are waited for; poll needs no epoll, but then there is no wsxdp_fd and a wait costs "     \
      "more with many connections; auto: epoll, or poll where the system refuses epoll")                     \
    X(overflow, "overflow", WX_CHOICE, 0, "backpressure", 0, 0, "", "backpressure|conflate|close",           \
      "when the caller is too slow: stop reading, drop the oldest messages and say so, or close")            \
    X(connections_max, "connections.max", WX_INT, WX_H, "1024", 1, 65536, "", "",                            \
      "connections that may exist at once in a handle")                                                      \
    X(inbox_bytes, "inbox.bytes", WX_INT, WX_H, "4MiB", 65536, WX_GIB, "bytes", "",                          \
      "receive buffer per connection, rounded up to a power of two; holds whole messages of 7/8 of it less " \
      "18 KiB")                                                                                              \
    X(outbox_bytes, "outbox.bytes", WX_INT, WX_H, "1MiB", 4096, WX_GIB, "bytes", "",                         \
      "send buffer per connection, rounded up to a power of two; a message to send must fit in it")          \
    X(metadata_slots, "metadata.slots", WX_INT, WX_H, "4096", 64, 1048576, "", "",                           \
      "network reads that may wait for the WebSocket stage, rounded up to a power of two")                   \
    X(events_slots, "events.slots", WX_INT, WX_H, "4096", 64, 1048576, "", "",                               \
      "events that may wait for wsxdp_poll, rounded up to a power of two")                                   \
    X(hold_max, "hold.max", WX_INT, WX_H, "256", 0, 65536, "", "",                                           \
      "events that may be held with wsxdp_hold")                                                             \
    X(senders_max, "senders.max", WX_INT, WX_H, "64", 0, 4096, "", "", "senders that may be open at once")   \
    X(inbox_prefault, "inbox.prefault", WX_BOOL, WX_H, "yes", 0, 1, "", "",                                  \
      "take an inbox's memory when connecting instead of at first use; only for a handle's first 4 "         \
      "connections")                                                                                         \
    X(stage_path, "stage.path", WX_TEXT, WX_H, "", 0, 0, "", "",                                             \
      "the program that runs stages as a process, wsxdp-stage; empty: where `make install` puts it")         \
    X(stage_start_timeout_ns, "stage.start_timeout_ns", WX_INT, WX_H, "5s", 1000000, WX_HOUR_NS, "ns", "",   \
      "how long a stage's process may take to be ready")                                                     \
    X(stage_restart, "stage.restart", WX_BOOL, WX_H, "yes", 0, 1, "", "",                                    \
      "when a stage's process ends: start all of them again, and connect again as `reconnect` says; no: "    \
      "the "                                                                                                 \
      "connections and the handle end")                                                                      \
    X(stage_silence_ns, "stage.silence_ns", WX_INT, WX_H, "10s", 0, WX_HOUR_NS, "ns", "",                    \
      "a stage's process that has not run for so long, although it was woken, is killed and counts as "      \
      "dead; "                                                                                               \
      "0: never")                                                                                            \
    X(stage_fifo, "stage.fifo", WX_INT, WX_H, "0", 0, 99, "", "",                                            \
      "real-time priority (SCHED_FIFO) of the threads or processes that run stages; 0: none; a refusal is "  \
      "a "                                                                                                   \
      "NOTICE")                                                                                              \
    X(name, "name", WX_TEXT, WX_H, "", 0, 0, "", "",                                                         \
      "what `wsxdp top` finds the handle by; letters, digits and any of - . _")

#define WX_OPTIONS_MESSAGE(X)                                                                                \
    X(message_max_bytes, "message.max_bytes", WX_INT, 0, "0", 0, WX_GIB, "bytes", "",                        \
      "largest message received, after decompression; 0: whatever inbox.bytes can hold")                     \
    X(frame_max_bytes, "frame.max_bytes", WX_INT, 0, "0", 0, INT64_MAX, "bytes", "",                         \
      "largest frame received; 0: no limit of its own")                                                      \
    X(message_stream, "message.stream", WX_BOOL, 0, "no", 0, 1, "", "",                                      \
      "deliver pieces of messages as they arrive (FRAGMENT events) instead of whole messages")               \
    X(message_check_utf8, "message.check_utf8", WX_BOOL, 0, "yes", 0, 1, "", "",                             \
      "check that received text is UTF-8 (RFC 6455 section 8.1)")                                            \
    X(send_check_utf8, "send.check_utf8", WX_BOOL, 0, "yes", 0, 1, "", "",                                   \
      "check that text to send is UTF-8")                                                                    \
    X(send_fragment_bytes, "send.fragment_bytes", WX_INT, 0, "0", 0, WX_GIB, "bytes", "",                    \
      "split messages into frames of this size, so that pongs pass between them; 0: one frame")              \
    X(mask_zero, "mask.zero", WX_BOOL, 0, "no", 0, 1, "", "",                                                \
      "mask with zeros: faster, but lets whoever chooses the payload choose the bytes on the wire")          \
    X(subscribe, "subscribe", WX_TEXT, WX_R, "", 0, 0, "", "",                                               \
      "text message sent after every open, in order")                                                        \
    X(subprotocol, "subprotocol", WX_TEXT, 0, "", 0, 0, "", "", "subprotocols to offer, comma separated")    \
    X(header, "header.*", WX_TEXT, WX_P | WX_R | WX_S, "", 0, 0, "", "",                                     \
      "a field for the upgrade request: header.X-Key = value")                                               \
    X(origin, "origin", WX_TEXT, 0, "", 0, 0, "", "", "Origin field of the upgrade request")                 \
    X(user_agent, "user_agent", WX_TEXT, 0, "wsxdp", 0, 0, "", "", "User-Agent field; empty for none")       \
    X(upgrade_max_head_bytes, "upgrade.max_head_bytes", WX_INT, 0, "16KiB", 256, 1048576, "bytes", "",       \
      "largest response head accepted from server or proxy")                                                 \
    X(redirect_max, "redirect.max", WX_INT, 0, "0", 0, 20, "", "",                                           \
      "redirects to follow; 0: a redirect is an error that names the target")                                \
    X(deflate, "deflate", WX_BOOL, 0, "no", 0, 1, "", "", "offer permessage-deflate (RFC 7692)")             \
    X(deflate_client_no_context_takeover, "deflate.client_no_context_takeover", WX_BOOL, 0, "no", 0, 1, "",  \
      "", "compress each message on its own")                                                                \
    X(deflate_server_no_context_takeover, "deflate.server_no_context_takeover", WX_BOOL, 0, "no", 0, 1, "",  \
      "", "ask the server to compress each message on its own")                                              \
    X(deflate_client_max_window_bits, "deflate.client_max_window_bits", WX_INT, 0, "15", 8, 15, "bits", "",  \
      "largest window that we compress with")                                                                \
    X(deflate_server_max_window_bits, "deflate.server_max_window_bits", WX_INT, 0, "15", 8, 15, "bits", "",  \
      "largest window that the server may compress with")                                                    \
    X(deflate_level, "deflate.level", WX_INT, 0, "1", 1, 9, "", "", "effort when compressing")               \
    X(deflate_memory_level, "deflate.memory_level", WX_INT, 0, "8", 1, 9, "", "", "zlib's memory level")     \
    X(deflate_min_bytes, "deflate.min_bytes", WX_INT, 0, "64", 0, WX_GIB, "bytes", "",                       \
      "send shorter messages uncompressed")                                                                  \
    X(deflate_max_ratio, "deflate.max_ratio", WX_INT, 0, "1100", 1, 1000000, "", "",                         \
      "most that a message may grow when inflated, as a factor; deflate itself cannot exceed about 1032")

#define WX_OPTIONS_TIME(X)                                                                                   \
    X(connect_timeout_ns, "connect.timeout_ns", WX_INT, 0, "10s", 1000000, WX_HOUR_NS, "ns", "",             \
      "from the start of an attempt to OPEN")                                                                \
    X(connect_attempt_timeout_ns, "connect.attempt_timeout_ns", WX_INT, 0, "5s", 1000000, WX_HOUR_NS, "ns",  \
      "", "TCP handshake with one address")                                                                  \
    X(connect_attempt_delay_ns, "connect.attempt_delay_ns", WX_INT, 0, "250ms", 10000000, WX_HOUR_NS, "ns",  \
      "", "how long to wait for one address before trying the next beside it (RFC 8305 section 5)")          \
    X(connect_family, "connect.family", WX_CHOICE, 0, "any", 0, 0, "", "any|ipv4|ipv6", "addresses to use")  \
    X(resolve_timeout_ns, "resolve.timeout_ns", WX_INT, 0, "5s", 1000000, WX_HOUR_NS, "ns", "",              \
      "name resolution")                                                                                     \
    X(resolve_override, "resolve.override", WX_TEXT, WX_R, "", 0, 0, "", "",                                 \
      "NAME=ADDRESS[,ADDRESS...]: use these addresses and do not ask the system")                            \
    X(upgrade_timeout_ns, "upgrade.timeout_ns", WX_INT, 0, "5s", 1000000, WX_HOUR_NS, "ns", "",              \
      "answer to the upgrade request, and of a proxy")                                                       \
    X(close_timeout_ns, "close.timeout_ns", WX_INT, 0, "2s", 1000000, WX_HOUR_NS, "ns", "",                  \
      "the peer's part of the close handshake")                                                              \
    X(ping_interval_ns, "ping.interval_ns", WX_INT, 0, "20s", 0, WX_DAY_NS, "ns", "",                        \
      "own keepalive pings, which also measure the round trip; 0: none")                                     \
    X(ping_timeout_ns, "ping.timeout_ns", WX_INT, 0, "20s", 1000000, WX_DAY_NS, "ns", "",                    \
      "answer to a keepalive ping before the connection counts as lost")                                     \
    X(idle_timeout_ns, "idle.timeout_ns", WX_INT, 0, "60s", 0, WX_DAY_NS, "ns", "",                          \
      "silence of the peer after which the connection counts as dead; 0: never")                             \
    X(reconnect, "reconnect", WX_BOOL, 0, "yes", 0, 1, "", "", "connect again when a connection is lost")    \
    X(reconnect_initial, "reconnect.initial", WX_BOOL, 0, "yes", 0, 1, "", "",                               \
      "also try again when the first connection fails")                                                      \
    X(reconnect_max_attempts, "reconnect.max_attempts", WX_INT, 0, "0", 0, 1000000000, "", "",               \
      "attempts in a row before giving up; 0: no limit")                                                     \
    X(reconnect_delay_min_ns, "reconnect.delay_min_ns", WX_INT, 0, "100ms", 1000000, WX_DAY_NS, "ns", "",    \
      "upper bound of the second retry's random delay; the first retry is at once, each later bound "        \
      "doubles")                                                                                             \
    X(reconnect_delay_max_ns, "reconnect.delay_max_ns", WX_INT, 0, "30s", 1000000, WX_DAY_NS, "ns", "",      \
      "where the doubling stops")                                                                            \
    X(reconnect_stable_ns, "reconnect.stable_ns", WX_INT, 0, "10s", 0, WX_DAY_NS, "ns", "",                  \
      "a connection that lasted this long starts the delays anew")

#define WX_OPTIONS_NETWORK(X)                                                                                \
    X(proxy, "proxy", WX_TEXT, WX_S, "", 0, 0, "", "",                                                       \
      "http://[USER:PASSWORD@]HOST:PORT (CONNECT) or socks5://...; empty: direct")                           \
    X(socket_no_delay, "socket.no_delay", WX_BOOL, 0, "yes", 0, 1, "", "", "TCP_NODELAY")                    \
    X(socket_busy_poll_us, "socket.busy_poll_us", WX_INT, 0, "0", 0, 1000000, "us", "",                      \
      "SO_BUSY_POLL; 0 leaves the system's setting; more than net.core.busy_read needs CAP_NET_ADMIN")       \
    X(socket_receive_buffer_bytes, "socket.receive_buffer_bytes", WX_INT, 0, "0", 0, INT32_MAX, "bytes", "", \
      "SO_RCVBUF; 0: the kernel tunes it")                                                                   \
    X(socket_send_buffer_bytes, "socket.send_buffer_bytes", WX_INT, 0, "0", 0, INT32_MAX, "bytes", "",       \
      "SO_SNDBUF; 0: the kernel tunes it")                                                                   \
    X(socket_read_bytes, "socket.read_bytes", WX_INT, 0, "128KiB", 512, 16777216, "bytes", "",               \
      "most taken from the kernel in one read")                                                              \
    X(socket_interface, "socket.interface", WX_TEXT, 0, "", 0, 0, "", "", "bind to this interface")          \
    X(timestamps, "timestamps", WX_CHOICE, 0, "auto", 0, 0, "", "auto|off|software|hardware",                \
      "kernel receive time stamps, and the NIC's with hardware; auto: software, but off with wait=spin, "    \
      "where a "                                                                                             \
      "read follows arrival at once and stamps would cost more than they tell")                              \
    X(tls_ca_file, "tls.ca_file", WX_TEXT, 0, "", 0, 0, "", "",                                              \
      "trust the certificates in this PEM file only")                                                        \
    X(tls_ca_dir, "tls.ca_dir", WX_TEXT, 0, "", 0, 0, "", "",                                                \
      "trust the hashed certificates in this directory")                                                     \
    X(tls_ca_pem, "tls.ca_pem", WX_DATA, 0, "", 0, 0, "", "", "trust these PEM certificates")                \
    X(tls_system_ca, "tls.system_ca", WX_BOOL, 0, "yes", 0, 1, "", "",                                       \
      "trust the system's certificates, unless another tls.ca_ option is given")                             \
    X(tls_insecure_skip_verify, "tls.insecure_skip_verify", WX_BOOL, 0, "no", 0, 1, "", "",                  \
      "accept any certificate for any name: anybody on the path can read and change everything")             \
    X(tls_server_name, "tls.server_name", WX_TEXT, 0, "", 0, 0, "", "",                                      \
      "name to send and to verify instead of the URL's host")                                                \
    X(tls_cert_file, "tls.cert_file", WX_TEXT, 0, "", 0, 0, "", "", "client certificate chain, PEM")         \
    X(tls_key_file, "tls.key_file", WX_TEXT, 0, "", 0, 0, "", "",                                            \
      "its private key, PEM; empty: in cert_file")                                                           \
    X(tls_key_password, "tls.key_password", WX_TEXT, WX_S, "", 0, 0, "", "", "password of the private key")  \
    X(tls_pin_sha256, "tls.pin_sha256", WX_TEXT, WX_R, "", 0, 0, "", "",                                     \
      "base64 SHA-256 of a public key (SPKI) that must be in the chain (RFC 7469 section 2.4)")              \
    X(tls_alpn, "tls.alpn", WX_TEXT, 0, "http/1.1", 0, 0, "", "", "protocols to offer, comma separated")     \
    X(tls_version_min, "tls.version_min", WX_CHOICE, 0, "1.2", 0, 0, "", "1.2|1.3",                          \
      "oldest TLS version accepted")                                                                         \
    X(tls_ciphers, "tls.ciphers", WX_TEXT, 0, "", 0, 0, "", "", "TLS 1.2 cipher list; empty: the library's") \
    X(tls_ciphersuites, "tls.ciphersuites", WX_TEXT, 0, "", 0, 0, "", "",                                    \
      "TLS 1.3 suites; empty: the library's")                                                                \
    X(tls_resumption, "tls.resumption", WX_BOOL, 0, "yes", 0, 1, "", "",                                     \
      "keep session tickets for reconnects")                                                                 \
    X(tls_early_data, "tls.early_data", WX_BOOL, 0, "no", 0, 1, "", "",                                      \
      "with a ticket that allows it, send the upgrade request along with the TLS 1.3 handshake (0-RTT), a "  \
      "round trip sooner; who records it can replay it, so only for servers to which a second upgrade "      \
      "request does no harm")                                                                                \
    X(tls_record_bytes, "tls.record_bytes", WX_INT, 0, "16384", 512, 16384, "bytes", "",                     \
      "most plaintext per record sent; near the MSS, one record fits one segment")                           \
    X(tls_timeout_ns, "tls.timeout_ns", WX_INT, 0, "5s", 1000000, WX_HOUR_NS, "ns", "", "TLS handshake")     \
    X(tls_keylog_file, "tls.keylog_file", WX_TEXT, 0, "", 0, 0, "", "",                                      \
      "append session secrets here for debugging (NSS format); whoever reads it can decrypt everything")

// Of transport=xdp. They belong to the handle: its connections share the interface.
#define WX_OPTIONS_XDP(X)                                                                                    \
    X(fallback, "fallback", WX_CHOICE, 0, "none", 0, 0, "", "none|socket",                                   \
      "when transport=xdp cannot be had for a connection: an error, or sockets and a NOTICE that says why")  \
    X(xdp_interface, "xdp.interface", WX_TEXT, WX_H, "", 0, 0, "", "",                                       \
      "the network interface; empty: the one that the first connection's route leads through")               \
    X(xdp_mode, "xdp.mode", WX_CHOICE, WX_H, "auto", 0, 0, "", "auto|zero-copy|driver|generic",              \
      "auto: the first of these that can be had; one of them: that or an error")                             \
    X(xdp_queue, "xdp.queue", WX_INT, WX_H, "-1", -1, 63, "", "",                                            \
      "the receive queue to use; -1: all of them, with a socket on each")                                    \
    X(xdp_frames, "xdp.frames", WX_INT, WX_H, "8192", 512, 1048576, "", "",                                  \
      "frames of memory shared with the interface, rounded up to a power of two; half of them receive")      \
    X(xdp_frame_bytes, "xdp.frame_bytes", WX_INT, WX_H, "0", 0, 4096, "bytes", "",                           \
      "2048 or 4096; 0: 2048, or 4096 where the MTU is more than 1774 bytes")                                \
    X(xdp_hugepages, "xdp.hugepages", WX_BOOL, WX_H, "yes", 0, 1, "", "",                                    \
      "take the frames from huge pages when there are any free")                                             \
    X(xdp_checksum, "xdp.checksum", WX_CHOICE, WX_H, "verify", 0, 0, "", "verify|trust",                     \
      "check the checksums of received packets, or trust the link; a peer on the same machine (veth, "       \
      "virtio) leaves them out unless its tx offload is off")                                                \
    X(xdp_vlan, "xdp.vlan", WX_INT, WX_H, "-1", -1, 4094, "", "",                                            \
      "VLAN tag of the frames; -1: what the route says")                                                     \
    X(xdp_busy_poll, "xdp.busy_poll", WX_CHOICE, WX_H, "no", 0, 0, "", "no|yes|auto",                        \
      "preferred busy polling (SO_PREFER_BUSY_POLL): the caller's thread runs the driver; slower on "        \
      "virtual interfaces, where auto leaves it out")                                                        \
    X(xdp_busy_poll_us, "xdp.busy_poll_us", WX_INT, WX_H, "20", 1, 1000000, "us", "", "SO_BUSY_POLL")        \
    X(xdp_busy_poll_budget, "xdp.busy_poll_budget", WX_INT, WX_H, "64", 1, 65535, "", "",                    \
      "SO_BUSY_POLL_BUDGET: packets per poll")                                                               \
    X(xdp_napi_defer_hard_irqs, "xdp.napi_defer_hard_irqs", WX_INT, WX_H, "0", 0, 65535, "", "",             \
      "with busy polling: how often the interface's interrupt stays off after a poll that found nothing, "   \
      "2 is usual; put back when the handle is freed, but not when the process is killed or has given up "   \
      "CAP_NET_ADMIN; 0: as it is")                                                                          \
    X(xdp_gro_flush_timeout_ns, "xdp.gro_flush_timeout_ns", WX_INT, WX_H, "0", 0, 1000000000, "ns", "",      \
      "with busy polling: how long a packet waits that nobody polls for while interrupts are off, 200us is " \
      "usual; put back likewise; 0: as it is")                                                               \
    X(xdp_trickle, "xdp.trickle", WX_CHOICE, WX_H, "auto", 0, 0, "", "auto|yes|no",                          \
      "send a small frame to our own address now and then, which makes a driver that forgets received "      \
      "packets look at them; auto: with igc only, where a small rx-usecs other than 0 (ethtool -C) is the "  \
      "better cure")                                                                                         \
    X(xdp_trickle_interval_ns, "xdp.trickle_interval_ns", WX_INT, WX_H, "1ms", 10000, 1000000000, "ns", "",  \
      "from one such frame to the next, on a queue that sends nothing else meanwhile")                       \
    X(xdp_dispatcher, "xdp.dispatcher", WX_BOOL, WX_H, "no", 0, 1, "", "",                                   \
      "attach beside other XDP programs by libxdp's dispatcher, which outlives a killed process; needs a "   \
      "BPF file system")                                                                                     \
    X(xdp_receive_bytes, "xdp.receive_bytes", WX_INT, WX_H, "1MiB", 16384, 16777216, "bytes", "",            \
      "TCP receive window of a connection")                                                                  \
    X(xdp_send_bytes, "xdp.send_bytes", WX_INT, WX_H, "1MiB", 16384, 16777216, "bytes", "",                  \
      "sent and not acknowledged, of a connection")                                                          \
    X(xdp_congestion, "xdp.congestion", WX_CHOICE, WX_H, "cubic", 0, 0, "", "cubic|newreno|none",            \
      "TCP congestion control; none only where the path is known to be free")                                \
    X(xdp_rto_min_ns, "xdp.rto_min_ns", WX_INT, WX_H, "200ms", 1000000, 60000000000LL, "ns", "",             \
      "least retransmission timeout (RFC 6298); 5 to 20 ms within a data centre")                            \
    X(xdp_ack_segments, "xdp.ack_segments", WX_INT, WX_H, "8", 1, 64, "", "",                                \
      "received segments that are acknowledged together")                                                    \
    X(xdp_ack_delay_ns, "xdp.ack_delay_ns", WX_INT, WX_H, "100us", 0, 500000000, "ns", "",                   \
      "how long fewer of them wait for an acknowledgement (RFC 9293: less than 0.5 s)")                      \
    X(xdp_user_timeout_ns, "xdp.user_timeout_ns", WX_INT, WX_H, "100s", 1000000000, WX_HOUR_NS, "ns", "",    \
      "how long sent data may stay unacknowledged")                                                          \
    X(xdp_keepalive_ns, "xdp.keepalive_ns", WX_INT, WX_H, "0", 0, WX_DAY_NS, "ns", "",                       \
      "silence after which TCP probes the peer; 0: never, WebSocket pings do that")                          \
    X(xdp_time_wait_ns, "xdp.time_wait_ns", WX_INT, WX_H, "60s", 0, WX_HOUR_NS, "ns", "",                    \
      "how long a closed connection's port is not used again (RFC 9293: 2 MSL)")

#define WX_OPTIONS(X)                                                                                        \
    WX_OPTIONS_ENGINE(X)                                                                                     \
    WX_OPTIONS_MESSAGE(X) WX_OPTIONS_TIME(X) WX_OPTIONS_NETWORK(X) WX_OPTIONS_XDP(X)
