// SPDX-License-Identifier: MIT
// The `wsxdp` command: reads the command line and hands over to one of its parts. An exception that gets here is a
// lack of memory or a bug; it ends the command with a sentence, not a core file.
#include "arguments.h"
#include "cat.h"
#include "exit_codes.h"
#include "options_page.h"

#include <cstdio>
#include <exception>

static int run(int argc, char **argv) {
    Arguments arguments;
    int status = parse_arguments(argc, argv, &arguments);
    switch (arguments.command) {
    case Arguments::cat: return run_cat(arguments.cat_arguments);
    case Arguments::options: return run_options(arguments.options_arguments);
    case Arguments::version: return run_version(arguments.version_json);
    case Arguments::none: break;
    }
    return status;
}

int main(int argc, char **argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception &error) {
        fprintf(stderr, "wsxdp: %s\n", error.what());
        return exit_internal;
    }
}
