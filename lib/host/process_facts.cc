// SPDX-License-Identifier: MIT
// What this process may do and what its kernel offers to AF_XDP. Reads only, and only what anybody may read:
// a file that is missing leaves its fact at the worse value.
#include "nic_facts.h"
#include "nic_parts.h"
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace wx {

constexpr uint64_t bpffs_magic = 0xCAFE4A11;

static void read_capabilities(ProcessFacts *out) {
    __user_cap_header_struct head = {};
    __user_cap_data_struct data[2] = {};
    head.version = _LINUX_CAPABILITY_VERSION_3;
    if (syscall(SYS_capget, &head, data) != 0) return;
    const uint64_t effective = static_cast<uint64_t>(data[1].effective) << 32 | data[0].effective;
    const auto has = [effective](unsigned bit) { return (effective >> bit & 1) != 0; };
    out->net_admin = has(CAP_NET_ADMIN);
    out->net_raw = has(CAP_NET_RAW);
    out->bpf = has(CAP_BPF);
    out->sys_admin = has(CAP_SYS_ADMIN);
    out->ipc_lock = has(CAP_IPC_LOCK);
}

static uint64_t limit_of(rlim_t value) { return value == RLIM_INFINITY ? UINT64_MAX : value; }

// "HugePages_Free:      12", "Hugepagesize:    2048 kB"
static bool meminfo_number(const char *text, const char *key, uint64_t *out) {
    const char *at = strstr(text, key);
    if (at == nullptr) return false;
    at += strlen(key);
    while (*at == ' ') at++;
    return decimal_read(at, out);
}

static void read_huge_pages(ProcessFacts *out) {
    char text[4096]; // about 1,500 on Linux 6.18
    uint64_t free_pages = 0, size_kb = 0;
    if (!read_small_file("/proc/meminfo", text, sizeof text)) return;
    if (meminfo_number(text, "\nHugePages_Free:", &free_pages)) out->hugepages_free = free_pages;
    if (meminfo_number(text, "\nHugepagesize:", &size_kb)) out->hugepage_bytes = size_kb * 1024;
}

void process_facts_read(ProcessFacts *out) {
    *out = ProcessFacts();
    read_capabilities(out);
    rlimit memlock;
    if (getrlimit(RLIMIT_MEMLOCK, &memlock) == 0) {
        out->memlock_soft = limit_of(memlock.rlim_cur);
        out->memlock_hard = limit_of(memlock.rlim_max);
    }
    read_huge_pages(out);
    utsname system;
    if (uname(&system) == 0) {
        const size_t size = strnlen(system.release, sizeof out->kernel - 1);
        memcpy(out->kernel, system.release, size);
    }
    read_small_file("/sys/devices/system/cpu/isolated", out->isolated, sizeof out->isolated);
    struct statfs bpf;
    out->bpffs = statfs("/sys/fs/bpf", &bpf) == 0 && static_cast<uint64_t>(bpf.f_type) == bpffs_magic;
    struct stat btf;
    out->kernel_btf = stat("/sys/kernel/btf/vmlinux", &btf) == 0;
    uint64_t value = 0;
    // For root alone, and not shown in other namespaces than the first.
    if (read_number_file("/proc/sys/net/core/bpf_jit_enable", &value)) out->jit = known(value != 0);
}

void missing_capabilities(const ProcessFacts &facts, Writer *out) {
    const struct {
        bool has;
        const char *name;
    } needed[] = {{facts.net_raw, "CAP_NET_RAW"},
                  {facts.net_admin, "CAP_NET_ADMIN"},
                  {facts.bpf || facts.sys_admin, "CAP_BPF"}};
    const char *separator = "";
    for (const auto &row : needed) {
        if (row.has) continue;
        out->text(separator);
        out->text(row.name);
        separator = ", ";
    }
}

} // namespace wx
