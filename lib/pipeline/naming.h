// SPDX-License-Identifier: MIT
// The names of handles (option `name`): a file for each in a directory of the user's, by which a program
// beside this one finds the process and its region. The file says who; a lock on it, which ends with the
// process, says that it lives. What nobody holds the lock of is left over, and whoever comes upon it may
// remove it.
#pragma once
#include "../base/status.h"
#include <sys/types.h>

namespace wx {

constexpr size_t name_bytes_max = 64;
constexpr uint64_t name_magic = 0x656d616e78737778ULL; // "xwsxname"

// The file's contents.
struct NameRecord {
    uint64_t magic;
    uint32_t version; // region_version: who has another cannot read the region
    int32_t pid;
    uint64_t started; // of that process, as in /proc/PID/stat: a number is used again
    int32_t region;   // its descriptor of the region
    uint32_t pad;
};

// Letters, digits, - _ and, not at the beginning, a dot: it is a file's name. E_INVALID with a sentence.
int name_check(ByteView name, ErrorText *error);
// /run/user/UID/wsxdp where the system made the directory above it, otherwise /tmp/wsxdp-UID; made if it is
// not there and `make`. -1 without that and with errno ENOENT. E_PERMISSION, E_SYSTEM with a sentence.
int name_directory(bool make, int *fd, ErrorText *error);
// The file, with its lock in *lock. E_INVALID and who has it, if the name is taken by a process that lives;
// otherwise as name_directory.
int name_claim(const char *name, int region, int *lock, ErrorText *error);
// Removes the file, if it is still that one, and closes it.
void name_release(const char *name, int lock);

enum class NameState : uint8_t { absent, stale, alive };
// Does not wait for anybody; a file that is no name's record is stale.
NameState name_look(int directory, const char *name, NameRecord *out);
// Removes it if it is stale. true: it is gone.
bool name_sweep(int directory, const char *name);
// When a process started; 0: there is none of that number.
uint64_t process_started(pid_t pid);

} // namespace wx
