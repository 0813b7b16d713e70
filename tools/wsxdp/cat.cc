// SPDX-License-Identifier: MIT
// `wsxdp cat`: one connection, its messages to standard output. One thread; all waiting is in one place.
// Never stops half-way through a message, never drops one unless overflow=conflate was asked for. Worst case:
// a reader that takes nothing stops everything, the sender included, until a signal; that is what
// backpressure means.
#include "cat.h"

#include "advice.h"
#include "configure.h"
#include "counts.h"
#include "exit_codes.h"
#include "format.h"
#include "json_lines.h"
#include "latency_field.h"
#include "live.h"
#include "outgoing.h"
#include "output.h"
#include "screen.h"
#include "signals.h"
#include "summary.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>
#include <poll.h>
#include <unistd.h>

namespace {

constexpr size_t batch_max = 256;
constexpr int64_t forever = INT64_MAX;
constexpr int64_t stdin_look_ns = 5000000; // nobody types faster than this is noticed

int64_t clock_ns(clockid_t clock) {
    timespec now = {};
    clock_gettime(clock, &now);
    return int64_t(now.tv_sec) * 1000000000 + now.tv_nsec;
}

int64_t monotonic_ns() { return clock_ns(CLOCK_MONOTONIC); }

class Session {
public:
    explicit Session(const CatArguments &arguments);
    ~Session();
    Session(const Session &) = delete;
    Session &operator=(const Session &) = delete;
    int run();

private:
    bool open();
    void loop();
    int poll_once(int64_t now_ns);
    bool wait_for_stdin(int fd, int64_t timeout_ns);
    int64_t timeout_ns(int64_t now_ns) const;
    void take_batch(size_t count);
    void look_around();
    void feed_outgoing();
    void redraw(int64_t now_ns);

    void on_event(const wsxdp_event &event);
    void on_open(const wsxdp_event &event);
    void on_message(const wsxdp_event &event);
    void on_reconnecting(const wsxdp_event &event);
    void on_close(const wsxdp_event &event);
    void write_message(const wsxdp_event &event);
    void count_message(const wsxdp_event &event);

    void stop(const std::string &why);
    void fail(int exit_code, const std::string &sentence);
    void judge_close(const wsxdp_event &event, const std::string &said, bool was_open);
    std::string info(const char *what) const;
    void learn_facts();
    void learn_stats();
    void report();

    const CatArguments &arguments_;
    Output output_;
    Screen screen_;
    LiveLine live_;
    Counts counts_;
    Outgoing outgoing_;
    LineReader input_;
    wsxdp *handle_ = nullptr;
    wsxdp_event events_[batch_max];
    int64_t delivered_ns_ = 0; // of the batch in hand
    int64_t begin_ns_ = 0, stop_by_ns_ = forever;
    bool open_ = false, stopping_ = false, over_ = false, failed_ = false;
    std::string error_said_; // text of the last ERROR event
    int error_code_ = 0;
    Ending ending_;
};

// No live line where somebody types: it would be redrawn over what they write.
bool wants_live(const CatArguments &arguments) {
    bool typed = arguments.read_stdin && isatty(STDIN_FILENO);
    return isatty(STDERR_FILENO) && !typed && !arguments.quiet && !arguments.no_live;
}

Session::Session(const CatArguments &arguments)
    : arguments_(arguments), output_(STDOUT_FILENO),
      screen_(arguments.quiet, wants_live(arguments), isatty(STDOUT_FILENO) != 0),
      outgoing_(arguments.binary), input_(STDIN_FILENO) {
    for (const std::string &message : arguments.sends) outgoing_.add(message);
}

Session::~Session() {
    signals_wake(nullptr);
    wsxdp_free(handle_);
}

void Session::fail(int exit_code, const std::string &sentence) {
    screen_.hide();
    screen_.alert(sentence);
    failed_ = true;
    over_ = true;
    ending_.exit_code = exit_code;
    ending_.words = sentence;
}

bool Session::open() {
    Configured configured = configure(arguments_);
    if (!configured.mistake.empty()) {
        fail(exit_usage, configured.mistake);
    } else {
        if (configured.insecure)
            screen_.alert(
                "WARNING: certificates are not checked; whoever sits between here and the server can "
                "read and change everything");
        wsxdp_error error = {};
        error.struct_size = sizeof error;
        int result = wsxdp_open(arguments_.url.c_str(), configured.config, &handle_, &error);
        if (result < 0)
            fail(exit_code_of(result), failure_sentence(arguments_.url, result, error.text, false));
    }
    wsxdp_config_free(configured.config);
    signals_wake(handle_);
    return !failed_;
}

int Session::run() {
    signals_install();
    begin_ns_ = monotonic_ns();
    if (arguments_.duration_ns && begin_ns_ < forever - arguments_.duration_ns)
        stop_by_ns_ = begin_ns_ + arguments_.duration_ns;
    live_.set_state("connecting to " + printable(arguments_.url));
    if (open()) loop();
    output_.flush();
    screen_.hide();
    report();
    return ending_.exit_code;
}

void Session::loop() {
    while (!over_) {
        int64_t now_ns = monotonic_ns();
        int count = poll_once(now_ns);
        if (count < 0) return fail(exit_code_of(count), wsxdp_strerror(count));
        delivered_ns_ = clock_ns(CLOCK_REALTIME);
        take_batch(size_t(count));
        if (!over_) look_around();
    }
}

int64_t Session::timeout_ns(int64_t now_ns) const {
    int64_t until = stop_by_ns_;
    if (screen_.live()) until = std::min(until, live_.next_ns());
    if (until == forever) return -1;
    return std::max<int64_t>(until - now_ns, 0);
}

int Session::poll_once(int64_t now_ns) {
    int64_t timeout = timeout_ns(now_ns);
    bool listening = arguments_.read_stdin && !input_.ended() && !outgoing_.full() && !stopping_;
    if (!listening) return wsxdp_poll(handle_, events_, batch_max, timeout);
    const int fd = wsxdp_fd(handle_);
    if (wait_for_stdin(fd, fd < 0 ? 0 : timeout)) input_.read_into(outgoing_);
    // Without a descriptor (poller=poll) nothing tells of both: the library waits, and input is looked at
    // often.
    int64_t look_again = timeout < 0 || timeout > stdin_look_ns ? stdin_look_ns : timeout;
    return wsxdp_poll(handle_, events_, batch_max, fd < 0 ? look_again : 0);
}

// Waits for standard input, the library's descriptor (not if it is negative) or the timeout; says whether
// standard input has something.
bool Session::wait_for_stdin(int fd, int64_t timeout_ns) {
    pollfd waits[2] = {{STDIN_FILENO, POLLIN, 0}, {fd, POLLIN, 0}};
    timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    if (::ppoll(waits, 2, timeout_ns < 0 ? nullptr : &timeout, nullptr) <= 0) return false;
    return waits[0].revents != 0;
}

void Session::take_batch(size_t count) {
    for (size_t i = 0; i < count && !failed_; i++) on_event(events_[i]);
    output_.flush();
    screen_.after_output();
}

// Between two batches: signals, time, the output's end, what waits to be sent, the live line.
void Session::look_around() {
    int64_t now_ns = monotonic_ns();
    if (output_.ended() && output_.error_number() != EPIPE)
        return fail(exit_output,
                    std::string("cannot write to standard output: ") + strerror(output_.error_number()));
    if (output_.ended()) stop("standard output was closed");
    if (signal_received()) stop(std::string("ended by SIG") + sigabbrev_np(signal_received()));
    if (!stopping_ && now_ns >= stop_by_ns_) {
        if (counts_.start_ns == 0)
            return fail(exit_timeout,
                        "no connection to " + printable(arguments_.url) + " within the given duration");
        stop("ended after " + duration_text(arguments_.duration_ns));
    }
    feed_outgoing();
    redraw(now_ns);
}

void Session::feed_outgoing() {
    if (!open_ || stopping_) return;
    int sent = outgoing_.pump(handle_);
    if (sent > 0) counts_.sent += unsigned(sent);
    if (sent == WSXDP_E_SEND_UTF8)
        screen_.alert("a message to send is not UTF-8 and was left out; --binary sends any bytes");
    else if (sent < 0)
        screen_.alert(std::string("a message was not sent: ") + wsxdp_strerror(sent));
    if (arguments_.close_on_eof && input_.ended() && outgoing_.empty()) stop("standard input ended");
}

void Session::redraw(int64_t now_ns) {
    if (screen_.live() && live_.due(now_ns)) screen_.draw(live_.compose(counts_, now_ns));
}

// Begins the polite end; the CLOSE event is what finishes it.
void Session::stop(const std::string &why) {
    if (stopping_) return;
    stopping_ = true;
    ending_.words = why;
    stop_by_ns_ = forever; // close.timeout_ns bounds what follows
    live_.set_state("closing");
    if (wsxdp_close(handle_, 0, 1000, "", 0) >= 0) return;
    learn_stats();
    over_ = true;
}

void Session::on_event(const wsxdp_event &event) {
    switch (event.kind) {
    case WSXDP_EVENT_OPEN:
        return on_open(event);
    case WSXDP_EVENT_MESSAGE:
    case WSXDP_EVENT_FRAGMENT:
        return on_message(event);
    case WSXDP_EVENT_RECONNECTING:
        return on_reconnecting(event);
    case WSXDP_EVENT_CLOSE:
        return on_close(event);
    case WSXDP_EVENT_LOST:
        counts_.lost += uint64_t(event.value);
        return;
    case WSXDP_EVENT_ERROR:
        error_code_ = event.error;
        error_said_.assign(reinterpret_cast<const char *>(event.data), size_t(event.len));
        return;
    default:
        return;
    }
}

std::string Session::info(const char *what) const {
    char text[512] = "";
    return wsxdp_info(handle_, 0, what, text, sizeof text) < 0 ? "" : text;
}

void Session::learn_facts() {
    ConnectionFacts &facts = counts_.facts;
    facts.url = info("url");
    facts.peer = info("peer");
    facts.transport = info("transport");
    facts.mode = info("mode");
    facts.tls_version = info("tls.version");
    facts.tls_cipher = info("tls.cipher");
    facts.subprotocol = info("subprotocol");
    facts.extensions = info("extensions");
}

void Session::learn_stats() {
    wsxdp_stats_t stats = {};
    stats.struct_size = sizeof stats;
    if (wsxdp_stats(handle_, WSXDP_ALL, &stats) < 0) return;
    counts_.stats = stats;
    counts_.stats_known = true;
}

void Session::on_open(const wsxdp_event &event) {
    open_ = true;
    error_code_ = 0;
    if (counts_.start_ns == 0) counts_.start_ns = monotonic_ns();
    learn_facts();
    counts_.facts.tls_resumed = (event.flags & WSXDP_FLAG_RESUMED) != 0;
    live_.set_state("");
    screen_.forget(); // it still says "connecting"
    std::string text = (event.flags & WSXDP_FLAG_RECONNECTED) ? "open again: " : "open: ";
    text += printable(counts_.facts.url);
    if (!counts_.facts.tls_version.empty()) text += ", " + counts_.facts.tls_version;
    if (counts_.facts.tls_resumed) text += " resumed";
    screen_.note(text + ", after " + duration_text(event.value));
}

void Session::count_message(const wsxdp_event &event) {
    counts_.payload_bytes += event.len;
    if (event.kind == WSXDP_EVENT_FRAGMENT && !(event.flags & WSXDP_FLAG_FINAL)) return;
    counts_.messages++;
    (event.opcode == WSXDP_BINARY ? counts_.binary : counts_.text)++;
    counts_.latency.record(event, delivered_ns_);
    if (arguments_.latency_field.empty() || event.kind == WSXDP_EVENT_FRAGMENT) return;
    int64_t sent_ns = 0;
    std::string_view message(reinterpret_cast<const char *>(event.data), size_t(event.len));
    if (find_time_field(message, arguments_.latency_field, &sent_ns))
        counts_.latency.record_one_way(sent_ns, delivered_ns_);
}

void Session::write_message(const wsxdp_event &event) {
    if (output_.ended()) return;
    screen_.before_output();
    if (arguments_.json) {
        append_json_line(output_.buffer(), event, delivered_ns_);
        return output_.flush_if_large();
    }
    output_.append(std::string_view(reinterpret_cast<const char *>(event.data), size_t(event.len)));
    bool whole = event.kind == WSXDP_EVENT_MESSAGE || (event.flags & WSXDP_FLAG_FINAL);
    if (event.opcode == WSXDP_TEXT && whole) output_.append('\n');
}

void Session::on_message(const wsxdp_event &event) {
    if (arguments_.count && counts_.messages >= arguments_.count)
        return; // came before the peer saw our close
    write_message(event);
    count_message(event);
    if (arguments_.count && counts_.messages >= arguments_.count)
        stop("ended after " + grouped(arguments_.count) + (arguments_.count == 1 ? " message" : " messages"));
}

void Session::on_reconnecting(const wsxdp_event &event) {
    bool was_open = open_;
    open_ = false;
    if (stopping_) return;
    // 1000 says that all has been said (RFC 6455 section 7.4.1): the server is done, and so are we.
    if ((event.flags & WSXDP_FLAG_CLEAN) && event.code == 1000)
        return stop("the server closed the connection, code 1000");
    std::string said(reinterpret_cast<const char *>(event.data), size_t(event.len));
    if (said.empty()) said = error_said_;
    std::string cause = failure_sentence(arguments_.url, event.error, said, was_open);
    std::string when = event.value <= 0 ? "now" : "in " + duration_text(event.value);
    screen_.note(cause + " (attempt " + std::to_string(event.attempt) + " " + when + ")");
    live_.set_state("reconnecting, attempt " + std::to_string(event.attempt));
}

// A normal end is one that we began, or the peer began with 1000 or 1001.
void Session::judge_close(const wsxdp_event &event, const std::string &said, bool was_open) {
    std::string reason(reinterpret_cast<const char *>(event.data), size_t(event.len));
    std::string shown = std::to_string(event.code) + (reason.empty() ? "" : " '" + printable(reason) + "'");
    bool normal =
        (event.flags & WSXDP_FLAG_CLEAN) && (event.code == 1000 || event.code == 1001 || event.code == 1005);
    if (normal) {
        ending_.words = "the server closed the connection, code " + shown;
    } else if (event.flags & WSXDP_FLAG_CLEAN && event.error >= 0) {
        fail(exit_closed, "the server closed the connection, code " + shown);
    } else {
        // The cause says more than that the attempts are used up, except in words.
        int code = error_code_ < 0 ? error_code_ : event.error < 0 ? event.error : WSXDP_E_CLOSED;
        bool gave_up = event.error == WSXDP_E_RETRIES || said.empty();
        bool unanswered = counts_.start_ns == 0 && (code == WSXDP_E_EOF || code == WSXDP_E_RESET);
        fail(unanswered ? exit_http : exit_code_of(code),
             failure_sentence(arguments_.url, code, gave_up ? reason : said, was_open));
    }
}

void Session::on_close(const wsxdp_event &event) {
    bool was_open = open_;
    open_ = false;
    wsxdp_stats_t stats = {};
    stats.struct_size = sizeof stats;
    bool goes_on = wsxdp_stats(handle_, event.conn, &stats) >= 0 &&
                   (stats.state == WSXDP_STATE_WAITING || stats.state == WSXDP_STATE_CONNECTING);
    if (goes_on && !stopping_) return;
    ending_.close_code = event.code;
    learn_stats();
    if (!stopping_) {
        judge_close(event, error_said_, was_open);
    } else if (event.error == WSXDP_E_CLOSE_TIMEOUT) {
        screen_.note("the server did not answer the close in time");
    }
    over_ = true;
}

void Session::report() {
    counts_.end_ns = monotonic_ns();
    if (counts_.start_ns == 0 && !failed_) { // a signal, or the end of the output's reader
        ending_.words += " before the connection was open";
        ending_.exit_code = exit_interrupted;
    }
    if (arguments_.summary_json) return screen_.raw(summary_json(counts_, ending_));
    bool ever_open = counts_.start_ns != 0;
    if (!ever_open && !failed_) return screen_.note(ending_.words);
    if (!ever_open || arguments_.quiet) return;
    Ending ending = ending_;
    if (failed_) ending.words = "this is what came before:"; // the cause has just been said
    screen_.raw(summary_text(counts_, ending));
}

} // namespace

int run_cat(const CatArguments &arguments) {
    Session session(arguments);
    return session.run();
}
