// SPDX-License-Identifier: MIT
// Standard error: notes, one line each, and the live line below them.
#pragma once
#include <cstdint>
#include <string>

class Screen {
public:
    // live: draw a live line; shares_output: standard output is a terminal too, so the line must be taken
    // away before messages are written and drawn again after them.
    Screen(bool quiet, bool live, bool shares_output);
    ~Screen() { hide(); }
    Screen(const Screen &) = delete;
    Screen &operator=(const Screen &) = delete;

    void note(const std::string &text);  // not with --quiet
    void alert(const std::string &text); // always
    void raw(const std::string &text);   // as it is, always; the summary

    bool live() const { return live_; }
    void draw(const std::string &line); // replaces the live line
    void hide();                        // and leaves the cursor where the line was
    void forget();                      // hides it, and does not show it again before the next draw
    void before_output();
    void after_output();

private:
    void write(const std::string &text) const;
    void show();

    bool quiet_, live_, shares_output_;
    bool shown_ = false;
    std::string line_;
};
