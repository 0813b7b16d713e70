// SPDX-License-Identifier: MIT
// A WebSocket server on a simulated host: TCP by lib/tcp, TLS by OpenSSL over memory, frames by hand, all in
// steps that the test calls; nothing waits and nothing is a thread. Deterministic as far as OpenSSL's random
// numbers are.
#pragma once
#include "../../lib/link/sim_host.h"
#include "../pipeline/deflated.h"
#include "tls_server.h"

#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace simulated {

struct Server;

// One connection as the server has it.
struct Peer {
    Server *server = nullptr;
    wx::TcpConnection *c = nullptr; // nullptr: over
    SSL *ssl = nullptr;
    std::string head; // of the upgrade request
    bool open = false;
    bool resumed = false;
    bool reading = true; // false: what arrives stays in TCP, and its window closes
    bool echo = false;   // every message goes back
    bool close_received = false;
    bool close_sent = false;
    bool peer_finished = false; // FIN
    uint64_t pings = 0;
    int close_code = 0; // as received
    wx::TcpEnd end = wx::TcpEnd::none;
    std::deque<std::string> messages; // received, whole; not with echo
    std::string wrong;                // what the client did that no client may do

    ~Peer();
    Peer() = default;
    Peer(const Peer &) = delete;
    Peer &operator=(const Peer &) = delete;
    void send(const std::string &message, int opcode = 2); // 1 text, 2 binary, ...
    void send_bytes(const std::string &bytes);             // as they are, through TLS
    void close(int code = 1000);
    void reset();
    size_t unsent() const { return out.size() - out_done; } // not in TCP yet

private:
    friend struct Server;
    std::string in; // decrypted, not understood yet
    size_t in_done = 0;
    std::string out; // encrypted, for TCP
    size_t out_done = 0;
    std::string partial; // of a fragmented message
    int partial_opcode = 0;
    bool compressed = false;
    bool finishing = false;
    std::unique_ptr<ServerDeflate> deflate;

    bool step();
    bool pull();
    bool secure();
    void push_tls();
    bool upgrade();
    bool take_frame();
    void take(int opcode, bool final, bool rsv1, std::string payload);
    bool flush();
    void finish_if_done();
    void release();
};

struct Server {
    wx::SimHost *host;
    uint16_t port;
    scripted::TlsSide *side; // nullptr: ws
    bool listening = true;   // false: a SYN is refused
    bool echo = false;       // for new connections
    bool deflate = false;    // agrees to permessage-deflate when it is offered
    bool lingers = false;    // after the close handshake the client is to end TCP first
    unsigned backlog = 16;
    std::vector<std::unique_ptr<Peer>> peers; // in the order of their SYNs

    Server(wx::SimHost *on, uint16_t at, scripted::TlsSide *tls) : host(on), port(at), side(tls) {}
    // After the host's step, and a step of the host must follow. Whether anything moved.
    bool step();
    Peer *last() { return peers.empty() ? nullptr : peers.back().get(); }

private:
    std::vector<wx::TcpConnection *> listeners;
    bool accept();
};

} // namespace simulated
