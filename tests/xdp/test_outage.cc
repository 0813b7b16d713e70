// SPDX-License-Identifier: MIT
// What becomes of a subscription when the server restarts, the network is gone for half a minute, or names
// cannot be resolved any more: nobody does anything, and messages come again. With sockets and with xdp, in
// each placement; the cases wait beside each other.
#include "world.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

using namespace netns;

namespace {

constexpr int port = 4433;
constexpr int64_t outage_ms = 30000;
constexpr int64_t patience_ms = 20000; // from the end of an outage to the next message
const char *const wish = "subscribe to ticks";

// Sends ticks to who has asked for them in the first message.
void tick(scripted::Wire &wire) {
    wire.upgrade();
    if (wire.read_frame().payload != wish) return wire.reset();
    for (unsigned i = 0; !wire.broken; i++) {
        wire.write(scripted::frame(WSXDP_TEXT, "tick " + std::to_string(i)));
        usleep(50000);
    }
}

// Answers every question with the address of `there`, but those for IPv6 with nothing.
struct Names {
    int fd;
    std::atomic<bool> stopping{false};
    std::thread thread;
    explicit Names(const Namespace &where) {
        Inside there(where);
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        sockaddr_in at = {};
        at.sin_family = AF_INET;
        at.sin_port = htons(53);
        const timeval turn = {0, 50000};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &turn, sizeof turn);
        assert_int_equal(bind(fd, reinterpret_cast<sockaddr *>(&at), sizeof at), 0);
        thread = std::thread([this] { answer(); });
    }
    ~Names() {
        stopping = true;
        thread.join();
        close(fd);
    }
    void answer() const {
        while (!stopping) {
            char packet[512];
            sockaddr_in from;
            socklen_t size = sizeof from;
            const ssize_t got =
                recvfrom(fd, packet, sizeof packet, 0, reinterpret_cast<sockaddr *>(&from), &size);
            if (got < 17) continue;
            size_t end = 12; // behind the header: labels, type, class
            while (end < static_cast<size_t>(got) && packet[end] != 0)
                end += 1 + static_cast<uint8_t>(packet[end]);
            end += 5;
            if (end > static_cast<size_t>(got)) continue;
            const bool address = packet[end - 3] == 1; // A
            std::string out(packet, end);
            out[2] = static_cast<char>(0x85), out[3] = 0; // an authoritative answer, no error
            out[7] = address;
            out[9] = out[11] = 0;
            if (address) out += std::string("\xc0\x0c\0\1\0\1\0\0\0\0\0\4\x0a\x4d\0\2", 16);
            sendto(fd, out.data(), out.size(), 0, reinterpret_cast<sockaddr *>(&from), size);
        }
    }
};

struct Feed {
    World world;
    std::unique_ptr<scripted::Server> server = world.serve(tick, nullptr, there4, port);
    std::unique_ptr<Names> names;
    std::unique_ptr<Session> session;

    Feed(bool xdp, const char *placement, const char *host = there4) {
        if (host != there4) names = std::make_unique<Names>(world.veth.there);
        session = std::make_unique<Session>(
            ("ws://" + std::string(host) + ":" + std::to_string(port) + "/").c_str(),
            OptionList{{"transport", xdp ? "xdp" : "socket"},
                       {"placement", placement},
                       {"subscribe", wish},
                       {"ping.interval_ns", "500ms"},
                       {"ping.timeout_ns", "1500ms"},
                       {"connect.timeout_ns", "2s"},
                       {"reconnect.delay_max_ns", "1s"}});
        if (session->status != 0) fail_msg("open: %d %s", session->status, session->text.c_str());
        session->need(WSXDP_EVENT_OPEN);
        session->need(WSXDP_EVENT_MESSAGE);
    }
    void wait(int64_t ms) {
        for (const int64_t until = now_ms() + ms; now_ms() < until;) session->poll(until - now_ms());
    }
    // Nothing but attempts until `end` has done its part; then it is as before, from the first tick on.
    void outage(int64_t ms, const std::function<void()> &end) {
        const size_t opens = session->count(WSXDP_EVENT_OPEN);
        session->need(WSXDP_EVENT_ERROR, 10000);
        session->need(WSXDP_EVENT_RECONNECTING);
        wait(ms);
        if (session->count(WSXDP_EVENT_OPEN) != opens) session->print();
        assert_int_equal(session->count(WSXDP_EVENT_OPEN), opens);
        assert_int_equal(session->count(WSXDP_EVENT_CLOSE), 0);
        session->looked = session->events.size();
        end();
        session->need(WSXDP_EVENT_OPEN, patience_ms);
        assert_string_equal(session->need(WSXDP_EVENT_MESSAGE).data.c_str(), "tick 0");
        session->need(WSXDP_EVENT_MESSAGE);
    }
};

void server_restarts(bool xdp, const char *placement) {
    need();
    Feed feed(xdp, placement);
    for (int i = 0; i < 3; i++) {
        feed.server.reset();
        feed.outage(1000, [&] { feed.server = feed.world.serve(tick, nullptr, there4, port); });
    }
}

void network_is_down(bool xdp, const char *placement) {
    need();
    Feed feed(xdp, placement);
    feed.world.veth.there.run("ip link set peer0 down");
    feed.outage(outage_ms, [&] {
        feed.world.veth.there.run("ip link set peer0 up && ip -6 addr add fd77::2/64 dev peer0 nodad");
    });
}

// In a file system of the case's own, whose process it is.
void names_are_gone(bool xdp, const char *placement) {
    need();
    assert_int_equal(unshare(CLONE_NEWNS), 0);
    assert_int_equal(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    char path[] = "/tmp/wsxdp-resolv-XXXXXX";
    const int file = mkstemp(path);
    const std::string text = "nameserver 10.77.0.2\noptions timeout:1 attempts:1\n";
    assert_int_equal(write(file, text.data(), text.size()), text.size());
    close(file);
    chmod(path, 0644);
    const bool mounted = mount(path, "/etc/resolv.conf", nullptr, MS_BIND, nullptr) == 0;
    unlink(path);
    assert_true(mounted);
    Feed feed(xdp, placement, "feed.test");
    feed.names.reset();
    feed.server.reset();
    feed.outage(1000, [&] {
        // That the server is back is of no use to who cannot find it.
        feed.server = feed.world.serve(tick, nullptr, there4, port);
        feed.session->need(WSXDP_EVENT_RECONNECTING, patience_ms);
        assert_int_equal(feed.session->need(WSXDP_EVENT_RECONNECTING, patience_ms).error, WSXDP_E_RESOLVE);
        feed.names = std::make_unique<Names>(feed.world.veth.there);
    });
}

} // namespace

#define EACH(what, placement, name)                                                                          \
    TEST(what##_sockets_##name) { what(false, placement); }                                                  \
    TEST(what##_xdp_##name) { what(true, placement); }
#define OUTAGES(placement, name)                                                                             \
    EACH(network_is_down, placement, name)                                                                   \
    EACH(server_restarts, placement, name)                                                                   \
    EACH(names_are_gone, placement, name)
OUTAGES("inline", inline)
OUTAGES("threads: transport ws", threads)
OUTAGES("processes: transport ws", processes)

TESTS_BESIDE("outage", 18)
