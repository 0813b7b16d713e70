// SPDX-License-Identifier: MIT
// ws+unix: the path on the way to the socket (percent-encoded or not), the resource on the way to the server,
// and each way in which the socket cannot be reached.
#include "session.h"
#include <errno.h>
#include <sys/stat.h>
#include <sys/un.h>

using namespace scripted;

struct Directory {
    char path[32] = "/tmp/wsxdp-unix-XXXXXX";
    Directory() { assert_non_null(mkdtemp(path)); }
    ~Directory() { rmdir(path); }
    std::string file(const char *name) const { return std::string(path) + "/" + name; }
};

static std::string resource_with(const std::string &socket_path, const std::string &url) {
    std::string line;
    Server server(
        [&](Wire &wire) {
            wire.upgrade();
            line = wire.head.substr(0, wire.head.find("\r\n")) + " " + wire.field("Host");
            wire.write(frame(1, "first"));
            for (Frame f = wire.read_frame(); f.opcode > 0; f = wire.read_frame())
                wire.write(frame(1, f.payload));
        },
        socket_path);
    Session session(url);
    if (session.status != 0) fail_msg("%s", session.text.c_str());
    session.need(WSXDP_EVENT_OPEN);
    session.need(WSXDP_EVENT_MESSAGE);
    session.send("echo");
    assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), "echo");
    return line;
}

TEST(path_and_resource_arrive) {
    Directory dir;
    std::string path = dir.file("socket");
    assert_string_equal(resource_with(path, "ws+unix://" + path + ":/chat?x=1").c_str(),
                        "GET /chat?x=1 HTTP/1.1 localhost");
}

TEST(without_a_resource_it_is_the_root) {
    Directory dir;
    std::string path = dir.file("socket");
    assert_string_equal(resource_with(path, "ws+unix://" + path).c_str(), "GET / HTTP/1.1 localhost");
}

TEST(the_path_may_be_percent_encoded) {
    Directory dir;
    std::string path = dir.file("a b:c%");
    assert_string_equal(
        resource_with(path, "ws+unix://" + std::string(dir.path) + "/a%20b%3Ac%25:/r").c_str(),
        "GET /r HTTP/1.1 localhost");
}

TEST(the_longest_path_works) {
    Directory dir;
    std::string path = dir.file(std::string(107 - dir.file("").size(), 'p').c_str());
    assert_int_equal(path.size(), 107);
    resource_with(path, "ws+unix://" + path + ":/");
}

TEST(a_longer_path_is_refused_at_open) {
    Session session("ws+unix:///" + std::string(107, 'p') + ":/");
    assert_int_equal(session.status, WSXDP_E_URL);
    assert_true(contains(session.text, "107"));
}

TEST(a_missing_socket_is_named) {
    Directory dir;
    std::string path = dir.file("missing");
    std::string text = expect_failure("ws+unix://" + path + ":/", {}, WSXDP_E_UNIX_SOCKET, path);
    assert_true(contains(text, "is the server running"));
}

TEST(a_socket_that_nobody_listens_on) {
    Directory dir;
    std::string path = dir.file("dead");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un at = {};
    at.sun_family = AF_UNIX;
    strcpy(at.sun_path, path.c_str());
    assert_int_equal(bind(fd, reinterpret_cast<sockaddr *>(&at), sizeof at), 0);
    std::string text = expect_failure("ws+unix://" + path + ":/", {}, WSXDP_E_UNIX_SOCKET, path);
    close(fd);
    unlink(path.c_str());
    assert_true(contains(text, "refused"));
}

TEST(a_file_that_is_no_socket) {
    Directory dir;
    std::string path = dir.file("file");
    fclose(fopen(path.c_str(), "w"));
    expect_failure("ws+unix://" + path + ":/", {}, WSXDP_E_UNIX_SOCKET, path);
    unlink(path.c_str());
}

TEST(a_datagram_socket) {
    Directory dir;
    std::string path = dir.file("datagram");
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un at = {};
    at.sun_family = AF_UNIX;
    strcpy(at.sun_path, path.c_str());
    assert_int_equal(bind(fd, reinterpret_cast<sockaddr *>(&at), sizeof at), 0);
    expect_failure("ws+unix://" + path + ":/", {}, WSXDP_E_UNIX_SOCKET, path);
    close(fd);
    unlink(path.c_str());
}

TEST(a_directory_in_the_path_that_is_a_file) {
    Directory dir;
    std::string path = dir.file("file");
    fclose(fopen(path.c_str(), "w"));
    expect_failure("ws+unix://" + path + "/socket:/", {}, WSXDP_E_UNIX_SOCKET, path);
    unlink(path.c_str());
}

// The kernel answers EAGAIN at once and offers nothing to wait on: the attempt fails, the next one may not.
TEST(a_full_queue_is_tried_again) {
    Directory dir;
    std::string path = dir.file("full");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un at = {};
    at.sun_family = AF_UNIX;
    strcpy(at.sun_path, path.c_str());
    assert_int_equal(bind(fd, reinterpret_cast<sockaddr *>(&at), sizeof at), 0);
    assert_int_equal(listen(fd, 0), 0);
    int filler = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(filler, reinterpret_cast<sockaddr *>(&at), sizeof at), 0);
    expect_failure("ws+unix://" + path + ":/", {}, WSXDP_E_UNIX_SOCKET, "(11)");
    Session session("ws+unix://" + path + ":/", {{"reconnect.delay_min_ns", "5ms"},
                                                 {"reconnect.delay_max_ns", "5ms"},
                                                 {"upgrade.timeout_ns", "100ms"}});
    session.need(WSXDP_EVENT_RECONNECTING);
    session.need(WSXDP_EVENT_RECONNECTING);
    int one = accept(fd, nullptr, nullptr);
    const Seen *error = session.wait(WSXDP_EVENT_ERROR);
    while (error && error->error == WSXDP_E_UNIX_SOCKET) error = session.wait(WSXDP_EVENT_ERROR);
    close(one);
    close(filler);
    close(fd);
    unlink(path.c_str());
    assert_non_null(error); // it got in; nobody answers there
    assert_int_equal(error->error, WSXDP_E_UPGRADE_TIMEOUT);
}

TEST(a_proxy_is_not_asked) {
    Directory dir;
    std::string path = dir.file("socket");
    Server server(
        [](Wire &wire) {
            wire.upgrade();
            wire.wait_end();
        },
        path);
    Session session("ws+unix://" + path + ":/", {{"proxy", "http://127.0.0.1:1"}});
    session.need(WSXDP_EVENT_OPEN);
}

TEST(a_server_that_comes_back_is_found_again) {
    Directory dir;
    std::string path = dir.file("socket");
    Script script = [](Wire &wire) {
        wire.upgrade();
        wire.write(frame(1, "hello"));
        wire.wait_end();
    };
    Server *server = new Server(script, path);
    Session session("ws+unix://" + path + ":/",
                    {{"reconnect.delay_min_ns", "5ms"}, {"reconnect.delay_max_ns", "5ms"}});
    session.need(WSXDP_EVENT_MESSAGE);
    delete server;
    session.need(WSXDP_EVENT_RECONNECTING);
    session.need(WSXDP_EVENT_RECONNECTING);
    Server again(script, path);
    assert_true(session.need(WSXDP_EVENT_OPEN).flags & WSXDP_FLAG_RECONNECTED);
    session.need(WSXDP_EVENT_MESSAGE);
}

TEST(a_redirect_stays_on_the_socket) {
    Directory dir;
    std::string path = dir.file("socket"), second;
    Server server(
        [&](Wire &wire) {
            wire.read_head();
            if (wire.number == 0) {
                wire.write("HTTP/1.1 302 Found\r\nLocation: /to\r\n\r\n");
            } else {
                second = wire.head;
                wire.write(wire.answer());
            }
            wire.wait_end();
        },
        path);
    Session session("ws+unix://" + path + ":/from", {{"redirect.max", "1"}, {"header.X-Key", "k"}});
    session.need(WSXDP_EVENT_OPEN);
    assert_int_equal(second.find("GET /to HTTP/1.1\r\n"), 0);
    assert_true(contains(second, "X-Key: k"));
}

TESTS("unix_socket")
