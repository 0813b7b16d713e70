// SPDX-License-Identifier: MIT
// The thread of a Bridge: frames come out of the kernel by a ring of AF_PACKET for each of the two ends, go
// through the filters, which know only IP, and leave by sendmsg. What Ethernet said of a packet travels
// behind its bytes while a filter holds it, for filters keep bytes and nothing else; those that look at the
// bytes see the packet alone. Nothing is lost silently: whatever this side fails to carry is counted as an
// overrun. Worst case: the machine gives the thread no time for as long as the ring lasts.
#include "bridge.h"
#include "../base/check.h"
#include <algorithm>
#include <atomic>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <mutex>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <vector>

namespace netns {

using namespace wx;

namespace {

constexpr size_t ring_bytes = 32 << 20; // 16384 full-sized frames: far more than two windows of TCP
constexpr size_t block_bytes = 128 << 10;
constexpr int send_buffer = 32 << 20; // what the receiving host has not looked at yet is charged to us
constexpr unsigned batch = 64;        // frames of a direction in one turn: what a caller waits for at most
constexpr size_t run_max = 4 * batch; // so that a turn ends also when much is due
constexpr unsigned send_tries = 100;  // the host's queue empties while we wait
constexpr unsigned mac_pair = 12;     // both addresses
constexpr size_t head_max = ether_header_size + ether_vlan_size;
constexpr uint8_t pcap_link_ethernet = 1;
static_assert(pcap_magic_nanos == 0xA1B23C4D && (pcap_snap_bytes & 0xFF00FFFF) == 0, "see FrameFile");

// What Ethernet said of a packet.
struct Tail {
    uint8_t macs[mac_pair];
    uint16_t type;
    uint16_t tag_type; // 0: no tag
    uint16_t tag;
    Nanos entered;
};

bool carries_ip(const Tail &tail, ByteView packet) {
    const unsigned version = packet.empty() ? 0 : packet.data[0] >> 4;
    return (tail.type == ether_ipv4 && version == 4 && packet.size >= ip4_header_size) ||
           (tail.type == ether_ipv6 && version == 6 && packet.size >= ip6_header_size);
}

// Neighbour discovery (RFC 4861) is to IPv6 what ARP is to IPv4, and multicast is what hosts say on their own
// account.
bool for_filters(const Tail &tail, ByteView packet) {
    constexpr uint8_t router_solicitation = 133, redirect = 137;
    if (!carries_ip(tail, packet)) return false;
    const uint8_t *p = packet.data;
    if (tail.type == ether_ipv4) return p[16] < 224;
    const bool discovery = p[6] == ip_icmp6 && packet.size > ip6_header_size &&
                           p[ip6_header_size] >= router_solicitation && p[ip6_header_size] <= redirect;
    return p[24] != 0xFF && !discovery;
}

// Files of frames. Errors wait for capture_end, since a thread cannot fail a test.
struct FrameFile {
    FILE *file = nullptr;
    bool failed = false;
    PcapWriter writer;
    std::vector<uint8_t> frame;

    void open(FILE *to) {
        file = to;
        failed = false;
        writer = PcapWriter();
        writer.context = this;
        writer.write = [](void *context, ByteView bytes) {
            FrameFile *self = static_cast<FrameFile *>(context);
            self->failed |= fwrite(bytes.data, 1, bytes.size, self->file) != bytes.size;
        };
        // pcap_begin would say that packets begin with IP.
        writer.begun = true;
        uint8_t bytes[pcap_header_size] = {0x4D, 0x3C, 0xB2, 0xA1, 2, 0, 4, 0};
        bytes[18] = pcap_snap_bytes >> 16; // all little-endian
        bytes[20] = pcap_link_ethernet;
        writer.write(this, ByteView(bytes, sizeof bytes));
    }
    bool close() {
        if (file == nullptr) return true;
        failed |= fclose(file) != 0;
        file = nullptr;
        return !failed;
    }
    void put(ByteView head, ByteView payload) {
        if (file == nullptr) return;
        frame.assign(head.data, head.data + head.size);
        frame.insert(frame.end(), payload.data, payload.data + payload.size);
        timespec now = {};
        clock_gettime(CLOCK_REALTIME, &now);
        pcap_packet(&writer, ByteView(frame.data(), frame.size()),
                    Nanos{now.tv_sec} * ns_per_s + now.tv_nsec);
    }
};

size_t write_head(const Tail &tail, uint8_t out[head_max]) {
    memcpy(out, tail.macs, mac_pair);
    size_t size = mac_pair;
    if (tail.tag_type != 0) {
        store_be16(out + size, tail.tag_type);
        store_be16(out + size + 2, tail.tag);
        size += ether_vlan_size;
    }
    store_be16(out + size, tail.type);
    return size + 2;
}

// One of the middle's ends: a socket, its ring and the place in it.
struct Port {
    int fd = -1;
    uint8_t *ring = nullptr;
    size_t frame_bytes = 0, next = 0;
    uint64_t ring_drops = 0, refused = 0, cut_short = 0;

    // In the calling thread's namespace.
    void open(const char *device, unsigned mtu) {
        fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); // 0: nothing yet
        if (fd < 0) fail_msg("AF_PACKET: %s", strerror(errno));
        const int version = TPACKET_V2, on = 1;
        tpacket_req wanted = {};
        frame_bytes = 2048; // a power of two, so that blocks have no rest
        while (frame_bytes < TPACKET2_HDRLEN + 64 + head_max + mtu) frame_bytes *= 2;
        wanted.tp_block_size = block_bytes;
        wanted.tp_frame_size = static_cast<unsigned>(frame_bytes);
        wanted.tp_block_nr = ring_bytes / block_bytes;
        wanted.tp_frame_nr = static_cast<unsigned>(ring_bytes / frame_bytes);
        const bool good = setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) == 0 &&
                          setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &wanted, sizeof wanted) == 0 &&
                          setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) == 0 &&
                          setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) == 0 &&
                          setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &send_buffer, sizeof send_buffer) == 0;
        if (!good) fail_msg("the ring of %s: %s", device, strerror(errno));
        void *mapped = mmap(nullptr, ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (mapped == MAP_FAILED) fail_msg("mapping the ring of %s: %s", device, strerror(errno));
        ring = static_cast<uint8_t *>(mapped);
        sockaddr_ll address = {};
        address.sll_family = AF_PACKET;
        address.sll_protocol = __builtin_bswap16(ETH_P_ALL);
        address.sll_ifindex = static_cast<int>(if_nametoindex(device));
        if (bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0)
            fail_msg("binding to %s: %s", device, strerror(errno));
    }
    void close() {
        if (ring != nullptr) munmap(ring, ring_bytes);
        if (fd >= 0) ::close(fd);
        ring = nullptr;
        fd = -1;
    }

    tpacket2_hdr *waiting() const {
        tpacket2_hdr *head = reinterpret_cast<tpacket2_hdr *>(ring + next * frame_bytes);
        return __atomic_load_n(&head->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER ? head : nullptr;
    }
    void give_back(tpacket2_hdr *head) {
        __atomic_store_n(&head->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        next = (next + 1) % (ring_bytes / frame_bytes);
    }
    bool send(ByteView head, ByteView payload) {
        iovec parts[2] = {{const_cast<uint8_t *>(head.data), head.size},
                          {const_cast<uint8_t *>(payload.data), payload.size}};
        msghdr message = {};
        message.msg_iov = parts;
        message.msg_iovlen = 2;
        for (unsigned i = 0; i < send_tries; i++) {
            if (sendmsg(fd, &message, MSG_DONTWAIT) >= 0) return true;
            if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR) break;
            sched_yield();
        }
        refused++;
        return false;
    }
    uint64_t overran() { // reading the kernel's count begins it anew
        tpacket_stats stats = {};
        socklen_t size = sizeof stats;
        if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0) ring_drops += stats.tp_drops;
        return ring_drops + cut_short;
    }
};

struct Lane;

// Where packets change from bytes alone to bytes with a tail, and back.
struct Hop : PacketSink {
    Lane *lane = nullptr;
    PacketSink *next = nullptr;
    std::vector<uint8_t> buffer;
};

// One direction. The filters stand in the order of SimPath; each passes everything on while its options are
// those of a new object, so nothing needs to be linked anew when they change.
struct Lane {
    BridgeCore *core = nullptr;
    Lane *other = nullptr;
    bool from_here = false;
    Port *in = nullptr, *out = nullptr;
    Tail tail = {}; // of the packet that is between filters right now
    SimTimeline timeline;
    SimCapture capture_entry;
    SimDead dead;
    SimFlap flap;
    SimChosen chosen;
    SimMtu mtu;
    SimLoss loss;
    SimBurst burst;
    Hop before_rate;
    SimRate rate;
    Hop after_rate;
    SimCorrupt corrupt;
    Hop before_waiting;
    SimDuplicate duplicate;
    SimReorder reorder;
    SimDelay delay;
    Hop after_waiting;
    SimCapture capture_exit;
    Hop exit;
    Hop told; // ICMP about packets of the other direction
    bool drop_others = false;
    BridgeCount count;
};

void hop_attach(PacketSink *self, ByteView packet, Nanos now) {
    Hop *hop = static_cast<Hop *>(self);
    hop->buffer.assign(packet.data, packet.data + packet.size);
    const uint8_t *tail = reinterpret_cast<const uint8_t *>(&hop->lane->tail);
    hop->buffer.insert(hop->buffer.end(), tail, tail + sizeof(Tail));
    hop->next->accept(hop->next, ByteView(hop->buffer.data(), hop->buffer.size()), now);
}

void hop_detach(PacketSink *self, ByteView packet, Nanos now) {
    Hop *hop = static_cast<Hop *>(self);
    const ByteView alone = packet.first(packet.size - sizeof(Tail));
    memcpy(&hop->lane->tail, packet.data + alone.size, sizeof(Tail));
    hop->next->accept(hop->next, alone, now);
}

// A router's message goes back to who sent the packet, from where the packet was going to.
void hop_told(PacketSink *self, ByteView packet, Nanos now) {
    Lane *lane = static_cast<Hop *>(self)->lane;
    lane->tail = lane->other->tail;
    std::swap_ranges(lane->tail.macs, lane->tail.macs + 6, lane->tail.macs + 6);
    lane->tail.entered = now;
    lane->count.told++;
    lane->capture_entry.accept(&lane->capture_entry, packet, now);
}

void hop_exit(PacketSink *self, ByteView packet, Nanos now);

SimPathOptions lane_options(const Lane &lane) {
    SimPathOptions options;
    options.capture_entry = lane.capture_entry.options.writer;
    options.dead = lane.dead.options;
    options.flap = lane.flap.options;
    options.chosen = lane.chosen.options;
    options.mtu = lane.mtu.options;
    options.loss = lane.loss.options;
    options.burst = lane.burst.options;
    options.rate = lane.rate.options;
    options.corrupt = lane.corrupt.options;
    options.duplicate = lane.duplicate.options;
    options.reorder = lane.reorder.options;
    options.delay = lane.delay.options;
    options.capture_exit = lane.capture_exit.options.writer;
    return options;
}

void lane_set(Lane *lane, const SimPathOptions &options) {
    lane->capture_entry.options.writer = options.capture_entry;
    lane->dead.options = options.dead;
    lane->flap.options = options.flap;
    lane->chosen.options = options.chosen;
    lane->mtu.options = options.mtu;
    lane->loss.options = options.loss;
    lane->burst.options = options.burst;
    if (options.burst.enter_ppm == 0) lane->burst.inside = false;
    lane->rate.options = options.rate;
    lane->corrupt.options = options.corrupt;
    lane->duplicate.options = options.duplicate;
    lane->reorder.options = options.reorder;
    lane->delay.options = options.delay;
    lane->capture_exit.options.writer = options.capture_exit;
}

// From the end to the beginning: each is given what comes behind it.
struct Chain {
    Lane *lane;
    SimPlace place;
    SimPlace behind(PacketSink *next) {
        place.next = next;
        place.seed = sim_seed(place.seed, 0);
        return place;
    }
    Hop *hop(Hop *one, void (*accept)(PacketSink *, ByteView, Nanos), PacketSink *next) const {
        one->accept = accept;
        one->lane = lane;
        one->next = next;
        return one;
    }
};

void lane_open(Lane *lane, const SimPathOptions &options, uint64_t seed, Nanos start) {
    Chain chain = {lane, SimPlace()};
    chain.place.timeline = &lane->timeline;
    chain.place.seed = seed;
    chain.place.start = start;
    chain.hop(&lane->exit, hop_exit, nullptr);
    chain.hop(&lane->told, hop_told, nullptr);
    sim_capture_open(&lane->capture_exit, SimCaptureOptions(), chain.behind(&lane->exit));
    chain.hop(&lane->after_waiting, hop_detach, &lane->capture_exit);
    sim_delay_open(&lane->delay, options.delay, chain.behind(&lane->after_waiting));
    sim_reorder_open(&lane->reorder, options.reorder, chain.behind(&lane->delay));
    sim_duplicate_open(&lane->duplicate, options.duplicate, chain.behind(&lane->reorder));
    chain.hop(&lane->before_waiting, hop_attach, &lane->duplicate);
    sim_corrupt_open(&lane->corrupt, options.corrupt, chain.behind(&lane->before_waiting));
    chain.hop(&lane->after_rate, hop_detach, &lane->corrupt);
    sim_rate_open(&lane->rate, options.rate, chain.behind(&lane->after_rate));
    chain.hop(&lane->before_rate, hop_attach, &lane->rate);
    sim_burst_open(&lane->burst, options.burst, chain.behind(&lane->before_rate));
    sim_loss_open(&lane->loss, options.loss, chain.behind(&lane->burst));
    sim_mtu_open(&lane->mtu, options.mtu, &lane->other->told, chain.behind(&lane->loss));
    sim_chosen_open(&lane->chosen, options.chosen, chain.behind(&lane->mtu));
    sim_flap_open(&lane->flap, options.flap, chain.behind(&lane->chosen));
    sim_dead_open(&lane->dead, options.dead, chain.behind(&lane->flap));
    sim_capture_open(&lane->capture_entry, SimCaptureOptions(), chain.behind(&lane->dead));
    lane_set(lane, options);
}

} // namespace

struct BridgeCore {
    BridgeCore() = default;
    ~BridgeCore() {
        for (Port &port : ports) port.close();
        for (Lane &lane : lanes) sim_timeline_close(&lane.timeline);
        file.close();
        if (wake >= 0) close(wake);
    }
    BridgeCore(const BridgeCore &) = delete;
    BridgeCore &operator=(const BridgeCore &) = delete;

    Lane &lane(Direction direction) { return lanes[static_cast<size_t>(direction)]; }

    std::mutex mutex; // everything but the next three
    std::atomic<int> callers{0};
    std::atomic<bool> stop{false};
    int wake = -1;
    Port ports[2]; // toward here, toward there
    Lane lanes[2];
    uint16_t vlan = no_vlan;
    Nanos start = 0;
    FrameFile file;
};

namespace {

// A caller's turn. A mutex alone would let the thread take it again and again while there is traffic.
struct Turn {
    explicit Turn(BridgeCore *with) : core(with) {
        core->callers++;
        core->mutex.lock();
        core->callers--;
    }
    ~Turn() { core->mutex.unlock(); }
    Turn(const Turn &) = delete;
    Turn &operator=(const Turn &) = delete;
    BridgeCore *core;
};

void give(Lane *lane, const Tail &tail, ByteView payload) {
    uint8_t bytes[head_max];
    const ByteView head(bytes, write_head(tail, bytes));
    if (!lane->out->send(head, payload)) return;
    lane->count.given++;
    if (!lane->from_here) lane->core->file.put(head, payload);
}

void hop_exit(PacketSink *self, ByteView packet, Nanos now) {
    Lane *lane = static_cast<Hop *>(self)->lane;
    const uint64_t before = lane->count.given;
    give(lane, lane->tail, packet);
    lane->count.delayed += lane->count.given - before != 0 && now > lane->tail.entered;
}

// Between a trunk and an access port. false: not of this vlan.
bool retag(const Lane &lane, uint16_t vlan, Tail *tail) {
    constexpr uint16_t identifier = 0x0FFF;
    if (vlan == no_vlan) return true;
    if (!lane.from_here) {
        if (tail->tag_type != 0) return false;
        tail->tag_type = ether_vlan;
        tail->tag = vlan;
        return true;
    }
    if (tail->tag_type != ether_vlan || (tail->tag & identifier) != vlan) return false;
    tail->tag_type = 0;
    return true;
}

void take_frame(Lane *lane, Tail *tail, ByteView payload) {
    uint8_t bytes[head_max];
    lane->count.taken++;
    if (lane->from_here) lane->core->file.put(ByteView(bytes, write_head(*tail, bytes)), payload);
    if (!retag(*lane, lane->core->vlan, tail)) {
        lane->count.foreign++;
    } else if (for_filters(*tail, payload)) {
        lane->count.filtered++;
        lane->tail = *tail;
        lane->capture_entry.accept(&lane->capture_entry, payload, tail->entered);
    } else if (lane->drop_others) {
        lane->count.others_dropped++;
    } else {
        give(lane, *tail, payload);
    }
}

// Of the outermost tag only the kernel knows: it takes it out of the frame.
unsigned take_frames(Lane *lane, Nanos now) {
    Port *port = lane->in;
    unsigned taken = 0;
    for (; taken < batch; taken++) {
        tpacket2_hdr *head = port->waiting();
        if (head == nullptr) break;
        const uint8_t *frame = reinterpret_cast<uint8_t *>(head) + head->tp_mac;
        if (head->tp_snaplen < head->tp_len || head->tp_snaplen < ether_header_size) {
            port->cut_short++;
        } else {
            Tail tail = {};
            memcpy(tail.macs, frame, mac_pair);
            tail.type = load_be16(frame + mac_pair);
            tail.entered = now;
            if (head->tp_status & TP_STATUS_VLAN_VALID) {
                tail.tag_type = head->tp_status & TP_STATUS_VLAN_TPID_VALID ? head->tp_vlan_tpid : ether_vlan;
                tail.tag = head->tp_vlan_tci;
            }
            take_frame(lane, &tail,
                       ByteView(frame + ether_header_size, head->tp_snaplen - ether_header_size));
        }
        port->give_back(head);
    }
    return taken;
}

void sleep_until(BridgeCore *core, Nanos deadline) {
    pollfd fds[3] = {{core->ports[0].fd, POLLIN, 0}, {core->ports[1].fd, POLLIN, 0}, {core->wake, POLLIN, 0}};
    const Nanos left = std::max<Nanos>(deadline == never ? 0 : deadline - monotonic_ns(), 0);
    const timespec time = {left / ns_per_s, left % ns_per_s};
    if (ppoll(fds, 3, deadline == never ? nullptr : &time, nullptr) <= 0) return;
    for (unsigned i = 0; i < 2; i++) { // a link that went down says so once, and again until it is asked
        int error = 0;
        socklen_t size = sizeof error;
        if (fds[i].revents & POLLERR) getsockopt(fds[i].fd, SOL_SOCKET, SO_ERROR, &error, &size);
    }
}

void carry(BridgeCore *core) {
    prctl(PR_SET_TIMERSLACK, 1000); // nanoseconds; delays are to be exact to some microseconds
    while (!core->stop) {
        while (core->callers != 0) sched_yield();
        uint64_t done = 0;
        Nanos deadline = never;
        {
            std::lock_guard<std::mutex> lock(core->mutex);
            const Nanos now = monotonic_ns();
            for (Lane &lane : core->lanes) done += take_frames(&lane, now);
            for (Lane &lane : core->lanes) done += sim_timeline_run(&lane.timeline, now, run_max);
            for (Lane &lane : core->lanes)
                deadline = std::min(deadline, sim_timeline_deadline(lane.timeline));
        }
        if (done == 0) sleep_until(core, deadline);
    }
}

// Frames are to be whole, single and with their checksums: what a NIC would see.
std::string prepare(const std::string &device, unsigned mtu) {
    return "ethtool -K " + device +
           " tx off rx off tso off gso off gro off txvlan off rxvlan off >/dev/null" + " && ip link set " +
           device + " mtu " + std::to_string(mtu) + " up";
}

void lay_cables(const Bridge &bridge, const BridgeOptions &options) {
    const std::string queues =
        " numtxqueues " + std::to_string(options.queues) + " numrxqueues " + std::to_string(options.queues);
    // The middle says nothing on its own account.
    bridge.middle.run("for i in all default; do echo 1 >/proc/sys/net/ipv6/conf/$i/disable_ipv6; done");
    const struct {
        const Namespace *side;
        const char *device, *end, *address4, *address6;
    } sides[] = {{&bridge.here, "xdp0", "to_here", here4, here6},
                 {&bridge.there, "peer0", "to_there", there4, there6}};
    for (const auto &s : sides) {
        const std::string device = s.device, end = s.end;
        const std::string many = s.side == &bridge.here ? queues : "";
        s.side->run("ip link add " + device + many + " type veth peer name " + end + many + " netns " +
                    bridge.middle.path());
        bridge.middle.run(prepare(end, options.mtu));
        // Link-local addresses are usable at once, too: neighbours are asked from them.
        s.side->run("echo 0 > /proc/sys/net/ipv6/conf/" + device + "/accept_dad && " +
                    prepare(device, options.mtu) + " && ip addr add " + s.address4 + "/24 dev " + device +
                    " && ip addr add " + s.address6 + "/64 dev " + device + " nodad");
    }
}

FILE *open_capture(const std::string &path) {
    FILE *file = fopen(path.c_str(), "wbe");
    if (file == nullptr) fail_msg("%s: %s", path.c_str(), strerror(errno));
    return file;
}

} // namespace

Bridge::Bridge(const BridgeOptions &options) : core(std::make_shared<BridgeCore>()) {
    if (options.mtu < bridge_mtu_min || options.mtu > bridge_mtu_max)
        fail_msg("an MTU of %u is not within %u and %u", options.mtu, bridge_mtu_min, bridge_mtu_max);
    lay_cables(*this, options);
    core->vlan = options.vlan;
    core->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (core->wake < 0) fail_msg("eventfd: %s", strerror(errno));
    {
        Inside inside(middle);
        core->ports[0].open("to_here", options.mtu);
        core->ports[1].open("to_there", options.mtu);
    }
    core->start = monotonic_ns();
    for (Direction direction : {Direction::out, Direction::back}) {
        const bool out = direction == Direction::out;
        Lane &lane = core->lane(direction);
        SimTimelineOptions timeline;
        timeline.slots = options.slots;
        timeline.packet_bytes = static_cast<uint32_t>(options.mtu + ether_vlan_size + sizeof(Tail));
        if (sim_timeline_open(&lane.timeline, timeline) != WSXDP_OK)
            fail_msg("a timeline of %u slots", options.slots);
        lane.core = core.get();
        lane.from_here = out;
        lane.other = &core->lane(out ? Direction::back : Direction::out);
        lane.in = &core->ports[!out];
        lane.out = &core->ports[out];
        lane_open(&lane, out ? options.out : options.back, sim_seed(options.seed, out), core->start);
    }
    if (!options.capture.empty()) core->file.open(open_capture(options.capture));
    sigset_t all, before; // signals are the test's
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const std::shared_ptr<BridgeCore> its = core;
    const int space = middle.fd;
    thread = std::thread([its, space] {
        // So that it keeps no other namespace alive, whatever the creator's was.
        if (setns(space, CLONE_NEWNET) != 0) perror("bridge: setns");
        carry(its.get());
    });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Bridge::~Bridge() {
    const uint64_t one = 1;
    core->stop = true;
    if (write(core->wake, &one, sizeof one) != sizeof one) perror("bridge: eventfd");
    thread.join();
}

void Bridge::set(Direction direction, const SimPathOptions &options) {
    Turn turn(core.get());
    lane_set(&core->lane(direction), options);
}
SimPathOptions Bridge::get(Direction direction) const {
    Turn turn(core.get());
    return lane_options(core->lane(direction));
}

void Bridge::cut() {
    Turn turn(core.get());
    for (Lane &lane : core->lanes) lane.dead.options.from = 0; // it began with the bridge
}
void Bridge::mend() {
    Turn turn(core.get());
    for (Lane &lane : core->lanes) lane.dead.options = SimDeadOptions();
}
void Bridge::drop_others(Direction direction, bool drop) {
    Turn turn(core.get());
    core->lane(direction).drop_others = drop;
}

BridgeCount Bridge::count(Direction direction) const {
    Turn turn(core.get());
    const Lane &lane = core->lane(direction);
    BridgeCount count = lane.count;
    const SimFilter *filters[] = {&lane.dead,      &lane.flap,    &lane.chosen, &lane.mtu,
                                  &lane.loss,      &lane.burst,   &lane.rate,   &lane.corrupt,
                                  &lane.duplicate, &lane.reorder, &lane.delay};
    count.overruns = lane.in->overran() + lane.out->refused;
    for (const SimFilter *filter : filters) {
        count.lost += filter->count.dropped;
        count.overruns += filter->count.refused;
    }
    count.doubled = lane.duplicate.count.altered;
    count.reordered = lane.reorder.count.altered;
    count.corrupted = lane.corrupt.count.altered;
    count.under_way = lane.timeline.waiting;
    return count;
}
uint64_t Bridge::overruns() const { return count(Direction::out).overruns + count(Direction::back).overruns; }

void Bridge::capture(const std::string &path) {
    capture_end();
    FILE *file = open_capture(path);
    Turn turn(core.get());
    core->file.open(file);
}
void Bridge::capture_end() {
    bool good = true;
    {
        Turn turn(core.get());
        good = core->file.close();
    }
    if (!good) fail_msg("the bridge's capture could not be written whole");
}

void Bridge::change_mac(const std::string &mac) const { there.run("ip link set dev peer0 address " + mac); }

} // namespace netns
