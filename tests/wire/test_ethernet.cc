// SPDX-License-Identifier: MIT
// Ethernet headers: no tag, one, two; every truncation; lengths in the place of types; and back from what was
// written.
#include "../../lib/wire/ethernet.h"
#include "packets.h"

using namespace wx;
using namespace packets;

namespace {

const Bytes macs = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};

void plain_and_tagged(void **) {
    for (uint32_t tag : {0u, 1u, 4094u, 4095u, 0xE001u, 0x10000u}) { // the last for none
        const bool tagged = tag < 0x10000;
        const Bytes head = macs + (tagged ? be16(0x8100) + be16(tag) : Bytes()) + be16(0x86DD);
        const Bytes whole = head + Bytes{1, 2, 3};
        for (size_t size = 0; size <= whole.size(); size++) {
            const Exact input(whole, size);
            EthernetFrame frame;
            const Wire result = ethernet_read(input.view(), &frame);
            same(result, size < head.size() ? Wire::truncated : Wire::ok, "cut");
            if (result != Wire::ok) continue;
            assert_int_equal(frame.type, ether_ipv6);
            assert_int_equal(frame.vlan, tagged ? tag & 0xFFF : no_vlan);
            assert_ptr_equal(frame.destination, input.view().data);
            assert_ptr_equal(frame.source, input.view().data + 6);
            assert_int_equal(frame.payload.size, size - head.size());
            assert_ptr_equal(frame.payload.data, input.view().data + head.size());
        }
    }
}

void refused(void **) {
    const Bytes types[] = {
        be16(0x8100) + be16(5) + be16(0x8100) + be16(6) + be16(0x0800), // two tags
        be16(0x88A8) + be16(5) + be16(0x8100) + be16(6) + be16(0x0800), // service tag and customer tag
        be16(0x8100) + be16(5) + be16(0x88A8) + be16(6) + be16(0x0800),
        be16(0),
        be16(46),
        be16(1500),
        be16(0x05FF), // 802.3
        be16(0x8100) + be16(5) + be16(0x05FF),
    };
    for (const Bytes &type : types) {
        const Exact input(macs + type + Bytes(40, 0));
        EthernetFrame frame;
        same(ethernet_read(input.view(), &frame), Wire::unsupported, "type");
    }
    const Exact lowest(macs + be16(0x0600));
    EthernetFrame frame;
    same(ethernet_read(lowest.view(), &frame), Wire::ok, "lowest type");
    assert_int_equal(frame.payload.size, 0);
}

void written_and_read_back(void **) {
    for (uint32_t vlan = 0; vlan <= 4096; vlan++) {
        const uint16_t tag = vlan == 4096 ? no_vlan : static_cast<uint16_t>(vlan);
        const size_t needs = tag == no_vlan ? 14 : 18;
        for (size_t room = vlan < 2 || vlan > 4094 ? 0 : needs; room <= needs + 1; room++) {
            Exact out(Bytes(room, 0xEE));
            const size_t size = ethernet_write(ByteSpan(out.memory.get(), room), macs.data(), macs.data() + 6,
                                               tag, ether_arp);
            assert_int_equal(size, room < needs ? 0 : needs);
            if (size == 0) continue;
            EthernetFrame frame;
            same(ethernet_read(out.view().first(size), &frame), Wire::ok, "written");
            assert_true(frame.vlan == tag && frame.type == ether_arp && frame.payload.size == 0);
            assert_memory_equal(frame.destination, macs.data(), 12);
        }
    }
}

void every_answer_has_a_name(void **) {
    std::vector<std::string> seen;
    for (int i = 0; i < static_cast<int>(Wire::count); i++) {
        const std::string text = wire_text(static_cast<Wire>(i));
        assert_true(!text.empty() && text != "unknown");
        for (const std::string &other : seen) assert_true(other != text);
        seen.push_back(text);
    }
    assert_string_equal(wire_text(Wire::count), "unknown");
    assert_string_equal(wire_text(static_cast<Wire>(200)), "unknown");
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(plain_and_tagged),
        cmocka_unit_test(refused),
        cmocka_unit_test(written_and_read_back),
        cmocka_unit_test(every_answer_has_a_name),
    };
    return cmocka_run_group_tests_name("wire: ethernet", tests, nullptr, nullptr);
}
