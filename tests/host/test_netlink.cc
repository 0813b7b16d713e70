// SPDX-License-Identifier: MIT
// The netlink client without and with a kernel: what its writer makes its walks read; a message cut at every
// byte and one with any byte changed are never read past their end (each lies before a page that cannot be
// touched); refusals, lists, lists that are interrupted, and silence.
#include "../../lib/base/random.h"
#include "../../lib/host/netlink.h"
#include "../../lib/host/nic_parts.h"
#include "../../lib/host/routes_parts.h"
#include "../base/check.h"
#include "../base/registry.h"
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

using namespace wx;

namespace {

using Bytes = std::vector<uint8_t>;

// Memory that ends where the next page cannot be read.
struct Fenced {
    Fenced() : page(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
        begin = static_cast<uint8_t *>(
            mmap(nullptr, page * 5, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        assert_true(begin != MAP_FAILED);
        assert_int_equal(mprotect(begin + page * 4, page, PROT_NONE), 0);
    }
    ~Fenced() { munmap(begin, page * 5); }
    Fenced(const Fenced &) = delete;
    Fenced &operator=(const Fenced &) = delete;
    ByteView put(const uint8_t *data, size_t size) {
        assert_true(size <= page * 4);
        uint8_t *at = begin + page * 4 - size;
        if (size != 0) memcpy(at, data, size);
        return ByteView(at, size);
    }
    size_t page;
    uint8_t *begin;
};

// Everything that reads messages, on these bytes. What is returned keeps it from being optimised away.
size_t read_all(ByteView bytes) {
    static const uint16_t types[] = {RTM_NEWLINK,  RTM_NEWROUTE, RTM_NEWNEIGH,
                                     RTM_DELNEIGH, NLMSG_ERROR,  NLMSG_DONE};
    size_t seen = 0;
    NetlinkMessages walk(bytes);
    NetlinkMessage message;
    while (walk.next(&message)) {
        assert_true(message.body.data >= bytes.data &&
                    message.body.data + message.body.size <= bytes.data + bytes.size);
        LinkFacts link;
        RouteAnswer route;
        NeighborAnswer neighbor;
        NetlinkFailure failure;
        for (const uint16_t type : types) {
            NetlinkMessage as = message;
            as.type = type;
            seen += link_message_read(as, &link) + route_message_read(as, &route) +
                    neighbor_message_read(as, &neighbor);
            for (const uint16_t flags : {uint16_t{0}, uint16_t{0x100}, uint16_t{0x200}, uint16_t{0x300}}) {
                as.flags = flags;
                if (type == NLMSG_ERROR || type == NLMSG_DONE)
                    seen += static_cast<size_t>(netlink_outcome(as, &failure));
                assert_true(strnlen(failure.text, sizeof failure.text) < sizeof failure.text);
            }
        }
        for (ByteView rest : {message.body, message.body.from(4)}) {
            NicFacts facts;
            channels_message_read(rest, &facts);
            features_message_read(rest, &facts);
            rss_message_read(rest, &facts);
            coalesce_message_read(rest, &facts);
            timestamps_message_read(rest, &facts);
            seen += facts.rss_key_bytes + facts.rss_table_size;
            assert_true(facts.rss_key_bytes <= rss_key_max && facts.rss_table_size <= rss_table_max);
        }
        seen++;
    }
    return seen;
}

void set_size(Bytes *bytes) {
    const uint32_t size = static_cast<uint32_t>(bytes->size());
    memcpy(bytes->data(), &size, sizeof size);
}
Bytes finish(const NetlinkRequest &request) {
    assert_false(request.failed);
    Bytes bytes(request.bytes, request.bytes + request.size);
    set_size(&bytes);
    return bytes;
}
template <class Head> NetlinkRequest started(uint16_t type, const Head &head) {
    NetlinkRequest request(type, 0);
    request.head(head);
    return request;
}

// A link with all that we read in it, a route, a neighbour, a refusal with words, and sets of bits.
std::vector<Bytes> samples() {
    std::vector<Bytes> all;
    const uint8_t address[16] = {10, 1, 2, 3}, mac[6] = {2, 3, 4, 5, 6, 7};
    const uint16_t tag = 7;
    ifinfomsg link = {};
    link.ifi_index = 3;
    NetlinkRequest a = started(RTM_NEWLINK, link);
    a.text(IFLA_IFNAME, "eth0");
    a.u32(IFLA_MTU, 1500);
    a.attribute(IFLA_ADDRESS, ByteView(mac, 6));
    size_t outer = a.begin_nest(IFLA_LINKINFO);
    a.text(IFLA_INFO_KIND, "vlan");
    size_t inner = a.begin_nest(IFLA_INFO_DATA);
    a.attribute(1, ByteView(&tag, 2));
    a.end_nest(inner);
    a.end_nest(outer);
    outer = a.begin_nest(IFLA_AF_SPEC);
    inner = a.begin_nest(AF_INET6);
    const int32_t settings[4] = {0, 0, 1400, 0};
    a.attribute(2, ByteView(settings, sizeof settings));
    a.end_nest(inner);
    a.end_nest(outer);
    all.push_back(finish(a));
    rtmsg route = {};
    route.rtm_type = RTN_UNICAST;
    NetlinkRequest b = started(RTM_NEWROUTE, route);
    b.attribute(RTA_GATEWAY, ByteView(address, 4));
    b.attribute(RTA_PREFSRC, ByteView(address, 16));
    b.attribute(RTA_VIA, ByteView("\x0a\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20", 18));
    outer = b.begin_nest(RTA_METRICS);
    b.u32(RTAX_MTU, 1400);
    b.end_nest(outer);
    all.push_back(finish(b));
    ndmsg neighbor = {};
    neighbor.ndm_family = AF_INET;
    neighbor.ndm_ifindex = 3;
    neighbor.ndm_state = NUD_REACHABLE;
    NetlinkRequest c = started(RTM_NEWNEIGH, neighbor);
    c.attribute(NDA_LLADDR, ByteView(mac, 6));
    c.attribute(NDA_DST, ByteView(address, 4));
    all.push_back(finish(c));
    nlmsgerr refusal = {};
    refusal.error = -EINVAL;
    refusal.msg.nlmsg_len = 16;
    NetlinkRequest d = started(NLMSG_ERROR, refusal);
    d.text(NLMSGERR_ATTR_MSG, "no such thing");
    all.push_back(finish(d));
    genlmsghdr generic = {};
    NetlinkRequest e = started(0x20, generic);
    outer = e.begin_nest(4);
    e.attribute(1, ByteView());
    inner = e.begin_nest(3);
    const size_t bit = e.begin_nest(1);
    e.text(2, "rx-gro");
    e.attribute(3, ByteView());
    e.end_nest(bit);
    e.end_nest(inner);
    e.end_nest(outer);
    e.attribute(5, ByteView(address, 16));
    all.push_back(finish(e));
    return all;
}

uint64_t seed() {
    const char *text = getenv("WSXDP_SEED");
    return text ? strtoull(text, nullptr, 10) : 1;
}

// A client whose kernel is the test: the other end of a pair of sockets, answers written beforehand.
struct Played {
    Played() {
        ErrorText error;
        assert_int_equal(netlink_open(&netlink, NETLINK_ROUTE, &error), WSXDP_OK);
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
        timeval wait = {1, 0};
        setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
        assert_true(dup2(ends[0], netlink.fd) >= 0);
    }
    ~Played() {
        netlink_close(&netlink);
        close(ends[0]);
        close(ends[1]);
    }
    Played(const Played &) = delete;
    Played &operator=(const Played &) = delete;
    void answer(const Bytes &bytes) {
        assert_int_equal(send(ends[1], bytes.data(), bytes.size(), 0), bytes.size());
    }
    int ask(NetlinkAnswer taker, void *context) {
        NetlinkRequest request(RTM_GETLINK, NLM_F_DUMP);
        return netlink_ask(&netlink, &request, taker, context, &failure);
    }
    Netlink netlink;
    NetlinkFailure failure;
    int ends[2] = {-1, -1};
};
Bytes message(uint16_t type, uint32_t sequence, uint16_t flags = 0, int32_t status = 0) {
    nlmsghdr head = {};
    head.nlmsg_len = sizeof head + sizeof status;
    head.nlmsg_type = type;
    head.nlmsg_flags = flags;
    head.nlmsg_seq = sequence;
    Bytes bytes(head.nlmsg_len);
    memcpy(bytes.data(), &head, sizeof head);
    memcpy(bytes.data() + sizeof head, &status, sizeof status);
    return bytes;
}
Bytes operator+(Bytes a, const Bytes &b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}
struct Counted {
    unsigned messages = 0, restarts = 0;
    static void take(void *context, const NetlinkMessage *message) {
        Counted *self = static_cast<Counted *>(context);
        if (message == nullptr) self->restarts++, self->messages = 0;
        if (message != nullptr) self->messages++;
    }
};

} // namespace

TEST(what_is_written_is_read) {
    const std::vector<Bytes> all = samples();
    auto first = [&](size_t i) {
        NetlinkMessages walk(ByteView(all[i].data(), all[i].size()));
        NetlinkMessage message;
        assert_true(walk.next(&message));
        return message;
    };
    LinkFacts link;
    assert_true(link_message_read(first(0), &link));
    assert_string_equal(link.name, "eth0");
    assert_string_equal(link.kind, "vlan");
    assert_int_equal(link.mtu, 1500);
    assert_int_equal(link.mtu6, 1400);
    assert_int_equal(link.vlan, 7);
    RouteAnswer route;
    assert_true(route_message_read(first(1), &route));
    assert_int_equal(route.mtu, 1400);
    assert_int_equal(route.gateway.version, 6); // RTA_VIA came last
    assert_int_equal(route.source.version, 6);
    NeighborAnswer neighbor;
    assert_true(neighbor_message_read(first(2), &neighbor));
    assert_true(neighbor.state == NeighborState::known && neighbor.has_mac);
    NetlinkFailure failure;
    NetlinkMessage refusal = first(3);
    refusal.flags = NLM_F_ACK_TLVS | NLM_F_CAPPED;
    assert_int_equal(netlink_outcome(refusal, &failure), EINVAL);
    assert_string_equal(failure.text, "no such thing");
    NicFacts facts;
    features_message_read(first(4).body.from(4), &facts);
    assert_true(facts.gro == Known::yes && facts.lro == Known::no);
}
TEST(a_writer_that_is_full_fails_and_is_not_sent) {
    NetlinkRequest request(RTM_GETLINK, 0);
    for (int i = 0; i < 200; i++) request.u32(1, 2);
    assert_true(request.failed);
    assert_true(request.size <= NetlinkRequest::room);
    request.end_nest(request.begin_nest(3));
    assert_true(request.size <= NetlinkRequest::room);
    const Bytes much(100000);
    NetlinkRequest other(RTM_GETLINK, 0);
    other.attribute(1, ByteView(much.data(), much.size()));
    assert_true(other.failed);
    Played played;
    assert_int_equal(netlink_ask(&played.netlink, &request, nullptr, nullptr, &played.failure), -EMSGSIZE);
}
TEST(lengths_that_cannot_be_are_the_end) {
    const uint8_t rows[][8] = {
        {0, 0, 1, 0}, {3, 0, 1, 0}, {9, 0, 1, 0, 1, 2, 3, 4}, {255, 255, 1, 0}, {8, 0, 1, 0, 1, 2, 3, 4}};
    for (size_t i = 0; i < 5; i++) {
        NetlinkAttributes walk(ByteView(rows[i], 8));
        NetlinkAttribute part;
        assert_int_equal(walk.next(&part), i == 4);
        assert_int_equal(walk.broken, i != 4);
        assert_false(walk.next(&part));
    }
    const Bytes whole = message(RTM_NEWLINK, 1);
    for (size_t size = 1; size <= whole.size(); size++) {
        NetlinkMessages messages(ByteView(whole.data(), size));
        NetlinkMessage one;
        assert_int_equal(messages.next(&one), size == whole.size());
        assert_int_equal(messages.broken, size != whole.size());
    }
    NetlinkAttributes tail(ByteView("\5\0\1\0\7", 5)); // without its padding, as a last one may be
    NetlinkAttribute part;
    assert_true(tail.next(&part) && part.data.size == 1);
    assert_int_equal(part.data.data[0], 7);
    assert_false(tail.next(&part) || tail.broken);
}
TEST(a_value_of_another_size_is_not_taken) {
    NetlinkAttribute part;
    part.data = ByteView("\1\2\3\4\5\6\7\10", 3);
    uint16_t b = 77;
    uint32_t c = 77;
    uint64_t d = 77;
    char text[4] = "xyz";
    assert_false(part.u16(&b) || part.be16(&b) || part.u32(&c) || part.uint(&d));
    assert_true(b == 77 && c == 77 && d == 77);
    assert_true(part.text(text, sizeof text)); // three and a zero byte of our own
    part.data = ByteView("abcd", 4);
    assert_false(part.text(text, sizeof text));
    part.data = ByteView();
    assert_true(part.text(text, sizeof text) && text[0] == 0);
    const uint64_t wide = 0x100000002;
    part.data = ByteView(&wide, 8);
    assert_true(part.uint(&d) && d == wide);
}
TEST(a_message_cut_at_every_byte_is_read_to_its_end_only) {
    Fenced fenced;
    for (const Bytes &sample : samples())
        for (size_t size = 0; size <= sample.size(); size++) {
            read_all(fenced.put(sample.data(), size)); // the head says more
            Bytes shorter(sample.begin(), sample.begin() + static_cast<long>(size));
            if (size >= 16) set_size(&shorter);
            read_all(fenced.put(shorter.data(), size)); // the head says so, the attributes say more
        }
}
TEST(any_byte_may_be_any_other) {
    Fenced fenced;
    for (const Bytes &sample : samples())
        for (size_t at = 0; at < sample.size(); at++)
            for (unsigned value = 0; value < 256; value++) {
                Bytes changed = sample;
                changed[at] = static_cast<uint8_t>(value);
                read_all(fenced.put(changed.data(), changed.size()));
            }
}
TEST(random_changes_are_survived) {
    print_message("WSXDP_SEED=%llu\n", static_cast<unsigned long long>(seed()));
    FixedRandom random;
    fixed_random_open(&random, seed());
    Fenced fenced;
    const std::vector<Bytes> all = samples();
    for (int i = 0; i < 20000; i++) {
        Bytes bytes = all[random_below(&random, all.size())];
        for (uint64_t n = random_below(&random, 6) + 1; n != 0; n--)
            bytes[random_below(&random, bytes.size())] = static_cast<uint8_t>(random_u32(&random));
        bytes.resize(random_below(&random, bytes.size()) + 1);
        if (bytes.size() >= 16 && random_below(&random, 2) != 0) set_size(&bytes);
        read_all(fenced.put(bytes.data(), bytes.size()));
    }
}
TEST(tables_that_are_too_large_are_left_out) {
    Bytes bytes((rss_table_max + 1) * 4 + 4);
    nlattr head = {static_cast<uint16_t>(bytes.size()), 4};
    memcpy(bytes.data(), &head, sizeof head);
    NicFacts facts;
    rss_message_read(ByteView(bytes.data(), bytes.size()), &facts);
    assert_int_equal(facts.rss_table_size, 0);
    head.nla_len = static_cast<uint16_t>(bytes.size() - 4);
    memcpy(bytes.data(), &head, sizeof head);
    rss_message_read(ByteView(bytes.data(), head.nla_len), &facts);
    assert_int_equal(facts.rss_table_size, rss_table_max);
    head = {static_cast<uint16_t>(4 + rss_key_max + 1), 5};
    memcpy(bytes.data(), &head, sizeof head);
    rss_message_read(ByteView(bytes.data(), head.nla_len), &facts);
    assert_int_equal(facts.rss_key_bytes, 0);
}

TEST(the_kernel_answers) {
    ErrorText error;
    Netlink netlink;
    NetlinkFailure failure;
    LinkFacts link;
    assert_int_equal(netlink_open(&netlink, NETLINK_ROUTE, &error), WSXDP_OK);
    assert_int_equal(link_ask(&netlink, 1, "", &link, &failure), 0);
    assert_string_equal(link.name, "lo");
    assert_int_equal(link_ask(&netlink, 0, "lo", &link, &failure), 0);
    assert_int_equal(link.index, 1);
    assert_int_equal(link_ask(&netlink, 0, "nope0", &link, &failure), -ENODEV);
    Counted links;
    NetlinkRequest all(RTM_GETLINK, NLM_F_DUMP);
    ifinfomsg head = {};
    all.head(head);
    assert_int_equal(netlink_ask(&netlink, &all, Counted::take, &links, &failure), 0);
    assert_true(links.messages >= 1);
    // Refused, in the kernel's own words.
    NetlinkRequest wrong(RTM_GETNEIGH, 0);
    ndmsg nobody = {};
    nobody.ndm_family = AF_INET;
    nobody.ndm_ifindex = 1;
    nobody.ndm_state = NUD_STALE; // not for who only asks
    wrong.head(nobody);
    assert_int_equal(netlink_ask(&netlink, &wrong, nullptr, nullptr, &failure), -EINVAL);
    assert_true(failure.text[0] != 0);
    failure.say(&error.begin(WSXDP_E_SYSTEM));
    assert_non_null(strstr(error.text, "Invalid argument (22); the kernel says: "));
    netlink_close(&netlink);
    netlink_close(&netlink);
}
TEST(families_have_numbers) {
    ErrorText error;
    Netlink netlink;
    assert_int_equal(netlink_open(&netlink, NETLINK_GENERIC, &error), WSXDP_OK);
    assert_int_equal(netlink_family(&netlink, "nlctrl"), GENL_ID_CTRL);
    assert_true(netlink_family(&netlink, "ethtool") > GENL_ID_CTRL);
    assert_int_equal(netlink_family(&netlink, "no such family"), 0);
    assert_int_equal(netlink_family(&netlink, "a name that is longer than the kernel takes"), 0);
    netlink_close(&netlink);
}
TEST(an_interrupted_list_begins_anew) {
    Played played;
    Counted counted;
    played.answer(message(RTM_NEWLINK, 1, NLM_F_MULTI) +
                  message(RTM_NEWLINK, 1, NLM_F_MULTI | NLM_F_DUMP_INTR));
    played.answer(message(NLMSG_DONE, 1));
    played.answer(message(RTM_NEWLINK, 2, NLM_F_MULTI));
    played.answer(message(NLMSG_DONE, 2));
    assert_int_equal(played.ask(Counted::take, &counted), 0);
    assert_int_equal(counted.restarts, 1);
    assert_int_equal(counted.messages, 1);
    for (uint32_t i = 3; i < 40; i++) played.answer(message(NLMSG_DONE, i, NLM_F_DUMP_INTR));
    assert_int_equal(played.ask(Counted::take, &counted), -EBUSY); // not for ever
}
TEST(answers_to_other_questions_are_passed_over) {
    Played played;
    Counted counted;
    played.answer(message(RTM_NEWLINK, 99));
    played.answer(message(NLMSG_ERROR, 99, 0, -EPERM));
    played.answer(message(NLMSG_NOOP, 1) + message(RTM_NEWLINK, 1) + message(NLMSG_DONE, 1));
    assert_int_equal(played.ask(Counted::take, &counted), 0);
    assert_int_equal(counted.messages, 1);
}
TEST(an_answer_that_is_broken_or_refused_is_an_error) {
    Played played;
    played.answer(Bytes{1, 2, 3});
    assert_int_equal(played.ask(nullptr, nullptr), -EPROTO);
    played.answer(message(NLMSG_DONE, 2, 0, -ENOBUFS));
    assert_int_equal(played.ask(nullptr, nullptr), -ENOBUFS);
    played.answer(message(NLMSG_ERROR, 3, 0, INT32_MIN));
    assert_int_equal(played.ask(nullptr, nullptr), -EPROTO);
    played.answer(Bytes(40000));
    assert_int_equal(played.ask(nullptr, nullptr), -EMSGSIZE);
}
TEST(silence_ends_after_a_second) {
    Played played;
    const Nanos begun = monotonic_ns();
    assert_int_equal(played.ask(nullptr, nullptr), -ETIMEDOUT);
    assert_true(monotonic_ns() - begun < 3 * ns_per_s);
}

TESTS("netlink")
