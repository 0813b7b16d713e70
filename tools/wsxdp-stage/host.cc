// SPDX-License-Identifier: MIT
// See host.h. The caller's side has checked every URL and option before it asked; here they are checked
// again, since files may have gone meanwhile, and what is wrong then ends that connection and no other.
#include "host.h"
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
    if (host->worker.rounds.wait == Wait::spin) settings_spinning(settings);
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
    int status =
        region_join_connection(&host->region, request.index, guest->settings->deflate, &guest->area, error);
    if (status < 0) return status;
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

static void on_connect(void *context, uint32_t index) {
    Host *host = static_cast<Host *>(context);
    StageConnect request;
    int fd = -1;
    ErrorText error;
    char *url = nullptr;
    Options *options = nullptr;
    int cause = passing_receive(host->control, &request, sizeof request, &fd, 1, request_patience_ms);
    bool good = cause == 0 && request.index == index && index < host->guests.size() &&
                host->guests[index].settings == nullptr;
    good = good && bundle_read(fd, &url, &options, &error) >= 0 &&
           admit(host, request, url, options, &error) >= 0;
    if (fd >= 0) close(fd);
    free_secret_text(url);
    if (good) return;
    host->broken = true; // the next process takes the connections up
    host->worker.words->stop.store(1, std::memory_order_release);
}

static void left(void *context, uint32_t index) {
    Host *host = static_cast<Host *>(context);
    Host::Guest *guest = &host->guests[index];
    region_leave_connection(&host->region, &guest->area);
    settings_drop(guest->settings);
    *guest = Host::Guest();
}

// ---- the process ----

static void pin(Host *host, int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu < 0) return;
    CPU_SET(static_cast<size_t>(cpu), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) worker_pin_refused(&host->worker, cpu, errno);
}

int host_open(Host *host, const StageStart &start, const int *fds, ErrorText *error) {
    host->parent = fds[StageStart::parent];
    host->worker.app_bell = fds[StageStart::app_bell];
    host->worker.stages = &host->stages;
    host->worker.context = host;
    host->worker.left = left;
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
    const int bell = fds[StageStart::own_bell];
    if (status >= 0) status = worker_open(&host->worker, *options, &host->region, bell, error);
    Worker *w = &host->worker;
    if (status >= 0)
        status = stages_open(&host->stages, *options, &host->region, &w->clock, &w->poller, error);
    if (status < 0) return status;
    host->guests.resize(sizes.connections);
    host->stages.transport.on_connect = on_connect;
    host->stages.transport.on_connect_context = host;
    w->parent = host->parent;
    int cause = poller_watch_end(&w->poller, host->parent);
    if (cause != 0) return poller_explain(&w->poller, cause, error);
    pin(host, start.cpu);
    return WSXDP_OK;
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
    close(host->worker.app_bell);
    close(host->parent);
}

} // namespace wx
