// SPDX-License-Identifier: MIT
// `wsxdp version`: what wsxdp_version() says, taken apart for programs with --json.
#include "exit_codes.h"
#include "options_page.h"

#include "../../include/wsxdp.h"

#include <cstdio>
#include <nlohmann/json.hpp>

// "0.1.0 (features: socket openssl zlib)" -> its words after the colon.
static std::vector<std::string> words_in_parentheses(const std::string &text) {
    std::vector<std::string> words;
    size_t start = text.find(": "), end = text.rfind(')');
    if (start == std::string::npos || end == std::string::npos || end < start) return words;
    std::string list = text.substr(start + 2, end - start - 2);
    for (size_t at = 0; at < list.size();) {
        size_t space = std::min(list.find(' ', at), list.size());
        if (space > at) words.push_back(list.substr(at, space - at));
        at = space + 1;
    }
    return words;
}

int run_version(bool json) {
    std::string text = wsxdp_version();
    if (json) {
        nlohmann::ordered_json document = {{"version", text.substr(0, text.find(' '))},
                                           {"features", words_in_parentheses(text)},
                                           {"text", text}};
        printf("%s\n", document.dump().c_str());
    } else {
        printf("wsxdp %s\n", text.c_str());
    }
    return fflush(stdout) == 0 ? exit_ok : exit_output;
}
