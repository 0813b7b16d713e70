// SPDX-License-Identifier: MIT
// getaddrinfo in a detached thread. The job is shared by the thread and the asker and freed by whoever is
// last, so a handle can be freed while the system's resolver still waits for its server. The worst case
// accepted is a resolver that never answers: it costs one sleeping thread until the system's own timeout.
#include "resolver.h"
#include "../base/alloc.h"
#include <arpa/inet.h>
#include <atomic>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

namespace wx {

struct ResolveJob {
    std::atomic<uint32_t> references{2};
    std::atomic<bool> done{false};
    int event_fd = -1;
    Family family = Family::any;
    uint16_t port = 0;
    int gai_status = 0;
    int gai_errno = 0;
    char host[256] = {0}; // RFC 1035: a name has at most 253 characters
    AddressList list;
};

// NSS modules use more stack than one would think; 8 MiB would only be address space, but with mlockall
// memory.
constexpr size_t resolver_stack_bytes = 512 * 1024;

static void append(AddressList *list, const sockaddr *address, socklen_t size) {
    if (list->count == addresses_max || size > sizeof(sockaddr_storage)) return;
    Address &slot = list->addresses[list->count++];
    memcpy(&slot.storage, address, size);
    slot.size = size;
}

// RFC 4007 section 11: %NAME or %NUMBER behind an address, cut off here. A zone that does not exist makes it
// no literal, and the system's resolver says so in words.
static bool take_zone(char *zone, uint32_t *scope) {
    *zone = 0;
    *scope = if_nametoindex(zone + 1);
    uint64_t number = 0;
    const char *at = zone + 1;
    for (; *at >= '0' && *at <= '9' && number <= UINT32_MAX; at++)
        number = number * 10 + static_cast<uint64_t>(*at - '0');
    if (*scope == 0 && *at == 0 && number <= UINT32_MAX) *scope = static_cast<uint32_t>(number);
    return *scope != 0;
}

int resolve_literal(ByteView host, uint16_t port, Family family, AddressList *out) {
    char text[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
    if (host.size == 0 || host.size >= sizeof text || memchr(host.data, 0, host.size)) return 0;
    memcpy(text, host.data, host.size);
    text[host.size] = 0;
    sockaddr_in v4 = {};
    sockaddr_in6 v6 = {};
    if (family != Family::ipv6 && inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        append(out, reinterpret_cast<const sockaddr *>(&v4), sizeof v4);
        return 1;
    }
    char *zone = strchr(text, '%');
    if (zone != nullptr && !take_zone(zone, &v6.sin6_scope_id)) return 0;
    if (family == Family::ipv4 || inet_pton(AF_INET6, text, &v6.sin6_addr) != 1) return 0;
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    append(out, reinterpret_cast<const sockaddr *>(&v6), sizeof v6);
    return 1;
}

int resolve_override(ByteView row, ByteView host, uint16_t port, Family family, AddressList *out,
                     ErrorText *error) {
    if (row.size <= host.size || row.data[host.size] != '=' || !equal_ignore_case(row.first(host.size), host))
        return 0;
    ByteView rest = row.from(host.size + 1);
    if (rest.size == 0) {
        error->begin(WSXDP_E_RESOLVE).add("resolve.override: '").add(row);
        error->add("' has no address; write NAME=ADDRESS[,ADDRESS...]");
        return WSXDP_E_RESOLVE;
    }
    while (rest.size != 0) {
        const void *comma = memchr(rest.data, ',', rest.size);
        size_t size =
            comma ? static_cast<size_t>(static_cast<const uint8_t *>(comma) - rest.data) : rest.size;
        AddressList unused;
        if (resolve_literal(rest.first(size), port, Family::any, &unused) != 1) {
            error->begin(WSXDP_E_RESOLVE).add("resolve.override: '").add(rest.first(size));
            error->add("' is not an IP address; write NAME=ADDRESS[,ADDRESS...]");
            return WSXDP_E_RESOLVE;
        }
        resolve_literal(rest.first(size), port, family, out);
        rest = rest.from(size + (comma ? 1 : 0));
    }
    return 1;
}

static void release(ResolveJob *job) {
    if (job->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    close(job->event_fd);
    deallocate(job);
}

static void *resolver_thread(void *argument) {
    ResolveJob *job = static_cast<ResolveJob *>(argument);
    uint8_t digits[8];
    Writer port{ByteSpan(digits, sizeof digits)};
    port.decimal(job->port);
    port.u8(0);
    addrinfo hints = {}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_family = job->family == Family::ipv4   ? AF_INET
                      : job->family == Family::ipv6 ? AF_INET6
                                                    : AF_UNSPEC;
    hints.ai_flags = AI_NUMERICSERV;
    job->gai_status = getaddrinfo(job->host, reinterpret_cast<const char *>(digits), &hints, &found);
    job->gai_errno = errno;
    for (addrinfo *at = found; at != nullptr; at = at->ai_next)
        append(&job->list, at->ai_addr, at->ai_addrlen);
    if (found != nullptr) freeaddrinfo(found);
    job->done.store(true, std::memory_order_release);
    uint64_t signal = Poller::foreign_signal;
    ssize_t written = write(job->event_fd, &signal, sizeof signal);
    (void)written; // a full counter is readable already
    release(job);
    return nullptr;
}

static int start_thread(ResolveJob *job) {
    pthread_attr_t attributes;
    sigset_t all;
    pthread_t thread;
    sigfillset(&all);
    int status = pthread_attr_init(&attributes);
    if (status != 0) return status;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, resolver_stack_bytes);
    // The mask is an attribute of the new thread: the caller's own mask is never touched.
    pthread_attr_setsigmask_np(&attributes, &all);
    status = pthread_create(&thread, &attributes, resolver_thread, job);
    pthread_attr_destroy(&attributes);
    return status;
}

int resolve_start(ByteView host, uint16_t port, Family family, Poller *poller, ResolveJob **out,
                  ErrorText *error) {
    *out = nullptr;
    ResolveJob *job = allocate_object<ResolveJob>();
    if (job == nullptr || host.size >= sizeof job->host) {
        deallocate(job);
        int code = job ? WSXDP_E_RESOLVE : WSXDP_E_MEMORY;
        error->begin(code).add("resolving ").add(host.first(80));
        error->add(job ? ": names have at most 253 characters" : ": out of memory");
        return code;
    }
    memcpy(job->host, host.data, host.size);
    job->port = port;
    job->family = family;
    job->event_fd = fcntl(poller->event_fd, F_DUPFD_CLOEXEC, 0);
    int cause = job->event_fd < 0 ? errno : start_thread(job);
    if (cause == 0) {
        poller_expect(poller);
        *out = job;
        return WSXDP_OK;
    }
    int code = job->event_fd < 0 ? WSXDP_E_DESCRIPTORS : WSXDP_E_THREAD_START;
    if (job->event_fd >= 0) close(job->event_fd);
    deallocate(job);
    error->begin(code, cause).add("resolving ").add(host.first(80)).add(": cannot start the lookup: ");
    error->errno_name(cause);
    return code;
}

// gai_strerror translates, and to do so reads the environment: these are always the same.
static const char *gai_text(int status) {
    switch (status) {
    case EAI_NONAME:
        return "no such name";
    case EAI_AGAIN:
        return "the DNS server does not answer for now";
    case EAI_FAIL:
        return "the DNS server failed";
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        return "the name has no address of the family wanted";
    case EAI_MEMORY:
        return "out of memory";
    case EAI_SYSTEM:
        return "a system call failed";
    default:
        return "the system's resolver failed";
    }
}

int resolve_result(ResolveJob *job, AddressList *out, ErrorText *error) {
    if (!job->done.load(std::memory_order_acquire)) return 0;
    if (job->gai_status == 0 && job->list.count != 0) {
        *out = job->list;
        return 1;
    }
    error->begin(WSXDP_E_RESOLVE, job->gai_status == EAI_SYSTEM ? job->gai_errno : 0);
    error->add("resolving ").add(ByteView(job->host)).add(": ");
    error->add(job->gai_status ? gai_text(job->gai_status) : "no address");
    error->add("; check the host name and the system's DNS");
    return WSXDP_E_RESOLVE;
}

void resolve_drop(ResolveJob *job) {
    if (job != nullptr) release(job);
}

void interleave_families(AddressList *list) {
    if (list->count < 2) return;
    AddressList in = *list;
    int family = in.addresses[0].storage.ss_family;
    bool used[addresses_max] = {false};
    for (size_t filled = 0; filled < in.count; filled++) {
        size_t pick = in.count;
        for (size_t i = 0; i < in.count && pick == in.count; i++)
            if (!used[i] && in.addresses[i].storage.ss_family == family) pick = i;
        for (size_t i = 0; i < in.count && pick == in.count; i++)
            if (!used[i]) pick = i;
        used[pick] = true;
        list->addresses[filled] = in.addresses[pick];
        family = in.addresses[pick].storage.ss_family == AF_INET ? AF_INET6 : AF_INET;
    }
}

} // namespace wx
