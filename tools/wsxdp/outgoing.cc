// SPDX-License-Identifier: MIT
// Messages to be sent. They wait here while the connection is not open or its queue is full; nothing is sent
// twice, and a message that the library took but that a lost connection never carried is not sent again.
#include "outgoing.h"

#include <cerrno>
#include <unistd.h>

int Outgoing::pump(wsxdp *handle) {
    int sent = 0;
    while (!queue_.empty()) {
        const std::string &message = queue_.front();
        int result = wsxdp_send(handle, 0, opcode_, message.data(), message.size(), 0);
        bool later = result == WSXDP_E_AGAIN || result == WSXDP_E_STATE || result == WSXDP_E_CLOSED;
        if (later) return sent;
        queue_.pop_front();
        if (result < 0) return result;
        sent++;
    }
    return sent;
}

void LineReader::read_into(Outgoing &outgoing) {
    char buffer[65536];
    ssize_t got = ::read(descriptor_, buffer, sizeof buffer);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (got <= 0) {
        ended_ = true;
        if (!partial_.empty()) outgoing.add(std::move(partial_));
        partial_.clear();
        return;
    }
    for (ssize_t i = 0; i < got; i++) {
        if (buffer[i] != '\n') partial_ += buffer[i];
        if (buffer[i] != '\n' && partial_.size() < line_max) continue;
        outgoing.add(std::move(partial_));
        partial_.clear();
    }
}
