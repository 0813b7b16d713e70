// SPDX-License-Identifier: MIT
// From the command line to the library's config. First what `cat` prefers over the library's defaults, then
// the flags, then -o in the order given, so that -o always has the last word. Never opens anything but the
// config.
#include "configure.h"

#include "advice.h"
#include "format.h"
#include "options_page.h"

#include <cstring>
#include <strings.h>
#include <unistd.h>

namespace {

class Setter {
public:
    explicit Setter(wsxdp_config *config) : config_(config) {}
    void set(const std::string &name, const std::string &value) {
        if (!mistake_.empty()) return;
        int result = wsxdp_config_set(config_, name.c_str(), value.c_str());
        if (result < 0) mistake_ = explain(name, result);
    }
    void fail(const std::string &sentence) {
        if (mistake_.empty()) mistake_ = sentence;
    }
    const std::string &mistake() const { return mistake_; }

private:
    std::string explain(const std::string &name, int code) const {
        if (code == WSXDP_E_OPTION_UNKNOWN) {
            std::string near = nearest(name, option_names());
            return "there is no option '" + printable(name) + "'; " +
                   (near.empty() ? "'wsxdp options' lists them all" : "did you mean " + near + "?");
        }
        char text[1024] = "";
        wsxdp_config_error(config_, text, sizeof text);
        return text[0] ? printable(text) : printable(name) + ": " + wsxdp_strerror(code);
    }

    wsxdp_config *config_;
    std::string mistake_;
};

std::string trimmed(const std::string &text) {
    size_t first = text.find_first_not_of(" \t");
    if (first == std::string::npos) return "";
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

void set_header(Setter &setter, const std::string &header) {
    size_t colon = header.find(':');
    if (colon == 0 || colon == std::string::npos)
        return setter.fail("--header takes 'Name: value', not '" + printable(header) + "'");
    setter.set("header." + trimmed(header.substr(0, colon)), trimmed(header.substr(colon + 1)));
}

bool says_no(const std::string &value) {
    for (const char *no : {"no", "false", "off", "0"})
        if (strcasecmp(value.c_str(), no) == 0) return true;
    return false;
}

void set_option(Setter &setter, const std::string &assignment, bool *insecure) {
    size_t equals = assignment.find('=');
    if (equals == 0 || equals == std::string::npos)
        return setter.fail("-o takes NAME=VALUE, not '" + printable(assignment) +
                           "'; 'wsxdp options' lists the names");
    std::string name = assignment.substr(0, equals), value = assignment.substr(equals + 1);
    setter.set(name, value);
    if (name == "tls.insecure_skip_verify") *insecure = !says_no(value);
}

// The helper of this build, which lies beside the command before both are installed; "" if there is none.
std::string helper_beside() {
    char path[4096];
    const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
    if (size <= 0) return "";
    const std::string own(path, static_cast<size_t>(size));
    const std::string helper = own.substr(0, own.rfind('/') + 1) + "wsxdp-stage";
    return access(helper.c_str(), X_OK) == 0 ? helper : "";
}

} // namespace

Configured configure(const CatArguments &arguments) {
    Configured out;
    out.config = wsxdp_config_new();
    if (!out.config) {
        out.mistake = "out of memory";
        return out;
    }
    Setter setter(out.config);
    setter.set("timestamps", "software");
    setter.set("stage.path", helper_beside());
    if (!arguments.retry) setter.set("reconnect.initial", "off");
    if (arguments.no_reconnect) setter.set("reconnect", "off");
    if (!arguments.ca_file.empty()) setter.set("tls.ca_file", arguments.ca_file);
    out.insecure = arguments.insecure;
    if (arguments.insecure) setter.set("tls.insecure_skip_verify", "on");
    for (const std::string &header : arguments.headers) set_header(setter, header);
    for (const std::string &message : arguments.subscribes) setter.set("subscribe", message);
    for (const std::string &assignment : arguments.options) set_option(setter, assignment, &out.insecure);
    out.mistake = setter.mistake();
    return out;
}
