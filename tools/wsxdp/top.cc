// SPDX-License-Identifier: MIT
// See top.h. Looks on from outside: nothing that is done here is noticed by the pipeline, whose end is told
// and is no failure. Names whose process was killed are removed on the way. Between two reports the rings are
// glanced at, so that their high-water marks and latencies are not those of one moment a second.
#include "top.h"

#include "exit_codes.h"
#include "format.h"
#include "output.h"
#include "signals.h"
#include "top_report.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <dirent.h>
#include <memory>
#include <poll.h>
#include <unistd.h>

using namespace wx;

namespace {

constexpr int64_t glance_interval_ns = 50 * ns_per_ms;

struct Directory {
    int fd = -1;
    ~Directory() {
        if (fd >= 0) close(fd);
    }
};

int fail(int code, const std::string &sentence) {
    fprintf(stderr, "wsxdp: %s\n", sentence.c_str());
    return code;
}

struct Named {
    std::string name;
    NameRecord record;
};

std::vector<Named> living(int directory) {
    std::vector<std::string> names;
    const int copy = dup(directory); // closedir's
    DIR *list = copy >= 0 ? fdopendir(copy) : nullptr;
    if (list == nullptr) {
        if (copy >= 0) close(copy);
        return {};
    }
    rewinddir(list);
    while (const dirent *entry = readdir(list)) {
        ErrorText error;
        if (name_check(ByteView(entry->d_name), &error) >= 0) names.push_back(entry->d_name);
    }
    closedir(list);
    std::sort(names.begin(), names.end());
    std::vector<Named> out;
    for (const std::string &name : names) {
        Named one{name, {}};
        const NameState state = name_look(directory, name.c_str(), &one.record);
        if (state == NameState::alive) out.push_back(one);
        if (state == NameState::stale) name_sweep(directory, name.c_str());
    }
    return out;
}

// false: a signal or the pipeline's end came first.
bool wait_glancing(TopRegion &region, int64_t until) {
    while (monotonic_ns() < until) {
        const int64_t left = std::min(until - monotonic_ns(), glance_interval_ns);
        if (left > 0) poll(nullptr, 0, int(left / ns_per_ms) + 1);
        if (signal_received() != 0 || region.ended()) return false;
        region.glance();
    }
    return true;
}

struct Screenful {
    Output output{STDOUT_FILENO};
    bool terminal = isatty(STDOUT_FILENO) != 0;

    // On a terminal in place of the one before.
    void show(const std::string &text, bool whole_screen) {
        if (whole_screen && terminal) output.append("\033[H\033[2J");
        output.append(text);
        output.flush();
    }
};

int watch(const std::string &name, TopRegion &region, const NameRecord &record,
          const TopArguments &arguments) {
    const std::string problem = region.attach(record);
    if (!problem.empty()) return fail(exit_internal, name + ": " + problem);
    Screenful screen;
    TopSample before = region.sample();
    for (;;) {
        const bool whole = wait_glancing(region, before.at_ns + arguments.interval_ns);
        if (signal_received() != 0 && !whole) return exit_ok;
        // A handle that was freed in a process that goes on takes its name with it.
        Directory directory;
        ErrorText error;
        NameRecord now;
        const bool there = whole && name_directory(false, &directory.fd, &error) >= 0 &&
                           name_look(directory.fd, name.c_str(), &now) == NameState::alive &&
                           now.pid == record.pid && now.region == record.region &&
                           now.started == record.started;
        TopSample sample = region.sample();
        const TopView view{name, before, sample, region};
        if (there || arguments.once)
            screen.show(arguments.json ? top_json(view) : top_text(view), !arguments.once && !arguments.json);
        if (screen.output.ended()) return screen.output.error_number() == EPIPE ? exit_ok : exit_output;
        if (!there) fprintf(stderr, "wsxdp: %s has ended\n", name.c_str());
        if (!there || arguments.once) return exit_ok;
        before = std::move(sample);
    }
}

int list(const std::vector<Named> &all, const TopArguments &arguments) {
    Screenful screen;
    std::string text;
    for (const Named &one : all) {
        TopRegion region;
        const std::string problem = region.attach(one.record);
        if (!problem.empty()) {
            fprintf(stderr, "wsxdp: %s: %s\n", one.name.c_str(), problem.c_str());
            continue;
        }
        TopSample sample = region.sample();
        if (arguments.json) {
            text += top_json(TopView{one.name, sample, sample, region});
            continue;
        }
        text += one.name + "  process " + std::to_string(one.record.pid) + ", placement " + sample.placement +
                ", " + std::to_string(sample.connections.size()) + " connections\n";
    }
    screen.show(text, false);
    return screen.output.ended() && screen.output.error_number() != EPIPE ? exit_output : exit_ok;
}

} // namespace

int run_top(const TopArguments &arguments) {
    Directory directory;
    ErrorText error;
    signals_install();
    int status = name_directory(false, &directory.fd, &error);
    if (status < 0 && error.system_errno != ENOENT) return fail(exit_internal, error.text);
    const std::vector<Named> all = status >= 0 ? living(directory.fd) : std::vector<Named>();
    for (const Named &one : all) {
        if (one.name != arguments.name) continue;
        auto region = std::make_unique<TopRegion>();
        return watch(one.name, *region, one.record, arguments);
    }
    if (!arguments.name.empty())
        return fail(exit_usage, "no pipeline is called '" + printable(arguments.name) +
                                    "'; 'wsxdp top' lists those there are, and the option name= gives one");
    if (all.empty() && !arguments.json)
        return fail(exit_ok, "no pipeline has a name; give one with the option name=, as in -o name=feed");
    return list(all, arguments);
}
