// SPDX-License-Identifier: MIT
// See host.h. The caller's side has checked every URL and option before it asked; here they are checked
// again, since files may have gone meanwhile, and what is wrong then ends that connection and no other.
#include "host.h"
#include "../../lib/pipeline/naming.h"
#include <errno.h>
#include <sched.h>
#include <unistd.h>

namespace wx {

// A request is sent before its command is published, so it is there; this is for a machine that is out of
// breath.
constexpr int request_patience_ms = 1000;

// ---- connections ----

static Settings *share_settings(Host *host, Options *options, ErrorText *error) {
    for (Host::Guest &other : host->guests) {
        if (other.settings == nullptr || !options_equal(other.settings->options, options, "")) continue;
        options_free(options);
        other.settings->references++;
        return other.settings;
    }
    Settings *settings = nullptr;
    const RegionSizes &sizes = host->region.sizes;
    if (settings_new(options, sizes.inbox_bytes, sizes.outbox_bytes, &settings, error) < 0) return nullptr;
    if (never_sleeps(host->worker.rounds.wait)) settings_spinning(settings);
    return settings;
}

static int need_tls(Host *host, Connection *c, ErrorText *error) {
    if (c->url.scheme != Scheme::wss || settings_share_tls(c->settings, host->settings)) return WSXDP_OK;
    for (const Host::Guest &other : host->guests)
        if (other.settings != nullptr && settings_share_tls(c->settings, other.settings)) return WSXDP_OK;
    return settings_need_tls(c->settings, error);
}

static int admit(Host *host, const StageConnect &request, const char *url, Options *options,
                 ErrorText *error) {
    Host::Guest *guest = &host->guests[request.index];
    guest->settings = share_settings(host, options, error);
    if (guest->settings == nullptr) return error->code;
    if (host->worker.nic != nullptr) return WSXDP_OK; // it knows nothing of connections
    const bool deflates = guest->settings->deflate;
    int status = region_join_connection(&host->region, request.index, deflates, &guest->area, error);
    if (status < 0) return status;
    const uint64_t inbox_bytes = host->region.sizes.inbox_bytes;
    if (host->worker.rounds.transport == nullptr) {
        ws_attach(&host->stages.ws, request.index, guest->area, inbox_bytes, guest->settings);
        return WSXDP_OK;
    }
    Connection *c = new (&host->stages.transport.connections[request.index]) Connection();
    c->index = request.index;
    c->settings = guest->settings;
    c->area = guest->area;
    c->epoch = request.epoch;
    c->ever_open = request.was_open != 0;
    status = connection_prepare(c, &host->stages.random, url, error);
    if (status >= 0) status = need_tls(host, c, error);
    stages_attach(&host->stages, c);
    if (status >= 0) return status;
    c->user_closing = true; // trying again would find the same
    c->error = *error;
    keep_lost(&host->stages.transport, c, status);
    return WSXDP_OK;
}

static bool admit_next(Host *host) {
    host->worker.admitted++;
    StageConnect request;
    int fd = -1;
    ErrorText error;
    char *url = nullptr;
    Options *options = nullptr;
    if (passing_receive(host->control, &request, sizeof request, &fd, 1, request_patience_ms) != 0)
        return false;
    const bool good =
        request.index < host->guests.size() && host->guests[request.index].settings == nullptr &&
        bundle_read(fd, &url, &options, &error) >= 0 && admit(host, request, url, options, &error) >= 0;
    close(fd);
    free_secret_text(url);
    return good;
}

static void give_up(Host *host) {
    host->broken = true; // the next process takes the connections up
    host->worker.words->stop.store(1, std::memory_order_release);
}

// Requests come in the order in which connections were made; stages may come upon them in another.
static void on_unknown(void *context, uint32_t index) {
    Host *host = static_cast<Host *>(context);
    bool good = index < host->guests.size();
    while (good && host->guests[index].settings == nullptr) good = admit_next(host);
    if (!good) give_up(host);
}

// So that they do not pile up in the socket while nothing is heard of their connections.
static void admit_one(void *context) {
    Host *host = static_cast<Host *>(context);
    if (!admit_next(host)) give_up(host);
}

static void left(void *context, uint32_t index) {
    Host *host = static_cast<Host *>(context);
    Host::Guest *guest = &host->guests[index];
    region_leave_connection(&host->region, &guest->area);
    settings_drop(guest->settings);
    *guest = Host::Guest();
}

// ---- the process ----

static void pin(int cpu, ErrorText *notice) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu < 0) return;
    CPU_SET(static_cast<size_t>(cpu), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) pin_refused(cpu, errno, notice);
}

static void raise(int64_t priority, ErrorText *notice) {
    sched_param wanted = {};
    wanted.sched_priority = static_cast<int>(priority);
    if (priority != 0 && sched_setscheduler(0, SCHED_FIFO, &wanted) != 0)
        fifo_refused(priority, errno, notice);
}

static int open_stages(Host *host, const StageStart &start, const int *fds, ErrorText *error) {
    const Options &options = *host->settings->options;
    WorkerPlan plan;
    plan.placement = start.placement;
    plan.place = start.place;
    plan.reach = BellReach::machine;
    plan.app_bell = fds[StageStart::app_bell];
    for (size_t i = 0; i < places_max; i++)
        plan.bells[i] = i < plan.placement.count ? fds[StageStart::bells + i] : -1;
    if (has_peer(start)) plan.peer = fds[StageStart::bells + plan.placement.count];
    Worker *w = &host->worker;
    w->stages = &host->stages;
    int status = worker_open(w, options, host->region, plan, error);
    if (status >= 0 && w->rounds.transport != nullptr)
        status = transport_open(&host->stages, options, &host->region, &w->clock, &w->poller, error);
    if (status >= 0 && w->rounds.ws != nullptr)
        status = ws_open(&host->stages, host->region, &w->clock, error);
    return status;
}

static int take_options(Host *host, const int *fds, ErrorText *error) {
    char *none = nullptr;
    Options *options = nullptr;
    int status = bundle_read(fds[StageStart::options], &none, &options, error);
    close(fds[StageStart::options]);
    free_secret_text(none);
    if (status < 0) return status;
    const RegionSizes sizes = stages_region_sizes(*options);
    const RegionLayout layout = stages_region_layout(sizes, shared_words_bytes(sizes.connections));
    status = settings_new(options, sizes.inbox_bytes, sizes.outbox_bytes, &host->settings, error);
    if (status >= 0) status = region_join(&host->region, fds[StageStart::region], sizes, layout, error);
    host->region.side = RegionSide::stages;
    return status;
}

int host_open(Host *host, const StageStart &start, const int *fds, ErrorText *error) {
    host->parent = fds[StageStart::parent];
    host->worker.left = left;
    host->worker.admit = admit_one;
    host->worker.context = host;
    int status = take_options(host, fds, error);
    if (status >= 0) status = open_stages(host, start, fds, error);
    if (status < 0) return status;
    host->guests.resize(host->region.sizes.connections);
    host->stages.transport.on_connect = host->stages.ws.on_unknown = on_unknown;
    host->stages.transport.on_connect_context = host->stages.ws.on_unknown_context = host;
    host->worker.parent = host->parent;
    int cause = poller_watch_end(&host->worker.poller, host->parent);
    if (cause != 0) return poller_explain(&host->worker.poller, cause, error);
    pin(start.placement.places[start.place].cpu, error);
    raise(host->settings->options->integer(Option::stage_fifo), error);
    return WSXDP_OK;
}

void host_sweep(const Host *host) {
    const char *name = host->settings->options->text(Option::name);
    int directory = -1;
    ErrorText ignored;
    if (name[0] == 0 || name_directory(false, &directory, &ignored) < 0) return;
    (void)name_sweep(directory, name);
    close(directory);
}

void host_close(Host *host) {
    for (uint32_t i = 0; i < host->guests.size(); i++) {
        if (host->guests[i].settings == nullptr) continue;
        stages_detach(&host->stages, i);
        left(host, i);
    }
    stages_close(&host->stages);
    worker_close(&host->worker);
    settings_drop(host->settings);
    region_free(&host->region);
}

} // namespace wx
