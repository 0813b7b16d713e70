// SPDX-License-Identifier: MIT
// `wsxdp doctor`: chooses the interface, has it and the rest examined, and writes the report. Changes nothing
// on the system; what only an attached program could tell stays a prediction. Runs without any privilege, and
// then says what could not be tried for want of it.
#include "doctor.h"

#include "advice.h"
#include "doctor_parts.h"
#include "exit_codes.h"
#include "format.h"

#include "../../lib/http/url.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <net/if.h>
#include <netdb.h>
#include <unistd.h>

using namespace wx;

namespace {

struct RoutesCloser {
    void operator()(Routes *routes) const { routes_close(routes); }
};
using OpenRoutes = std::unique_ptr<Routes, RoutesCloser>;

int usage(const std::string &sentence) {
    fprintf(stderr, "wsxdp: %s\n", sentence.c_str());
    return exit_usage;
}

IpAddress address_of(const sockaddr *from) {
    if (from->sa_family == AF_INET6)
        return ip_address(reinterpret_cast<const sockaddr_in6 *>(from)->sin6_addr.s6_addr, 6);
    uint8_t four[4];
    memcpy(four, &reinterpret_cast<const sockaddr_in *>(from)->sin_addr, sizeof four);
    return ip_address(four, 4);
}

std::string address_text(const IpAddress &address) {
    char text[ip_text_size];
    ip_address_text(address, text);
    return text;
}

std::vector<IpAddress> addresses_of(const std::string &host, std::string *problem) {
    addrinfo hints = {}, *list = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    int status = getaddrinfo(host.c_str(), nullptr, &hints, &list);
    std::vector<IpAddress> found;
    if (status != 0) {
        *problem = gai_strerror(status);
        return found;
    }
    for (addrinfo *at = list; at != nullptr; at = at->ai_next)
        if (at->ai_family == AF_INET || at->ai_family == AF_INET6) found.push_back(address_of(at->ai_addr));
    freeaddrinfo(list);
    return found;
}

// The device that frames leave by, from what was named: of a VLAN device, the one beneath.
int take_link(Routes *routes, uint32_t index, Patient &patient, ErrorText &error) {
    int status = routes_link(routes, index, &patient.link, &error);
    if (status >= 0 && strcmp(patient.link.kind, "vlan") == 0 && !patient.link.foreign &&
        patient.link.lower_index != 0) {
        patient.tagged = true;
        status = routes_link(routes, patient.link.lower_index, &patient.link, &error);
    }
    if (status >= 0) status = nic_facts_read(patient.link.name, &patient.nic, &error);
    patient.has_interface = status >= 0;
    return status;
}

void add_route(const std::string &host, const IpAddress &remote, const XdpRoute &route,
               const Patient &patient, Report &report) {
    std::string fact = host + " (" + address_text(remote) + ") is reached through " + patient.link.name +
                       " from " + address_text(route.source);
    if (route.next_hop != remote) fact += " by way of " + address_text(route.next_hop);
    if (route.vlan != no_vlan) fact += ", VLAN " + std::to_string(route.vlan);
    report.add("path.route", Verdict::ok, fact + ", MTU " + std::to_string(route.mtu),
               "the interface of the route is the one that transport=xdp takes");
}

// The interface of the way to a host, which is `only` where that is not 0.
void follow_route(Routes *routes, const std::string &host, uint32_t only, Patient &patient, Report &report) {
    std::string problem = "no address";
    std::vector<IpAddress> addresses = addresses_of(host, &problem);
    if (addresses.empty()) {
        report.add("path.route", Verdict::fail, "the name " + host + " does not resolve: " + problem,
                   "without an address there is no route", "getent ahosts " + host);
        return;
    }
    XdpPaths paths = routes_paths(routes);
    ErrorText error, first;
    for (const IpAddress &remote : addresses) {
        XdpRoute route;
        if (paths.route(paths.context, remote, only, &route, &error) >= 0 &&
            (patient.has_interface || take_link(routes, route.ifindex, patient, error) >= 0)) {
            patient.tagged = patient.tagged || route.vlan != no_vlan;
            add_route(host, remote, route, patient, report);
            return;
        }
        if (first.code == 0) first = error;
    }
    report.add("path.route", Verdict::fail, first.text, "no frame finds its way to " + host + " by AF_XDP",
               "ip route get " + address_text(addresses[0]));
}

// What packets to an address that nobody has (RFC 5737, RFC 3849) would leave by is the default route's.
bool take_default(Routes *routes, Patient &patient) {
    static const uint8_t six[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    XdpPaths paths = routes_paths(routes);
    ErrorText error;
    for (const IpAddress &nobody : {ip4_address(203, 0, 113, 1), ip_address(six, 6)}) {
        XdpRoute route;
        if (paths.route(paths.context, nobody, 0, &route, &error) >= 0 &&
            take_link(routes, route.ifindex, patient, error) >= 0)
            return true;
    }
    return false;
}

void list_interfaces(Routes *routes, Report &report) {
    struct if_nameindex *names = if_nameindex();
    size_t listed = 0;
    for (struct if_nameindex *at = names; at != nullptr && at->if_index != 0; at++) {
        LinkFacts link;
        NicFacts nic;
        ErrorText error;
        if (routes_link(routes, at->if_index, &link, &error) < 0 || link.loopback || !link.ethernet ||
            !link.up)
            continue;
        if (nic_facts_read(link.name, &nic, &error) < 0) continue;
        list_interface(link, nic, report);
        listed++;
    }
    if (names != nullptr) if_freenameindex(names);
    if (listed == 0)
        report.add("interfaces.none", Verdict::fail, "there is no Ethernet interface that is up",
                   "transport=xdp writes Ethernet frames", "ip link");
}

// The host of a URL; false with a sentence when the URL has no network in it.
bool host_of(const std::string &text, std::string *host, std::string *sentence) {
    *sentence = url_advice(text);
    if (!sentence->empty()) return false;
    Url url;
    ErrorText error;
    if (url_parse(ByteView(text.data(), text.size()), &url, &error) < 0) {
        *sentence = error.text;
        return false;
    }
    if (url.scheme != Scheme::ws && url.scheme != Scheme::wss) {
        *sentence =
            "'wsxdp doctor' needs the address of a host, ws://HOST or wss://HOST: this one takes no network";
        return false;
    }
    *host = std::string(url.host.text(), url.host.size);
    return true;
}

void add_vlan(const std::string &name, const Patient &patient, Report &report) {
    if (patient.tagged && name != patient.link.name)
        report.add("interface.vlan", Verdict::ok,
                   name + " is a VLAN; its frames leave by " + patient.link.name + ", which is examined",
                   "AF_XDP is on the device itself, and the tag is written by us");
}

int write_report(const Report &report, bool json) {
    bool colour = isatty(STDOUT_FILENO) != 0 && getenv("NO_COLOR") == nullptr;
    std::string text = json ? report_json(report) : report_text(report, colour);
    if (fwrite(text.data(), 1, text.size(), stdout) != text.size() || fflush(stdout) != 0) return exit_output;
    return report.possible() ? exit_ok : exit_internal;
}

} // namespace

int run_doctor(const DoctorArguments &arguments) {
    Routes *opened = nullptr;
    ErrorText error;
    std::string host, sentence;
    if (!arguments.url.empty() && !host_of(arguments.url, &host, &sentence)) return usage(sentence);
    if (routes_open(&opened, &error) < 0) {
        fprintf(stderr, "wsxdp: %s\n", error.text);
        return exit_internal;
    }
    OpenRoutes routes(opened);
    Patient patient;
    Report chosen, report;
    process_facts_read(&patient.process);
    if (!arguments.interface.empty()) {
        LinkFacts named;
        int status = routes_link_by_name(routes.get(), arguments.interface.c_str(), &named, &error);
        if (status >= 0) status = take_link(routes.get(), named.index, patient, error);
        if (status < 0) return usage(error.text);
        add_vlan(named.name, patient, chosen);
    }
    if (!host.empty())
        follow_route(routes.get(), host, patient.link.index, patient, chosen);
    else if (!patient.has_interface && !take_default(routes.get(), patient))
        list_interfaces(routes.get(), chosen);
    report.interface = patient.link.name;
    examine_kernel(patient, report);
    examine_process(patient, report);
    report.findings.insert(report.findings.end(), chosen.findings.begin(), chosen.findings.end());
    if (patient.has_interface) examine_interface(patient, report);
    examine_machine(patient, report);
    examine_sockets(report);
    examine_io_uring(patient, report);
    examine_helper(report);
    return write_report(report, arguments.json);
}
