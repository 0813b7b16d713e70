// SPDX-License-Identifier: MIT
// See helper.h. posix_spawn and not fork: the host program may have threads, locks and signal handlers that a
// forked child would carry along. The child is watched by its pidfd, never by SIGCHLD or a wait for any
// child, so the host's own children stay the host's. The worst case accepted is a host that reaps every child
// it has: then how ours ended is not known, only that it did.
#include "helper.h"
#include "../base/alloc.h"
#include "../base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" char **environ;

namespace wx {

// ---- a URL and options ----

static int write_all(int fd, ByteView bytes) {
    size_t done = 0;
    while (done < bytes.size) {
        ssize_t more = write(fd, bytes.data + done, bytes.size - done);
        if (more < 0 && errno == EINTR) continue;
        if (more <= 0) return more < 0 ? errno : EIO;
        done += static_cast<size_t>(more);
    }
    return 0;
}

int bundle_write(ByteView url, const Options *options, int *fd) {
    const size_t bytes = url.size + 1 + options_wire_bytes(options);
    uint8_t *memory = static_cast<uint8_t *>(allocate(bytes));
    if (memory == nullptr) return ENOMEM;
    Writer out{ByteSpan(memory, bytes)};
    out.bytes(url);
    out.u8(0);
    options_write(options, &out);
    *fd = memfd_create("wsxdp-request", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int cause = *fd < 0 ? errno : write_all(*fd, out.view());
    constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    if (cause == 0 && fcntl(*fd, F_ADD_SEALS, seals) != 0) cause = errno;
    explicit_bzero(memory, bytes); // keys and passwords may be among the options
    deallocate(memory);
    if (cause != 0 && *fd >= 0) close(*fd);
    return cause;
}

static int unreadable(ErrorText *error, int code, const char *why) {
    error->begin(code).add("stage: the request cannot be read: ").add(why);
    return code;
}

int bundle_read(int fd, char **url, Options **options, ErrorText *error) {
    struct stat facts;
    constexpr int needed = F_SEAL_SHRINK | F_SEAL_WRITE;
    const int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & needed) != needed || fstat(fd, &facts) != 0)
        return unreadable(error, WSXDP_E_INVALID, "it is not sealed");
    const size_t bytes = static_cast<size_t>(facts.st_size);
    void *memory = bytes != 0 ? mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (memory == MAP_FAILED) return unreadable(error, WSXDP_E_SYSTEM, "it cannot be mapped");
    const char *text = static_cast<const char *>(memory);
    const size_t url_size = strnlen(text, bytes);
    int status = WSXDP_OK;
    *url = nullptr;
    *options = nullptr;
    if (url_size == bytes) {
        status = unreadable(error, WSXDP_E_INVALID, "it is cut short");
    } else {
        Reader in(ByteView(text + url_size + 1, bytes - url_size - 1));
        *options = options_read(&in, error);
        status = *options != nullptr ? WSXDP_OK : error->code;
        if (status >= 0) *url = duplicate_text(text, url_size);
        if (status >= 0 && *url == nullptr) status = unreadable(error, WSXDP_E_MEMORY, "out of memory");
    }
    munmap(memory, bytes);
    if (status >= 0) return status;
    options_free(*options);
    *options = nullptr;
    return status;
}

// ---- the process ----

// In the child the socket is descriptor 3 and nothing else is open but /dev/null.
static int prepare_files(posix_spawn_file_actions_t *actions, int socket) {
    int cause = posix_spawn_file_actions_adddup2(actions, socket, 3);
    for (int fd = 0; fd < 3 && cause == 0; fd++)
        cause = posix_spawn_file_actions_addopen(actions, fd, "/dev/null", fd == 0 ? O_RDONLY : O_WRONLY, 0);
    if (cause == 0) cause = posix_spawn_file_actions_addclosefrom_np(actions, 4);
    return cause;
}

// Every signal at its default, none blocked, and a process group of its own: what a terminal sends to the
// host program is the host's to deal with.
static int prepare_signals(posix_spawnattr_t *attributes) {
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int cause = posix_spawnattr_setsigdefault(attributes, &all);
    if (cause == 0) cause = posix_spawnattr_setsigmask(attributes, &none);
    if (cause == 0) cause = posix_spawnattr_setpgroup(attributes, 0);
    constexpr int flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP;
    return cause == 0 ? posix_spawnattr_setflags(attributes, flags) : cause;
}

static int spawn(const char *path, const char *role, int socket, pid_t *pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int cause = posix_spawn_file_actions_init(&actions);
    if (cause != 0) return cause;
    cause = posix_spawnattr_init(&attributes);
    if (cause == 0) {
        char name[] = "wsxdp-stage";
        char what[64];
        const size_t size = strlen(role) < sizeof what ? strlen(role) : sizeof what - 1;
        memcpy(what, role, size);
        what[size] = 0;
        char *arguments[] = {name, what, nullptr};
        cause = prepare_files(&actions, socket);
        if (cause == 0) cause = prepare_signals(&attributes);
        if (cause == 0) cause = posix_spawn(pid, path, &actions, &attributes, arguments, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return cause;
}

// In a host that takes every exit status a process that ended at once is gone when it is looked for, and its
// id may be another's, which must not be signalled.
static bool is_child(int pidfd) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    return waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info,
                  WEXITED | WNOHANG | WNOWAIT) == 0;
}

int helper_spawn(const char *path, const char *role, HelperProcess *out, ErrorText *error) {
    int ends[2];
    int cause = passing_pair(ends);
    if (cause == 0) {
        cause = spawn(path, role, ends[1], &out->pid);
        close(ends[1]);
        out->control = ends[0];
    }
    if (cause == 0) {
        out->pidfd = static_cast<int>(syscall(SYS_pidfd_open, out->pid, 0));
        if (out->pidfd < 0) cause = errno;
    }
    if (cause == 0 && !is_child(out->pidfd)) {
        close(out->pidfd);
        out->pidfd = out->pid = -1;
        cause = ESRCH;
    }
    if (cause == 0) return WSXDP_OK;
    helper_end(out, 0);
    const bool full = cause == EMFILE || cause == ENFILE;
    error->begin(full ? WSXDP_E_DESCRIPTORS : WSXDP_E_STAGE_START, cause).add("placement: starting ");
    error->add(ByteView(path)).add(": ");
    if (cause == ESRCH) {
        error->add("it ended at once; the host program took its exit status");
        return error->code;
    }
    error->errno_name(cause);
    if (cause == ENOENT || cause == EACCES)
        error->add("; `make install` puts it in libexec, stage.path says where else it is");
    else if (full)
        error->add("; raise the limit (ulimit -n)");
    return error->code;
}

static void describe(const siginfo_t &how, ErrorText *out) {
    if (how.si_code == CLD_EXITED) {
        out->add("exit status ").number(how.si_status);
        return;
    }
    const char *name = sigabbrev_np(how.si_status);
    out->add("ended by SIG").add(name != nullptr ? name : "?");
    out->add(how.si_code == CLD_DUMPED ? " (core dumped)" : "");
}

static void forget(HelperProcess *helper) {
    if (helper->pidfd >= 0) close(helper->pidfd);
    if (helper->control >= 0) close(helper->control);
    *helper = HelperProcess();
}

int helper_ended(HelperProcess *helper, ErrorText *how) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    const int status =
        waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(helper->pidfd), &info, WEXITED | WNOHANG);
    if (status == 0 && info.si_pid == 0) return 0;
    if (status == 0)
        describe(info, how);
    else
        how->add("ended; the host program took its exit status");
    forget(helper);
    return 1;
}

void helper_dismiss(HelperProcess *helper) {
    if (helper->control >= 0) close(helper->control);
    helper->control = -1;
}

void helper_end(HelperProcess *helper, Nanos patience) {
    helper_dismiss(helper);
    if (helper->pidfd < 0) {
        // Not even a pidfd could be had: it finds its socket closed and ends.
        if (helper->pid > 0) waitpid(helper->pid, nullptr, 0);
    } else {
        pollfd look = {helper->pidfd, POLLIN, 0};
        const Nanos end = monotonic_ns() + patience;
        int ready = 0;
        while (ready <= 0) {
            const Nanos left = end - monotonic_ns();
            ready = poll(&look, 1, left > 0 ? static_cast<int>(left / ns_per_ms) + 1 : 0);
            if (ready == 0 || (ready < 0 && errno != EINTR)) break;
        }
        if (ready <= 0) syscall(SYS_pidfd_send_signal, helper->pidfd, SIGKILL, nullptr, 0);
        siginfo_t info;
        while (waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(helper->pidfd), &info, WEXITED) !=
                   0 &&
               errno == EINTR)
            ;
    }
    forget(helper);
}

} // namespace wx
