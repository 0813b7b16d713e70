// SPDX-License-Identifier: MIT
// Connections opened and ended, over and over, in every way that one can end, on handles that come and go as
// well; and what must be left of that: nothing. After each block of cycles the books of the handle are
// balanced, and after each handle those of the process. In a test with few cycles, in endurance_runner with
// as many as one likes.
#pragma once
#include "ledger.h"
#include "world.h"
#include <malloc.h>

enum class End : unsigned {
    server_first, // it answers the close and ends TCP: TIME-WAIT is its own
    client_first, // it closes and waits: our FIN is the first, and TIME-WAIT is ours
    abort,
    server_reset,
    server_eof, // FIN without a close frame
    refused,    // RST to the SYN
    given_up,   // by us, before it was open
    count
};

struct CycleResult {
    uint64_t cycles = 0, handles = 0;
    size_t descriptors = 0, resident_early = 0, resident_late = 0; // KiB, see judge_memory
    uint64_t waits_seen = 0;                                       // tuples in TIME-WAIT when looked at
    double seconds = 0;
};

struct Cycles {
    static constexpr unsigned block = 21; // cycles of a handle: each way to end, over ws and over wss
    // So much of a process's memory comes and goes, with threads' stacks and the allocator's free lists.
    // 10,000 cycles that leave one frame each behind are 20 MiB.
    static constexpr size_t slack_kib = 3 * 1024;

    World world;
    scripted::TlsSide tls{certs(), "good"};
    std::unique_ptr<scripted::RefusingPort> refusing;
    std::unique_ptr<scripted::Server> servers[2]; // ws and wss
    std::unique_ptr<Session> session;
    CycleResult result;

    Cycles() {
        netns::Inside there(world.veth.there);
        refusing = std::make_unique<scripted::RefusingPort>(netns::there4);
    }

    // What the server does is in the path that is asked for.
    static void serve(scripted::Wire &wire) {
        wire.upgrade();
        const std::string head = wire.head;
        scripted::Frame f = wire.read_frame();
        if (contains(head, "GET /reset")) return wire.reset();
        if (contains(head, "GET /eof")) return;
        for (; f.opcode > 0 && f.opcode != 8 && !contains(head, "GET /stay"); f = wire.read_frame())
            wire.write(scripted::frame(f.opcode, f.payload));
        wire.write(scripted::close_frame(1000));
        if (contains(head, "GET /stay")) wire.wait_end();
    }

    std::string url(End end, bool secure) const {
        if (end == End::refused)
            return "ws://" + std::string(netns::there4) + ":" + std::to_string(refusing->port);
        return servers[secure]->url(end == End::client_first   ? "/stay"
                                    : end == End::server_reset ? "/reset"
                                    : end == End::server_eof   ? "/eof"
                                                               : "/",
                                    "good.test");
    }

    void open_handle() {
        servers[0] = world.serve(serve);
        if (with_tls) servers[1] = world.serve(serve, &tls);
        const std::string where = std::string("good.test=") + netns::there4;
        session = std::make_unique<Session>(static_cast<const char *>(nullptr),
                                            World::options({{"xdp.time_wait_ns", "30ms"},
                                                            {"tls.ca_file", certs().path("ca.pem")},
                                                            {"resolve.override", where}}));
        if (session->status != 0) fail_msg("open: %d %s", session->status, session->text.c_str());
        result.handles++;
    }

    void need_close(uint32_t conn, int error) {
        const Seen &close = session->need(WSXDP_EVENT_CLOSE, 20000, conn);
        if (close.error == error) return;
        session->print();
        fail_msg("cycle %llu: closed with %d and not %d", static_cast<unsigned long long>(result.cycles),
                 close.error, error);
    }

    void cycle(End end, bool secure) {
        uint32_t conn = 0;
        // Only client_first waits for it: it is the time that the peer is given to end TCP.
        Config config(World::options({{"close.timeout_ns", end == End::client_first ? "4ms" : "20s"},
                                      {"xdp.time_wait_ns", "30ms"},
                                      {"tls.ca_file", certs().path("ca.pem")},
                                      {"resolve.override", std::string("good.test=") + netns::there4}}));
        assert_int_equal(wsxdp_connect(session->handle, url(end, secure).c_str(), config.config, &conn), 0);
        if (end == End::refused) return need_close(conn, WSXDP_E_REFUSED);
        if (end == End::given_up) {
            for (uint64_t i = result.cycles % 3; i != 0; i--) session->poll(0);
            assert_int_equal(wsxdp_abort(session->handle, conn), 0);
            session->need(WSXDP_EVENT_CLOSE, 20000, conn);
            return;
        }
        session->need(WSXDP_EVENT_OPEN, 20000, conn);
        assert_int_equal(session->send("a message", WSXDP_TEXT, conn), 0);
        if (end == End::server_first || end == End::abort)
            assert_string_equal(session->need(WSXDP_EVENT_MESSAGE, 20000, conn).data.c_str(), "a message");
        if (end == End::server_first) wsxdp_close(session->handle, conn, 1000, "", 0);
        if (end == End::abort) wsxdp_abort(session->handle, conn);
        need_close(conn, end == End::abort          ? WSXDP_E_ABORTED
                         : end == End::server_reset ? WSXDP_E_RESET
                         : end == End::server_eof   ? secure ? WSXDP_E_TLS_TRUNCATED : WSXDP_E_EOF
                                                    : 0);
    }

    // One handle's. The descriptors of connections are back when its books balance, and all when it is gone.
    void run_block() {
        open_handle();
        size_t first = 0;
        for (unsigned i = 0; i < block; i++, result.cycles++) {
            cycle(static_cast<End>(i % static_cast<unsigned>(End::count)), with_tls && i & 1);
            result.waits_seen += Counters(*session)["time_wait"];
            if (i != 0) continue;
            need_balance(*session, 0);
            first = open_descriptors();
            assert_int_equal(bpf_entries(), 0);
        }
        need_balance(*session, 0);
        assert_int_equal(bpf_entries(), 0);
        // The servers' threads are of this process and close theirs when they get to it.
        for (const int64_t until = now_ms() + 10000; open_descriptors() != first && now_ms() < until;)
            session->poll(5);
        assert_int_equal(open_descriptors(), first);
        session.reset();
        for (auto &server : servers) server.reset();
        if (contains(world.veth.here.run("ip -details link show xdp0"), "prog/xdp"))
            fail_msg("the XDP program is still attached");
    }

    // After a third, and the least of the last blocks: what is left behind shows in each of them, the stacks
    // and arenas of servers' threads that happened to run beside each other in some only.
    void judge_memory(uint64_t done, uint64_t all) {
        constexpr unsigned last_blocks = 5;
        malloc_trim(0);
        const size_t now = resident_kib();
        if (result.resident_early == 0 && done >= all / 3) result.resident_early = now;
        if (done + last_blocks * block <= all || now < result.resident_late) result.resident_late = now;
    }

    CycleResult run(uint64_t cycles, const std::function<void(const CycleResult &)> &tell = {}) {
        const uint64_t warm = cycles / 3;
        const int64_t began = now_ms();
        while (result.cycles < cycles) {
            run_block();
            judge_memory(result.cycles, cycles);
            const size_t now = open_descriptors();
            if (result.descriptors == 0) result.descriptors = now;
            assert_int_equal(now, result.descriptors);
            result.seconds = static_cast<double>(now_ms() - began) / 1000;
            if (tell) tell(result);
        }
        assert_true(result.waits_seen != 0);
        if (memory_is_judged && result.resident_late > result.resident_early + slack_kib)
            fail_msg("%zu KiB after %llu cycles, %zu KiB after %llu", result.resident_early,
                     static_cast<unsigned long long>(warm), result.resident_late,
                     static_cast<unsigned long long>(result.cycles));
        return result;
    }
};
