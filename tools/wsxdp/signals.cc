// SPDX-License-Identifier: MIT
// Signals: the handler stores a number and calls wsxdp_wakeup, both async-signal-safe, and nothing else.
// System calls are not restarted, so that a write to a blocked pipe ends too.
#include "signals.h"

#include "exit_codes.h"

#include <atomic>
#include <csignal>
#include <unistd.h>

static std::atomic<int> received{0};
static std::atomic<wsxdp *> to_wake{nullptr};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<wsxdp *>::is_always_lock_free,
              "a signal handler may only use lock-free atomics");

static void on_signal(int number) {
    if (received.exchange(number) != 0) _exit(exit_interrupted);
    if (wsxdp *handle = to_wake.load()) wsxdp_wakeup(handle);
}

static void install(int number, void (*handler)(int)) {
    struct sigaction action = {};
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, nullptr);
}

void signals_install() {
    install(SIGPIPE, SIG_IGN);
    install(SIGINT, on_signal);
    install(SIGTERM, on_signal);
    struct sigaction present = {};
    sigaction(SIGHUP, nullptr, &present);
    if (present.sa_handler != SIG_IGN) install(SIGHUP, on_signal); // nohup(1) asks to be left alone
}

void signals_wake(wsxdp *handle) { to_wake.store(handle); }
int signal_received() { return received.load(); }
