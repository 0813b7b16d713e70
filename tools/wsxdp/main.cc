// SPDX-License-Identifier: MIT
// The `wsxdp` command: reads the command line and hands over to one of its parts. An exception that gets here
// is a lack of memory or a bug; it ends the command with a sentence, not a core file.
#include "arguments.h"
#include "cat.h"
#include "doctor.h"
#include "exit_codes.h"
#include "options_page.h"
#include "top.h"

#include <cerrno>
#include <cstdio>
#include <exception>
#include <fcntl.h>
#include <unistd.h>

static int run(int argc, char **argv) {
    Arguments arguments;
    int status = parse_arguments(argc, argv, &arguments);
    switch (arguments.command) {
    case Arguments::cat:
        return run_cat(arguments.cat_arguments);
    case Arguments::top:
        return run_top(arguments.top_arguments);
    case Arguments::doctor:
        return run_doctor(arguments.doctor_arguments);
    case Arguments::options:
        return run_options(arguments.options_arguments);
    case Arguments::version:
        return run_version(arguments.version_json);
    case Arguments::none:
        break;
    }
    return status;
}

// Descriptors 0 to 2 that the caller closed would be given to the next socket, and messages written into it.
// Reading from what takes their place is at its end, writing to it fails.
static void fill_standard_descriptors() {
    for (int descriptor = 0; descriptor <= 2; descriptor++) {
        if (fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
        if (open("/dev/null", O_RDONLY) != descriptor) _exit(exit_internal);
    }
}

int main(int argc, char **argv) {
    fill_standard_descriptors();
    try {
        return run(argc, argv);
    } catch (const std::exception &error) {
        fprintf(stderr, "wsxdp: %s\n", error.what());
        return exit_internal;
    }
}
