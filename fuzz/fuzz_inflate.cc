// SPDX-License-Identifier: MIT
// Any bytes as compressed messages, in and out in pieces. The first byte chooses the agreement, the second
// how the input is cut and how much room there is; each message is then a length byte and so many bytes. What
// comes out is compressed and inflated again. The same bytes as a header field go through the check of a
// server's answer.
#include "../lib/ws/deflate.h"
#include <stdlib.h>
#include <vector>

namespace {

void must(bool condition) {
    if (!condition) abort();
}

constexpr uint64_t total_max = 20000;

// Status of one message; its bytes are added to out.
int inflate_all(wx::Inflater *inflater, wx::ByteView payload, size_t step, size_t room,
                std::vector<uint8_t> *out) {
    std::vector<uint8_t> buffer(room);
    for (;;) {
        const size_t count = step < payload.size ? step : payload.size;
        wx::ByteView input = payload.first(count);
        size_t produced = 0;
        const int status =
            wx::inflater_feed(inflater, &input, count == payload.size,
                              wx::ByteSpan(buffer.data(), buffer.size()), total_max, &produced);
        must(produced <= room && input.size <= count);
        out->insert(out->end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(produced));
        must(out->size() <= total_max);
        if (status) return status;
        must(produced || input.size < count || count < payload.size); // or it would never end
        payload = payload.from(count - input.size);
    }
}

void there_and_back(wx::Deflater *deflater, wx::Inflater *inflater, const std::vector<uint8_t> &message,
                    size_t room) {
    std::vector<uint8_t> payload(wx::deflater_bound(deflater, message.size()));
    const int64_t size = wx::deflater_message(deflater, wx::ByteView(message.data(), message.size()), true,
                                              wx::ByteSpan(payload.data(), payload.size()));
    must(size >= 1);
    std::vector<uint8_t> back;
    must(inflate_all(inflater, wx::ByteView(payload.data(), static_cast<size_t>(size)), 100, room, &back) ==
         1);
    must(back == message);
}

void answer(const uint8_t *data, size_t size) {
    const wx::ByteView fields[2] = {wx::ByteView(data, size / 2),
                                    wx::ByteView(data + size / 2, size - size / 2)};
    wx::DeflateAgreement agreement;
    wx::ErrorText error;
    for (size_t count = 1; count <= 2; count++) {
        const wx::ByteView whole(data, size);
        const int status =
            wx::deflate_accept(wx::DeflateOptions(), count == 1 ? &whole : fields, count, &agreement, &error);
        must(status == 0 || status == 1 || (status == WSXDP_E_EXTENSION && error.size > 0));
        must(agreement.client_max_window_bits >= 8 && agreement.client_max_window_bits <= 15);
        must(agreement.server_max_window_bits >= 8 && agreement.server_max_window_bits <= 15);
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    wx::DeflateAgreement agreement;
    agreement.server_max_window_bits = agreement.client_max_window_bits =
        static_cast<uint8_t>(8 + (data[0] & 7));
    agreement.server_no_context_takeover = agreement.client_no_context_takeover = data[0] & 8;
    wx::DeflateOptions options;
    options.ratio_max = data[0] & 16 ? 20 : 0;
    const size_t step = data[0] & 32 ? 1 : 1000, room = 1 + (data[1] & 15) * 40;
    data += 2, size -= 2;
    answer(data, size);
    wx::Inflater *inflater = nullptr, *own = nullptr;
    wx::Deflater *deflater = nullptr;
    wx::DeflateOptions plain = options;
    plain.ratio_max = 0;
    must(wx::inflater_open(agreement, options, &inflater) == 0);
    must(wx::inflater_open(agreement, plain, &own) == 0);
    must(wx::deflater_open(agreement, options, &deflater) == 0);
    int status = 1;
    while (size && status == 1) {
        const size_t count = data[0] < size - 1 ? data[0] : size - 1;
        std::vector<uint8_t> payload(data + 1, data + 1 + count), message;
        status = inflate_all(inflater, wx::ByteView(payload.data(), count), step, room, &message);
        must(status == 1 || status == WSXDP_E_DEFLATE || status == WSXDP_E_INFLATE_SIZE);
        if (status == 1) there_and_back(deflater, own, message, room);
        data += 1 + count, size -= 1 + count;
    }
    wx::inflater_free(inflater);
    wx::inflater_free(own);
    wx::deflater_free(deflater);
    return 0;
}
