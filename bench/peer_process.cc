// SPDX-License-Identifier: MIT
// Starts bench_peer and reads its ports. Leaves nothing behind on a normal end; after a crash of the bench
// the peer ends by itself and a temporary folder with a throw-away key remains.
#include "peer_process.h"

#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

namespace bench {

PeerProcess::PeerProcess(const char *own_path, int cpu, const char *address) : address_(address) {
    std::string key = certificate_.key_file(), cert = ca_file(), path = own_path,
                cpu_text = std::to_string(cpu), address_text = address;
    size_t slash = path.rfind('/');
    path = (slash == std::string::npos ? "" : path.substr(0, slash + 1)) + "bench_peer";
    int ends[2];
    if (pipe(ends) != 0) die("pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    char *arguments[] = {&path[0], &cpu_text[0], &cert[0], &key[0], &address_text[0], nullptr};
    if (posix_spawn(&pid_, path.c_str(), &actions, nullptr, arguments, environ) != 0) die(path.c_str());
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    FILE *ports = fdopen(ends[0], "r");
    if (!ports || fscanf(ports, "%d %d", &port_, &tls_port_) != 2) die("bench_peer did not start");
    fclose(ports);
}

PeerProcess::~PeerProcess() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
}

void raise_descriptor_limit() {
    rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

} // namespace bench
