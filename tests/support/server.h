// SPDX-License-Identifier: MIT
// A WebSocket server that a test drives step by step in its own thread: sockets that never block, bytes that
// are written exactly as the test says, frames that are read when the test asks. Over loopback a write is
// readable at once by the other side, so a test that alternates between client and server needs no sleep and
// no thread.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string>

// A client frame as it came.
struct WireFrame {
    int opcode = -1;
    bool final = true;
    int rsv = 0; // 4: RSV1
    bool masked = false;
    uint32_t mask = 0;
    std::string payload; // unmasked
};

// A server frame. `length_form`: 0 the shortest, else 7, 16 or 64 bits.
std::string wire_frame(int opcode, const std::string &payload = "", bool final = true, int rsv = 0,
                       int length_form = 0);
std::string wire_masked(int opcode, const std::string &payload);
std::string wire_close(int code, const std::string &reason = "");
std::string wire_accept(const std::string &key);

// One accepted connection.
struct TestPeer {
    int fd = -1;
    std::string in;     // read and not used
    bool ended = false; // the client's FIN or RST was read
    bool was_reset = false;

    size_t pull(size_t most = SIZE_MAX);   // reads what is there; returns how much
    size_t push(const std::string &bytes); // writes what the socket takes; returns how much
    void send(const std::string &bytes);   // all of it; ends the program when the socket takes no more
    bool head(std::string *out);           // the upgrade request, when whole; takes it out of `in`
    static std::string field(const std::string &head, const std::string &name);
    static std::string answer(const std::string &head, const std::string &extra = "");
    bool next(WireFrame *frame); // takes a whole client frame out of `in`
    void finish();               // FIN: no more from us, reading goes on
    void close();
    void reset(); // RST

    TestPeer() = default;
    ~TestPeer() { close(); }
    TestPeer(TestPeer &&other) noexcept;
    TestPeer &operator=(TestPeer &&other) noexcept;
};

struct TestServer {
    int fd = -1;
    int port = 0;

    // receive_buffer: SO_RCVBUF of accepted connections, 0 for the kernel's choice; as send_buffer. address:
    // one of this network namespace's.
    explicit TestServer(int receive_buffer = 0, int send_buffer = 0, int backlog = 128,
                        const char *address = "127.0.0.1");
    ~TestServer();
    TestServer(const TestServer &) = delete;
    TestServer &operator=(const TestServer &) = delete;
    bool accept(TestPeer *peer); // false: nobody waits
    std::string url(const std::string &target = "/") const;

private:
    int send_buffer;
    std::string host;
};
