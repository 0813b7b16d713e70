// SPDX-License-Identifier: MIT
// The facts of a NIC, put together from its sources, the most exact first. Sysfs comes last and only after a
// look whether it shows this very device: it is of the network namespace that it was mounted in, not of ours.
#include "nic_facts.h"
#include "nic_parts.h"
#include "routes_parts.h"
#include <fcntl.h>
#include <linux/netlink.h>
#include <unistd.h>

namespace wx {

bool read_small_file(const char *path, char *out, size_t bytes) {
    out[0] = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const ssize_t got = read(fd, out, bytes - 1);
    close(fd);
    size_t size = got < 0 ? 0 : static_cast<size_t>(got);
    while (size != 0 && out[size - 1] == '\n') size--;
    out[size] = 0;
    return got >= 0;
}

bool decimal_read(const char *text, uint64_t *out) {
    uint64_t value = 0;
    if (*text < '0' || *text > '9') return false;
    for (; *text >= '0' && *text <= '9'; text++) {
        const uint64_t digit = static_cast<uint64_t>(*text - '0');
        if (value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool read_number_file(const char *path, uint64_t *out) {
    char text[32];
    return read_small_file(path, text, sizeof text) && decimal_read(text, out);
}

// A file of the interface in sysfs.
bool sysfs_path(const char *interface, const char *file, char *out, size_t bytes) {
    Writer writer{ByteSpan(out, bytes)};
    writer.text("/sys/class/net/");
    writer.text(interface);
    writer.text("/");
    writer.text(file);
    writer.u8(0);
    return !writer.failed;
}
static bool read_sysfs(const char *interface, const char *file, char *out, size_t bytes) {
    char path[96];
    out[0] = 0;
    return sysfs_path(interface, file, path, sizeof path) && read_small_file(path, out, bytes);
}
bool sysfs_number(const char *interface, const char *file, uint64_t *out) {
    char text[32];
    return read_sysfs(interface, file, text, sizeof text) && decimal_read(text, out);
}

static void mac_text(const uint8_t mac[6], char out[18]) {
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < 6; i++) {
        out[i * 3] = hex[mac[i] >> 4];
        out[i * 3 + 1] = hex[mac[i] & 15];
        out[i * 3 + 2] = i == 5 ? '\0' : ':';
    }
}

// Another namespace may well have an interface of this name and number, but not with this address.
bool sysfs_is_ours(const LinkFacts &link) {
    char text[32], mac[18];
    uint64_t index = 0;
    static const uint8_t none[6] = {0};
    if (memcmp(link.mac, none, sizeof none) == 0) return false;
    mac_text(link.mac, mac);
    return read_sysfs(link.name, "ifindex", text, sizeof text) && decimal_read(text, &index) &&
           index == link.index && read_sysfs(link.name, "address", text, sizeof text) &&
           strcmp(text, mac) == 0;
}

static void sysfs_read(const LinkFacts &link, NicFacts *facts) {
    uint64_t number = 0;
    if (!sysfs_is_ours(link)) return;
    if (facts->defer_hard_irqs == UINT32_MAX && sysfs_number(link.name, "napi_defer_hard_irqs", &number) &&
        number < UINT32_MAX)
        facts->defer_hard_irqs = static_cast<uint32_t>(number);
    if (facts->gro_flush_timeout_ns == UINT64_MAX && sysfs_number(link.name, "gro_flush_timeout", &number))
        facts->gro_flush_timeout_ns = number;
}

int nic_facts_read(const char *interface, NicFacts *out, ErrorText *error) {
    *out = NicFacts();
    LinkFacts link;
    Netlink route;
    int status = netlink_open(&route, NETLINK_ROUTE, error);
    if (ok(status)) status = link_by_name(&route, interface, &link, error);
    netlink_close(&route);
    if (!ok(status)) return status;
    memcpy(out->name, link.name, sizeof out->name);
    out->index = link.index;
    out->is_virtual = !link.parent && (link.kind[0] != 0 || link.loopback);
    Netlink generic;
    status = netlink_open(&generic, NETLINK_GENERIC, error);
    if (!ok(status)) return status;
    netdev_read(&generic, out);
    ethtool_netlink_read(&generic, out);
    netlink_close(&generic);
    if (out->receive_queues == 0) out->receive_queues = out->combined_channels + out->receive_channels;
    ethtool_ioctl_read(out);
    // How many were made is how many there are only when it is one: a driver may use fewer.
    if (out->receive_queues == 0 && link.receive_queues == 1) out->receive_queues = 1;
    sysfs_read(link, out);
    return WSXDP_OK;
}

} // namespace wx
