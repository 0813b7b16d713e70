// SPDX-License-Identifier: MIT
// Wrong arguments: each call refuses them with the right code and does nothing else. And what the calls about
// facts say: options, errors, versions, names.
#include "../pipeline/pair.h"
#include <set>

TEST(no_handle_is_refused_by_every_call) {
    refused_by_every_call(nullptr, WSXDP_E_INVALID);
    assert_int_equal(wsxdp_wakeup(nullptr), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_fd(nullptr), WSXDP_E_INVALID);
    wsxdp_free(nullptr);
    wsxdp_config_free(nullptr);
}

TEST(null_pointers_are_refused) {
    Session client("echo:");
    uint32_t id;
    char text[10];
    wsxdp_stats_t stats;
    assert_int_equal(wsxdp_poll(client.handle, nullptr, 1, 0), WSXDP_E_INVALID);
    wsxdp_event event;
    assert_int_equal(wsxdp_poll(client.handle, &event, 0, 0), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_connect(client.handle, nullptr, nullptr, &id), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_connect(client.handle, "echo:", nullptr, nullptr), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_sender_open(client.handle, 0, 0, nullptr), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_stats(client.handle, 0, nullptr), WSXDP_E_INVALID);
    memset(&stats, 0, sizeof stats);
    assert_int_equal(wsxdp_stats(client.handle, 0, &stats), WSXDP_E_STRUCT_SIZE);
    assert_int_equal(wsxdp_info(client.handle, 0, nullptr, text, sizeof text), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_info(client.handle, 0, "no such fact", text, sizeof text), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_connect(client.handle, "nonsense", nullptr, &id), WSXDP_E_URL);
    assert_true(wsxdp_last_error(client.handle, nullptr, 0) > 10);
}

TEST(configs_refuse_bad_arguments) {
    wsxdp_config *config = wsxdp_config_new();
    assert_int_equal(wsxdp_config_set(nullptr, "wait", "spin"), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_config_set(config, nullptr, "spin"), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_config_set(config, "wait", nullptr), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_config_set_int(nullptr, "inbox.bytes", 1 << 20), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_config_set_data(nullptr, "tls.ca_pem", "x", 1), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_config_set_data(config, "tls.ca_pem", nullptr, 1), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_config_set(config, "waits", "spin"), WSXDP_E_OPTION_UNKNOWN);
    assert_int_equal(wsxdp_config_set(config, "wait", "doze"), WSXDP_E_OPTION_RANGE);
    assert_int_equal(wsxdp_config_set_int(config, "wait", 1), WSXDP_E_OPTION_TYPE);
    assert_int_equal(wsxdp_config_set_int(config, "inbox.bytes", 1), WSXDP_E_OPTION_RANGE);
    char text[300];
    int length = wsxdp_config_error(config, text, sizeof text);
    assert_true(length > 10 && strstr(text, "inbox.bytes"));
    assert_int_equal(length, strlen(text));
    char small[8];
    assert_int_equal(wsxdp_config_error(config, small, sizeof small), length);
    assert_int_equal(strlen(small), 7);
    wsxdp_config_free(config);
}

TEST(the_option_table_can_be_read) {
    wsxdp_option row;
    memset(&row, 0, sizeof row);
    assert_int_equal(wsxdp_option_at(0, &row), WSXDP_E_STRUCT_SIZE);
    assert_int_equal(wsxdp_option_at(0, nullptr), WSXDP_E_INVALID);
    row.struct_size = sizeof row;
    int rows = wsxdp_option_at(0, &row);
    assert_true(rows > 50);
    std::set<std::string> names;
    for (int i = 0; i < rows; i++) {
        assert_int_equal(wsxdp_option_at(static_cast<size_t>(i), &row), rows);
        assert_true(names.insert(row.name).second);
        assert_true(strlen(row.doc) > 5);
        assert_in_range(row.type, WSXDP_OPTION_TEXT, WSXDP_OPTION_DATA);
        if (row.flags & WSXDP_OPTION_PREFIX) continue;
        wsxdp_config *config = wsxdp_config_new(); // every default can be set
        assert_int_equal(wsxdp_config_set(config, row.name, row.default_value), WSXDP_OK);
        wsxdp_config_free(config);
    }
    assert_int_equal(wsxdp_option_at(static_cast<size_t>(rows), &row), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_option_at(SIZE_MAX, &row), WSXDP_E_INVALID);
}

TEST(facts_tell_what_is_so) {
    Pair pair;
    char buf[200];
    assert_string_equal(pair.client.info("state").c_str(), "open");
    assert_string_equal(pair.client.info("transport").c_str(), "socket");
    assert_string_equal(pair.client.info("url").c_str(), pair.server.url().c_str());
    assert_string_equal(pair.client.info("peer").c_str(),
                        ("127.0.0.1:" + std::to_string(pair.server.port)).c_str());
    assert_true(contains(pair.client.info("local"), "127.0.0.1:"));
    assert_string_equal(pair.client.info("tls.version").c_str(), "");
    int length = wsxdp_info(pair.client.handle, 0, "url", buf, 5);
    assert_int_equal(length, pair.server.url().size());
    assert_string_equal(buf, "ws:/");
}

TEST(every_code_has_its_own_text) {
    std::set<std::string> texts;
    for (int code :
         {-100, -101, -106, -111, -200, -300, -315, -400, -408, -500, -531, -600, -619, -700, -705, -900})
        assert_true(texts.insert(wsxdp_strerror(code)).second);
    assert_non_null(wsxdp_strerror(0));
    assert_non_null(wsxdp_strerror(12345));
    assert_non_null(wsxdp_strerror(-12345));
    assert_true(contains(wsxdp_version(), "0.1.0"));
}

TEST(the_first_connection_is_also_called_zero) {
    Session client("echo:");
    const Seen *open = client.wait(WSXDP_EVENT_OPEN);
    assert_non_null(open);
    assert_int_not_equal(open->conn, 0);
    assert_int_equal(wsxdp_send(client.handle, 0, WSXDP_TEXT, "a", 1, 0), WSXDP_OK);
    assert_int_equal(client.need(WSXDP_EVENT_MESSAGE).conn, open->conn);
}

TEST(a_handle_without_a_connection_waits_and_ends) {
    Session client(nullptr, {});
    assert_int_equal(client.status, WSXDP_OK);
    assert_int_equal(client.poll(10), 0);
    assert_int_equal(client.send("x"), WSXDP_E_STALE);
    assert_int_equal(wsxdp_wakeup(client.handle), WSXDP_OK);
    assert_int_equal(client.poll(1000), 1);
}

TEST(options_of_the_handle_are_refused_at_connect) {
    Session client("echo:");
    Config other(OptionList{{"inbox.bytes", "1MiB"}});
    uint32_t id = 0;
    assert_true(wsxdp_connect(client.handle, "echo:", other.config, &id) < 0);
    char text[300];
    wsxdp_last_error(client.handle, text, sizeof text);
    assert_true(contains(text, "inbox.bytes"));
}

TESTS("arguments")
