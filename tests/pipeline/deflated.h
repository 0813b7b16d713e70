// SPDX-License-Identifier: MIT
// The server's end of permessage-deflate (RFC 7692 section 7.2), by zlib itself.
#pragma once
#include <string>
#include <zlib.h>

struct ServerDeflate {
    z_stream out = {}, in = {};
    bool reset_out, reset_in;
    explicit ServerDeflate(bool server_takeover = true, bool client_takeover = true)
        : reset_out(!server_takeover), reset_in(!client_takeover) {
        deflateInit2(&out, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
        inflateInit2(&in, -15);
    }
    ~ServerDeflate() {
        deflateEnd(&out);
        inflateEnd(&in);
    }
    ServerDeflate(const ServerDeflate &) = delete;
    ServerDeflate &operator=(const ServerDeflate &) = delete;
    static Bytef *bytes(const std::string &text) {
        return reinterpret_cast<Bytef *>(const_cast<char *>(text.data()));
    }
    std::string compress(const std::string &plain) {
        std::string result(plain.size() + plain.size() / 100 + 100, 0);
        out.next_in = bytes(plain), out.avail_in = static_cast<uInt>(plain.size());
        out.next_out = bytes(result), out.avail_out = static_cast<uInt>(result.size());
        deflate(&out, Z_SYNC_FLUSH);
        result.resize(result.size() - out.avail_out - 4); // without 00 00 ff ff
        if (reset_out) deflateReset(&out);
        return result;
    }
    // Empty and false when it cannot be inflated.
    bool expand(std::string packed, std::string *plain) {
        packed.append("\0\0\xff\xff", 4);
        plain->clear();
        char part[65536];
        in.next_in = bytes(packed), in.avail_in = static_cast<uInt>(packed.size());
        do {
            in.next_out = reinterpret_cast<Bytef *>(part), in.avail_out = sizeof part;
            int status = inflate(&in, Z_SYNC_FLUSH);
            if (status != Z_OK && status != Z_BUF_ERROR) return false;
            plain->append(part, sizeof part - in.avail_out);
        } while (in.avail_in != 0 || in.avail_out == 0);
        if (reset_in) inflateReset(&in);
        return true;
    }
};
