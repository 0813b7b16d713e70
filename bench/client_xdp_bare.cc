// SPDX-License-Identifier: MIT
// The least AF_XDP client there is: lib/link/xdp's sockets and program, and TCP segments made by hand with a
// running sequence and acknowledgement number. It takes everything in order, verifies no checksum, repeats
// nothing, has no timers, and acknowledges by its next message; what a real client costs over AF_XDP is read
// against it. Worst case accepted: a lost or reordered segment, or a message in more than one segment that is
// not in order, ends the run with a sentence.
#include "../lib/link/xdp/nic.h"
#include "../lib/wire/checksum.h"
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

namespace bench {
namespace {

constexpr size_t ether_size = 14, ip_size = 20, tcp_size = 20, headers_size = ether_size + ip_size + tcp_size;
constexpr size_t syn_options = 4; // the maximum segment size
constexpr uint8_t flag_fin = 1, flag_syn = 2, flag_rst = 4, flag_psh = 8, flag_ack = 16;
constexpr int64_t answer_limit_ns = 1000000000; // then something was lost
constexpr uint16_t segment_max = 1460;

struct Segment {
    uint32_t sequence = 0;
    uint8_t flags = 0;
    const uint8_t *payload = nullptr;
    size_t size = 0;
    wx::FrameId frame = 0;
};

class BareTcp {
public:
    explicit BareTcp(const BareWay &way) : way_(way) {}
    ~BareTcp() {
        if (connected_) send(flag_rst | flag_ack, nullptr, 0);
        wx::nic_close(&nic_);
        if (holder_ >= 0) ::close(holder_);
    }
    BareTcp(const BareTcp &) = delete;
    BareTcp &operator=(const BareTcp &) = delete;

    bool open(int port, std::string *error);
    // Where the next segment's payload is to be written.
    uint8_t *prepare();
    // What prepare() gave, now filled in.
    bool finish(uint8_t flags, size_t size);
    bool send(uint8_t flags, const void *data, size_t size) {
        uint8_t *to = prepare();
        if (to && size) memcpy(to, data, size);
        return to && finish(flags, size);
    }
    // The next segment with payload or a flag other than ACK, in order; false when there is none.
    bool next(Segment *out);
    void release(const Segment &segment) { wx::umem_put(&nic_.umem, segment.frame); }
    const char *problem() const { return problem_; }

private:
    bool open_nic(std::string *error);
    bool hold_port();
    void make_headers(int port);
    bool take(const wx::XskDescriptor &descriptor, Segment *out);
    wx::Xsk *socket() { return &nic_.sockets[0]; }

    const BareWay &way_;
    wx::XdpNic nic_;
    wx::TcpTuple tuple_;
    int holder_ = -1;
    bool connected_ = false;
    const char *problem_ = "nothing arrived for a second";
    uint8_t headers_[headers_size] = {0};
    uint32_t sequence_ = 0x10000000, acknowledged_ = 0;
    wx::ChecksumSum ip_sum_ = 0; // of the header's template
    wx::FrameId frame_ = 0;      // being filled
};

bool BareTcp::open_nic(std::string *error) {
    wx::NicOptions options; // as the library's defaults
    options.ifindex = way_.ifindex;
    memcpy(options.interface, "xdp0", 5);
    options.mode = way_.generic ? wx::NicModeChoice::generic : wx::NicModeChoice::driver;
    wx::ErrorText why;
    int status = 0;
    while ((status = wx::nic_open(&nic_, options, now_ns(), &why)) == 0) {
        timespec pause{0, wx::nic_retry_distance};
        nanosleep(&pause, nullptr);
    }
    if (status < 0) *error = why.text;
    return status > 0;
}

// Nobody else shall get it, and the kernel must not be asked for it twice.
bool BareTcp::hold_port() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    memcpy(&address.sin_addr, way_.own_ip, 4);
    socklen_t size = sizeof address;
    holder_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(holder_, reinterpret_cast<sockaddr *>(&address), size) != 0) return false;
    if (getsockname(holder_, reinterpret_cast<sockaddr *>(&address), &size) != 0) return false;
    tuple_.local_port = ntohs(address.sin_port);
    return true;
}

void BareTcp::make_headers(int port) {
    uint8_t *ip = headers_ + ether_size, *tcp = ip + ip_size;
    memcpy(headers_, way_.peer_mac, 6);
    memcpy(headers_ + 6, way_.own_mac, 6);
    wx::store_be16(headers_ + 12, 0x0800);
    ip[0] = 0x45;
    ip[6] = 0x40; // don't fragment
    ip[8] = 64;
    ip[9] = IPPROTO_TCP;
    memcpy(ip + 12, way_.own_ip, 4);
    memcpy(ip + 16, way_.peer_ip, 4);
    wx::store_be16(tcp, tuple_.local_port);
    wx::store_be16(tcp + 2, static_cast<uint16_t>(port));
    tcp[12] = tcp_size / 4 << 4;
    wx::store_be16(tcp + 14, 65535);
    ip_sum_ = wx::checksum_sum(ip, ip_size);
}

bool BareTcp::open(int port, std::string *error) {
    if (!open_nic(error)) return false;
    if (!hold_port()) {
        *error = std::string("holding a port: ") + strerror(errno);
        return false;
    }
    tuple_.local = wx::ip_address(way_.own_ip, 4);
    tuple_.remote = wx::ip_address(way_.peer_ip, 4);
    tuple_.remote_port = static_cast<uint16_t>(port);
    wx::ErrorText why;
    if (wx::xdp_program_add(&nic_.program, tuple_, FILTER_NO_VLAN, &why) < 0) {
        *error = why.text;
        return false;
    }
    make_headers(port);
    wx::xsk_refill(socket(), 0);
    uint8_t options[syn_options] = {2, 4, segment_max >> 8, segment_max & 0xFF};
    Segment answer;
    *error = "no answer to the SYN";
    if (!send(flag_syn, options, sizeof options) || !next(&answer)) return false;
    release(answer);
    if (answer.flags != (flag_syn | flag_ack)) return false;
    connected_ = true;
    error->clear();
    return send(flag_ack, nullptr, 0);
}

uint8_t *BareTcp::prepare() {
    wx::FrameId done[64];
    uint32_t count = wx::xsk_reclaim(socket(), done, 64);
    for (uint32_t i = 0; i < count; i++) wx::umem_put(&nic_.umem, done[i]);
    frame_ = wx::umem_take(&nic_.umem, wx::Pool::data);
    problem_ = "no frame is left to send";
    return frame_ == wx::no_frame ? nullptr : wx::umem_frame(&nic_.umem, frame_) + headers_size;
}

bool BareTcp::finish(uint8_t flags, size_t size) {
    uint8_t *frame = wx::umem_frame(&nic_.umem, frame_);
    uint8_t *ip = frame + ether_size, *tcp = ip + ip_size;
    memcpy(frame, headers_, headers_size);
    wx::store_be16(ip + 2, static_cast<uint16_t>(ip_size + tcp_size + size));
    uint16_t check = wx::checksum_finish(wx::checksum_add(ip_sum_, wx::checksum_sum(ip + 2, 2)));
    memcpy(ip + 10, &check, 2);
    wx::store_be32(tcp + 4, sequence_);
    wx::store_be32(tcp + 8, acknowledged_);
    if (flags & flag_syn) tcp[12] = (tcp_size + syn_options) / 4 << 4;
    tcp[13] = flags;
    wx::ChecksumSum sum = wx::checksum_sum(tcp, tcp_size + size);
    uint32_t length = static_cast<uint32_t>(tcp_size + size);
    sum = wx::checksum_add(sum, wx::checksum_pseudo(ip + 12, ip + 16, 4, IPPROTO_TCP, length));
    check = wx::checksum_finish(sum);
    memcpy(tcp + 16, &check, 2);
    sequence_ += flags & flag_syn ? 1 : static_cast<uint32_t>(size);
    int cause = 0;
    problem_ = "sending failed";
    if (!wx::xsk_send(socket(), frame_ << nic_.umem.frame_shift, static_cast<uint32_t>(headers_size + size)))
        return false;
    return wx::xsk_kick(socket(), &cause) >= 0;
}

// Whether it is one for the caller; otherwise the frame goes back.
bool BareTcp::take(const wx::XskDescriptor &descriptor, Segment *out) {
    const uint8_t *ip = nic_.umem.base + descriptor.address + ether_size, *tcp = ip + (ip[0] & 15) * 4;
    size_t total = wx::load_be16(ip + 2);
    out->frame = wx::umem_frame_of(&nic_.umem, descriptor.address);
    out->sequence = wx::load_be32(tcp + 4);
    out->flags = tcp[13];
    out->payload = tcp + (tcp[12] >> 4) * 4;
    out->size = total - static_cast<size_t>(out->payload - ip);
    bool opening = (out->flags & flag_syn) != 0;
    if (opening) acknowledged_ = out->sequence + 1;
    if (opening || (out->size != 0 && out->sequence == acknowledged_)) {
        acknowledged_ += static_cast<uint32_t>(out->size);
        return true;
    }
    if (out->size != 0) problem_ = "a segment came twice or out of order";
    if (out->flags & (flag_rst | flag_fin)) problem_ = "the peer ended the connection";
    release(*out);
    return false;
}

bool BareTcp::next(Segment *out) {
    problem_ = "nothing arrived for a second";
    for (int64_t limit = now_ns() + answer_limit_ns; now_ns() < limit;) {
        // The clock is looked at between many looks at the ring only.
        for (int i = 0; i < 1024; i++) {
            if (!wx::xsk_has_input(socket())) {
                cpu_relax();
                continue;
            }
            wx::xsk_refill(socket(), 0);
            wx::XskDescriptor descriptor;
            if (wx::xsk_receive(socket(), &descriptor, 1) == 1 && take(descriptor, out)) return true;
        }
    }
    return false;
}

bool upgrade(BareTcp &tcp, const std::string &target) {
    std::string request = upgrade_request(target), head;
    if (!tcp.send(flag_psh | flag_ack, request.data(), request.size())) return false;
    while (head.find("\r\n\r\n") == std::string::npos) {
        Segment segment;
        if (!tcp.next(&segment)) return false;
        head.append(reinterpret_cast<const char *>(segment.payload), segment.size);
        tcp.release(segment);
    }
    return head.compare(0, 12, "HTTP/1.1 101") == 0;
}

bool send_message(BareTcp &tcp, const std::string &payload, uint32_t mask) {
    uint8_t *to = tcp.prepare();
    if (!to) return false;
    size_t head = build_head(to, 1, payload.size(), true, mask);
    memcpy(to + head, payload.data(), payload.size());
    apply_mask(to + head, payload.size(), mask);
    return tcp.finish(flag_psh | flag_ack, head + payload.size());
}

// A message may come in several segments; only its size is looked at.
bool receive_message(BareTcp &tcp, size_t payload) {
    size_t whole = 0;
    for (size_t got = 0; whole == 0 || got < whole;) {
        Segment segment;
        Head head;
        if (!tcp.next(&segment)) return false;
        bool good = whole != 0 || parse_head(segment.payload, segment.size, &head);
        if (whole == 0) whole = head.bytes + static_cast<size_t>(head.payload);
        got += segment.size;
        tcp.release(segment);
        if (!good || whole < payload) return false;
    }
    return true;
}

bool round_trips(BareTcp &tcp, const Job &job, Meter &meter) {
    std::string payload(job.bytes, 'x');
    for (uint32_t mask = 0x12345678;; mask = mask * 2654435761u + 1) {
        int64_t began = now_ns();
        if (!send_message(tcp, payload, mask) || !receive_message(tcp, payload.size())) return false;
        meter.sample(now_ns() - began);
        if (meter.message()) return true;
    }
}

} // namespace

Outcome run_xdp_bare(const Job &job, const BareWay &way) {
    Outcome out;
    Meter meter(job, &out);
    BareTcp tcp(way);
    if (!tcp.open(job.port, &out.error)) return out;
    if (!upgrade(tcp, job.target)) {
        out.error = std::string("upgrade refused: ") + tcp.problem();
    } else if (round_trips(tcp, job, meter)) {
        meter.end();
    } else {
        out.error = tcp.problem();
    }
    return out;
}

} // namespace bench
