// SPDX-License-Identifier: MIT
// Runs a fuzz target over the files given as arguments, so that every corpus is a test in an ordinary build.
// Each input lies alone in a heap block of its exact size: an address sanitizer sees one byte too many.
// It never mutates an input. Worst case: a target that crashes ends the run at that file, whose name was
// printed.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <memory>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool read_file(const char *path, std::string *out) {
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    char block[65536];
    for (size_t got; (got = fread(block, 1, sizeof block, file)) > 0;) out->append(block, got);
    bool good = !ferror(file);
    fclose(file);
    return good;
}

int main(int argc, char **argv) {
    int failed = 0;
    for (int i = 1; i < argc; ++i) {
        printf("%s\n", argv[i]);
        fflush(stdout); // before a crash
        std::string content;
        if (!read_file(argv[i], &content)) {
            printf("cannot be read\n");
            ++failed;
            continue;
        }
        std::unique_ptr<uint8_t[]> input(new uint8_t[content.size()]);
        if (!content.empty()) memcpy(input.get(), content.data(), content.size());
        LLVMFuzzerTestOneInput(input.get(), content.size());
    }
    if (argc < 2) {
        printf("no corpus: a fuzz target without a seed is not finished\n");
        ++failed;
    }
    int ran = argc - 1 - (argc < 2 ? 0 : failed);
    printf("%d passed, %d failed, 0 skipped\n", argc < 2 ? 0 : ran, failed);
    return failed ? 1 : 0;
}
