// SPDX-License-Identifier: MIT
// See naming.h. Everything happens under a lock of the directory, so that of two who find the same leftover
// one removes it and the other does not remove what came after it. A process forked by the host has the
// locks of its parent, and keeps them: the record's process must be there, too. Nothing of the directory is
// believed that another user could have put there. The worst case accepted is a process killed while it held
// the directory's lock, which ends with it.
#include "naming.h"
#include "../ring/region.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace wx {

// Who has the directory's lock is through with it in microseconds, unless it is stopped.
constexpr int lock_patience_ms = 1000;
constexpr mode_t private_directory = 0700, private_file = 0600;

// ---- names and processes ----

static bool is_name_byte(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

int name_check(ByteView name, ErrorText *error) {
    bool good = !name.empty() && name.size <= name_bytes_max && name.data[0] != '.';
    for (size_t i = 0; good && i < name.size; i++) good = is_name_byte(name.data[i]);
    if (good) return WSXDP_OK;
    error->begin(WSXDP_E_INVALID)
        .add("option name='")
        .add(name.first(name_bytes_max))
        .add("': it has letters, ");
    error->add("digits, - _ and . (not first), at most 64 of them");
    return WSXDP_E_INVALID;
}

// Field 22 of the line, counted from the last parenthesis, since the second is any text.
static uint64_t started_of(ByteView line) {
    size_t at = line.size;
    while (at > 0 && line.data[at - 1] != ')') at--;
    if (at + 1 < line.size && line.data[at + 1] == 'Z') return 0; // it has ended and waits for its parent
    for (int field = 2; field < 22 && at < line.size; at++) field += line.data[at] == ' ';
    uint64_t value = 0;
    for (; at < line.size && line.data[at] >= '0' && line.data[at] <= '9'; at++)
        value = value * 10 + static_cast<uint64_t>(line.data[at] - '0');
    return value;
}

uint64_t process_started(pid_t pid) {
    uint8_t text[1024];
    Writer path{ByteSpan(text, sizeof text - 1)};
    path.text("/proc/");
    path.decimal(static_cast<uint64_t>(pid));
    path.text("/stat");
    *path.at = 0;
    if (pid <= 0) return 0;
    int fd = open(reinterpret_cast<const char *>(text), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    const ssize_t size = read(fd, text, sizeof text);
    close(fd);
    return size > 0 ? started_of(ByteView(text, static_cast<size_t>(size))) : 0;
}

// ---- the directory ----

struct PathText {
    uint8_t text[64] = {0};
    PathText(const char *before, const char *after) {
        Writer out{ByteSpan(text, sizeof text - 1)};
        out.text(before);
        out.decimal(geteuid());
        out.text(after);
    }
    const char *name() const { return reinterpret_cast<const char *>(text); }
};

// 0, or errno; EPERM: it is not a directory that only this user can look into or put files into.
static int open_private(const char *path, int *fd) {
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*fd < 0) return errno == ELOOP || errno == ENOTDIR ? EPERM : errno;
    struct stat facts;
    if (fstat(*fd, &facts) == 0 && facts.st_uid == geteuid() && (facts.st_mode & 07777) == private_directory)
        return 0;
    close(*fd);
    *fd = -1;
    return EPERM;
}

int name_directory(bool make, int *fd, ErrorText *error) {
    const PathText above("/run/user/", ""), session("/run/user/", "/wsxdp"), own("/tmp/wsxdp-", "");
    const bool has_session = open_private(above.name(), fd) == 0;
    if (has_session) close(*fd);
    const char *path = has_session ? session.name() : own.name();
    int cause = open_private(path, fd);
    if (cause == ENOENT && make) {
        cause = mkdir(path, private_directory) != 0 && errno != EEXIST ? errno : open_private(path, fd);
    }
    if (cause == 0) return WSXDP_OK;
    error->begin(cause == EPERM ? WSXDP_E_PERMISSION : WSXDP_E_SYSTEM, cause)
        .add("option name: the directory ");
    error->add(path);
    if (cause == EPERM)
        error->add(
            " is not this user's alone; remove it, or make it a directory of this user with mode 0700");
    else
        error->add(" cannot be used: ").errno_name(cause);
    return error->code;
}

// 0, or errno.
static int lock_directory(int directory) {
    for (int waited = 0;; waited++) {
        if (flock(directory, LOCK_EX | LOCK_NB) == 0) return 0;
        if (errno != EWOULDBLOCK || waited == lock_patience_ms) return errno;
        (void)poll(nullptr, 0, 1);
    }
}

// ---- the file ----

static NameState look_locked(int directory, const char *name, NameRecord *out) {
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? NameState::absent : NameState::stale;
    NameState state = NameState::stale;
    if (read(fd, out, sizeof *out) == static_cast<ssize_t>(sizeof *out) && out->magic == name_magic &&
        flock(fd, LOCK_SH | LOCK_NB) != 0 && out->started != 0 && process_started(out->pid) == out->started)
        state = NameState::alive;
    close(fd);
    return state;
}

NameState name_look(int directory, const char *name, NameRecord *out) {
    const int cause = lock_directory(directory);
    const NameState state = look_locked(directory, name, out);
    if (cause == 0) (void)flock(directory, LOCK_UN);
    return state;
}

bool name_sweep(int directory, const char *name) {
    NameRecord record;
    if (lock_directory(directory) != 0) return false;
    NameState state = look_locked(directory, name, &record);
    if (state == NameState::stale && unlinkat(directory, name, 0) == 0) state = NameState::absent;
    (void)flock(directory, LOCK_UN);
    return state == NameState::absent;
}

// The lock first: what is there without one is left over.
static int write_locked(int directory, const char *name, int region, int *lock) {
    *lock = openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, private_file);
    if (*lock < 0) return errno;
    NameRecord record = {name_magic, region_version, getpid(), process_started(getpid()), region, 0};
    int cause = flock(*lock, LOCK_EX | LOCK_NB) != 0 ? errno : 0;
    if (cause == 0 && write(*lock, &record, sizeof record) != static_cast<ssize_t>(sizeof record))
        cause = errno != 0 ? errno : EIO;
    if (cause == 0) return 0;
    (void)unlinkat(directory, name, 0);
    close(*lock);
    *lock = -1;
    return cause;
}

static int claim_in(int directory, const char *name, int region, int *lock, ErrorText *error) {
    NameRecord record;
    int cause = lock_directory(directory);
    if (cause == 0 && look_locked(directory, name, &record) == NameState::alive) {
        error->begin(WSXDP_E_INVALID).add("option name=").add(name).add(": taken by process ");
        error->number(record.pid).add("; choose another name");
        return WSXDP_E_INVALID;
    }
    if (cause == 0 && unlinkat(directory, name, 0) != 0 && errno != ENOENT) cause = errno;
    if (cause == 0) cause = write_locked(directory, name, region, lock);
    if (cause == 0) return WSXDP_OK;
    const bool full = cause == EMFILE || cause == ENFILE;
    error->begin(full ? WSXDP_E_DESCRIPTORS : WSXDP_E_SYSTEM, cause).add("option name=").add(name);
    error->add(": making its file failed: ").errno_name(cause);
    return error->code;
}

int name_claim(const char *name, int region, int *lock, ErrorText *error) {
    int directory = -1;
    int status = name_directory(true, &directory, error);
    if (status < 0) return status;
    status = claim_in(directory, name, region, lock, error);
    close(directory); // and its lock
    return status;
}

void name_release(const char *name, int lock) {
    int directory = -1;
    ErrorText ignored;
    struct stat ours, there;
    if (name_directory(false, &directory, &ignored) >= 0) {
        const bool locked = lock_directory(directory) == 0;
        int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        const bool same = fd >= 0 && fstat(fd, &there) == 0 && fstat(lock, &ours) == 0 &&
                          there.st_ino == ours.st_ino && there.st_dev == ours.st_dev;
        if (fd >= 0) close(fd);
        if (locked && same) (void)unlinkat(directory, name, 0);
        close(directory);
    }
    close(lock);
}

} // namespace wx
