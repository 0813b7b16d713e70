// SPDX-License-Identifier: MIT
// See top_sample.h. The region is the other program's to write, and of the same user: nothing can be taken
// from it that this user may not see, but it may be broken, or be of another version. Pages that nobody has
// written are not touched, since looking at them would make them. A slot that was written over while it was
// copied is seen by the ring's position and dropped; what slips through is dropped for times that cannot be.
#include "top_sample.h"

#include "../../lib/pipeline/slots.h"
#include "../../lib/pipeline/stages.h"
#include "format.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <poll.h>
#include <sstream>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace wx;

namespace {

// Beyond these no option goes; a header that says more is no header of ours.
constexpr uint64_t connections_limit = 1u << 20, slots_limit = 1u << 24, bytes_limit = uint64_t{1} << 40;
// A message that took longer than this between two stages is a slot that was torn.
constexpr int64_t span_limit_ns = 10 * ns_per_s;
// Looked at in one glance: the latest of them stand for the others.
constexpr uint64_t events_at_once = 256;

bool is_power_up_to(uint64_t value, uint64_t limit) {
    return value != 0 && value <= limit && (value & (value - 1)) == 0;
}

bool plausible(const RegionSizes &s) {
    bool good = is_power_up_to(s.connections, connections_limit);
    for (uint64_t bytes : {s.inbox_bytes, s.outbox_bytes})
        good = good && bytes >= page_bytes && is_power_up_to(bytes, bytes_limit);
    for (uint64_t slots : {s.metadata_slots, s.event_slots, s.control_slots, s.note_slots, s.command_slots})
        good = good && is_power_up_to(slots, slots_limit);
    return good;
}

TopCounters read_counters(const WaitCounters &from) {
    auto get = [](const std::atomic<uint64_t> &word) { return word.load(std::memory_order_relaxed); };
    return {get(from.loops), get(from.busy), get(from.sleeps), get(from.wakes), get(from.rings)};
}

std::string role_of(uint32_t stages) {
    const struct {
        uint32_t bit;
        const char *name;
    } names[] = {{stage_nic, "nic"}, {stage_transport, "transport"},
                 {stage_rx, "rx"},   {stage_tls, "tls"},
                 {stage_tx, "tx"},   {stage_ws, "ws"}};
    std::string out;
    for (const auto &row : names)
        if ((stages & row.bit) != 0) out += (out.empty() ? "" : "+") + std::string(row.name);
    return out.empty() ? "starting" : out;
}

// State, times and processor of a thread; where it may run says whether it is pinned.
void read_thread(TopStage &stage) {
    const std::string at = "/proc/" + std::to_string(stage.pid) + "/task/" + std::to_string(stage.tid) + "/";
    std::ifstream stat(at + "stat");
    std::string line, word;
    if (!std::getline(stat, line)) return;
    std::istringstream fields(line.substr(std::min(line.size(), line.rfind(')') + 1)));
    for (int field = 3; fields >> word && field <= 39; field++) {
        if (field == 3) stage.state = word[0];
        if (field == 14 || field == 15) stage.cpu_ticks += strtoull(word.c_str(), nullptr, 10);
        if (field == 39) stage.cpu = int(strtol(word.c_str(), nullptr, 10));
    }
    std::ifstream status(at + "status");
    while (std::getline(status, line))
        if (line.rfind("Cpus_allowed_list:", 0) == 0)
            stage.pinned = line.find_first_of(",-") == std::string::npos;
}

uint64_t bytes_in(const ByteRingWords &words, uint64_t capacity) {
    const uint64_t head = words.head.load(std::memory_order_acquire);
    const uint64_t tail = words.tail.load(std::memory_order_acquire);
    const uint64_t skip = words.skip.load(std::memory_order_relaxed);
    const uint64_t from = skip > head && skip <= tail ? skip : head;
    return std::min(tail - from, capacity);
}

std::string peer_of(const ConnectionWords *words) {
    char text[sizeof words->peer];
    memcpy(text, words->peer, sizeof text);
    return printable(std::string_view(text, strnlen(text, sizeof text)));
}

} // namespace

TopRegion::~TopRegion() {
    while (!mapped_.empty()) forget(mapped_.begin()->first);
    region_free(&region_);
    if (pidfd_ >= 0) close(pidfd_);
}

std::string TopRegion::attach(const NameRecord &record) {
    if (record.version != region_version)
        return "it is of another version of libwsxdp; use the wsxdp of that version";
    pidfd_ = int(syscall(SYS_pidfd_open, record.pid, 0));
    const std::string path = "/proc/" + std::to_string(record.pid) + "/fd/" + std::to_string(record.region);
    const int fd = pidfd_ >= 0 ? open(path.c_str(), O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return "process " + std::to_string(record.pid) + " cannot be looked into: " + strerror(errno);
    if (process_started(record.pid) == record.started) return attach(fd);
    close(fd);
    return "it has just ended";
}

std::string TopRegion::attach(int fd) {
    RegionHeader header;
    ErrorText error;
    region_.fd = fd;
    if (pread(fd, &header, sizeof header, 0) != ssize_t(sizeof header) || header.magic != region_magic ||
        !plausible(header.sizes))
        return "shared region: its header makes no sense";
    region_.sizes = header.sizes;
    region_.layout = stages_region_layout(header.sizes, shared_words_bytes(header.sizes.connections));
    if (region_check(fd, region_.sizes, region_.layout, &error) < 0) return error.text;
    void *base = mmap(nullptr, region_.layout.rings_end, PROT_READ, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) return std::string("shared region: mapping it failed: ") + strerror(errno);
    region_.base = static_cast<uint8_t *>(base);
    return "";
}

bool TopRegion::ended() const {
    pollfd look = {pidfd_, POLLIN, 0};
    return poll(&look, 1, 0) > 0;
}

// ---- rings ----

TopRing TopRegion::ring(const char *name, uint64_t offset, uint64_t slots, size_t which) {
    const auto *words = reinterpret_cast<const RingWords *>(region_.base + offset);
    const uint64_t head = words->head.load(std::memory_order_acquire);
    const uint64_t tail = words->tail.load(std::memory_order_acquire);
    const uint64_t depth = tail - head <= slots ? tail - head : 0; // read at two times, or broken
    depth_max_[which] = std::max(depth_max_[which], depth);
    return {name, slots, depth, tail, depth_max_[which]};
}

std::vector<TopRing> TopRegion::rings() {
    const RegionLayout &at = region_.layout;
    const RegionSizes &n = region_.sizes;
    std::vector<TopRing> all = {ring("metadata", at.metadata, n.metadata_slots, 0),
                                ring("events", at.events, n.event_slots, 1),
                                ring("control", at.control, n.control_slots, 2),
                                ring("commands", at.commands, n.command_slots, 3),
                                ring("transport notes", at.transport_notes, n.note_slots, 4),
                                ring("event notes", at.event_notes, n.note_slots, 5)};
    bool nic = false; // apart from transport
    for (size_t i = 0; i < places_max; i++)
        nic |= (shared_place(region_, i)->stages.load(std::memory_order_relaxed) &
                (stage_nic | stage_transport)) == stage_nic;
    if (!nic) return all;
    const uint64_t area = at.shared + shared_nic_offset(n.connections);
    all.push_back(ring("raw_inbox", area + offsetof(NicArea, inbox), nic_inbox_slots, 6));
    all.push_back(ring("raw_outbox", area + offsetof(NicArea, bulk), nic_bulk_slots, 7));
    all.push_back(ring("ack_outbox", area + offsetof(NicArea, acks), nic_ack_slots, 8));
    all.push_back(ring("pong_outbox", area + offsetof(NicArea, control), nic_control_slots, 9));
    all.push_back(ring("frames freed", area + offsetof(NicArea, freed), nic_back_slots, 10));
    all.push_back(ring("frames sent", area + offsetof(NicArea, completed), nic_back_slots, 11));
    return all;
}

// The copy goes by atomic words: reading beside a write is no race, only void.
void TopRegion::read_event(const EventSlot *slot, uint64_t position) {
    const auto *words = reinterpret_cast<const RingWords *>(region_.base + region_.layout.events);
    uint64_t raw[sizeof(EventSlot) / sizeof(uint64_t)];
    for (size_t i = 0; i < sizeof raw / sizeof raw[0]; i++)
        raw[i] = __atomic_load_n(reinterpret_cast<const uint64_t *>(slot) + i, __ATOMIC_RELAXED);
    std::atomic_thread_fence(std::memory_order_acquire);
    const uint64_t tail = words->tail.load(std::memory_order_relaxed);
    if (tail - position > region_.sizes.event_slots / 2) return;
    EventSlot event;
    memcpy(&event, raw, sizeof event);
    if (event.poll_last == 0 || event.parse == 0 ||
        (event.kind != WSXDP_EVENT_MESSAGE && event.kind != WSXDP_EVENT_FRAGMENT))
        return;
    const Tick transport = event.transport_last != 0 ? event.transport_last : event.poll_last;
    const Tick tls = event.tls_last != 0 ? event.tls_last : transport;
    const Tick steps[] = {event.poll_last, transport, tls, event.parse};
    Clock clock;
    clock.ns_per_tick_q32 = ns_per_tick_q32_;
    int64_t spans[span_count] = {};
    for (int i = 0; i < 3; i++) {
        const Tick ticks = steps[i + 1] - steps[i];
        spans[i] = steps[i + 1] < steps[i] ? -1 : clock.span_ns(ticks);
        if (spans[i] < 0 || spans[i] > span_limit_ns) return;
    }
    spans[span_whole] = spans[0] + spans[1] + spans[2];
    for (size_t i = 0; i < span_count; i++)
        if (i != span_tls || event.tls_last != 0) spans_[i].record(spans[i]);
}

void TopRegion::read_events() {
    ns_per_tick_q32_ = shared_handle(region_)->ns_per_tick_q32.load(std::memory_order_relaxed);
    if (ns_per_tick_q32_ == 0 || ns_per_tick_q32_ > uint64_t{1} << 48) return; // 65 us a tick: no clock
    const uint8_t *at = region_.base + region_.layout.events;
    const auto *words = reinterpret_cast<const RingWords *>(at);
    const auto *slots = reinterpret_cast<const EventSlot *>(at + sizeof(RingWords));
    const uint64_t tail = words->tail.load(std::memory_order_acquire), count = region_.sizes.event_slots;
    const uint64_t most = std::min(std::min(count / 2, events_at_once), tail);
    uint64_t from = tail - most;
    if (looked_ && tail - events_seen_ <= most) from = events_seen_;
    for (; from != tail; from++) read_event(&slots[from & (count - 1)], from);
    events_seen_ = tail;
    looked_ = true;
}

void TopRegion::glance() {
    rings();
    read_events();
}

// ---- stages ----

void TopRegion::read_stages(TopSample &sample) {
    const HandleWords *handle = shared_handle(region_);
    static const char *const kinds[] = {"inline", "threads", "processes"};
    const uint32_t kind = handle->kind.load(std::memory_order_relaxed);
    sample.placement = kind < 3 ? kinds[kind] : "unknown";
    TopStage app;
    const size_t places = std::min<size_t>(handle->places.load(std::memory_order_relaxed), places_max);
    app.role = places == 0 ? "transport+ws+app" : "app";
    app.pid = handle->pid.load(std::memory_order_relaxed);
    app.tid = handle->tid.load(std::memory_order_relaxed);
    app.counters = read_counters(handle->counters);
    for (size_t i = 0; i < places; i++) {
        const PlaceWords *words = shared_place(region_, i);
        TopStage stage;
        stage.role = role_of(words->stages.load(std::memory_order_relaxed));
        stage.pid = words->pid.load(std::memory_order_relaxed);
        stage.tid = words->tid.load(std::memory_order_relaxed);
        stage.counters = read_counters(words->counters);
        read_thread(stage);
        sample.stages.push_back(stage);
        const TopCounters ours = read_counters(words->app_counters);
        app.counters.wakes += ours.wakes;
        app.counters.rings += ours.rings;
    }
    read_thread(app);
    sample.stages.push_back(app);
}

// ---- connections ----

const ConnectionWords *TopRegion::words_of(uint32_t index) {
    auto found = mapped_.find(index);
    if (found != mapped_.end()) return found->second;
    const uint64_t offset = region_.layout.connection_base + index * region_.layout.connection_bytes;
    void *page = mmap(nullptr, page_bytes, PROT_READ, MAP_SHARED, region_.fd, off_t(offset));
    if (page == MAP_FAILED) return nullptr;
    return mapped_[index] = static_cast<const ConnectionWords *>(page);
}

void TopRegion::forget(uint32_t index) {
    auto found = mapped_.find(index);
    if (found == mapped_.end()) return;
    munmap(const_cast<ConnectionWords *>(found->second), page_bytes);
    mapped_.erase(found);
}

void TopRegion::read_connections(TopSample &sample) {
    const RegionLayout &at = region_.layout;
    std::map<uint32_t, const ConnectionWords *> before;
    for (uint32_t i = 0; i < region_.sizes.connections; i++) {
        const uint64_t offset = at.connection_base + i * at.connection_bytes;
        const off_t data = lseek(region_.fd, off_t(offset), SEEK_DATA);
        if (data < 0) break; // nothing is written from here on
        const uint64_t next = (uint64_t(data) - at.connection_base) / at.connection_bytes;
        if (next >= region_.sizes.connections) break;
        for (; i < next; i++) forget(i);
        if (uint64_t(data) >= at.connection_base + next * at.connection_bytes + page_bytes) continue;
        const ConnectionWords *words = words_of(i);
        TopConnection c;
        if (words == nullptr) break;
        c.index = i;
        published_app(words, &c.app);
        if (c.app.id == 0) continue;
        c.peer = peer_of(words);
        published_transport(words, &c.transport);
        published_ws(words, &c.ws);
        c.inbox = bytes_in(words->inbox, region_.sizes.inbox_bytes);
        c.outbox = bytes_in(words->outbox, region_.sizes.outbox_bytes);
        sample.connections.push_back(c);
    }
}

TopSample TopRegion::sample() {
    TopSample sample;
    sample.at_ns = monotonic_ns();
    read_events();
    sample.rings = rings();
    read_stages(sample);
    read_connections(sample);
    return sample;
}
