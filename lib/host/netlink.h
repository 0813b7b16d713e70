// SPDX-License-Identifier: MIT
// Netlink (RFC 3549) as far as it is needed here: requests built through a checked writer, answers walked
// with their lengths checked, one question at a time. The kernel answers while it is asked, so a wait that
// is over a second is given up.
#pragma once
#include "../base/status.h"

namespace wx {

struct NetlinkAttribute {
    uint16_t type = 0; // without the flags that share its field
    ByteView data;
    // False, and nothing written, when the attribute has another size.
    bool u16(uint16_t *out) const;
    bool u32(uint32_t *out) const;
    bool be16(uint16_t *out) const;
    bool uint(uint64_t *out) const;           // of 4 or 8 bytes, as newer families have them
    bool text(char *out, size_t bytes) const; // zero-terminated; false when it does not fit
};
struct NetlinkAttributes {
    ByteView left;
    bool broken = false; // a length that cannot be: nothing was read from there on
    explicit NetlinkAttributes(ByteView bytes) : left(bytes) {}
    bool next(NetlinkAttribute *out);
};
// The first attribute of this type.
bool netlink_find(ByteView attributes, uint16_t type, NetlinkAttribute *out);

struct NetlinkMessage {
    uint16_t type = 0;
    uint16_t flags = 0;
    uint32_t sequence = 0;
    ByteView body;
};
struct NetlinkMessages {
    ByteView left;
    bool broken = false;
    explicit NetlinkMessages(ByteView bytes) : left(bytes) {}
    bool next(NetlinkMessage *out);
};
// Takes the fixed head that a message begins with; false when the body is shorter.
bool netlink_take(ByteView *body, void *head, size_t bytes);
template <class T> bool netlink_take(ByteView *body, T *head) {
    return netlink_take(body, head, sizeof *head);
}

struct NetlinkRequest {
    static constexpr size_t room = 512; // several times the longest that is made here
    alignas(4) uint8_t bytes[room];
    size_t size = 0;
    bool failed = false; // something did not fit: it is not sent

    NetlinkRequest(uint16_t type, uint16_t flags);
    void head(const void *data, size_t count);
    template <class T> void head(const T &data) { head(&data, sizeof data); }
    void attribute(uint16_t type, ByteView data);
    void u32(uint16_t type, uint32_t value);
    void text(uint16_t type, const char *value); // with its zero byte
    size_t begin_nest(uint16_t type);
    void end_nest(size_t begun);
};

struct NetlinkFailure {
    int cause = 0;        // errno, the kernel's or our own
    char text[120] = {0}; // what the kernel said beside it, mostly empty
    void say(ErrorText *error) const;
};

struct Netlink {
    int fd = -1;
    uint32_t sequence = 0;
    uint8_t *buffer = nullptr;
};
// NETLINK_ROUTE, NETLINK_GENERIC. E_SYSTEM, E_DESCRIPTORS, E_MEMORY with a sentence.
int netlink_open(Netlink *netlink, int protocol, ErrorText *error);
void netlink_close(Netlink *netlink); // twice is harmless
// One that only listens and never blocks.
int netlink_open_listener(Netlink *netlink, int protocol, ErrorText *error);
// false, with errno: this kernel has no such group.
bool netlink_join(Netlink *netlink, uint32_t group);

// Called for each message of an answer; with nullptr when what came before is void, because what is listed
// changed meanwhile and is listed anew.
using NetlinkAnswer = void (*)(void *context, const NetlinkMessage *message);
// 0, or < 0 with *failure filled in. With NLM_F_DUMP a list is read to its end.
int netlink_ask(Netlink *netlink, NetlinkRequest *request, NetlinkAnswer answer, void *context,
                NetlinkFailure *failure);
// What a listener has got: > 0 bytes in its buffer, 0 nothing (for now), -ENOBUFS when something was lost.
int64_t netlink_receive(Netlink *netlink);

// The number of a generic netlink family, 0 when this kernel does not have it.
uint16_t netlink_family(Netlink *netlink, const char *name);
// A request to such a family, as far as its attributes.
NetlinkRequest netlink_family_request(uint16_t family, uint8_t command, uint16_t flags);
// The attributes of such a family's message.
bool netlink_family_attributes(const NetlinkMessage &message, ByteView *out);

// The outcome of an error or done message: 0 or a positive errno, and the kernel's words.
int netlink_outcome(const NetlinkMessage &message, NetlinkFailure *failure);

} // namespace wx
