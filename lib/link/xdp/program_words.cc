// SPDX-License-Identifier: MIT
// What libbpf and libxdp say, caught to become a part of our sentences: they know more than errno does. They
// hand over a printf format, of which a small part is understood here, since the library calls no printf;
// what is not understood is shown as it stands in the format. Worst case: a complaint is cut.
#include "program_parts.h"
#include <bpf/libbpf.h>
#include <pthread.h>
#include <xdp/libxdp.h>

namespace wx {
namespace {

pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
libbpf_print_fn_t bpf_before = nullptr;
libxdp_print_fn_t xdp_before = nullptr;
thread_local ProgramWords *listener = nullptr;

int bpf_says(enum libbpf_print_level level, const char *format, va_list arguments) {
    if (listener == nullptr) return bpf_before == nullptr ? 0 : bpf_before(level, format, arguments);
    if (level == LIBBPF_WARN) listener->hear(format, arguments);
    return 0;
}
int xdp_says(enum libxdp_print_level level, const char *format, va_list arguments) {
    if (listener == nullptr) return xdp_before == nullptr ? 0 : xdp_before(level, format, arguments);
    if (level == LIBXDP_WARN) listener->hear(format, arguments);
    return 0;
}

// Text of a bounded size; what does not fit is left out.
struct Text {
    char *out;
    size_t cap;
    size_t size = 0;
    void add(ByteView bytes) {
        const size_t fits = bytes.size < cap - size ? bytes.size : cap - size;
        if (fits != 0) memcpy(out + size, bytes.data, fits);
        size += fits;
    }
    void number(uint64_t value, bool negative, unsigned base) {
        char digits[24];
        size_t at = sizeof digits;
        do {
            digits[--at] = "0123456789abcdef"[value % base];
            value /= base;
        } while (value != 0);
        if (negative) digits[--at] = '-';
        add(ByteView(digits + at, sizeof digits - at));
    }
};

// A va_list by itself is an array on some machines and not on others.
struct Arguments {
    va_list list;
};

// One conversion, `format` behind its '%'. Returns what follows it, nullptr when it is not understood, since
// then it is not known what the next argument is.
const char *convert(const char *format, Arguments *arguments, Text *text) {
    int longs = 0;
    size_t most = SIZE_MAX;
    while (*format != 0 && strchr("-+ #0123456789.*lhz", *format) != nullptr) {
        if (*format == 'l' || *format == 'z') longs++;
        if (*format == '*') {
            const int given = va_arg(arguments->list, int);
            if (format[-1] == '.' && given >= 0) most = static_cast<size_t>(given);
        }
        format++;
    }
    if (*format == 's') {
        const char *words = va_arg(arguments->list, const char *);
        if (words == nullptr) words = "?";
        text->add(ByteView(words, strnlen(words, most)));
    } else if (*format == 'd' || *format == 'i') {
        const int64_t value = longs != 0 ? va_arg(arguments->list, long) : va_arg(arguments->list, int);
        const uint64_t positive = static_cast<uint64_t>(value);
        text->number(value < 0 ? uint64_t{0} - positive : positive, value < 0, 10);
    } else if (*format == 'u' || *format == 'x') {
        const uint64_t value =
            longs != 0 ? va_arg(arguments->list, unsigned long) : va_arg(arguments->list, unsigned);
        text->number(value, false, *format == 'x' ? 16 : 10);
    } else if (*format == 'c') {
        const char one = static_cast<char>(va_arg(arguments->list, int));
        text->add(ByteView(&one, 1));
    } else {
        return nullptr;
    }
    return format + 1;
}

// The end of the verifier's log, without the statistics in its last line.
size_t keep_tail(const char *log, char *out, size_t cap) {
    size_t size = strlen(log);
    for (;;) {
        while (size != 0 && log[size - 1] == '\n') size--;
        size_t line = size;
        while (line != 0 && log[line - 1] != '\n') line--;
        if (size - line < 10 || memcmp(log + line, "processed ", 10) != 0) break;
        size = line;
    }
    const size_t from = size > cap ? size - cap : 0;
    memcpy(out, log + from, size - from);
    return size - from;
}

// In a sentence there are no lines.
size_t one_line(char *text, size_t size) {
    while (size != 0 && (text[size - 1] == '\n' || text[size - 1] == '.')) size--;
    for (size_t i = 0; i < size; i++)
        if (text[i] == '\n' || text[i] == '\t') text[i] = ' ';
    return size;
}

} // namespace

ProgramWords::ProgramWords() {
    pthread_mutex_lock(&one_at_a_time);
    listener = this;
    bpf_before = libbpf_set_print(bpf_says);
    xdp_before = libxdp_set_print(xdp_says);
}
ProgramWords::~ProgramWords() {
    libxdp_set_print(xdp_before);
    libbpf_set_print(bpf_before);
    listener = nullptr;
    pthread_mutex_unlock(&one_at_a_time);
}

ByteView ProgramWords::said() const {
    return log_size != 0 ? ByteView(log, log_size) : ByteView(first, first_size);
}

void ProgramWords::hear(const char *format, __builtin_va_list arguments) {
    if (strstr(format, "BEGIN PROG LOAD LOG") != nullptr) {
        va_arg(arguments, const char *); // the program's name
        const char *verifier = va_arg(arguments, const char *);
        log_size = verifier == nullptr ? 0 : one_line(log, keep_tail(verifier, log, sizeof log));
        return;
    }
    if (first_size != 0) return;
    Arguments copy;
    va_copy(copy.list, arguments);
    if (strncmp(format, "libbpf: ", 8) == 0) format += 8;
    Text text{first, sizeof first};
    while (format != nullptr && *format != 0) {
        const size_t plain = strcspn(format, "%");
        text.add(ByteView(format, plain));
        format += plain;
        if (*format == 0) break;
        if (format[1] == '%') {
            text.add(ByteView("%"));
            format += 2;
            continue;
        }
        const char *next = convert(format + 1, &copy, &text);
        if (next == nullptr) text.add(ByteView(format));
        format = next;
    }
    va_end(copy.list);
    first_size = one_line(first, text.size);
}

} // namespace wx
