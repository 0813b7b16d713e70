// SPDX-License-Identifier: MIT
// The doctor on the helper that runs stages in a process of their own: where it is, whether it is of this
// version, and what the file system lets it do for a program that may not. Asks the helper itself for its
// version; one at another path (stage.path) is not looked for.
#include "doctor_parts.h"

#include "../../lib/pipeline/helper.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <linux/capability.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef WSXDP_STAGE_PATH
#define WSXDP_STAGE_PATH "/usr/local/libexec/wsxdp-stage"
#endif

using namespace wx;

namespace {

std::string version_of(const std::string &path) {
    char line[128] = "";
    FILE *said = popen(("'" + path + "' --version 2>/dev/null").c_str(), "re");
    if (said == nullptr) return "";
    const bool read = fgets(line, sizeof line, said) != nullptr;
    pclose(said);
    line[strcspn(line, "\n")] = 0;
    return read && strncmp(line, "wsxdp-stage ", 12) == 0 ? line + 12 : "";
}

std::string own_version() {
    return std::to_string(stage_version >> 16) + "." + std::to_string(stage_version >> 8 & 255) + "." +
           std::to_string(stage_version & 255);
}

// Of revision 2 and of 3, which has a user besides.
uint64_t file_capabilities(const std::string &path) {
    vfs_ns_cap_data data = {};
    const ssize_t size = getxattr(path.c_str(), "security.capability", &data, sizeof data);
    if (size < static_cast<ssize_t>(XATTR_CAPS_SZ_2)) return 0;
    if ((data.magic_etc & VFS_CAP_FLAGS_EFFECTIVE) == 0) return 0; // the helper raises none by itself
    return data.data[0].permitted | uint64_t{data.data[1].permitted} << 32;
}

std::string names_of(uint64_t capabilities) {
    const struct {
        unsigned bit;
        const char *name;
    } rows[] = {{CAP_NET_ADMIN, "cap_net_admin"},
                {CAP_NET_RAW, "cap_net_raw"},
                {CAP_BPF, "cap_bpf"},
                {CAP_IPC_LOCK, "cap_ipc_lock"}};
    std::string out;
    for (const auto &row : rows)
        if ((capabilities >> row.bit & 1) != 0) out += (out.empty() ? "" : ",") + std::string(row.name);
    return out.empty() ? "no capabilities of its own" : "file capabilities " + out;
}

} // namespace

void examine_helper(Report &report) {
    const std::string path = WSXDP_STAGE_PATH, id = "processes.helper";
    const std::string reason =
        "placement=processes runs it; with cap_net_admin,cap_net_raw,cap_bpf+ep (setcap) it "
        "opens transport=xdp for programs without these";
    if (access(path.c_str(), X_OK) != 0) {
        report.add(id, Verdict::warn, path + ": " + strerror(errno), reason,
                   "make install, or say with stage.path where it is");
        return;
    }
    const std::string version = version_of(path);
    const bool same = version == own_version();
    report.add(id, same ? Verdict::ok : Verdict::warn,
               path + " is " + (version.empty() ? "of no known version" : "version " + version) + ", with " +
                   names_of(file_capabilities(path)),
               reason, same ? "" : "make install, of version " + own_version());
}
