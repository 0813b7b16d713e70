// SPDX-License-Identifier: MIT
// The socket link over loopback and Unix sockets: connecting, refusals, both ends of a stream, short writes,
// time stamps, options as the kernel has them, and no descriptor left.
#include "../../lib/link/link.h"
#include "../base/check.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <vector>

using namespace wx;

namespace {

Address loopback(int family) {
    Address address;
    memset(&address.storage, 0, sizeof address.storage);
    address.storage.ss_family = static_cast<sa_family_t>(family);
    if (family == AF_INET) {
        reinterpret_cast<sockaddr_in *>(&address.storage)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.size = sizeof(sockaddr_in);
    } else {
        reinterpret_cast<sockaddr_in6 *>(&address.storage)->sin6_addr = in6addr_loopback;
        address.size = sizeof(sockaddr_in6);
    }
    return address;
}

Address unix_path(const char *path) {
    Address address;
    memset(&address.storage, 0, sizeof address.storage);
    sockaddr_un *local = reinterpret_cast<sockaddr_un *>(&address.storage);
    local->sun_family = AF_UNIX;
    strncpy(local->sun_path, path, sizeof local->sun_path - 1);
    address.size = sizeof *local;
    return address;
}

struct Server {
    Address address;
    int listener;
    int peer = -1;
    explicit Server(Address at) : address(at) {
        listener = socket(at.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(listener >= 0);
        int small = 4096; // inherited by what is accepted
        setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        sockaddr *name = reinterpret_cast<sockaddr *>(&address.storage);
        assert_int_equal(bind(listener, name, address.size), 0);
        assert_int_equal(listen(listener, at.storage.ss_family == AF_UNIX ? 1 : 16), 0);
        if (at.storage.ss_family != AF_UNIX) assert_int_equal(getsockname(listener, name, &address.size), 0);
    }
    ~Server() {
        stop();
        if (peer >= 0) close(peer);
    }
    void stop() {
        if (listener >= 0) close(listener);
        listener = -1;
    }
    void accept_one() {
        peer = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        assert_true(peer >= 0);
    }
    void say(const std::string &text) {
        assert_int_equal(send(peer, text.data(), text.size(), MSG_NOSIGNAL), text.size());
    }
    void reset() {
        linger now = {1, 0};
        setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(peer);
        peer = -1;
    }
};

void wait_for(int fd, short what) {
    pollfd at = {fd, what, 0};
    assert_int_equal(poll(&at, 1, 5000), 1);
}

struct Client {
    Channel channel;
    ErrorText error;
    int cause = 0;
    ReadStamps stamps;
    ~Client() { socket_link.close(&channel, false); }
    int open(const Address &address, const LinkOptions &options = LinkOptions()) {
        int status = socket_link.open(address, options, &channel, &error);
        if (status == 0) {
            wait_for(channel.fd, POLLOUT);
            status = socket_link.finish(&channel, &error);
        }
        return status;
    }
    int64_t read(std::string *out, size_t cap = 4096) {
        wait_for(channel.fd, POLLIN);
        std::string room(cap, 0);
        int64_t got = read_now(&room);
        if (got > 0) out->append(room, 0, static_cast<size_t>(got));
        return got;
    }
    int64_t read_now(std::string *room) {
        return socket_link.read(&channel, reinterpret_cast<uint8_t *>(&(*room)[0]), room->size(), &stamps,
                                &cause);
    }
    int64_t write(const std::string &bytes) {
        return socket_link.write(&channel, reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size(),
                                 &cause);
    }
};

struct Folder {
    char path[32] = "/tmp/wsxdp-test-XXXXXX";
    std::string socket;
    Folder() {
        assert_non_null(mkdtemp(path));
        socket = std::string(path) + "/s";
    }
    ~Folder() {
        unlink(socket.c_str());
        rmdir(path);
    }
};

void talk(Client *client, Server *server) {
    std::string room(100, 0), got;
    assert_int_equal(client->read_now(&room), 0); // nothing yet
    assert_int_equal(client->write("question"), 8);
    assert_int_equal(client->write(""), 0);
    char asked[16];
    assert_int_equal(recv(server->peer, asked, sizeof asked, 0), 8);
    server->say("answer");
    wait_for(client->channel.fd, POLLIN);
    assert_int_equal(socket_link.read(&client->channel, nullptr, 0, &client->stamps, &client->cause),
                     0); // not the end
    assert_int_equal(client->read(&got, 3), 3);
    assert_int_equal(client->read(&got), 3);
    assert_string_equal(got.c_str(), "answer");
    assert_false(socket_link.readable(&client->channel));
}

void test_streams(void **) {
    Folder folder;
    const Address addresses[] = {loopback(AF_INET), loopback(AF_INET6), unix_path(folder.socket.c_str())};
    size_t before = open_descriptors();
    for (const Address &address : addresses) {
        Server server(address);
        Client client;
        assert_int_equal(client.open(server.address), 1);
        assert_true(fcntl(client.channel.fd, F_GETFD) & FD_CLOEXEC);
        server.accept_one();
        talk(&client, &server);
        close(server.peer);
        server.peer = -1;
        std::string got;
        assert_int_equal(client.read(&got), WSXDP_E_EOF);
        socket_link.close(&client.channel, false);
        assert_int_equal(client.channel.fd, -1);
    }
    assert_int_equal(open_descriptors(), before);
}

void test_refused(void **) {
    Folder folder;
    size_t before = open_descriptors();
    for (int family : {AF_INET, AF_INET6}) {
        Server server(loopback(family));
        server.stop();
        Client client;
        int status = client.open(server.address);
        check_error(status, client.error, WSXDP_E_REFUSED, "Connection refused");
        assert_int_equal(client.error.system_errno, ECONNREFUSED);
    }
    Client client;
    check_error(client.open(unix_path(folder.socket.c_str())), client.error, WSXDP_E_UNIX_SOCKET,
                folder.path);
    assert_int_equal(client.channel.fd, -1);
    {
        Server server(unix_path(folder.socket.c_str()));
        server.stop();
        check_error(client.open(server.address), client.error, WSXDP_E_UNIX_SOCKET, "is the server running");
    }
    {
        unlink(folder.socket.c_str());
        Server server(unix_path(folder.socket.c_str())); // a queue that nobody empties
        std::vector<Client> many(8);
        int status = 1;
        for (size_t i = 0; i < many.size() && status == 1; i++) status = many[i].open(server.address);
        assert_int_equal(status, WSXDP_E_UNIX_SOCKET);
    }
    assert_int_equal(open_descriptors(), before);
}

void test_reset(void **) {
    Server server(loopback(AF_INET));
    for (bool by_client : {false, true}) {
        Client client;
        assert_int_equal(client.open(server.address), 1);
        server.accept_one();
        if (by_client) {
            socket_link.close(&client.channel, true);
            char room[8];
            wait_for(server.peer, POLLIN);
            assert_int_equal(recv(server.peer, room, sizeof room, 0), -1);
            assert_int_equal(errno, ECONNRESET);
            close(server.peer);
            server.peer = -1;
            continue;
        }
        server.reset();
        std::string got;
        assert_int_equal(client.read(&got), WSXDP_E_RESET);
        assert_int_equal(client.cause, ECONNRESET);
        client.cause = 0;
        assert_int_equal(client.write("x"), WSXDP_E_RESET); // EPIPE, and no SIGPIPE
        assert_int_equal(client.cause, EPIPE);
    }
}

void test_short_writes(void **) {
    Server server(loopback(AF_INET));
    Client client;
    LinkOptions options;
    options.send_buffer_bytes = 1; // the kernel's minimum
    assert_int_equal(client.open(server.address, options), 1);
    server.accept_one();
    std::string all(1 << 20, 0), seen;
    for (size_t i = 0; i < all.size(); i++) all[i] = static_cast<char>(i * 7 + i / 251);
    size_t at = 0, shorts = 0, full = 0;
    std::vector<char> room(65536);
    while (seen.size() < all.size()) {
        if (at < all.size()) {
            int64_t sent = client.write(all.substr(at));
            assert_in_range(sent, 0, all.size() - at);
            full += sent == 0;
            shorts += sent != 0 && static_cast<size_t>(sent) < all.size() - at;
            at += static_cast<size_t>(sent);
            if (sent != 0) continue;
        }
        wait_for(server.peer, POLLIN);
        ssize_t got = recv(server.peer, room.data(), room.size(), 0);
        assert_true(got > 0);
        seen.append(room.data(), static_cast<size_t>(got));
    }
    assert_true(seen == all && shorts > 0 && full > 0);
}

// One message to the client. When it was read, between what times, and what stamp it carried.
struct Stamped {
    Nanos before, after, kernel_ns;
};

Nanos realtime_ns() {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * ns_per_s + now.tv_nsec;
}

Stamped exchange_stamped(Server *server, Client *client) {
    Stamped one;
    std::string got;
    one.before = realtime_ns();
    server->say("tick");
    assert_int_equal(client->read(&got), 4);
    one.after = realtime_ns();
    one.kernel_ns = client->stamps.kernel_ns;
    assert_int_equal(client->stamps.nic_ns, 0);
    return one;
}

void check_stamp(const Stamped &one) {
    assert_in_range(one.kernel_ns, one.before - ns_per_ms, one.after + ns_per_ms);
}

// The kernel begins to stamp a moment after the first socket asks (a deferred work item), and how long that
// takes on a loaded machine is not ours to say: some messages may come unstamped, but not for long, and none
// after the first that is stamped.
constexpr Nanos stamping_starts_within = 2 * ns_per_s;

void await_stamping(Server *server, Client *client) {
    Nanos until = monotonic_ns() + stamping_starts_within;
    Stamped one;
    do {
        one = exchange_stamped(server, client);
        if (one.kernel_ns != 0) return check_stamp(one);
        usleep(500);
    } while (monotonic_ns() < until);
    fail_msg("no message was stamped for 2 s");
}

void test_timestamps(void **) {
    Server server(loopback(AF_INET));
    for (TimestampSource source :
         {TimestampSource::software, TimestampSource::hardware, TimestampSource::off}) {
        Client client;
        LinkOptions options;
        options.timestamps = source;
        assert_int_equal(client.open(server.address, options), 1);
        server.accept_one();
        assert_int_equal(client.channel.stamped, source != TimestampSource::off);
        if (source != TimestampSource::off) await_stamping(&server, &client);
        for (int i = 0; i < 3; i++) {
            Stamped one = exchange_stamped(&server, &client);
            if (source == TimestampSource::off)
                assert_int_equal(one.kernel_ns, 0);
            else
                check_stamp(one);
        }
        std::string room(8, 0);
        assert_int_equal(client.read_now(&room), 0); // the stamps of the last read do not stay
        assert_int_equal(client.stamps.kernel_ns, 0);
        close(server.peer);
    }
    server.peer = -1;
}

int64_t option_of(const Client &client, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    assert_int_equal(getsockopt(client.channel.fd, level, name, &value, &size), 0);
    return value;
}

void test_options(void **) {
    Server server(loopback(AF_INET));
    for (bool on : {true, false}) {
        Client client;
        LinkOptions options;
        options.no_delay = on;
        options.receive_buffer_bytes = on ? 20000 : 0;
        options.send_buffer_bytes = on ? 30000 : 0;
        options.busy_poll_us = on ? 10 : 0;
        options.interface = on ? "lo" : "";
        assert_int_equal(client.open(server.address, options), 1);
        assert_int_equal(option_of(client, IPPROTO_TCP, TCP_NODELAY), on);
        if (on) assert_int_equal(option_of(client, SOL_SOCKET, SO_RCVBUF), 40000); // the kernel doubles it
        if (on) assert_int_equal(option_of(client, SOL_SOCKET, SO_SNDBUF), 60000);
        char name[64] = "";
        socklen_t size = sizeof name;
        assert_int_equal(getsockopt(client.channel.fd, SOL_SOCKET, SO_BINDTODEVICE, name, &size), 0);
        assert_string_equal(size ? name : "", on ? "lo" : "");
    }
    size_t before = open_descriptors();
    // Also a name that, cut to what the kernel takes, would be another's.
    for (const char *name : {"nosuchif0", "a-name-that-is-longer-than-any-interface"}) {
        Client client;
        LinkOptions options;
        options.interface = name;
        int status = client.open(server.address, options);
        check_error(status, client.error, WSXDP_E_SYSTEM, "binding to socket.interface for 127.0.0.1:");
        assert_int_equal(client.error.system_errno, ENODEV);
    }
    Client client;
    LinkOptions huge;
    huge.receive_buffer_bytes = huge.send_buffer_bytes = INT64_MAX; // as much as the kernel gives
    assert_int_equal(client.open(server.address, huge), 1);
    socket_link.close(&client.channel, false);
    assert_int_equal(open_descriptors(), before);
}

void test_no_descriptors(void **) {
    Server server(loopback(AF_INET));
    rlimit old;
    getrlimit(RLIMIT_NOFILE, &old);
    int first = dup(2);
    close(first);
    rlimit now = {static_cast<rlim_t>(first), old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &now);
    Client client;
    int status = client.open(server.address);
    setrlimit(RLIMIT_NOFILE, &old);
    check_error(status, client.error, WSXDP_E_DESCRIPTORS, "ulimit -n");
}

void test_codes(void **) {
    const int connecting[][2] = {{ECONNREFUSED, WSXDP_E_REFUSED},
                                 {ETIMEDOUT, WSXDP_E_CONNECT_TIMEOUT},
                                 {EHOSTUNREACH, WSXDP_E_UNREACHABLE},
                                 {ENETUNREACH, WSXDP_E_UNREACHABLE},
                                 {EAFNOSUPPORT, WSXDP_E_UNREACHABLE},
                                 {ECONNRESET, WSXDP_E_RESET},
                                 {EACCES, WSXDP_E_PERMISSION},
                                 {EMFILE, WSXDP_E_DESCRIPTORS},
                                 {ENOMEM, WSXDP_E_MEMORY},
                                 {EIO, WSXDP_E_SYSTEM}};
    for (auto &row : connecting) assert_int_equal(connect_status(row[0]), row[1]);
    const int streaming[][2] = {{ECONNRESET, WSXDP_E_RESET},
                                {EPIPE, WSXDP_E_RESET},
                                {ETIMEDOUT, WSXDP_E_DEAD},
                                {EHOSTUNREACH, WSXDP_E_UNREACHABLE},
                                {EIO, WSXDP_E_SYSTEM}};
    for (auto &row : streaming) assert_int_equal(stream_status(row[0]), row[1]);
}

void test_address_texts(void **) {
    Address v4 = loopback(AF_INET), v6 = loopback(AF_INET6), local = unix_path("/run/x.sock");
    reinterpret_cast<sockaddr_in *>(&v4.storage)->sin_port = htons(443);
    reinterpret_cast<sockaddr_in6 *>(&v6.storage)->sin6_port = htons(65535);
    Address longest = unix_path("");
    memset(reinterpret_cast<sockaddr_un *>(&longest.storage)->sun_path, 'p',
           sizeof(sockaddr_un::sun_path)); // no zero
    const std::pair<const Address &, std::string> rows[] = {
        {v4, "127.0.0.1:443"}, {v6, "[::1]:65535"}, {local, "/run/x.sock"}, {longest, std::string(108, 'p')}};
    for (auto &row : rows) {
        uint8_t room[128];
        Writer writer{ByteSpan(room, sizeof room)};
        address_text(row.first, &writer);
        assert_string_equal(str(writer.view()).c_str(), row.second.c_str());
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_reset),          cmocka_unit_test(test_short_writes),
        cmocka_unit_test(test_timestamps),     cmocka_unit_test(test_options),
        cmocka_unit_test(test_no_descriptors), cmocka_unit_test(test_codes),
        cmocka_unit_test(test_address_texts),
    };
    return cmocka_run_group_tests_name("link: socket", tests, nullptr, nullptr);
}
