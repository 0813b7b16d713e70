// SPDX-License-Identifier: MIT
// What goes on beside a handle with transport=xdp on the same host: connections of the kernel's TCP, XDP
// programs of others, processes with fewer rights. For the tests of what the two must not do to each other.
#pragma once
#include "../../lib/link/xdp/program.h"
#include "../../lib/link/xdp/xsk.h"
#include "world.h"
#include <arpa/inet.h>
#include <atomic>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <thread>

// The state comes within some seconds, also on a busy machine.
template <class Condition> bool eventually(Condition condition, int64_t ms = 8000) {
    for (int64_t until = now_ms() + ms; now_ms() < until; usleep(2000))
        if (condition()) return true;
    return condition();
}

// A socket of the kernel's in the thread's namespace; waits for nothing longer than some seconds.
struct KernelSocket {
    int fd = -1;
    explicit KernelSocket(const char *family_of, int type = SOCK_STREAM, int protocol = 0) {
        fd = socket(strchr(family_of, ':') ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, protocol);
        const timeval patience = {8, 0};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    }
    ~KernelSocket() { close(fd); }
    KernelSocket(const KernelSocket &) = delete;
    KernelSocket &operator=(const KernelSocket &) = delete;
    // 0 or errno
    int bind_to(const char *address, int port) {
        sockaddr_storage at;
        const socklen_t size = scripted::address_of(address, port, &at);
        return bind(fd, reinterpret_cast<sockaddr *>(&at), size) == 0 ? 0 : errno;
    }
    int connect_to(const char *address, int port) {
        sockaddr_storage at;
        const socklen_t size = scripted::address_of(address, port, &at);
        return connect(fd, reinterpret_cast<sockaddr *>(&at), size) == 0 ? 0 : errno;
    }
    // Asks as HTTP does; whether the answer came.
    bool ask() {
        static const char request[] = "GET / HTTP/1.1\r\nHost: there\r\n\r\n";
        if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0) return false;
        std::string got;
        char part[256];
        while (got.find("\r\n\r\nok") == std::string::npos) {
            const ssize_t count = recv(fd, part, sizeof part, 0);
            if (count <= 0) return false;
            got.append(part, static_cast<size_t>(count));
        }
        return true;
    }
};

// A server that answers plain requests as often as they come, and is a WebSocket echo for who asks for one.
inline void answer_or_echo(scripted::Wire &wire) {
    while (!wire.read_head().empty()) {
        if (!wire.field("Sec-WebSocket-Key").empty()) {
            wire.write(wire.answer());
            for (scripted::Frame f = wire.read_frame(); f.opcode > 0 && f.opcode != 8; f = wire.read_frame())
                wire.write(scripted::frame(f.opcode, f.payload));
            wire.write(scripted::close_frame(1000));
            return;
        }
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
}

inline bool kernel_asks(const char *address, int port) {
    KernelSocket socket(address);
    return socket.connect_to(address, port) == 0 && socket.ask();
}

// Keeps asking the server by the kernel's TCP, from threads of its own.
struct Traffic {
    std::atomic<bool> stop{false};
    std::atomic<int> asked{0}, failed{0};
    std::thread lasting, fresh;
    explicit Traffic(int port) {
        lasting = std::thread([this, port] {
            KernelSocket socket(netns::there4);
            if (socket.connect_to(netns::there4, port) != 0) failed++;
            for (; !stop; usleep(1000)) socket.ask() ? asked++ : failed++;
        });
        fresh = std::thread([this, port] {
            for (; !stop; usleep(3000)) kernel_asks(netns::there4, port) ? asked++ : failed++;
        });
    }
    void end() {
        if (stop.exchange(true)) return;
        lasting.join();
        fresh.join();
    }
    ~Traffic() { end(); }
};

inline void check_echo(Session &session, const std::string &text, uint32_t conn = 0) {
    assert_int_equal(session.send(text, WSXDP_TEXT, conn), 0);
    const Seen &echo = session.need(WSXDP_EVENT_MESSAGE, 8000, conn);
    if (echo.data != text) fail_msg("'%s' came back as '%s'", text.c_str(), echo.data.c_str());
}

// "10.77.0.1:40000" or "[fd77::1]:40000"
inline int local_port(Session &session, uint32_t conn = 0) {
    const std::string local = session.info("local", conn);
    return atoi(local.c_str() + local.rfind(':') + 1);
}

inline wx::XdpPresent present(const char *interface = "xdp0") {
    wx::XdpPresent there;
    wx::ErrorText error;
    if (wx::xdp_program_present(if_nametoindex(interface), &there, &error) != WSXDP_OK)
        fail_msg("%s", error.text);
    return there;
}

// Somebody else's XDP program: what every packet gets is `verdict`.
inline int foreign_program(int verdict = XDP_PASS) {
    const bpf_insn body[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, verdict},
                             {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
    const int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "foreign_prog", "GPL", body, 2, nullptr);
    if (fd < 0) fail_msg("a program of two instructions: %s", strerror(errno));
    return fd;
}

// Somebody else's AF_XDP socket on a queue, without a program.
struct ForeignSocket {
    wx::Umem umem;
    wx::Xsk socket;
    explicit ForeignSocket(const char *interface = "xdp0", uint32_t queue = 0) {
        wx::UmemOptions memory;
        memory.frames = 512;
        wx::XskOptions options;
        options.interface = interface;
        options.ifindex = if_nametoindex(interface);
        options.queue = queue;
        wx::ErrorText error;
        assert_int_equal(umem_open(&umem, memory, &error), 0);
        // An owner before may just have closed his.
        const bool taken =
            eventually([&] { return xsk_open(&socket, &umem, options, nullptr, &error) == 0; });
        if (!taken) fail_msg("%s", error.text);
    }
    ~ForeignSocket() {
        xsk_close(&socket);
        umem_close(&umem);
    }
    ForeignSocket(const ForeignSocket &) = delete;
    ForeignSocket &operator=(const ForeignSocket &) = delete;
};

// For ever, of this process; to be used in a child.
inline bool drop_capabilities(uint64_t which) {
    __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2] = {};
    if (syscall(SYS_capget, &head, data) != 0) return false;
    for (unsigned i = 0; i < 2; i++) {
        const uint32_t without = ~static_cast<uint32_t>(which >> (32 * i));
        data[i].effective &= without;
        data[i].permitted &= without;
        data[i].inheritable &= without;
    }
    return syscall(SYS_capset, &head, data) == 0;
}

// What `body` says in a child process in the namespace; "killed" when it says nothing. In a child nothing may
// fail a test: it says what it saw, and the parent judges.
template <class Body> std::string told_by_child(const netns::Namespace &where, Body body) {
    int pipes[2];
    if (pipe(pipes) != 0) fail_msg("pipe: %s", strerror(errno));
    netns::Child child(where, [&] {
        const std::string said = body();
        return write(pipes[1], said.data(), said.size()) == static_cast<ssize_t>(said.size()) ? 0 : 1;
    });
    close(pipes[1]);
    std::string said;
    char part[4096];
    for (ssize_t got = 0; (got = read(pipes[0], part, sizeof part)) > 0;)
        said.append(part, static_cast<size_t>(got));
    close(pipes[0]);
    return child.wait() == 0 ? said : "killed";
}

// What becomes of a URL, in lines: "refused -305 TEXT" by wsxdp_open; "notice CODE TEXT" and "error CODE
// TEXT" as they come; "open by TRANSPORT"; "echo". Fails no test, so that a child can tell it.
inline std::string told_by_session(const std::string &url, const OptionList &options) {
    Session session(url, options);
    if (session.status != 0) return "refused " + std::to_string(session.status) + " " + session.text + "\n";
    std::string told;
    bool over = false;
    size_t looked = 0;
    for (const int64_t until = now_ms() + 8000; !over && now_ms() < until;) {
        session.poll(20);
        for (; looked < session.events.size(); looked++) {
            const Seen &seen = session.events[looked];
            const std::string what = std::to_string(seen.error) + " " + seen.data + "\n";
            if (seen.kind == WSXDP_EVENT_NOTICE) told += "notice " + what;
            if (seen.kind == WSXDP_EVENT_ERROR) told += "error " + what;
            if (seen.kind == WSXDP_EVENT_OPEN) {
                told += "open by " + session.info("transport") + "\n";
                session.send("a story");
            }
            if (seen.kind == WSXDP_EVENT_MESSAGE) told += seen.data == "a story" ? "echo\n" : "no echo\n";
            over |= seen.kind == WSXDP_EVENT_CLOSE || seen.kind == WSXDP_EVENT_MESSAGE;
        }
    }
    return told;
}
// In the order given, each once; nothing else is told.
inline void check_told(const std::string &told, const std::vector<std::vector<std::string>> &lines) {
    size_t at = 0;
    for (const auto &parts : lines) {
        const size_t end = told.find('\n', at);
        const std::string line = end == std::string::npos ? told.substr(at) : told.substr(at, end - at);
        for (const std::string &part : parts)
            if (!contains(line, part))
                fail_msg("'%s' is not in '%s' of:\n%s", part.c_str(), line.c_str(), told.c_str());
        at = end == std::string::npos ? told.size() : end + 1;
    }
    if (at != told.size()) fail_msg("more was told:\n%s", told.c_str());
}
inline void check_told_open(const std::string &told, const char *transport = "xdp") {
    check_told(told, {{std::string("open by ") + transport}, {"echo"}});
}
inline void check_told_fallback(const std::string &told, int code, const std::vector<std::string> &parts) {
    std::vector<std::string> notice = {"notice " + std::to_string(code) + " ",
                                       "going on with sockets (fallback=socket)"};
    notice.insert(notice.end(), parts.begin(), parts.end());
    check_told(told, {notice, {"open by socket"}, {"echo"}});
}
