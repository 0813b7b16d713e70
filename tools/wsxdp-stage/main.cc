// SPDX-License-Identifier: MIT
// wsxdp-stage: the program that libwsxdp starts to run stages in a process of their own
// (placement=processes). It gets one socket as descriptor 3 and everything else over it, answers once its
// stages are made, and runs until it is told to stop or the program that started it is gone.
#include "host.h"
#include "sandbox.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace wx;

namespace {

constexpr int control = 3;
constexpr int first_message_patience_ms = 5000;

bool is_started_by_library() {
    int type = 0;
    socklen_t size = sizeof type;
    return getsockopt(control, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

int refuse(ErrorText *error, int cause, const char *why) {
    error->begin(WSXDP_E_STAGE_START, cause).add("wsxdp-stage: ").add(why);
    return WSXDP_E_STAGE_START;
}

// The bells are as many as there are places, which only the message itself says.
int take_start(StageStart *start, int *fds, ErrorText *error) {
    size_t count = 0;
    int cause = passing_receive_some(control, start, sizeof *start, fds, StageStart::count, &count,
                                     first_message_patience_ms);
    if (cause != 0) return refuse(error, cause, "the first message is not one of libwsxdp of this version");
    if (start->magic != stage_magic || start->version != stage_version)
        return refuse(error, 0, "made with another version of libwsxdp; install both of one version");
    const bool there = start->placement.count <= places_max && start->place < start->placement.count;
    const bool good =
        there && count == StageStart::bells + start->placement.count + (has_peer(*start) ? 1 : 0);
    return good ? static_cast<int>(WSXDP_OK)
                : refuse(error, 0, "the first message names places that are not there");
}

SandboxRole role_of(const StageStart &start) {
    const uint32_t stages = start.placement.places[start.place].stages;
    const bool apart = placement_nic(start.placement) < start.placement.count;
    if ((stages & (stage_nic | stage_transport)) == 0) return SandboxRole::frames;
    return apart && (stages & stage_nic) == 0 ? SandboxRole::transport : SandboxRole::whole;
}

// "setcap ... PROGRAM" would be understood of the program that has the handle.
void name_program(ErrorText *error) {
    char path[256];
    const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
    if (size > 0) error->add("; PROGRAM is ").add(ByteView(path, static_cast<size_t>(size)));
}

void reply(int status, const ErrorText &error) {
    StageReply reply;
    memset(&reply, 0, sizeof reply);
    reply.code = status < 0 ? status : static_cast<int>(WSXDP_OK);
    reply.cause = error.system_errno;
    reply.size = error.code != 0 ? error.size : 0;
    memcpy(reply.text, error.text, reply.size);
    (void)passing_send(control, ByteView(&reply, sizeof reply), nullptr, 0,
                       0); // who has gone needs no answer
}

} // namespace

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("wsxdp-stage %u.%u.%u\n", stage_version >> 16, stage_version >> 8 & 255, stage_version & 255);
        return 0;
    }
    if (!is_started_by_library()) {
        fprintf(stderr, "wsxdp-stage is started by libwsxdp (placement=processes) and of no use alone\n");
        return 2;
    }
    StageStart start;
    int fds[StageStart::count];
    ErrorText error;
    auto *host = new Host();
    host->control = control;
    int status = take_start(&start, fds, &error);
    const bool started = status >= 0;
    if (started) status = host_open(host, start, fds, &error);
    if (status == WSXDP_E_PERMISSION) name_program(&error);
    if (status >= 0) status = sandbox_enter(*host->settings->options, &error, role_of(start));
    reply(status, error);
    if (status >= 0) worker_run(&host->worker);
    if (status >= 0) host_sweep(host);
    const bool broken = status < 0 || host->broken || host->worker.corrupt;
    if (started) host_close(host);
    delete host;
    return broken ? 1 : 0;
}
