// SPDX-License-Identifier: MIT
// The table of failures: each thing that can go wrong on the way to a connection has a code of its own, a
// sentence of its own, and a row here that makes it happen. Rows are compared with each other, so that no two
// causes are told in the same words. What other transports and placements add answers "not in this build".
// link: -Wl,--wrap=memfd_create -Wl,--wrap=pthread_create -Wl,--wrap=epoll_create1
#include "session.h"

#include <errno.h>
#include <pthread.h>
#include <set>

using namespace scripted;

static bool no_memfd = false, no_thread = false, no_epoll = false;

extern "C" {
int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags) {
    if (!no_memfd) return __real_memfd_create(name, flags);
    errno = ENOSYS;
    return -1;
}
int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);
int __wrap_epoll_create1(int flags) {
    if (!no_epoll) return __real_epoll_create1(flags);
    errno = EMFILE;
    return -1;
}
int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *how, void *(*run)(void *), void *argument) {
    return no_thread ? EAGAIN : __real_pthread_create(out, how, run, argument);
}
}

struct Failure {
    int code = 0;
    std::string text;
};

// From open, or else from the first ERROR event.
static Failure of(const std::string &url, OptionList options = {}) {
    options.insert(options.begin(), {"reconnect", "no"});
    Session session(url, options);
    if (session.status < 0) return {session.status, session.text};
    const Seen &error = session.need(WSXDP_EVENT_ERROR);
    Failure out = {error.error, error.data};
    assert_int_equal(session.need(WSXDP_EVENT_CLOSE).error, out.code);
    return out;
}

static Failure plain(const Script &script, const OptionList &options = {}) {
    Server server(script);
    return of(server.url(), options);
}

static Failure answered(const std::function<std::string(Wire &)> &answer, const OptionList &options = {}) {
    return plain(
        [=](Wire &wire) {
            wire.read_head();
            wire.write(answer(wire));
            wire.wait_end();
        },
        options);
}

static Failure answered(const char *text) {
    return answered([=](Wire &) { return std::string(text); });
}

static Failure secure(const char *certificate, OptionList options = {}, int version = TLS1_3_VERSION,
                      int verify = 0, const char *ciphers = nullptr) {
    TlsSide side(certs(), certificate, version, version, verify);
    if (ciphers) SSL_CTX_set_cipher_list(side.context, ciphers);
    Server server([](Wire &wire) { wire.upgrade(), wire.wait_end(); }, &side);
    options.push_back({"tls.ca_file", certs().path("ca.pem")});
    return of(server.url(), options);
}

static Failure secure_to(const Script &script, OptionList options = {}) {
    Server server(script);
    options.push_back({"tls.ca_file", certs().path("ca.pem")});
    return of("wss://127.0.0.1:" + std::to_string(server.port), options);
}

static Failure proxied(const std::string &answer) {
    Server proxy([=](Wire &wire) {
        wire.read_head();
        wire.write(answer);
        wire.wait_end();
    });
    return of("ws://target.test/", {{"proxy", "http://127.0.0.1:" + std::to_string(proxy.port)}});
}

static void mute(Wire &wire) { wire.wait_end(); }

static std::string with_fields(Wire &wire, const char *fields) {
    return std::string("HTTP/1.1 101 x\r\n") + fields +
           "Sec-WebSocket-Accept: " + accept_of(wire.field("Sec-WebSocket-Key")) + "\r\n\r\n";
}

struct Row {
    const char *cause;
    int code;
    std::function<Failure()> happen;
};

static Failure without(bool *what, const char *url) {
    *what = true;
    Failure out = of(url, {{"resolve.timeout_ns", "1s"}, {"poller", "epoll"}});
    *what = false;
    return out;
}

static const Row system_rows[] = {
    {"no shared memory", WSXDP_E_REGION, [] { return without(&no_memfd, "ws://127.0.0.1:1/"); }},
    {"no descriptor for the poller", WSXDP_E_DESCRIPTORS,
     [] { return without(&no_epoll, "ws://127.0.0.1:1/"); }},
    {"a transport of another build", WSXDP_E_UNSUPPORTED,
     [] {
         return of("ws://127.0.0.1:1/", {{"transport", "uring"}});
     }},
    {"a URL that is none", WSXDP_E_URL, [] { return of("http://127.0.0.1:1/"); }},
    {"a header that breaks the request", WSXDP_E_INVALID,
     [] {
         return of("ws://127.0.0.1:1/", {{"header.Upgrade", "x"}});
     }},
    {"a name that does not resolve", WSXDP_E_RESOLVE,
     [] {
         return of("ws://name.test/", {{"resolve.override", "name.test=x"}});
     }},
    {"SYN answered by RST", WSXDP_E_REFUSED,
     [] {
         RefusingPort port;
         return of("ws://127.0.0.1:" + std::to_string(port.port));
     }},
    {"SYN not answered", WSXDP_E_CONNECT_TIMEOUT,
     [] {
         SilentPort port;
         return of("ws://127.0.0.1:" + std::to_string(port.port), {{"connect.attempt_timeout_ns", "50ms"}});
     }},
    {"no route", WSXDP_E_UNREACHABLE, [] { return of("ws://127.255.255.255:9/"); }},
    {"a Unix socket that is missing", WSXDP_E_UNIX_SOCKET,
     [] { return of("ws+unix:///nonexistent/socket:/"); }},
    {"RST instead of an answer", WSXDP_E_RESET,
     [] { return plain([](Wire &w) { w.read_head(), w.reset(); }); }},
    {"FIN instead of an answer", WSXDP_E_EOF, [] { return plain([](Wire &w) { w.read_head(); }); }},
    {"no attempts left", WSXDP_E_RETRIES,
     [] {
         RefusingPort port;
         Session session("ws://127.0.0.1:" + std::to_string(port.port),
                         {{"reconnect.max_attempts", "1"}, {"reconnect.delay_min_ns", "1ms"}});
         const Seen &close = session.need(WSXDP_EVENT_CLOSE);
         return Failure{close.error, close.data};
     }},
};

static const Row http_rows[] = {
    {"not HTTP", WSXDP_E_NOT_HTTP, [] { return answered("SSH-2.0\r\n"); }},
    {"a malformed head", WSXDP_E_HTTP_HEAD, [] { return answered("HTTP/1.1 101 x\r\nbroken\r\n\r\n"); }},
    {"an oversized head", WSXDP_E_HTTP_HEAD_SIZE,
     [] {
         return answered([](Wire &w) { return w.answer("X: " + std::string(500, 'x') + "\r\n"); },
                         {{"upgrade.max_head_bytes", "256"}});
     }},
    {"a status that is not 101", WSXDP_E_HTTP_STATUS,
     [] { return answered("HTTP/1.1 404 Not Found\r\n\r\n"); }},
    {"a redirect", WSXDP_E_REDIRECT, [] { return answered("HTTP/1.1 302 x\r\nLocation: /to\r\n\r\n"); }},
    {"credentials wanted", WSXDP_E_AUTH_REQUIRED, [] { return answered("HTTP/1.1 401 x\r\n\r\n"); }},
    {"no Upgrade", WSXDP_E_UPGRADE_HEADER,
     [] { return answered([](Wire &w) { return with_fields(w, "Connection: Upgrade\r\n"); }); }},
    {"no Connection", WSXDP_E_CONNECTION_HEADER,
     [] { return answered([](Wire &w) { return with_fields(w, "Upgrade: websocket\r\n"); }); }},
    {"a bad accept key", WSXDP_E_ACCEPT,
     [] {
         return answered("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
     }},
    {"a subprotocol not offered", WSXDP_E_SUBPROTOCOL,
     [] { return answered([](Wire &w) { return w.answer("Sec-WebSocket-Protocol: x\r\n"); }); }},
    {"an extension not offered", WSXDP_E_EXTENSION,
     [] { return answered([](Wire &w) { return w.answer("Sec-WebSocket-Extensions: x\r\n"); }); }},
    {"no answer", WSXDP_E_UPGRADE_TIMEOUT,
     [] {
         return plain(mute, {{"upgrade.timeout_ns", "50ms"}});
     }},
    {"a proxy that breaks its protocol", WSXDP_E_PROXY, [] { return proxied("220 hello\r\n"); }},
    {"a proxy that refuses", WSXDP_E_PROXY_REFUSED, [] { return proxied("HTTP/1.1 403 x\r\n\r\n"); }},
    {"a proxy that wants credentials", WSXDP_E_PROXY_AUTH, [] { return proxied("HTTP/1.1 407 x\r\n\r\n"); }},
};

static const Row tls_rows[] = {
    {"a cipher list that is none", WSXDP_E_TLS_SETUP,
     [] {
         return of("wss://127.0.0.1:1/", {{"tls.ciphers", "x"}});
     }},
    {"a CA file that is missing", WSXDP_E_TLS_CA,
     [] {
         return of("wss://127.0.0.1:1/", {{"tls.ca_file", "/nonexistent"}});
     }},
    {"a client certificate that is missing", WSXDP_E_TLS_CLIENT_CERT,
     [] {
         return of("wss://127.0.0.1:1/", {{"tls.cert_file", "/nonexistent"}});
     }},
    {"not TLS", WSXDP_E_TLS_NOT_TLS,
     [] { return secure_to([](Wire &w) { w.write("HTTP/1.1 400 x\r\n\r\n"), w.wait_end(); }); }},
    {"an old version", WSXDP_E_TLS_VERSION, [] { return secure("good", {}, TLS1_1_VERSION); }},
    {"an unknown issuer", WSXDP_E_TLS_UNTRUSTED, [] { return secure("untrusted"); }},
    {"self-signed", WSXDP_E_TLS_SELF_SIGNED, [] { return secure("self_signed"); }},
    {"expired", WSXDP_E_TLS_EXPIRED, [] { return secure("expired"); }},
    {"not valid yet", WSXDP_E_TLS_NOT_YET_VALID, [] { return secure("not_yet_valid"); }},
    {"another name", WSXDP_E_TLS_HOSTNAME, [] { return secure("wrong_name"); }},
    {"another key than pinned", WSXDP_E_TLS_PIN,
     [] {
         return secure("good", {{"tls.pin_sha256", certs().pin("client")}});
     }},
    {"a client certificate wanted", WSXDP_E_TLS_CLIENT_CERT_REQUIRED,
     [] { return secure("good", {}, TLS1_3_VERSION, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT); }},
    {"an alert", WSXDP_E_TLS_ALERT,
     [] {
         return secure_to(
             [](Wire &w) { w.write(std::string("\x15\x03\x03\x00\x02\x02\x50", 7)), w.wait_end(); });
     }},
    {"a silent TLS port", WSXDP_E_TLS_TIMEOUT,
     [] {
         return secure_to(mute, {{"tls.timeout_ns", "50ms"}});
     }},
    {"no common cipher", WSXDP_E_TLS_CIPHER,
     [] {
         return secure("good", {{"tls.ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305"}}, TLS1_2_VERSION, 0,
                       "ECDHE-ECDSA-AES256-GCM-SHA384");
     }},
    {"FIN during the handshake", WSXDP_E_TLS_EOF,
     [] { return secure_to([](Wire &w) { w.read_exactly(5); }); }},
    {"a record that is forged", WSXDP_E_TLS_RECORD,
     [] {
         TlsSide side(certs(), "good");
         Server server(
             [](Wire &wire) {
                 wire.read_head();
                 wire.hold = true;
                 wire.write(wire.answer());
                 wire.held[wire.held.size() - 3] ^= 1;
                 wire.flush();
                 wire.wait_end();
             },
             &side);
         return of(server.url(), {{"tls.ca_file", certs().path("ca.pem")}});
     }},
    {"TCP ended without close_notify", WSXDP_E_TLS_TRUNCATED,
     [] {
         TlsSide side(certs(), "good");
         Server server([](Wire &wire) { wire.upgrade(), wire.end(), wire.wait_end(); }, &side);
         return of(server.url(), {{"tls.ca_file", certs().path("ca.pem")}});
     }},
};

static std::set<int> codes;
static std::set<std::string> sentences, names;

static void check(const Row &row) {
    Failure failure = row.happen();
    if (failure.code != row.code)
        fail_msg("%s: %d instead of %d: %s", row.cause, failure.code, row.code, failure.text.c_str());
    if (failure.text.size() < 20) fail_msg("%s: '%s' says too little", row.cause, failure.text.c_str());
    if (!codes.insert(failure.code).second) fail_msg("%s: %d is another row's code", row.cause, failure.code);
    if (!sentences.insert(failure.text).second)
        fail_msg("%s: '%s' is another row's", row.cause, failure.text.c_str());
    std::string name = wsxdp_strerror(failure.code);
    if (!names.insert(name).second) fail_msg("%s: '%s' is another code's", row.cause, name.c_str());
}

SAME_PROCESS_TEST(no_thread_for_the_resolver) {
    check({"no thread for the resolver", WSXDP_E_THREAD_START,
           [] { return without(&no_thread, "ws://name.test/"); }});
}
TEST(each_failure_of_the_system_is_its_own) {
    for (const Row &row : system_rows) check(row);
}
TEST(each_failure_of_http_and_proxy_is_its_own) {
    for (const Row &row : http_rows) check(row);
}
TLS_TEST(each_failure_of_tls_is_its_own) {
    for (const Row &row : tls_rows) check(row);
}
TEST(the_rest_of_the_table_says_what_is_missing) {
    static const char *const rows[][2] = {{"transport", "uring"},
                                          {"placement", "processes: rx tls tx ws"},
                                          {"placement", "processes: rx@0 tls@2 tx@4"}};
    for (const auto &row : rows) {
        Failure failure = of("ws://127.0.0.1:1/", {{row[0], row[1]}});
        assert_int_equal(failure.code, WSXDP_E_UNSUPPORTED);
        assert_true(contains(failure.text, std::string(row[0]) + "=" + row[1]));
    }
}

TESTS("p25")
