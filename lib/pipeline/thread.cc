// SPDX-License-Identifier: MIT
// A thread of our own as the worker: it has the stages of the handle, in the same memory. Started before any
// connection, ended before anything it uses.
#include "../base/alloc.h"
#include "remote.h"
#include "worker.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

namespace wx {

struct WorkerThread {
    Worker worker;
    pthread_t thread;
    bool running = false;
};

static void *run(void *context) {
    worker_run(static_cast<Worker *>(context));
    return nullptr;
}

// Signals are the host program's affair and go to its own threads; its own mask is never touched.
static int start(WorkerThread *w, int cpu) {
    pthread_attr_t attributes;
    int cause = pthread_attr_init(&attributes);
    if (cause != 0) return cause;
    if (cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(static_cast<size_t>(cpu), &set);
        cause = pthread_attr_setaffinity_np(&attributes, sizeof set, &set);
    }
    sigset_t all;
    sigfillset(&all);
    if (cause == 0) cause = pthread_attr_setsigmask_np(&attributes, &all);
    if (cause == 0) cause = pthread_create(&w->thread, &attributes, run, &w->worker);
    pthread_attr_destroy(&attributes);
    return cause;
}

static int start_any(WorkerThread *w, int cpu, ErrorText *error) {
    int cause = start(w, cpu);
    if (cause == EINVAL && cpu >= 0) {
        worker_pin_refused(&w->worker, cpu, cause);
        cause = start(w, -1);
    }
    w->running = cause == 0;
    if (w->running) return WSXDP_OK;
    error->begin(WSXDP_E_THREAD_START, cause).add("placement: starting a thread failed; raise the limit ");
    error->add("(ulimit -u): ").errno_name(cause);
    return WSXDP_E_THREAD_START;
}

int thread_open(Engine *e, const Placement &placement, ErrorText *error) {
    e->thread = allocate_object<WorkerThread>();
    if (e->thread == nullptr) {
        error->begin(WSXDP_E_MEMORY).add("opening: out of memory; lower connections.max");
        return WSXDP_E_MEMORY;
    }
    e->runner = &thread_runner;
    Worker *w = &e->thread->worker;
    w->stages = &e->stages;
    int status = worker_open(w, *e->settings->options, &e->region, -1, error);
    if (status >= 0)
        status = stages_open(&e->stages, *e->settings->options, &e->region, &w->clock, &w->poller, error);
    if (status >= 0) status = remote_open(e, error);
    if (status < 0) return status;
    e->remote->bell = w->poller.bell_fd;
    w->app_bell = e->poller.bell_fd;
    return start_any(e->thread, placement.places[0].cpu, error);
}

void thread_close(Engine *e) {
    if (e->thread == nullptr) return;
    worker_close(&e->thread->worker);
    e->thread->~WorkerThread();
    deallocate(e->thread);
    e->thread = nullptr;
}

static void stop(Engine *e) {
    WorkerThread *w = e->thread;
    if (w->running) {
        w->worker.words->stop.store(1, std::memory_order_seq_cst);
        remote_told(e);
        pthread_join(w->thread, nullptr);
        w->running = false;
    }
    remote_drop_leaving(e);
}

static Connection *blank(Engine *e, uint32_t index) { return &e->stages.transport.connections[index]; }

static int attach(Engine *e, Connection *c, ErrorText *) {
    stages_attach(&e->stages, c);
    e->remote->seats[c->index].store(Seat::taken, std::memory_order_relaxed);
    return WSXDP_OK;
}

const Runner thread_runner = remote_runner({blank, attach, remote_retire, stop, nullptr, nullptr});

} // namespace wx
