// SPDX-License-Identifier: MIT
// bench_peer as a child: made with a fresh certificate in a temporary folder, gone with this object.
#pragma once

#include "wire.h"

#include <sys/types.h>

#include <string>

namespace bench {

class PeerProcess {
public:
    // bench_peer lies beside the calling program, and runs in the network namespace of the calling thread.
    PeerProcess(const char *own_path, int cpu, const char *address = loopback);
    ~PeerProcess();
    PeerProcess(const PeerProcess &) = delete;
    PeerProcess &operator=(const PeerProcess &) = delete;

    const char *address() const { return address_; }
    int port(bool secure) const { return secure ? tls_port_ : port_; }
    std::string ca_file() const { return certificate_.cert_file(); }

private:
    TemporaryCertificate certificate_;
    const char *address_;
    pid_t pid_ = -1;
    int port_ = 0, tls_port_ = 0;
};

void raise_descriptor_limit();

} // namespace bench
