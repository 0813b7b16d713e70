// SPDX-License-Identifier: MIT
// A synchronous Asio stream that spins: reads poll the socket with MSG_DONTWAIT instead of sleeping in the
// kernel. It is how a Boost.Beast user who counts microseconds would run it, and therefore the fair opponent.
#pragma once
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/role.hpp>
#include <boost/system/system_error.hpp>
#include <errno.h>
#include <sys/socket.h>

namespace bench {

class SpinStream {
public:
    using executor_type = boost::asio::ip::tcp::socket::executor_type;
    using lowest_layer_type = boost::asio::ip::tcp::socket::lowest_layer_type;

    explicit SpinStream(boost::asio::io_context &context) : socket_(context) {}
    executor_type get_executor() { return socket_.get_executor(); }
    lowest_layer_type &lowest_layer() { return socket_.lowest_layer(); }
    boost::asio::ip::tcp::socket &socket() { return socket_; }

    template <class Buffers> size_t read_some(const Buffers &buffers, boost::system::error_code &error) {
        error = {};
        for (auto at = boost::asio::buffer_sequence_begin(buffers);
             at != boost::asio::buffer_sequence_end(buffers); ++at) {
            boost::asio::mutable_buffer piece(*at);
            if (piece.size() == 0) continue;
            return receive(piece.data(), piece.size(), error);
        }
        return 0;
    }
    template <class Buffers> size_t read_some(const Buffers &buffers) {
        boost::system::error_code error;
        size_t got = read_some(buffers, error);
        if (error) throw boost::system::system_error(error);
        return got;
    }
    template <class Buffers> size_t write_some(const Buffers &buffers, boost::system::error_code &error) {
        return socket_.write_some(buffers,
                                  error); // one writev() for head and payload; loopback takes it at once
    }
    template <class Buffers> size_t write_some(const Buffers &buffers) { return socket_.write_some(buffers); }

private:
    size_t receive(void *data, size_t size, boost::system::error_code &error) {
        for (;;) {
            ssize_t got = ::recv(socket_.native_handle(), data, size, MSG_DONTWAIT);
            if (got > 0) return static_cast<size_t>(got);
            if (got == 0) {
                error = boost::asio::error::eof;
                return 0;
            }
            if (errno == EAGAIN || errno == EINTR) continue;
            error.assign(errno, boost::system::system_category());
            return 0;
        }
    }

    boost::asio::ip::tcp::socket socket_;
};

inline void teardown(boost::beast::role_type, SpinStream &stream, boost::system::error_code &error) {
    stream.socket().close(error);
}

} // namespace bench
