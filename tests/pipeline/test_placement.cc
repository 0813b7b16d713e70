// SPDX-License-Identifier: MIT
// Who runs the stages: what the option `placement` may say, and a handle whose transport and ws have a thread
// of their own: what it tells, what it costs, what is left of it.
#include "../../lib/pipeline/placement.h"
#include "pair.h"
#include <dirent.h>
#include <sched.h>
#include <set>

using namespace wx;

static const OptionList in_thread = {{"placement", "threads: transport+ws"}};

// ---- the option ----

static std::string problem(const char *text, bool xdp = false) {
    Placement placement;
    ErrorText error;
    int status = placement_parse(ByteView(text), &placement, &error);
    if (status >= 0) status = placement_complete(&placement, xdp, &error);
    if (status >= 0) return "";
    assert_int_equal(status, WSXDP_E_INVALID);
    assert_int_equal(error.code, WSXDP_E_INVALID);
    return std::string(error.text, error.size);
}

TEST(what_a_list_says) {
    Placement p;
    ErrorText error;
    assert_int_equal(placement_parse(ByteView(" inline "), &p, &error), 0);
    assert_true(p.kind == PlacementKind::inline_ && p.count == 0);
    assert_int_equal(placement_parse(ByteView("threads"), &p, &error), 0);
    assert_true(p.kind == PlacementKind::threads && p.count == 0);
    assert_int_equal(placement_complete(&p, true, &error), 0);
    assert_int_equal(p.count, 3);
    assert_int_equal(p.places[0].stages, stage_nic);
    assert_int_equal(placement_parse(ByteView("processes:nic@2  transport+ws@1023 "), &p, &error), 0);
    assert_true(p.kind == PlacementKind::processes);
    assert_int_equal(p.count, 2);
    assert_int_equal(p.places[0].stages, stage_nic);
    assert_int_equal(p.places[0].cpu, 2);
    assert_int_equal(p.places[1].stages, stage_transport | stage_ws);
    assert_int_equal(p.places[1].cpu, 1023);
    assert_int_equal(placement_parse(ByteView("threads: rx@0 tls@2 tx@4"), &p, &error), 0);
    assert_int_equal(p.count, 3);
    assert_int_equal(placement_complete(&p, false, &error), 0);
    assert_int_equal(placement_parse(ByteView("threads: transport"), &p, &error), 0);
    assert_int_equal(p.places[0].cpu, -1);
}

// What a list of sockets' stages leaves out joins others.
TEST(what_a_list_leaves_out) {
    static const struct {
        const char *text;
        uint32_t places[places_max];
    } rows[] = {{"threads", {stage_transport, stage_ws}},
                {"threads: transport", {stage_transport | stage_ws}},
                {"threads: ws transport", {stage_ws, stage_transport}},
                {"threads: rx", {stage_transport | stage_ws}},
                {"threads: rx tx", {stage_rx | stage_tls | stage_ws, stage_tx}},
                {"threads: rx tls", {stage_rx, stage_tls | stage_tx | stage_ws}},
                {"threads: rx tls tx", {stage_rx, stage_tls | stage_ws, stage_tx}},
                {"threads: rx tls ws tx", {stage_rx, stage_tls, stage_ws, stage_tx}},
                {"threads: ws rx+tx", {stage_ws, stage_transport}},
                {"threads: rx+ws tls+tx", {stage_rx | stage_ws, stage_tls | stage_tx}},
                {"threads: rx+tls+tx", {stage_transport | stage_ws}},
                {"processes: tx+tls+rx ws", {stage_transport, stage_ws}}};
    for (const auto &row : rows) {
        Placement placement;
        ErrorText error;
        assert_int_equal(placement_parse(ByteView(row.text), &placement, &error), 0);
        assert_int_equal(placement_complete(&placement, false, &error), 0);
        for (size_t i = 0; i < places_max; i++)
            if (placement.places[i].stages != row.places[i])
                fail_msg("%s: place %zu has %u", row.text, i, placement.places[i].stages);
    }
}

TEST(every_mistake_is_named) {
    static const struct {
        const char *text;
        bool xdp;
        const char *says;
    } rows[] = {{"", false, "none of inline"},
                {"thread", false, "none of inline"},
                {"rx@0 tls@2 tx@4", false, "none of inline"},
                {"inline: ws", false, "caller's thread alone"},
                {"threads:", false, "without a stage"},
                {"threads:   ", false, "without a stage"},
                {"threads: foo", false, "'foo' names no stage"},
                {"threads: ws+", false, "names no stage"},
                {"threads: +ws", false, "names no stage"},
                {"threads: transport@", false, "no number after @"},
                {"threads: transport@x", false, "something else"},
                {"threads: transport@-1", false, "something else"},
                {"threads: transport@1024", false, "above 1023"},
                {"threads: transport@99999999999999999999", false, "above 1023"},
                {"threads: ws ws", false, "a second time"},
                {"threads: ws+ws", false, "a second time"},
                {"threads: nic transport rx tls tx ws ws", false, "one place more"},
                {"threads: ws", false, "neither transport nor rx"},
                {"threads: nic transport", false, "nic is a stage of transport=xdp"},
                {"threads: rx tls tx", true, "rx, tls and tx are stages of sockets"},
                {"threads: transport rx", false, "transport stands for"}};
    for (const auto &row : rows) {
        const std::string said = problem(row.text, row.xdp);
        if (!contains(said, row.says)) fail_msg("'%s': '%s'", row.text, said.c_str());
    }
}

TEST(what_cannot_be_had_is_said_at_open) {
    static const struct {
        const char *placement;
        int code;
        const char *says;
    } rows[] = {{"threads: foo", WSXDP_E_INVALID, "names no stage"},
                {"threads: tls tx", WSXDP_E_INVALID, "neither transport nor rx"},
                {"processes: rx tls tx ws", WSXDP_E_UNSUPPORTED, "descriptor belongs to one process"},
                {"processes: rx tx", WSXDP_E_UNSUPPORTED, "descriptor belongs to one process"},
                {"processes: transport rx", WSXDP_E_INVALID, "transport stands for"},
                {"threads: nic transport ws", WSXDP_E_INVALID, "nic is a stage of transport=xdp"}};
    for (const auto &row : rows) {
        Session session("echo:", {{"placement", row.placement}});
        assert_int_equal(session.status, row.code);
        if (!contains(session.text, row.says)) fail_msg("%s: %s", row.placement, session.text.c_str());
    }
}

// ---- a thread ----

static std::set<std::string> threads() {
    std::set<std::string> out;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    while (const dirent *entry = readdir(tasks))
        if (entry->d_name[0] != '.') out.insert(entry->d_name);
    closedir(tasks);
    return out;
}

static std::string status_of(const std::string &thread, const char *line) {
    FILE *file = fopen(("/proc/self/task/" + thread + "/status").c_str(), "re");
    assert_non_null(file);
    char text[256];
    std::string out;
    while (fgets(text, sizeof text, file))
        if (strncmp(text, line, strlen(line)) == 0) out = text + strlen(line);
    fclose(file);
    return out;
}

TEST(one_thread_that_takes_no_signals_and_is_gone_after_free) {
    { Session first("echo:", in_thread); } // a race detector adds a thread of its own to the first
    const std::set<std::string> before = threads();
    {
        Session session("echo:", {{"placement", "threads: transport+ws@0"}});
        session.need(WSXDP_EVENT_OPEN);
        std::set<std::string> more = threads();
        for (const std::string &one : before) more.erase(one);
        assert_int_equal(more.size(), 1);
        const std::string blocked = status_of(*more.begin(), "SigBlk:\t");
        // All that can be blocked: not SIGKILL, SIGSTOP and the C library's own two.
        assert_int_equal(strtoull(blocked.c_str(), nullptr, 16) | 0x3ull << 31 | 1ull << 8 | 1ull << 18,
                         ~0ull | 0);
        assert_true(contains(status_of(*more.begin(), "Cpus_allowed_list:\t"), "0\n"));
    }
    assert_true(threads() == before);
}

// Slower is better than not at all; a typing mistake must not go unseen.
TEST(a_processor_that_cannot_be_had_is_a_notice) {
    Session session("echo:", {{"placement", "threads: transport+ws@1000"}});
    const Seen &notice = session.need(WSXDP_EVENT_NOTICE);
    assert_int_equal(notice.error, WSXDP_E_THREAD_START);
    assert_true(contains(notice.data, "processor 1000 cannot be used"));
    session.need(WSXDP_EVENT_OPEN);
}

TEST(facts_and_counts_are_those_of_the_thread) {
    Pair pair(in_thread);
    assert_string_equal(pair.client.info("state").c_str(), "open");
    assert_string_equal(pair.client.info("transport").c_str(), "socket");
    assert_true(contains(pair.client.info("peer"), "127.0.0.1:"));
    assert_string_equal(pair.client.info("poller").c_str(), "epoll");
    char text[300];
    assert_int_equal(wsxdp_info(pair.client.handle, 0, "no.such", text, sizeof text), WSXDP_E_INVALID);
    const std::string long_name(200, 'x');
    assert_int_equal(wsxdp_info(pair.client.handle, 0, long_name.c_str(), text, sizeof text),
                     WSXDP_E_INVALID);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(pair.client.send("out"), 0);
        pair.frame(1);
        pair.peer.send(wire_frame(1, "in"));
        pair.message("in", WSXDP_FLAG_TEXT);
    }
    const wsxdp_stats_t stats = pair.client.stats();
    assert_int_equal(stats.state, WSXDP_STATE_OPEN);
    assert_int_equal(stats.messages_sent, 10);
    assert_int_equal(stats.messages_received, 10);
    assert_int_equal(stats.opens, 1);
    assert_true(stats.bytes_sent > 0 && stats.bytes_received > 0);
    assert_int_equal(pair.client.stats(WSXDP_ALL).connections, 1);
}

TEST(nothing_is_allocated_once_it_is_open) {
    Pair pair(in_thread);
    need_no_allocations(pair);
}

TEST(an_idle_thread_sleeps) {
    Pair pair(in_thread);
    pair.turns(5);
    const auto cpu_ns = [] {
        timespec now;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        return now.tv_sec * 1000000000LL + now.tv_nsec;
    };
    usleep(50000);
    const int64_t before = cpu_ns();
    usleep(500000);
    assert_true(cpu_ns() - before < (sanitized ? 100000000 : 25000000)); // 5 % of it
}

// The seat of one that has left is given to the next, many times.
TEST(connections_come_and_go) {
    TestServer server;
    OptionList options = in_thread;
    options.push_back({"connections.max", "2"});
    options.push_back({"reconnect", "no"});
    Session session(nullptr, options);
    for (int i = 0; i < 300; i++) {
        uint32_t id = 0;
        assert_int_equal(wsxdp_connect(session.handle, "echo:", nullptr, &id), 0);
        session.need(WSXDP_EVENT_OPEN, 5000, id);
        assert_int_equal(session.send(std::to_string(i), WSXDP_TEXT, id), 0);
        assert_string_equal(session.need(WSXDP_EVENT_MESSAGE, 5000, id).data.c_str(),
                            std::to_string(i).c_str());
        if (i % 2)
            assert_int_equal(wsxdp_abort(session.handle, id), 0);
        else
            assert_int_equal(wsxdp_close(session.handle, id, 1000, "", 0), 0);
        session.need(WSXDP_EVENT_CLOSE, 5000, id);
        session.events.clear();
        session.looked = 0;
    }
}

TESTS("placement")
