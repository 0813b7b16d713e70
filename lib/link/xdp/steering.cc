// SPDX-License-Identifier: MIT
// The NIC's hash computed by us, and the decision how packets find our socket. Cold: some 300 ns for a hash,
// once for each source port that is tried. Never guesses: where it is not certain that a connection's packets
// reach a socket, the answer is no and what to do about it, since a wrong guess is a connection that hangs.
#include "steering.h"

namespace wx {

// What the hash reads: two addresses, two ports.
constexpr size_t rss_input_max = 16 + 16 + 2 + 2;
// Any key we know has at least this: enough for IPv6.
constexpr uint32_t rss_key_min = rss_input_max + 4;
// In a sentence, so that its end is not lost.
constexpr unsigned queues_listed_max = 8;

static size_t rss_input(const TcpTuple &tuple, uint8_t *out) {
    const size_t size = tuple.remote.size();
    memcpy(out, tuple.remote.bytes, size);
    memcpy(out + size, tuple.local.bytes, size);
    store_be16(out + 2 * size, tuple.remote_port);
    store_be16(out + 2 * size + 2, tuple.local_port);
    return 2 * size + 4;
}

uint32_t rss_hash(const RssTable &table, const TcpTuple &tuple) {
    if (tuple.local.version != tuple.remote.version || tuple.remote.size() == 0) return 0;
    uint8_t input[rss_input_max];
    const size_t size = rss_input(tuple, input);
    if (table.key == nullptr || table.key_bytes < size + 4) return 0;
    // For each bit of the input that is set: the 32 bits of the key that begin where it is.
    uint32_t hash = 0;
    uint32_t window = load_be32(table.key);
    for (size_t i = 0; i < size; i++) {
        const uint8_t next = table.key[i + 4];
        for (unsigned bit = 0; bit < 8; bit++) {
            if ((input[i] & (0x80u >> bit)) != 0) hash ^= window;
            window = window << 1 | ((next >> (7 - bit)) & 1u);
        }
    }
    return hash;
}

uint32_t rss_queue(const RssTable &table, const TcpTuple &tuple) {
    if (table.queues == nullptr || table.queue_count == 0) return 0;
    return table.queues[rss_hash(table, tuple) % table.queue_count];
}

static bool is_ours(const SteeringFacts &facts, uint32_t queue) {
    return queue < 64 && (facts.ours >> queue & 1) != 0;
}
static bool table_reaches_us(const SteeringFacts &facts) {
    for (uint32_t i = 0; i < facts.table.queue_count; i++)
        if (is_ours(facts, facts.table.queues[i])) return true;
    return false;
}

// What is in the way of choosing a port by its hash; nullptr: nothing. *command: what removes it, with the
// interface's name in between.
struct Obstacle {
    const char *reason;
    const char *before; // of a command
    const char *after;
};
static Obstacle find_obstacle(const SteeringFacts &facts) {
    if (!facts.toeplitz)
        return {"its hash function is not known to be the plain Toeplitz hash", "ethtool -X ",
                " hfunc toeplitz"};
    if (!facts.ports_hashed)
        return {"it does not hash the ports of TCP", "ethtool -N ",
                facts.ip_version == 6 ? " rx-flow-hash tcp6 sdfn" : " rx-flow-hash tcp4 sdfn"};
    if (facts.table.key == nullptr || facts.table.key_bytes < rss_key_min)
        return {"its hash key cannot be read", nullptr, nullptr};
    if (facts.table.queues == nullptr || facts.table.queue_count == 0)
        return {"its indirection table cannot be read", nullptr, nullptr};
    if (!table_reaches_us(facts))
        return {"its indirection table leads to no queue of ours", "ethtool -X ", " default"};
    return {nullptr, nullptr, nullptr};
}

static void add_queues(const SteeringFacts &facts, ErrorText *error) {
    unsigned listed = 0;
    for (uint32_t queue = 0; queue < 64; queue++) {
        if (!is_ours(facts, queue)) continue;
        if (listed == queues_listed_max) {
            error->add(",...");
            return;
        }
        error->add(listed++ == 0 ? "" : ",").number(queue);
    }
}

Steering steering_choose(const SteeringFacts &facts, ErrorText *error) {
    error->clear();
    const char *impossible = facts.queues == 0 ? "how many queues receive cannot be read"
                             : facts.ours == 0 ? "no queue has a socket of ours"
                                               : nullptr;
    const uint64_t all = facts.queues >= 64 ? ~uint64_t{0} : (uint64_t{1} << facts.queues) - 1;
    if (impossible == nullptr && (facts.ours & all) == 0)
        impossible = "it receives on fewer queues than the number of ours (xdp.queue)";
    if (impossible != nullptr) {
        error->begin(WSXDP_E_XDP_QUEUES).add("steering packets on ").add(facts.interface).add(": ");
        error->add(impossible).add("; `ethtool -l ").add(facts.interface).add("` shows the queues");
        return Steering::refused;
    }
    if (facts.queues == 1) return Steering::one_queue;
    if (facts.queues <= 64 && (facts.ours & all) == all) return Steering::every_queue;
    const Obstacle obstacle = find_obstacle(facts);
    if (obstacle.reason == nullptr) return Steering::by_port;
    error->begin(WSXDP_E_XDP_QUEUES)
        .add("steering packets on ")
        .add(facts.interface)
        .add(": it receives on ");
    error->number(facts.queues).add(" queues, we have a socket on ");
    add_queues(facts, error);
    error->add(", and no source port can be chosen for them: ").add(obstacle.reason);
    error->add(facts.queues <= 64 ? "; set xdp.queue=-1 for all of them, or `ethtool -L " : "; `ethtool -L ")
        .add(facts.interface)
        .add(" combined 1`");
    if (obstacle.before != nullptr)
        error->add(", or `").add(obstacle.before).add(facts.interface).add(obstacle.after).add("`");
    return Steering::refused;
}

} // namespace wx
