// SPDX-License-Identifier: MIT
// Threads of our own as the workers: they have the stages of the handle, in the same memory. Started before
// any connection, ended before anything they use.
#include "../base/alloc.h"
#include "remote.h"
#include "worker.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

namespace wx {

struct WorkerThread {
    Worker worker;
    pthread_t thread;
    bool running = false;
};

struct Threads {
    WorkerThread all[places_max];
    size_t count = 0; // opened
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
    w->running = cause == 0;
    return cause;
}

static int start_any(Engine *e, WorkerThread *w, int cpu, ErrorText *error) {
    int cause = start(w, cpu);
    if (cause == EINVAL && cpu >= 0) {
        pin_refused(cpu, cause, &e->remote->notice);
        cause = start(w, -1);
    }
    const int64_t fifo = e->settings->options->integer(Option::stage_fifo);
    sched_param priority;
    memset(&priority, 0, sizeof priority);
    priority.sched_priority = static_cast<int>(fifo);
    if (cause == 0 && fifo != 0) {
        const int refused = pthread_setschedparam(w->thread, SCHED_FIFO, &priority);
        if (refused != 0) fifo_refused(fifo, refused, &e->remote->notice);
    }
    if (cause == 0) return WSXDP_OK;
    error->begin(WSXDP_E_THREAD_START, cause).add("placement: starting a thread failed; raise the limit ");
    error->add("(ulimit -u): ").errno_name(cause);
    return WSXDP_E_THREAD_START;
}

static WorkerPlan plan_of(const Engine *e, size_t place) {
    WorkerPlan plan;
    plan.placement = e->remote->placement;
    plan.place = place;
    plan.app_bell = e->poller.bell_fd;
    memcpy(plan.bells, e->remote->bells, sizeof plan.bells);
    return plan;
}

static int open_worker(Engine *e, size_t place, ErrorText *error) {
    const Options &options = *e->settings->options;
    const WorkerPlan plan = plan_of(e, place);
    Worker *w = &e->threads->all[place].worker;
    w->stages = &e->stages;
    e->threads->count++;
    int status = worker_open(w, options, e->region, plan, error);
    if (status >= 0 && w->rounds.transport != nullptr)
        status = transport_open(&e->stages, options, &e->region, &w->clock, &w->poller, error);
    if (status >= 0 && w->rounds.ws != nullptr) status = ws_open(&e->stages, e->region, &w->clock, error);
    return status;
}

// rx and tx that are apart from tls.
static int join_workers(Engine *e, ErrorText *error) {
    const Placement &placement = e->remote->placement;
    bool reads_apart = false, writes_apart = false;
    for (size_t i = 0; i < placement.count; i++) {
        const uint32_t stages = placement.places[i].stages;
        reads_apart |= (stages & stage_rx) != 0 && (stages & stage_tls) == 0;
        writes_apart |= (stages & stage_tx) != 0 && (stages & stage_tls) == 0;
    }
    if (!reads_apart && !writes_apart) return WSXDP_OK;
    int status = transport_relay(&e->stages, reads_apart, writes_apart, error);
    for (size_t i = 0; i < placement.count && status >= 0; i++)
        worker_join(&e->threads->all[i].worker, e->stages.relay, e->region, plan_of(e, i));
    return status;
}

int threads_open(Engine *e, const Placement &placement, ErrorText *error) {
    e->threads = allocate_object<Threads>();
    if (e->threads == nullptr) {
        error->begin(WSXDP_E_MEMORY).add("opening: out of memory; lower connections.max");
        return WSXDP_E_MEMORY;
    }
    e->runner = &thread_runner;
    int status = remote_open(e, placement, BellReach::process, error);
    for (size_t i = 0; i < placement.count && status >= 0; i++) status = open_worker(e, i, error);
    if (status >= 0) status = join_workers(e, error);
    for (size_t i = 0; i < placement.count && status >= 0; i++)
        status = start_any(e, &e->threads->all[i], placement.places[i].cpu, error);
    return status;
}

void threads_close(Engine *e) {
    if (e->threads == nullptr) return;
    for (size_t i = 0; i < e->threads->count; i++) worker_close(&e->threads->all[i].worker);
    e->threads->~Threads();
    deallocate(e->threads);
    e->threads = nullptr;
}

static void stop(Engine *e) {
    for (WorkerThread &w : e->threads->all)
        if (w.running) w.worker.words->stop.store(1, std::memory_order_seq_cst);
    if (e->remote != nullptr) remote_ring_all(e);
    for (WorkerThread &w : e->threads->all) {
        if (w.running) pthread_join(w.thread, nullptr);
        w.running = false;
    }
    remote_drop_leaving(e);
}

static Connection *blank(Engine *e, uint32_t index) { return &e->stages.transport.connections[index]; }

static int attach(Engine *e, Connection *c, ErrorText *) {
    stages_attach(&e->stages, c);
    remote_seat_taken(e, c->index);
    return WSXDP_OK;
}

const Runner thread_runner = remote_runner({blank, attach, remote_retire, stop, nullptr, nullptr, nullptr});

} // namespace wx
