// SPDX-License-Identifier: MIT
// A server that plays a script: each connection it accepts runs the given function in a thread of its own,
// over plain TCP, TLS or a Unix socket. Reads give up after some seconds, so that a broken client fails a
// test and does not hang it. The end of the object ends every connection and joins every thread.
#pragma once
#include <atomic>
#include <functional>
#include <mutex>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <vector>

struct CertDir;

namespace scripted {

// What a server says in TLS; outlives the servers that use it, so that tickets mean something.
struct TlsSide {
    SSL_CTX *context;
    std::string sni; // of the last handshake; for tests that read it when none is under way
    std::mutex writing;
    std::string alpn; // chosen when not empty
    int tickets_given = 0;
    TlsSide(const CertDir &certs, const char *certificate, int version_min = TLS1_2_VERSION,
            int version_max = TLS1_3_VERSION, int verify = SSL_VERIFY_NONE);
    ~TlsSide();
    TlsSide(const TlsSide &) = delete;
    TlsSide &operator=(const TlsSide &) = delete;
};

// An IPv4 or IPv6 address in text with a port, as bind() takes it.
socklen_t address_of(const char *text, int port, sockaddr_storage *out);

struct Frame {
    int opcode = -1;
    bool final = true;
    bool masked = false;
    std::string payload;
};

// A server's frame: not masked.
std::string frame(int opcode, const std::string &payload, bool final = true);
std::string close_frame(int code, const std::string &reason = "");
std::string accept_of(const std::string &key);

// One connection as the script sees it.
struct Wire {
    int fd = -1;
    SSL *ssl = nullptr;
    int number = 0;       // counts the server's connections from 0
    std::string buffered; // read and not used
    std::string head;     // of the last read_head
    bool hold = false;    // keep what is written until flush, so that it leaves in one segment
    bool drip = false;    // one byte per segment
    bool broken = false;  // the client takes no more
    std::string why;      // of the first read or write that failed, or the client's end
    std::string held;

    bool start_tls(TlsSide *side);
    bool fill(); // reads more into buffered; false at the end
    std::string read_exactly(size_t size);
    const std::string &read_head();            // up to and with the empty line
    std::string field(const char *name) const; // of head; "" if none
    void write(const std::string &bytes);
    void flush();
    std::string answer(const std::string &extra = "") const; // a correct 101 to head
    void upgrade(const std::string &extra = "") { read_head(), write(answer(extra)); }
    Frame read_frame(); // opcode -1 at the end
    void key_update();
    void close_notify();
    void end();      // FIN
    void reset();    // RST
    bool wait_end(); // until the client ends the connection
    ~Wire();

private:
    void send_all(const std::string &bytes);
    void push();
    ssize_t receive(char *part, size_t size); // more than 0, or the end
    void ended(const char *call, ssize_t result);
};

using Script = std::function<void(Wire &)>;

struct Server {
    int port = 0;
    std::string unix_path;
    std::atomic<int> accepted{0};

    // TCP on the address; port 0 for any. With `tls`, the script begins after the handshake.
    explicit Server(Script script, TlsSide *tls = nullptr, const char *address = "127.0.0.1", int port = 0,
                    int receive_buffer = 0);
    Server(Script script, const std::string &path); // a Unix socket
    ~Server();
    Server(const Server &) = delete;
    Server &operator=(const Server &) = delete;
    std::string url(const char *rest = "/", const char *host = "127.0.0.1") const;

private:
    int listener = -1;
    TlsSide *side = nullptr;
    Script script;
    std::atomic<bool> stopping{false};
    std::mutex mutex;
    std::vector<int> open_fds;
    std::vector<std::thread> threads;
    std::thread acceptor;
    void run();
    void serve(int fd, int number);
};

// A bound socket; `listening` decides whether connections are refused.
int bound_socket(const char *address, int *port, bool listening, int backlog = 16);

// A port where connections are refused for as long as the object lives.
struct RefusingPort {
    int port = 0;
    int fd;
    explicit RefusingPort(const char *address = "127.0.0.1", int wanted = 0) : port(wanted) {
        fd = bound_socket(address, &port, false);
    }
    ~RefusingPort();
};

// A port whose queue is full: the kernel drops every further SYN, nobody answers.
struct SilentPort {
    int port = 0;
    explicit SilentPort(const char *address = "127.0.0.1", int wanted = 0);
    ~SilentPort();

private:
    std::vector<int> fds;
};

} // namespace scripted
