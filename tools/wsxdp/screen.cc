// SPDX-License-Identifier: MIT
// Standard error. Only three terminal codes are used (carriage return, erase to the end of the line, and no
// wrap by cutting the line at the terminal's width), which every terminal in use knows. Never fails: an error
// while writing to standard error has nobody to be told.
#include "screen.h"

#include <algorithm>
#include <cerrno>
#include <sys/ioctl.h>
#include <unistd.h>

Screen::Screen(bool quiet, bool live, bool shares_output)
    : quiet_(quiet), live_(live), shares_output_(shares_output) {}

void Screen::write(const std::string &text) const {
    size_t done = 0;
    while (done < text.size()) {
        ssize_t written = ::write(STDERR_FILENO, text.data() + done, text.size() - done);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return;
        done += size_t(written);
    }
}

static size_t terminal_width() {
    winsize size = {};
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : 80;
}

void Screen::show() {
    if (!live_ || line_.empty()) return;
    write("\r" + line_.substr(0, terminal_width() - 1) + "\033[K");
    shown_ = true;
}

void Screen::hide() {
    if (!shown_) return;
    write("\r\033[K");
    shown_ = false;
}

void Screen::forget() {
    hide();
    line_.clear();
}

void Screen::draw(const std::string &line) {
    line_ = line;
    show();
}

void Screen::before_output() {
    if (shares_output_) hide();
}

void Screen::after_output() {
    if (shares_output_ && !shown_) show();
}

void Screen::note(const std::string &text) {
    if (!quiet_) alert(text);
}

void Screen::alert(const std::string &text) { raw("wsxdp: " + text + "\n"); }

void Screen::raw(const std::string &text) {
    bool was_shown = shown_;
    hide();
    write(text);
    if (was_shown) show();
}
