// SPDX-License-Identifier: MIT
// `wsxdp version`: what wsxdp_version() says, taken apart for programs with --json.
#include "exit_codes.h"
#include "options_page.h"

#include "../../include/wsxdp.h"

#include <cstdio>
#include <nlohmann/json.hpp>

using Json = nlohmann::ordered_json;

static Json words_of(const std::string &list) {
    Json words = Json::array();
    for (size_t at = list.find_first_not_of(" ,"); at != std::string::npos;
         at = list.find_first_not_of(" ,", at)) {
        size_t end = std::min(list.find_first_of(" ,", at), list.size());
        words.push_back(list.substr(at, end - at));
        at = end;
    }
    return words;
}

// "0.1.0 (transports: socket; TLS: openssl, TLSv1.2 TLSv1.3)" -> {"transports":["socket"],"TLS":[...]}
static Json features_of(const std::string &text) {
    Json features = Json::object();
    size_t at = text.find('('), close = text.rfind(')');
    if (at == std::string::npos || close == std::string::npos) return features;
    std::string list = text.substr(at + 1, close - at - 1);
    for (at = 0; at < list.size();) {
        size_t end = std::min(list.find(';', at), list.size());
        std::string part = list.substr(at, end - at);
        size_t name = part.find_first_not_of(' '), colon = part.find(':');
        if (name < colon && colon != std::string::npos)
            features[part.substr(name, colon - name)] = words_of(part.substr(colon + 1));
        at = end + 1;
    }
    return features;
}

int run_version(bool json) {
    std::string text = wsxdp_version();
    if (json) {
        Json document = {
            {"version", text.substr(0, text.find(' '))}, {"features", features_of(text)}, {"text", text}};
        printf("%s\n", document.dump().c_str());
    } else {
        printf("wsxdp %s\n", text.c_str());
    }
    return fflush(stdout) == 0 ? exit_ok : exit_output;
}
