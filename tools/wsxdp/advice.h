// SPDX-License-Identifier: MIT
// What to do about an error, in one sentence.
#pragma once
#include <string>
#include <vector>

// The candidate that is most like `word`, or "" when none is near enough to be what was meant.
std::string nearest(const std::string &word, const std::vector<std::string> &candidates);

// "" when the URL has a form that the library takes; else a sentence that says how to write it.
std::string url_advice(const std::string &url);

// One sentence for a connection to url that failed with a WSXDP_E_ code. said: the library's own sentence,
// used where this file knows nothing better. opened: whether it failed after it had been open.
std::string failure_sentence(const std::string &url, int code, const std::string &said, bool opened);
