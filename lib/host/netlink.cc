// SPDX-License-Identifier: MIT
// A netlink client without a library: a socket connected to the kernel, so that nobody else can answer, and
// walks over messages and attributes that stop at the first length that does not fit into what was received.
// Nothing here knows what is asked. The worst case it accepts is a kernel that does not answer: a second.
#include "netlink.h"
#include "../base/alloc.h"
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace wx {

// The kernel makes no message of a list larger than this, and a single answer is the largest with the table
// of 2048 queues of a NIC: 8 KiB.
constexpr size_t buffer_bytes = 32768;
constexpr long answer_seconds_max = 1;
// A list that changes under the reader is read anew; one that changes each time is taken for unreadable.
constexpr unsigned restarts_max = 8;
// Datagrams of one answer: more than a list of 100,000 entries needs.
constexpr unsigned datagrams_max = 65536;

constexpr size_t aligned(size_t size) { return (size + 3) & ~static_cast<size_t>(3); }

template <class T> static bool exactly(ByteView data, T *out) {
    if (data.size != sizeof *out) return false;
    memcpy(out, data.data, sizeof *out);
    return true;
}
bool NetlinkAttribute::u16(uint16_t *out) const { return exactly(data, out); }
bool NetlinkAttribute::u32(uint32_t *out) const { return exactly(data, out); }
bool NetlinkAttribute::be16(uint16_t *out) const {
    if (data.size != 2) return false;
    *out = load_be16(data.data);
    return true;
}
bool NetlinkAttribute::uint(uint64_t *out) const {
    uint32_t small = 0;
    if (exactly(data, out)) return true;
    if (!exactly(data, &small)) return false;
    *out = small;
    return true;
}
bool NetlinkAttribute::text(char *out, size_t bytes) const {
    const size_t size = data.size == 0 ? 0 : strnlen(data.text(), data.size);
    if (size >= bytes) return false;
    if (size != 0) memcpy(out, data.data, size);
    out[size] = 0;
    return true;
}

bool NetlinkAttributes::next(NetlinkAttribute *out) {
    if (left.size == 0 || broken) return false;
    nlattr head;
    if (left.size < sizeof head) {
        broken = true;
        return false;
    }
    memcpy(&head, left.data, sizeof head);
    if (head.nla_len < sizeof head || head.nla_len > left.size) {
        broken = true;
        return false;
    }
    out->type = static_cast<uint16_t>(head.nla_type & NLA_TYPE_MASK);
    out->data = left.first(head.nla_len).from(sizeof head);
    left = left.from(aligned(head.nla_len)); // the last one may lack its padding
    return true;
}

bool netlink_find(ByteView attributes, uint16_t type, NetlinkAttribute *out) {
    NetlinkAttributes walk(attributes);
    while (walk.next(out))
        if (out->type == type) return true;
    return false;
}

bool NetlinkMessages::next(NetlinkMessage *out) {
    if (left.size == 0 || broken) return false;
    nlmsghdr head;
    if (left.size < sizeof head) {
        broken = true;
        return false;
    }
    memcpy(&head, left.data, sizeof head);
    if (head.nlmsg_len < sizeof head || head.nlmsg_len > left.size) {
        broken = true;
        return false;
    }
    out->type = head.nlmsg_type;
    out->flags = head.nlmsg_flags;
    out->sequence = head.nlmsg_seq;
    out->body = left.first(head.nlmsg_len).from(sizeof head);
    left = left.from(aligned(head.nlmsg_len));
    return true;
}

bool netlink_take(ByteView *body, void *head, size_t bytes) {
    if (body->size < bytes) return false;
    memcpy(head, body->data, bytes);
    *body = body->from(aligned(bytes));
    return true;
}

NetlinkRequest::NetlinkRequest(uint16_t type, uint16_t flags) {
    nlmsghdr start = {};
    start.nlmsg_type = type;
    // An acknowledgement marks the end of an answer, also of an empty one; a list has its own end.
    const bool list = (flags & NLM_F_DUMP) == NLM_F_DUMP;
    start.nlmsg_flags = static_cast<uint16_t>(flags | NLM_F_REQUEST | (list ? 0 : NLM_F_ACK));
    head(start);
}
void NetlinkRequest::head(const void *data, size_t count) {
    if (failed || aligned(count) > room - size) {
        failed = true;
        return;
    }
    memcpy(bytes + size, data, count);
    memset(bytes + size + count, 0, aligned(count) - count);
    size += aligned(count);
}
void NetlinkRequest::attribute(uint16_t type, ByteView data) {
    nlattr start = {};
    if (data.size > room) failed = true;
    if (failed) return;
    start.nla_len = static_cast<uint16_t>(sizeof start + data.size);
    start.nla_type = type;
    head(start);
    if (data.size != 0) head(data.data, data.size);
}
void NetlinkRequest::u32(uint16_t type, uint32_t value) { attribute(type, ByteView(&value, sizeof value)); }
void NetlinkRequest::text(uint16_t type, const char *value) {
    attribute(type, ByteView(value, strlen(value) + 1));
}
size_t NetlinkRequest::begin_nest(uint16_t type) {
    const size_t begun = size;
    attribute(static_cast<uint16_t>(type | NLA_F_NESTED), ByteView());
    return begun;
}
void NetlinkRequest::end_nest(size_t begun) {
    if (failed) return;
    const uint16_t length = static_cast<uint16_t>(size - begun);
    memcpy(bytes + begun, &length, sizeof length);
}

void NetlinkFailure::say(ErrorText *error) const {
    error->errno_name(cause);
    if (text[0] != 0) error->add("; the kernel says: ").add(ByteView(text));
}

static int open_failed(Netlink *netlink, const char *what, int cause, ErrorText *error) {
    netlink_close(netlink);
    const int code = cause == ENOMEM                      ? WSXDP_E_MEMORY
                     : cause == EMFILE || cause == ENFILE ? WSXDP_E_DESCRIPTORS
                                                          : WSXDP_E_SYSTEM;
    error->begin(code, cause).add("asking the kernel about the network: ").add(what).add(": ");
    error->errno_name(cause);
    if (code == WSXDP_E_DESCRIPTORS) error->add("; raise RLIMIT_NOFILE");
    return code;
}

static int open_socket(Netlink *netlink, int protocol, int flags, ErrorText *error) {
    netlink->buffer = static_cast<uint8_t *>(allocate(buffer_bytes));
    if (netlink->buffer == nullptr) return open_failed(netlink, "no memory", ENOMEM, error);
    netlink->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, protocol);
    if (netlink->fd < 0) return open_failed(netlink, "a netlink socket", errno, error);
    // Both only make errors more telling; an older kernel goes without.
    const int on = 1;
    setsockopt(netlink->fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    setsockopt(netlink->fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    sockaddr_nl kernel = {};
    kernel.nl_family = AF_NETLINK;
    if (connect(netlink->fd, reinterpret_cast<sockaddr *>(&kernel), sizeof kernel) != 0)
        return open_failed(netlink, "connecting a netlink socket", errno, error);
    return WSXDP_OK;
}

int netlink_open(Netlink *netlink, int protocol, ErrorText *error) {
    const int status = open_socket(netlink, protocol, 0, error);
    if (!ok(status)) return status;
    const timeval wait = {answer_seconds_max, 0};
    if (setsockopt(netlink->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0 ||
        setsockopt(netlink->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) != 0)
        return open_failed(netlink, "a time limit for a netlink socket", errno, error);
    return WSXDP_OK;
}

int netlink_open_listener(Netlink *netlink, int protocol, ErrorText *error) {
    return open_socket(netlink, protocol, SOCK_NONBLOCK, error);
}

bool netlink_join(Netlink *netlink, uint32_t group) {
    return setsockopt(netlink->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) == 0;
}

void netlink_close(Netlink *netlink) {
    if (netlink->fd >= 0) close(netlink->fd);
    netlink->fd = -1;
    deallocate(netlink->buffer);
    netlink->buffer = nullptr;
}

// Bytes, or -errno. What does not come from the kernel (any process may send to a group if it is allowed to)
// is passed over.
static int64_t receive(Netlink *netlink) {
    for (;;) {
        sockaddr_nl sender = {};
        iovec part = {netlink->buffer, buffer_bytes};
        msghdr message = {};
        message.msg_name = &sender;
        message.msg_namelen = sizeof sender;
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        const ssize_t got = recvmsg(netlink->fd, &message, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -errno;
        if (sender.nl_pid != 0) continue;
        if ((message.msg_flags & MSG_TRUNC) != 0) return -EMSGSIZE;
        return got;
    }
}

int64_t netlink_receive(Netlink *netlink) {
    const int64_t got = receive(netlink);
    if (got == -EAGAIN) return 0;
    // A message cut short is as good as lost, like those that found no room.
    return got < 0 ? -ENOBUFS : got;
}

int netlink_outcome(const NetlinkMessage &message, NetlinkFailure *failure) {
    ByteView rest = message.body;
    int32_t status = 0;
    *failure = NetlinkFailure();
    if (!netlink_take(&rest, &status)) return failure->cause = EPROTO;
    if (status >= 0) return 0;
    failure->cause = status == INT32_MIN ? EPROTO : -status;
    if (message.type == NLMSG_ERROR) {
        nlmsghdr asked;
        if (!netlink_take(&rest, &asked)) return failure->cause;
        if ((message.flags & NLM_F_CAPPED) == 0 && asked.nlmsg_len > sizeof asked)
            rest = rest.from(aligned(asked.nlmsg_len - sizeof asked));
    }
    NetlinkAttribute words;
    if ((message.flags & NLM_F_ACK_TLVS) != 0 && netlink_find(rest, NLMSGERR_ATTR_MSG, &words))
        words.text(failure->text, sizeof failure->text);
    return failure->cause;
}

enum class Progress : uint8_t { more, done, failed };

// One datagram of an answer.
static Progress take_datagram(Netlink *netlink, size_t size, NetlinkAnswer answer, void *context,
                              bool *interrupted, NetlinkFailure *failure) {
    NetlinkMessages walk(ByteView(netlink->buffer, size));
    NetlinkMessage message;
    while (walk.next(&message)) {
        if (message.sequence != netlink->sequence) continue; // of a question that was given up
        if ((message.flags & NLM_F_DUMP_INTR) != 0) *interrupted = true;
        if (message.type == NLMSG_ERROR || message.type == NLMSG_DONE)
            return netlink_outcome(message, failure) == 0 ? Progress::done : Progress::failed;
        if (message.type >= NLMSG_MIN_TYPE && answer != nullptr) answer(context, &message);
    }
    if (!walk.broken) return Progress::more;
    failure->cause = EPROTO;
    return Progress::failed;
}

static Progress take_answer(Netlink *netlink, NetlinkAnswer answer, void *context, bool *interrupted,
                            NetlinkFailure *failure) {
    for (unsigned i = 0; i < datagrams_max; i++) {
        const int64_t got = receive(netlink);
        if (got < 0) {
            failure->cause = got == -EAGAIN ? ETIMEDOUT : static_cast<int>(-got);
            return Progress::failed;
        }
        const Progress progress =
            take_datagram(netlink, static_cast<size_t>(got), answer, context, interrupted, failure);
        if (progress != Progress::more) return progress;
    }
    failure->cause = EPROTO;
    return Progress::failed;
}

int netlink_ask(Netlink *netlink, NetlinkRequest *request, NetlinkAnswer answer, void *context,
                NetlinkFailure *failure) {
    *failure = NetlinkFailure();
    if (request->failed) failure->cause = EMSGSIZE;
    for (unsigned i = 0; i < restarts_max && failure->cause == 0; i++) {
        nlmsghdr head;
        memcpy(&head, request->bytes, sizeof head);
        head.nlmsg_len = static_cast<uint32_t>(request->size);
        head.nlmsg_seq = ++netlink->sequence;
        memcpy(request->bytes, &head, sizeof head);
        ssize_t sent;
        while ((sent = send(netlink->fd, request->bytes, request->size, MSG_NOSIGNAL)) < 0 &&
               errno == EINTR) {
        }
        if (sent < 0) {
            failure->cause = errno;
            break;
        }
        bool interrupted = false;
        if (take_answer(netlink, answer, context, &interrupted, failure) == Progress::failed) break;
        if (!interrupted) return 0;
        if (answer != nullptr) answer(context, nullptr);
    }
    if (failure->cause == 0) failure->cause = EBUSY;
    return -failure->cause;
}

NetlinkRequest netlink_family_request(uint16_t family, uint8_t command, uint16_t flags) {
    NetlinkRequest request(family, flags);
    genlmsghdr head = {};
    head.cmd = command;
    head.version = 1; // of every family that is asked here
    request.head(head);
    return request;
}

bool netlink_family_attributes(const NetlinkMessage &message, ByteView *out) {
    genlmsghdr head;
    *out = message.body;
    return netlink_take(out, &head);
}

static void read_family(void *context, const NetlinkMessage *message) {
    ByteView rest;
    NetlinkAttribute number;
    if (message == nullptr || !netlink_family_attributes(*message, &rest)) return;
    if (netlink_find(rest, CTRL_ATTR_FAMILY_ID, &number)) number.u16(static_cast<uint16_t *>(context));
}

uint16_t netlink_family(Netlink *netlink, const char *name) {
    NetlinkRequest request = netlink_family_request(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0);
    request.text(CTRL_ATTR_FAMILY_NAME, name);
    uint16_t number = 0;
    NetlinkFailure failure;
    return netlink_ask(netlink, &request, read_family, &number, &failure) == 0 ? number : 0;
}

} // namespace wx
