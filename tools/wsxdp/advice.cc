// SPDX-License-Identifier: MIT
// What to do about an error. The library says what happened; here is added what a user of the command can do
// about it, with the command's own flags and the address as it was typed. Never more than one sentence.
#include "advice.h"

#include "../../include/wsxdp.h"
#include "format.h"

#include <algorithm>

static size_t edit_distance(const std::string &a, const std::string &b) {
    std::vector<size_t> row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); j++) row[j] = j;
    for (size_t i = 1; i <= a.size(); i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size(); j++) {
            size_t above = row[j];
            size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            row[j] = std::min({row[j - 1] + 1, above + 1, change});
            diagonal = above;
        }
    }
    return row[b.size()];
}

std::string nearest(const std::string &word, const std::vector<std::string> &candidates) {
    std::string best;
    size_t best_distance = word.size() / 3 + 2; // more changes than this and it is another word
    for (const std::string &candidate : candidates) {
        size_t distance = edit_distance(word, candidate);
        bool last_part = candidate.size() > word.size() &&
                         candidate[candidate.size() - word.size() - 1] == '.' &&
                         candidate.compare(candidate.size() - word.size(), word.size(), word) == 0;
        if (last_part) distance = 1; // "ca_file" for "tls.ca_file"
        if (distance >= best_distance) continue;
        best_distance = distance;
        best = candidate;
    }
    return best;
}

static bool starts_with(const std::string &text, const char *prefix) { return text.rfind(prefix, 0) == 0; }

// Everything after "scheme://".
static std::string after_scheme(const std::string &url) {
    size_t at = url.find("://");
    return at == std::string::npos ? url : url.substr(at + 3);
}

static std::string authority_of(const std::string &url) {
    std::string rest = after_scheme(url);
    rest = rest.substr(0, rest.find_first_of("/?#"));
    size_t at = rest.rfind('@');
    return at == std::string::npos ? rest : rest.substr(at + 1);
}

// The URL without credentials, which do not belong on a screen.
static std::string shown_url(const std::string &url) {
    size_t scheme = url.find("://");
    if (scheme == std::string::npos) return printable(url);
    size_t end = std::min(url.find_first_of("/?#", scheme + 3), url.size());
    size_t at = url.rfind('@', end);
    bool credentials = at != std::string::npos && at > scheme && at < end;
    return printable(credentials ? url.substr(0, scheme + 3) + url.substr(at + 1) : url);
}

std::string url_advice(const std::string &url) {
    if (starts_with(url, "ws://") || starts_with(url, "wss://")) {
        return authority_of(url).empty()
                   ? "'" + shown_url(url) + "' has no host; write it as ws://HOST:PORT/PATH"
                   : "";
    }
    if (starts_with(url, "ws+unix://") || starts_with(url, "echo:")) return "";
    std::string shown = shown_url(url), rest = printable(after_scheme(shown_url(url)));
    if (starts_with(url, "http://")) return "WebSocket addresses begin with ws://, so write ws://" + rest;
    if (starts_with(url, "https://"))
        return "WebSocket addresses over TLS begin with wss://, so write wss://" + rest;
    if (url.find("://") != std::string::npos)
        return "'" + shown + "' is not a WebSocket address; write ws://" + rest + " or, with TLS, wss://" +
               rest;
    return "'" + shown + "' lacks its beginning; write wss://" + shown + " or, without TLS, ws://" + shown;
}

static std::string with_scheme(const std::string &url, const char *scheme) {
    return scheme + after_scheme(shown_url(url));
}

// Sentences about TLS; "" where there is nothing better than what the library says.
static std::string tls_sentence(const std::string &url, int code) {
    std::string host = authority_of(url);
    switch (code) {
    case WSXDP_E_TLS_NOT_TLS:
        return host + " answers, but not with TLS; if it is a plain server, write " +
               with_scheme(url, "ws://");
    case WSXDP_E_TLS_EOF:
        return host +
               " closed the connection instead of answering with TLS; if it is a plain server, write " +
               with_scheme(url, "ws://");
    case WSXDP_E_TLS_TIMEOUT:
        return host +
               " did not finish the TLS handshake in time (tls.timeout_ns); if it is a plain server, write " +
               with_scheme(url, "ws://");
    case WSXDP_E_TLS_UNTRUSTED:
        return "the certificate of " + host +
               " is signed by an authority this machine does not trust; name "
               "the authority's certificate with --ca FILE";
    case WSXDP_E_TLS_SELF_SIGNED:
        return "the certificate of " + host +
               " is self-signed and not trusted; if you know it is right, "
               "name it with --ca FILE";
    case WSXDP_E_TLS_CLIENT_CERT_REQUIRED:
        return host + " wants a client certificate; name one with -o tls.cert_file=FILE -o tls.key_file=FILE";
    default:
        return "";
    }
}

static std::string plain_sentence(const std::string &url, int code) {
    std::string host = authority_of(url);
    switch (code) {
    case WSXDP_E_NOT_HTTP:
        return host + " answers, but not with HTTP; if it is a TLS server, write " +
               with_scheme(url, "wss://");
    case WSXDP_E_EOF:
    case WSXDP_E_RESET:
        return host + " closed the connection instead of answering; if it is a TLS server, write " +
               with_scheme(url, "wss://");
    default:
        return "";
    }
}

std::string failure_sentence(const std::string &url, int code, const std::string &said, bool opened) {
    std::string sentence;
    if (!opened && starts_with(url, "wss://")) sentence = tls_sentence(url, code);
    if (!opened && starts_with(url, "ws://")) sentence = plain_sentence(url, code);
    if (sentence.empty()) sentence = said.empty() ? std::string(wsxdp_strerror(code)) : printable(said);
    if (sentence.size() > 1 && sentence.back() == '.') sentence.pop_back(); // more may follow
    return sentence;
}
