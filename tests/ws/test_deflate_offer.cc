// SPDX-License-Identifier: MIT
// The negotiation of permessage-deflate: what is offered, which answers are agreed to, which refused with a
// sentence (RFC 7692 section 7.1, RFC 6455 section 9.1). Each answer also cut at every place.
extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}
#include "../../lib/ws/deflate.h"
#include <string>
#include <vector>

namespace {

using wx::DeflateAgreement;
using wx::DeflateOptions;

std::string offer(const DeflateOptions &options) {
    char buffer[160];
    wx::Writer writer(wx::ByteSpan(buffer, sizeof buffer));
    wx::deflate_offer(options, &writer);
    assert_false(writer.failed);
    return std::string(buffer, writer.size());
}

DeflateOptions all_asked() {
    DeflateOptions options;
    options.client_no_context_takeover = options.server_no_context_takeover = true;
    options.client_max_window_bits = 10;
    options.server_max_window_bits = 12;
    return options;
}

void offers(void **) {
    DeflateOptions options;
    assert_string_equal(offer(options).c_str(), "permessage-deflate; client_max_window_bits");
    assert_string_equal(offer(all_asked()).c_str(),
                        "permessage-deflate; client_no_context_takeover; server_no_context_takeover; "
                        "server_max_window_bits=12; client_max_window_bits=10");
}

int accept(const DeflateOptions &options, const std::vector<std::string> &fields, DeflateAgreement *out,
           std::string *why) {
    std::vector<wx::ByteView> views;
    for (const std::string &field : fields) views.emplace_back(field.data(), field.size());
    wx::ErrorText error;
    const int status = wx::deflate_accept(options, views.data(), views.size(), out, &error);
    *why = error.text;
    if (status < 0) {
        assert_int_equal(status, WSXDP_E_EXTENSION);
        assert_int_equal(error.code, WSXDP_E_EXTENSION);
        assert_true(error.size > 20);
    }
    return status;
}

void agreed(const DeflateOptions &options, const std::vector<std::string> &fields, const char *want) {
    DeflateAgreement out;
    std::string why;
    const int status = accept(options, fields, &out, &why);
    if (status != 1) fail_msg("%s: %d %s", fields[0].c_str(), status, why.c_str());
    const std::string got = std::string(out.client_no_context_takeover ? "C" : "c") +
                            (out.server_no_context_takeover ? "S" : "s") + " " +
                            std::to_string(out.client_max_window_bits) + " " +
                            std::to_string(out.server_max_window_bits);
    assert_string_equal(got.c_str(), want);
}

void refused(const DeflateOptions &options, const std::vector<std::string> &fields, const char *word) {
    DeflateAgreement out;
    std::string why;
    const int status = accept(options, fields, &out, &why);
    if (status != WSXDP_E_EXTENSION) fail_msg("%s: %d", fields[0].c_str(), status);
    if (why.find(word) == std::string::npos) fail_msg("no \"%s\" in: %s", word, why.c_str());
}

void answers_agreed(void **) {
    const DeflateOptions plain;
    agreed(plain, {"permessage-deflate"}, "cs 15 15");
    agreed(plain, {"Permessage-Deflate ; SERVER_no_context_takeover"}, "cS 15 15");
    agreed(plain, {"permessage-deflate;client_no_context_takeover;server_no_context_takeover"}, "CS 15 15");
    agreed(plain, {" , permessage-deflate; client_max_window_bits=9 ,"}, "cs 9 15");
    agreed(plain, {"permessage-deflate; server_max_window_bits = 8\t"}, "cs 15 8");
    agreed(plain, {"permessage-deflate; server_max_window_bits=\"10\"; client_max_window_bits=8"}, "cs 8 10");
    agreed(plain, {"", "permessage-deflate"}, "cs 15 15");
    for (int bits = 8; bits <= 15; bits++) {
        const std::string text = std::to_string(bits);
        agreed(plain,
               {"permessage-deflate; client_max_window_bits=" + text + "; server_max_window_bits=" + text},
               ("cs " + text + " " + text).c_str());
    }
    const DeflateOptions all = all_asked();
    agreed(all, {"permessage-deflate; server_no_context_takeover; server_max_window_bits=12"}, "CS 10 12");
    agreed(all,
           {"permessage-deflate; server_no_context_takeover; server_max_window_bits=9; "
            "client_max_window_bits=9"},
           "CS 9 9");
}

void not_used(void **) {
    DeflateAgreement out;
    std::string why;
    assert_int_equal(accept(DeflateOptions(), {}, &out, &why), 0);
    assert_int_equal(accept(all_asked(), {}, &out, &why), 0);
    assert_int_equal(accept(DeflateOptions(), {"", " \t, ,"}, &out, &why), 0);
}

void answers_refused(void **) {
    const DeflateOptions plain;
    refused(plain, {"x-webkit-deflate-frame"}, "not offered");
    refused(plain, {"permessage-deflate, foo"}, "foo");
    refused(plain, {"permessage-bzip2; x=1"}, "permessage-bzip2");
    refused(plain, {"permessage-deflate, permessage-deflate"}, "twice");
    refused(plain, {"permessage-deflate", "permessage-deflate"}, "twice");
    refused(plain, {"permessage-deflate; unknown"}, "unknown");
    refused(plain, {"permessage-deflate; unknown=5"}, "unknown");
    refused(plain, {"permessage-deflate; server_no_context_takeover; server_no_context_takeover"}, "twice");
    refused(plain, {"permessage-deflate; client_no_context_takeover; client_no_context_takeover"}, "twice");
    refused(plain, {"permessage-deflate; client_max_window_bits=9; client_max_window_bits=9"}, "twice");
    refused(plain, {"permessage-deflate; server_max_window_bits=9; server_max_window_bits=10"}, "twice");
    refused(plain, {"permessage-deflate; server_no_context_takeover=1"}, "takes none");
    refused(plain, {"permessage-deflate; client_no_context_takeover=true"}, "takes none");
    for (const char *value : {"", "=", "=7", "=16", "=0", "=-9", "=09", "=010", "=150", "=1", "=15x", "=\"\"",
                              "=\"9", "=9.0", "=\"1 0\""}) {
        refused(plain, {std::string("permessage-deflate; client_max_window_bits") + value},
                "client_max_window_bits");
        refused(plain, {std::string("permessage-deflate; server_max_window_bits") + value},
                "server_max_window_bits");
    }
    for (const char *text :
         {";", "permessage-deflate;", "permessage-deflate; ;", "permessage-deflate client_max_window_bits",
          "=", "permessage-deflate; =9", "permessage-deflate; \"client_no_context_takeover\"", "\x01",
          "permessage-deflate\xFF", "permessage-deflate; server_max_window_bits=9 9"}) {
        refused(plain, {text}, "Sec-WebSocket-Extensions");
    }
    const DeflateOptions all = all_asked();
    refused(all, {"permessage-deflate; server_max_window_bits=12"}, "server_no_context_takeover");
    refused(all, {"permessage-deflate; server_no_context_takeover"}, "server_max_window_bits");
    refused(all, {"permessage-deflate; server_no_context_takeover; server_max_window_bits=13"}, "larger");
    refused(all,
            {"permessage-deflate; server_no_context_takeover; server_max_window_bits=12; "
             "client_max_window_bits=11"},
            "larger");
}

// Any beginning of an answer, in memory of exactly its size, is judged and never read past.
void cut_answers(void **) {
    const std::string whole =
        "permessage-deflate; server_max_window_bits=\"10\" ; client_no_context_takeover , ";
    for (size_t size = 0; size <= whole.size(); size++) {
        std::vector<char> exact(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        const wx::ByteView view(exact.data(), exact.size());
        DeflateAgreement out;
        wx::ErrorText error;
        const int status = wx::deflate_accept(DeflateOptions(), &view, 1, &out, &error);
        assert_true(status == 0 || status == 1 || status == WSXDP_E_EXTENSION);
        assert_int_equal(status == 1, size == 18 || size == 47 || size == 48 || size >= 76);
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(offers),          cmocka_unit_test(answers_agreed), cmocka_unit_test(not_used),
        cmocka_unit_test(answers_refused), cmocka_unit_test(cut_answers),
    };
    return cmocka_run_group_tests_name("ws/deflate_offer", tests, nullptr, nullptr);
}
