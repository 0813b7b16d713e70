// SPDX-License-Identifier: MIT
// Two hosts as in netns::Veth, but with a network between them that loses, delays, doubles and so on: a third
// namespace holds the other ends of two veth pairs, and a thread carries Ethernet frames from one to the
// other by the real clock. IP packets go through the filters of lib/link/sim_filters.h, a set for each
// direction; ARP, NDP, multicast and everything that is not IP is carried unharmed and at once. It is no
// switch: it learns nothing, answers nothing and carries every frame with the addresses that it came with.
#pragma once
#include "../../lib/link/sim.h"
#include "../../lib/wire/ethernet.h"
#include "netns.h"
#include <memory>
#include <thread>

namespace netns {

struct BridgeOptions {
    unsigned queues = 1; // of xdp0 and the end that it leads to; frames are spread by flow
    unsigned mtu = 1500; // of all four ends
    // here's side is tagged with this identifier (IEEE 802.1Q), there's is not: what an access port and a
    // trunk port of a switch are to each other. wx::no_vlan: tags are carried as they are.
    uint16_t vlan = wx::no_vlan;
    wx::SimPathOptions out, back;
    uint64_t seed = 1;
    // Packets that can be under way at once in each direction. The largest windows of the kernel's TCP are
    // some 4500 full-sized packets.
    uint32_t slots = 32768;
    std::string capture; // as Bridge::capture, from the beginning; empty: none
};
constexpr unsigned bridge_mtu_min = 1280; // below it there is no IPv6
constexpr unsigned bridge_mtu_max = 9000; // jumbo frames; a frame of the ring has to hold one

enum class Direction : uint8_t {
    out,  // from here to there
    back, // from there to here
};

// Frames of one direction.
struct BridgeCount {
    uint64_t taken = 0;    // read from the sending host's link
    uint64_t given = 0;    // handed to the receiving host's link
    uint64_t filtered = 0; // of those taken: went into the filters
    uint64_t told = 0;     // ICMP messages of the other direction's MTU, which went into the filters too
    uint64_t lost = 0;     // dropped by filters, as told to
    uint64_t delayed = 0;  // of those given: left the filters later than they came
    uint64_t doubled = 0;
    uint64_t reordered = 0; // held back to be overtaken
    uint64_t corrupted = 0;
    uint64_t others_dropped = 0; // see drop_others
    // Of a vlan, which only lets through what belongs to it: other or no tag from here, any tag from there.
    uint64_t foreign = 0;
    // The bridge's own losses, meant by nobody: its queue was full, a slot was missing, the receiving link
    // did not take the frame. A test that does not mean it checks that this is 0.
    uint64_t overruns = 0;
    uint64_t under_way = 0; // in the filters right now
};
// While overruns is 0: taken + told + doubled == given + lost + others_dropped + foreign + under_way.

struct BridgeCore; // what the thread has

struct Bridge {
    explicit Bridge(const BridgeOptions &options = BridgeOptions());
    ~Bridge();
    Bridge(const Bridge &) = delete;
    Bridge &operator=(const Bridge &) = delete;

    Namespace here;  // xdp0 with here4 and here6
    Namespace there; // peer0 with there4 and there6
    Namespace middle;

    // All of these from any thread, at any time, but not from functions that the options name: the bridge's
    // thread calls those, and waits for them. What they change holds for every frame that the bridge reads
    // after they returned; what is under way stays as it is.
    void set(Direction direction, const wx::SimPathOptions &options);
    wx::SimPathOptions get(Direction direction) const;
    void cut();                                       // both directions dead from now on, IP only
    void mend();                                      // and alive again; the other options stay
    void drop_others(Direction direction, bool drop); // ARP, NDP and the rest that has no filters
    BridgeCount count(Direction direction) const;
    uint64_t overruns() const; // of both directions

    // What here sends and receives, as it is on its link, from now on into a pcap file of Ethernet frames.
    void capture(const std::string &path);
    void capture_end(); // fails the test when not everything could be written

    // Of peer0, which stays up; nobody is told, so here goes on sending to the old one until it finds out.
    void change_mac(const std::string &mac) const;

private:
    std::shared_ptr<BridgeCore> core; // also the thread's: a failed test jumps over destructors
    std::thread thread;
};

} // namespace netns
