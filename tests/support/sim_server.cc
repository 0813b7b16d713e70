// SPDX-License-Identifier: MIT
// See sim_server.h. A connection moves as far as it can in one step: TCP to TLS to frames and back, so that a
// step without a move means that only the network or a timer can change anything.
#include "sim_server.h"
#include "server.h"

#include <openssl/err.h>

namespace simulated {

using namespace wx;

namespace {

uint8_t byte_at(const std::string &text, size_t at) { return static_cast<uint8_t>(text[at]); }

// Drops what is done with, now and then: a buffer of megabytes is not moved for every frame.
void trim(std::string *text, size_t *done) {
    if (*done < 65536 && *done != text->size()) return;
    text->erase(0, *done);
    *done = 0;
}

bool over(const TcpConnection *c) { return c->state == TcpState::closed || c->state == TcpState::time_wait; }

} // namespace

Peer::~Peer() { SSL_free(ssl); }

// ---- out ----

void Peer::push_tls() {
    size_t size = BIO_ctrl_pending(SSL_get_wbio(ssl));
    if (size == 0) return;
    size_t old = out.size();
    out.resize(old + size);
    BIO_read(SSL_get_wbio(ssl), &out[old], static_cast<int>(size));
}

void Peer::send_bytes(const std::string &bytes) {
    if (c == nullptr || bytes.empty()) return;
    if (ssl == nullptr) {
        out += bytes;
        return;
    }
    size_t written = 0;
    for (size_t at = 0; at < bytes.size(); at += written)
        if (SSL_write_ex(ssl, bytes.data() + at, bytes.size() - at, &written) != 1) break;
    ERR_clear_error();
    push_tls();
}

void Peer::send(const std::string &message, int opcode) {
    bool pack = deflate != nullptr && opcode <= 2;
    send_bytes(wire_frame(opcode, pack ? deflate->compress(message) : message, true, pack ? 4 : 0));
}

void Peer::close(int code) {
    if (close_sent) return;
    send_bytes(wire_close(code));
    close_sent = true;
}

void Peer::reset() {
    if (c == nullptr) return;
    tcp_abort(c);
    release();
}

bool Peer::flush() {
    if (out_done == out.size()) return false;
    ByteView rest(reinterpret_cast<const uint8_t *>(out.data()) + out_done, out.size() - out_done);
    uint32_t taken = sim_host_write(server->host, c, rest);
    out_done += taken;
    trim(&out, &out_done);
    return taken != 0;
}

// ---- in ----

bool Peer::pull() {
    uint8_t part[16384];
    uint32_t got = reading ? sim_host_read(server->host, c, ByteSpan(part, sizeof part)) : 0;
    if (got == 0) return false;
    if (ssl != nullptr)
        BIO_write(SSL_get_rbio(ssl), part, static_cast<int>(got));
    else
        in.append(reinterpret_cast<char *>(part), got);
    return true;
}

bool Peer::secure() {
    if (!SSL_is_init_finished(ssl)) {
        int result = SSL_do_handshake(ssl);
        int error = SSL_get_error(ssl, result);
        push_tls();
        ERR_clear_error();
        if (result != 1 && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
            wrong = "TLS handshake failed";
        if (result != 1) return false;
        resumed = SSL_session_reused(ssl) == 1;
    }
    char part[16384];
    size_t count = 0;
    bool moved = false;
    while (SSL_read_ex(ssl, part, sizeof part, &count) == 1) {
        in.append(part, count);
        moved = true;
    }
    int error = SSL_get_error(ssl, 0);
    if (error == SSL_ERROR_SSL) wrong = "a TLS record is broken";
    ERR_clear_error();
    push_tls();
    return moved;
}

bool Peer::upgrade() {
    size_t blank = in.find("\r\n\r\n");
    if (blank == std::string::npos) return false;
    head = in.substr(0, blank + 4);
    in.erase(0, blank + 4);
    std::string extra;
    if (server->deflate && head.find("permessage-deflate") != std::string::npos) {
        deflate.reset(new ServerDeflate());
        extra = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    }
    send_bytes(TestPeer::answer(head, extra));
    open = true;
    echo = server->echo;
    return true;
}

void Peer::take(int opcode, bool final, bool rsv1, std::string payload) {
    if (opcode == 8) {
        close_received = true;
        close_code = payload.size() < 2 ? 0 : byte_at(payload, 0) << 8 | byte_at(payload, 1);
        close(close_code == 0 ? 1000 : close_code);
        if (ssl != nullptr) {
            SSL_shutdown(ssl);
            push_tls();
        }
        finishing = !server->lingers;
    } else if (opcode == 9) {
        pings++;
        if (!close_sent) send(payload, 10);
    } else if (opcode <= 2) {
        if ((opcode == 0) != (partial_opcode != 0)) wrong = "a fragment where none may be";
        if (opcode != 0) partial_opcode = opcode, compressed = rsv1, partial.clear();
        partial += payload;
        if (!final) return;
        std::string message = std::move(partial);
        int kind = partial_opcode;
        partial_opcode = 0;
        partial.clear();
        std::string plain;
        if (compressed && (deflate == nullptr || !deflate->expand(message, &plain))) wrong = "bad deflate";
        if (compressed) message = plain;
        if (echo && !close_sent)
            send(message, kind);
        else if (!echo)
            messages.push_back(std::move(message));
    }
}

bool Peer::take_frame() {
    size_t left = in.size() - in_done;
    if (left < 2) return false;
    uint8_t first = byte_at(in, in_done), second = byte_at(in, in_done + 1);
    size_t width = (second & 127) == 126 ? 2 : (second & 127) == 127 ? 8 : 0, at = in_done + 2;
    if (left < 2 + width + 4) return false;
    uint64_t size = width == 0 ? second & 127 : 0;
    for (size_t i = 0; i < width; i++) size = size << 8 | byte_at(in, at++);
    if ((second & 128) == 0) wrong = "a frame that is not masked";
    if (left < 2 + width + 4 + size) return false;
    std::string mask = in.substr(at, 4), payload = in.substr(at + 4, size);
    for (size_t i = 0; i < payload.size(); i++) payload[i] = static_cast<char>(payload[i] ^ mask[i & 3]);
    in_done = at + 4 + size;
    trim(&in, &in_done);
    take(first & 15, first & 128, first & 64, std::move(payload));
    return true;
}

// ---- steps ----

void Peer::release() {
    end = c->end;
    if (c->state == TcpState::closed) tcp_discard(c);
    sim_host_hold(server->host, c, false);
    c = nullptr;
}

void Peer::finish_if_done() {
    if (c->fin_taken && reassembly_unread(&c->rx) == 0) peer_finished = true;
    if ((finishing || peer_finished) && unsent() == 0) tcp_finish(c);
    if (!over(c) || (reading && reassembly_unread(&c->rx) != 0)) return;
    if (c->state == TcpState::time_wait) tcp_retire(c, server->host->now);
    release();
}

bool Peer::step() {
    if (c == nullptr || c->state == TcpState::syn_received) return false;
    bool moved = false, more = true;
    while (more) {
        more = pull();
        if (ssl != nullptr) more |= secure();
        if (!open) more |= upgrade();
        while (open && !close_received && take_frame()) more = true;
        more |= flush();
        moved |= more;
    }
    finish_if_done();
    return moved;
}

bool Server::accept() {
    bool moved = false;
    for (size_t i = 0; i < listeners.size();) {
        TcpConnection *c = listeners[i];
        if (c->state == TcpState::listen && listening) {
            i++;
            continue;
        }
        listeners.erase(listeners.begin() + static_cast<long>(i));
        moved = true;
        if (c->state == TcpState::listen) {
            tcp_finish(c);
            sim_host_hold(host, c, false);
            continue;
        }
        peers.emplace_back(new Peer());
        Peer *peer = peers.back().get();
        peer->server = this;
        peer->c = c;
        if (side == nullptr) continue;
        peer->ssl = SSL_new(side->context);
        SSL_set_bio(peer->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
        BIO_set_mem_eof_return(SSL_get_rbio(peer->ssl), -1);
        SSL_set_accept_state(peer->ssl);
    }
    while (listening && listeners.size() < backlog) {
        TcpConnection *c = sim_host_listen(host, port);
        if (c == nullptr) break;
        sim_host_hold(host, c, true);
        listeners.push_back(c);
    }
    return moved;
}

bool Server::step() {
    bool moved = accept();
    for (auto &peer : peers) moved |= peer->step();
    return moved;
}

} // namespace simulated
