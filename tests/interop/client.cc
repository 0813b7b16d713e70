// SPDX-License-Identifier: MIT
// client URL [name=value ...] -- COMMAND ...: one connection through the public interface, for the tests in
// this folder. It carries out the commands in order and checks every byte that comes back; it never
// reconnects, and it never waits longer than 20 s for anything, except while it serves. The first thing that
// is not as expected is printed, and the exit status is 1. Memory: whole messages are copied, so a queue of
// them is as large as the peer makes it.
//
//   echo:KIND:SIZE:FRAGMENTS      send a message of t(ext) or b(inary), which must come back as it was
//   hash:KIND:SIZE:FRAGMENTS      send one; the answer must be the text "KIND SIZE SHA256"
//   get:WORDS                     send the text "get WORDS"; a message and then its "KIND SIZE SHA256" must
//   come many:COUNT:SIZE               send so many without waiting; all must come back in order
//   numbers:COUNT                 receive the texts "0", "1" ..., which the server sends unasked
//   ping:TEXT                     send a ping; its pong must come
//   pinged:TEXT                   send the text "ping TEXT"; a ping must come, and then the text "pong TEXT"
//   reply:SIZE                    like echo of a text, but what else the peer sends is passed over
//   say:TEXT                      send a text and go on
//   info:WHAT                     print a fact about the connection
//   compressed:YES|NO             whether the last message arrived compressed must be so
//   close:CODE:REASON             close; the CLOSE event is printed
//   closed                        wait for the peer's close; the CLOSE event is printed
//   serve                         send every message back until the connection is over; the CLOSE event is
//   printed
#include <wsxdp.h>

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <deque>
#include <string>
#include <vector>

namespace {

constexpr int64_t limit_ns = 20000000000;

struct Message {
    char kind; // t, b, or i(n) and o(ut) for a ping and a pong
    bool compressed;
    std::string data;
};

struct Client {
    wsxdp *handle = nullptr;
    std::deque<Message> received;
    bool open = false, over = false, writable = true, serving = false, compressed = false;
    std::deque<Message> unsent; // serve: what the queue had no room for
    int64_t deadline = 0;
};

Client client;

int64_t now_ns() {
    timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return static_cast<int64_t>(at.tv_sec) * 1000000000 + at.tv_nsec;
}

[[noreturn]] void fail(const std::string &text) {
    printf("FAILED %s\n", text.c_str());
    exit(1);
}

void check(int status, const char *what) {
    if (status >= 0) return;
    char text[512];
    wsxdp_last_error(client.handle, text, sizeof text);
    fail(std::string(what) + ": " + wsxdp_strerror(status) + ": " + text);
}

std::string describe(const Message &message) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char *>(message.data.data()), message.data.size(), digest);
    std::string text = std::string(1, message.kind) + " " + std::to_string(message.data.size()) + " ";
    for (unsigned char byte : digest) {
        char hex[3];
        snprintf(hex, sizeof hex, "%02x", byte);
        text += hex;
    }
    return text;
}

// ---- events ----

void print_close(const wsxdp_event &event) {
    printf("closed code=%u error=%d clean=%d by_peer=%d reason=%.*s\n", event.code, event.error,
           (event.flags & WSXDP_FLAG_CLEAN) != 0, (event.flags & WSXDP_FLAG_BY_PEER) != 0,
           static_cast<int>(event.len), reinterpret_cast<const char *>(event.data));
}

int send_back(const Message &message) {
    uint32_t opcode = message.kind == 't' ? WSXDP_TEXT : WSXDP_BINARY;
    return wsxdp_send(client.handle, 0, opcode, message.data.data(), message.data.size(), 0);
}

void flush_unsent() {
    while (!client.unsent.empty() && client.writable) {
        int status = send_back(client.unsent.front());
        if (status == WSXDP_E_AGAIN) {
            client.writable = false;
            return;
        }
        if (status == WSXDP_E_CLOSED) return client.unsent.clear();
        check(status, "send");
        client.unsent.pop_front();
    }
}

void take(const wsxdp_event &event) {
    std::string data(reinterpret_cast<const char *>(event.data), event.len);
    switch (event.kind) {
    case WSXDP_EVENT_OPEN:
        client.open = true;
        break;
    case WSXDP_EVENT_MESSAGE: {
        bool compressed = (event.flags & WSXDP_FLAG_COMPRESSED) != 0;
        Message message{event.opcode == WSXDP_TEXT ? 't' : 'b', compressed, std::move(data)};
        (client.serving ? client.unsent : client.received).push_back(std::move(message));
        break;
    }
    case WSXDP_EVENT_PING:
        client.received.push_back({'i', false, std::move(data)});
        break;
    case WSXDP_EVENT_PONG:
        client.received.push_back({'o', false, std::move(data)});
        break;
    case WSXDP_EVENT_WRITABLE:
        client.writable = true;
        break;
    case WSXDP_EVENT_ERROR:
        printf("error %d %s\n", event.error, data.c_str());
        break;
    case WSXDP_EVENT_CLOSE:
        print_close(event);
        client.over = true;
        break;
    default:
        break;
    }
}

void step(const char *waiting_for) {
    if (client.over) fail(std::string("closed while waiting for ") + waiting_for);
    wsxdp_event events[256];
    // Serving, nothing but the network wakes it: a poll that should have seen work to do hangs here.
    int count = wsxdp_poll(client.handle, events, 256, client.serving ? -1 : 100000000);
    check(count, "poll");
    for (int i = 0; i < count; i++) take(events[i]);
    if (count > 0) client.deadline = now_ns() + limit_ns;
    if (now_ns() > client.deadline) fail(std::string("nothing came while waiting for ") + waiting_for);
    if (client.serving) {
        client.received.clear();
        flush_unsent();
    }
}

Message receive(const char *waiting_for) {
    while (client.received.empty()) step(waiting_for);
    Message message = std::move(client.received.front());
    client.received.pop_front();
    client.compressed = message.compressed;
    return message;
}

void expect(const Message &wanted) {
    Message got = receive(wanted.kind == 'o' ? "a pong" : wanted.kind == 'i' ? "a ping" : "a message");
    if (got.kind == wanted.kind && got.data == wanted.data) return;
    size_t same = 0;
    while (same < got.data.size() && same < wanted.data.size() && got.data[same] == wanted.data[same]) same++;
    fail("expected " + describe(wanted) + ", got " + describe(got) + ", equal up to byte " +
         std::to_string(same) + ": " + got.data.substr(0, 80));
}

// ---- sending ----

// Words of one to four bytes of UTF-8 for a text, any bytes for a binary one; half of either repeats, so that
// compression has something to find.
std::string make_data(char kind, size_t size, uint64_t seed) {
    static const char *const letters[] = {"a", "e", "n", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                          "0", " "};
    std::string data;
    data.reserve(size + 64);
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    while (data.size() < size) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint32_t drawn = static_cast<uint32_t>(state >> 33);
        if (drawn % 2 && data.size() > 64 && kind == 'b')
            data.append(data, data.size() - 64, 32);
        else if (kind == 'b')
            data.append(reinterpret_cast<const char *>(&drawn), 4);
        else
            data += letters[drawn & 7];
    }
    data.resize(size);
    // A text must not end inside a character.
    for (size_t i = 1; kind == 't' && i <= 4 && i <= size; i++) {
        if ((data[size - i] & 0xc0) == 0x80) continue;
        if (static_cast<unsigned char>(data[size - i]) >= 0xc0) data.replace(size - i, i, i, '.');
        break;
    }
    return data;
}

void send_one(uint32_t opcode, const char *data, size_t size, uint32_t flags) {
    for (;;) {
        int status = wsxdp_send(client.handle, 0, opcode, data, size, flags);
        if (status != WSXDP_E_AGAIN) return check(status, "send");
        client.writable = false;
        while (!client.writable) step("room to send");
    }
}

void send_message(const Message &message, size_t fragments) {
    uint32_t opcode = message.kind == 't' ? WSXDP_TEXT : message.kind == 'b' ? WSXDP_BINARY : WSXDP_PING;
    size_t at = 0;
    for (size_t i = 1; i <= fragments; i++) {
        size_t end = message.data.size() * i / fragments;
        send_one(opcode, message.data.data() + at, end - at, i < fragments ? WSXDP_SEND_NOT_FINAL : 0);
        opcode = WSXDP_CONTINUATION;
        at = end;
    }
}

void say(const std::string &text) { send_message({'t', false, text}, 1); }

// ---- commands ----

using Words = std::vector<std::string>;

uint64_t number(const Words &words, size_t i) {
    return words.size() > i ? strtoull(words[i].c_str(), nullptr, 10) : 1;
}

Message made(const Words &words) {
    static uint64_t seed = 0;
    return {words[1][0], false, make_data(words[1][0], number(words, 2), ++seed)};
}

void do_echo(const Words &words) {
    Message message = made(words);
    send_message(message, number(words, 3));
    expect(message);
}

void do_hash(const Words &words) {
    Message message = made(words);
    send_message(message, number(words, 3));
    expect({'t', false, describe(message)});
}

void do_get(const Words &words) {
    say("get " + words[1]);
    Message message = receive("a message");
    bool compressed = message.compressed;
    expect({'t', false, describe(message)});
    client.compressed = compressed;
}

void do_many(const Words &words) {
    uint64_t count = number(words, 1), size = number(words, 2), answered = 0;
    auto nth = [size](uint64_t i) {
        return Message{i & 1 ? 't' : 'b', false, make_data(i & 1 ? 't' : 'b', size, i)};
    };
    for (uint64_t i = 0; i < count; i++) {
        send_message(nth(i), 1);
        if (i % 64 == 63) step("nothing in particular");
        while (!client.received.empty()) expect(nth(answered++));
    }
    while (answered < count) expect(nth(answered++));
}

void do_numbers(const Words &words) {
    for (uint64_t i = 0; i < number(words, 1); i++) expect({'t', false, std::to_string(i)});
}

void do_ping(const Words &words) {
    send_message({'i', false, words[1]}, 1);
    expect({'o', false, words[1]});
}

void do_pinged(const Words &words) {
    say("ping " + words[1]);
    expect({'i', false, words[1]});
    expect({'t', false, "pong " + words[1]});
}

void do_reply(const Words &words) {
    Message message{'t', false, make_data('t', number(words, 1), 7)};
    send_message(message, 1);
    while (receive("the reply").data != message.data) continue;
}

void do_info(const Words &words) {
    char text[4096];
    check(wsxdp_info(client.handle, 0, words[1].c_str(), text, sizeof text), "info");
    printf("%s=%s\n", words[1].c_str(), text);
}

void do_compressed(const Words &words) {
    if (client.compressed != (words[1] == "YES")) fail("the last message's compression is not " + words[1]);
}

void do_closed(const Words &) {
    while (!client.over) step("the close");
}

void do_close(const Words &words) {
    const std::string reason = words.size() > 2 ? words[2] : "";
    uint16_t code = static_cast<uint16_t>(number(words, 1));
    check(wsxdp_close(client.handle, 0, code, reason.c_str(), reason.size()), "close");
    do_closed(words);
}

void do_serve(const Words &words) {
    client.serving = true;
    do_closed(words);
}

const struct {
    const char *name;
    void (*run)(const Words &);
} commands[] = {
    {"echo", do_echo},     {"hash", do_hash},       {"get", do_get},
    {"many", do_many},     {"numbers", do_numbers}, {"ping", do_ping},
    {"pinged", do_pinged}, {"reply", do_reply},     {"say", [](const Words &w) { say(w[1]); }},
    {"info", do_info},     {"close", do_close},     {"compressed", do_compressed},
    {"closed", do_closed}, {"serve", do_serve},
};

Words split(const std::string &text) {
    Words words(1);
    for (char c : text) {
        if (c == ':')
            words.emplace_back();
        else
            words.back() += c;
    }
    return words;
}

void run(const char *text) {
    Words words = split(text);
    for (const auto &command : commands) {
        if (words[0] != command.name) continue;
        client.deadline = now_ns() + limit_ns;
        command.run(words);
        if (words[0] != "info") printf("ok %s\n", text);
        return;
    }
    fail(std::string("no such command: ") + text);
}

void set(wsxdp_config *config, const std::string &option) {
    size_t equals = option.find('=');
    if (equals == std::string::npos) fail("an option is name=value, not " + option);
    if (wsxdp_config_set(config, option.substr(0, equals).c_str(), option.substr(equals + 1).c_str()) >= 0)
        return;
    char text[512];
    wsxdp_config_error(config, text, sizeof text);
    fail(text);
}

} // namespace

int main(int argc, char **argv) {
    if (argc < 2) fail("usage: client URL [name=value ...] -- COMMAND ...");
    setvbuf(stdout, nullptr, _IOLBF, 0);
    wsxdp_config *config = wsxdp_config_new();
    set(config, "reconnect=no");
    int i = 2;
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) set(config, argv[i]);
    wsxdp_error error;
    error.struct_size = sizeof error;
    if (wsxdp_open(argv[1], config, &client.handle, &error) < 0) fail(error.text);
    wsxdp_config_free(config);
    client.deadline = now_ns() + limit_ns;
    // `serve` and `closed` are also about connections that end before or at once after they open.
    bool patient = i + 1 < argc && (strcmp(argv[i + 1], "serve") == 0 || strcmp(argv[i + 1], "closed") == 0);
    while (!client.open && !patient) step("the connection");
    for (i++; i < argc; i++) run(argv[i]);
    wsxdp_stats_t stats;
    stats.struct_size = sizeof stats;
    if (wsxdp_stats(client.handle, WSXDP_ALL, &stats) >= 0 && stats.allocations != 0)
        fail("memory was allocated while open");
    wsxdp_free(client.handle);
    return 0;
}
