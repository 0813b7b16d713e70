// SPDX-License-Identifier: MIT
// The command line, read with CLI11. A mistake gets one sentence with the nearest right word instead of
// CLI11's usual page, so unknown words are collected by CLI11 and judged here. Never starts anything.
#include "arguments.h"

#include "advice.h"
#include "exit_codes.h"
#include "format.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>

namespace {

const char front_page[] = "wsxdp - a WebSocket client for people who count microseconds\n"
                          "\n"
                          "  wsxdp cat URL        connect and write the messages to standard output\n"
                          "  wsxdp top [NAME]     what goes on in a program's pipelines, live\n"
                          "  wsxdp doctor         what decides whether transport=xdp can run here\n"
                          "  wsxdp options        list the library's options, for cat's -o\n"
                          "  wsxdp version        version, features and TLS versions of this build\n"
                          "  wsxdp help COMMAND   the flags of one command\n"
                          "\n"
                          "Try it without any server:  wsxdp cat echo: --send hello --count 1\n"
                          "'man wsxdp' has the whole story.\n";

struct Line {
    CLI::App app{"", "wsxdp"};
    CLI::App *cat = nullptr, *top = nullptr, *doctor = nullptr, *options = nullptr, *version = nullptr,
             *help = nullptr;
    std::string count, duration, interval, help_about;
    bool root_version = false;
};

CLI::Option *add_list(CLI::App *app, const char *flags, std::vector<std::string> &list, const char *doc) {
    return app->add_option(flags, list, doc)->allow_extra_args(false)->take_all();
}

void define_cat_input(CLI::App *cat, CatArguments &arguments) {
    cat->add_option("URL", arguments.url, "ws://HOST:PORT/PATH, wss://..., ws+unix:///SOCKET:/PATH or echo:");
    add_list(cat, "--send", arguments.sends, "Send this message once the connection is open (repeatable)")
        ->type_name("TEXT");
    add_list(cat, "--subscribe", arguments.subscribes,
             "Send this message after every open, reconnects too (repeatable)")
        ->type_name("TEXT");
    cat->add_flag("--stdin", arguments.read_stdin, "Send each line of standard input as a message");
    cat->add_flag("--close-on-eof", arguments.close_on_eof, "With --stdin: close when standard input ends");
    cat->add_flag("--binary", arguments.binary, "Send --send and --stdin as binary messages");
}

void define_cat_output(Line &line, CatArguments &arguments) {
    CLI::App *cat = line.cat;
    cat->add_flag("--json", arguments.json,
                  "Write JSON lines with every time stamp instead of the bare messages");
    cat->add_option("--count", line.count, "End after this many messages")->type_name("N");
    cat->add_option("--duration", line.duration, "End after this long: 10, 500ms, 2m, 1h")->type_name("TIME");
    cat->add_option("--latency-field", arguments.latency_field,
                    "Field of the JSON messages with the sender's time, for one-way latency; a.b goes into a")
        ->type_name("NAME");
    cat->add_flag("--quiet", arguments.quiet, "No notes, live line or summary; errors only");
    cat->add_flag("--no-live", arguments.no_live, "No live line on a terminal");
    cat->add_flag("--summary-json", arguments.summary_json, "The summary as one line of JSON");
}

void define_cat_connection(CLI::App *cat, CatArguments &arguments) {
    add_list(cat, "--header", arguments.headers, "Header for the upgrade request (repeatable)")
        ->type_name("'NAME: VALUE'");
    cat->add_option("--ca", arguments.ca_file, "PEM file of the authorities to trust instead of the system's")
        ->type_name("FILE");
    cat->add_flag("--insecure", arguments.insecure,
                  "Accept any certificate: anyone on the way can read and change");
    cat->add_flag("--retry", arguments.retry, "Keep trying when the first attempt to connect fails");
    cat->add_flag("--no-reconnect", arguments.no_reconnect, "End when the connection is lost");
    add_list(cat, "-o,--option", arguments.options,
             "Set any option of the library, see 'wsxdp options' (repeatable)")
        ->type_name("NAME=VALUE");
}

void define_options(Line &line, OptionsArguments &arguments) {
    line.options->add_option("PATTERN", arguments.pattern, "Only options whose name or text contains this");
    line.options->add_flag("--names", arguments.names, "Names only, one a line");
    line.options->add_flag("--json", arguments.json, "As JSON");
    line.options->add_flag("--markdown", arguments.markdown, "As a table in Markdown");
    line.options->add_flag("--man", arguments.man, "As a manual page");
}

void define_doctor(Line &line, DoctorArguments &arguments) {
    line.doctor->add_option("URL", arguments.url, "Examine the way to this server: ws://HOST or wss://HOST");
    line.doctor
        ->add_option("--interface", arguments.interface,
                     "Examine this one; without it, that of the URL or of the default route")
        ->type_name("NAME");
    line.doctor->add_flag("--json", arguments.json, "As JSON");
}

void define_top(Line &line, TopArguments &arguments) {
    line.top->add_option("NAME", arguments.name,
                         "Watch the pipeline opened with this option name; without it, list all");
    line.top->add_flag("--once", arguments.once, "One report, over one interval");
    line.top->add_flag("--json", arguments.json, "Each report as one line of JSON");
    line.top->add_option("--interval", line.interval, "Time from report to report: 1, 250ms (default 1 s)")
        ->type_name("TIME");
}

int check_top(const Line &line, TopArguments &arguments) {
    if (line.interval.empty() || parse_duration(line.interval, &arguments.interval_ns)) return exit_ok;
    fprintf(stderr, "wsxdp: --interval takes a time such as 1, 250ms or 1m, not '%s'\n",
            printable(line.interval).c_str());
    return exit_usage;
}

void define(Line &line, Arguments &arguments) {
    line.app.set_help_flag("-h,--help", "Print this help");
    line.app.add_flag("-V,--version", line.root_version, "The same as 'wsxdp version'");
    line.cat = line.app.add_subcommand("cat", "Connect and write the messages to standard output");
    line.top = line.app.add_subcommand("top", "What goes on in a program's pipelines, live");
    line.doctor = line.app.add_subcommand("doctor", "What decides whether transport=xdp can run here");
    line.options = line.app.add_subcommand("options", "List the library's options, for cat's -o");
    line.version = line.app.add_subcommand("version", "Version, features and TLS versions of this build");
    line.help = line.app.add_subcommand("help", "Print help, for one command if named");
    define_cat_input(line.cat, arguments.cat_arguments);
    define_cat_output(line, arguments.cat_arguments);
    define_cat_connection(line.cat, arguments.cat_arguments);
    define_top(line, arguments.top_arguments);
    define_doctor(line, arguments.doctor_arguments);
    define_options(line, arguments.options_arguments);
    line.version->add_flag("--json", arguments.version_json, "As JSON");
    line.help->add_option("COMMAND", line.help_about, "cat, top, doctor, options or version");
    line.app.require_subcommand(0, 1); // so that "help cat" and "options version" are not two commands
    line.app.allow_extras();
    for (CLI::App *sub : line.app.get_subcommands({})) {
        sub->allow_extras();
        sub->fallthrough(false);
    }
    line.cat->footer(
        "Example: wsxdp cat wss://localhost:9443/ --ca ca.pem --subscribe '{\"method\":\"subscribe\"}'");
}

int usage(const std::string &sentence) {
    fprintf(stderr, "wsxdp: %s\n", sentence.c_str());
    return exit_usage;
}

std::vector<std::string> flags_of(const CLI::App *app) {
    std::vector<std::string> flags;
    for (const CLI::Option *option : app->get_options())
        for (const std::string &name : option->get_lnames()) flags.push_back("--" + name);
    return flags;
}

// Words that CLI11 could not place. `app` is the (sub)command they were given to.
int judge_extra(const CLI::App *app, const std::string &word, bool root) {
    std::string shown = "'" + printable(word) + "'";
    std::string command = root ? "wsxdp" : "wsxdp " + app->get_name();
    if (!word.empty() && word[0] == '-') {
        std::string near = nearest(word.substr(0, word.find('=')), flags_of(app));
        std::string ask = root ? "wsxdp help" : "wsxdp help " + app->get_name();
        std::string hint = near.empty() ? "'" + ask + "' lists the flags" : "did you mean " + near + "?";
        return usage("'" + command + "' has no flag " + shown + "; " + hint);
    }
    if (!root)
        return usage(
            "'" + command + "' does not know what to do with " + shown +
            (app->get_name() == "cat" ? "; it takes one address, and what has spaces needs quotes" : ""));
    if (word.find("://") != std::string::npos)
        return usage("to see the messages of " + shown + ", write: wsxdp cat " + printable(word));
    std::string near = nearest(word, {"cat", "top", "doctor", "options", "version", "help"});
    return usage("there is no command " + shown + "; " +
                 (near.empty() ? "'wsxdp help' lists the commands" : "did you mean 'wsxdp " + near + "'?"));
}

// The first unplaced word that looks like a flag explains the others.
int judge_extras(const CLI::App *app, bool root) {
    std::vector<std::string> words = app->remaining();
    if (words.empty()) return exit_ok;
    for (const std::string &word : words)
        if (word.size() > 1 && word[0] == '-' && !root) return judge_extra(app, word, root);
    return judge_extra(app, words[0], root);
}

int check_cat(const Line &line, CatArguments &arguments) {
    if (arguments.url.empty())
        return usage("'wsxdp cat' needs an address, for example: wsxdp cat wss://HOST:PORT/PATH");
    std::string advice = url_advice(arguments.url);
    if (!advice.empty()) return usage(advice);
    if (!line.count.empty()) {
        const char *end = line.count.data() + line.count.size();
        auto [stop, error] = std::from_chars(line.count.data(), end, arguments.count);
        if (error != std::errc() || stop != end || arguments.count == 0)
            return usage("--count takes a whole number from 1 on, not '" + printable(line.count) + "'");
    }
    if (!line.duration.empty() && !parse_duration(line.duration, &arguments.duration_ns))
        return usage("--duration takes a time such as 10, 500ms, 2m or 1h, not '" + printable(line.duration) +
                     "'");
    if (arguments.close_on_eof && !arguments.read_stdin) return usage("--close-on-eof goes with --stdin");
    if (arguments.binary && arguments.sends.empty() && !arguments.read_stdin)
        return usage("--binary says how to send; it goes with --send or --stdin");
    return exit_ok;
}

int print_help(Line &line) {
    std::string text = front_page;
    if (line.help_about == "help") line.help_about.clear();
    if (!line.help_about.empty()) {
        CLI::App *about = nullptr;
        for (CLI::App *sub : line.app.get_subcommands({}))
            if (sub->get_name() == line.help_about) about = sub;
        if (about == nullptr) return judge_extra(&line.app, line.help_about, true);
        text = about->help("wsxdp");
    }
    fputs(text.c_str(), stdout);
    return fflush(stdout) == 0 ? exit_ok : exit_output;
}

int choose(Line &line, Arguments *out) {
    if (line.help->parsed()) return print_help(line);
    CLI::App *chosen = line.cat->parsed()       ? line.cat
                       : line.top->parsed()     ? line.top
                       : line.doctor->parsed()  ? line.doctor
                       : line.options->parsed() ? line.options
                       : line.version->parsed() ? line.version
                                                : nullptr;
    int status = judge_extras(chosen ? chosen : &line.app, chosen == nullptr);
    if (status != exit_ok) return status;
    if (line.root_version || chosen == line.version) {
        out->command = Arguments::version;
        return exit_ok;
    }
    if (chosen == nullptr)
        return usage(
            "say what to do: 'wsxdp cat URL' shows a server's messages, 'wsxdp help' lists all commands");
    if (chosen == line.cat) status = check_cat(line, out->cat_arguments);
    if (chosen == line.top) status = check_top(line, out->top_arguments);
    if (status == exit_ok)
        out->command = chosen == line.cat      ? Arguments::cat
                       : chosen == line.top    ? Arguments::top
                       : chosen == line.doctor ? Arguments::doctor
                                               : Arguments::options;
    return status;
}

} // namespace

int parse_arguments(int argc, char **argv, Arguments *out) {
    Line line;
    define(line, *out);
    try {
        line.app.parse(argc, argv);
    } catch (const CLI::CallForHelp &) {
        for (CLI::App *sub : line.app.get_subcommands()) line.help_about = sub->get_name();
        return print_help(line);
    } catch (const CLI::ArgumentMismatch &error) {
        std::string flag = error.what();
        return usage("'" + printable(flag.substr(0, flag.find(':'))) + "' needs a value after it");
    } catch (const CLI::ParseError &error) {
        return usage(printable(error.what()));
    }
    return choose(line, out);
}
