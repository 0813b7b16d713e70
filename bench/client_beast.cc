// SPDX-License-Identifier: MIT
// Boost.Beast, synchronous: read() into a flat_buffer that is consumed after each message, as its examples
// do. Spinning jobs use a stream that never sleeps, flat-out jobs Asio's own blocking socket. Beast keeps its
// defaults but for message limits; fragmenting is off, since every message is one frame here.
#include "client.h"
#include "spin_stream.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>

namespace bench {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using tcp = asio::ip::tcp;

void dial(tcp::socket &socket, int port) {
    socket.connect(tcp::endpoint(asio::ip::address_v4::loopback(), static_cast<unsigned short>(port)));
    socket.set_option(tcp::no_delay(true));
}

template <class Socket> void send(Socket &socket, const std::string &message) {
    socket.text(true);
    socket.write(asio::buffer(message));
}

template <class Socket> void round_trips(Socket &socket, const Job &job, Meter &meter) {
    std::string message(job.bytes, 'x');
    beast::flat_buffer buffer;
    for (;;) {
        int64_t began = now_ns();
        send(socket, message);
        socket.read(buffer);
        meter.sample(now_ns() - began);
        buffer.consume(buffer.size());
        if (meter.message()) return;
    }
}

template <class Socket> void receive_all(Socket &socket, const Job &job, Meter &meter) {
    beast::flat_buffer buffer;
    send(socket, "go");
    for (;;) {
        socket.read(buffer);
        auto data = buffer.cdata();
        if (data.size() != job.bytes) throw std::runtime_error("a message has another size");
        if (job.task == Task::paced)
            meter.sample(now_ns() - stamped(static_cast<const uint8_t *>(data.data())));
        buffer.consume(buffer.size());
        if (meter.message()) return;
    }
}

template <class Socket> void work(Socket &socket, const Job &job, Meter &meter) {
    socket.auto_fragment(false);
    socket.handshake("localhost", job.target);
    if (job.task == Task::round_trip) round_trips(socket, job, meter);
    if (job.task != Task::round_trip) receive_all(socket, job, meter);
    meter.end();
}

tcp::socket &lowest(SpinStream &stream) { return stream.socket(); }
tcp::socket &lowest(tcp::socket &socket) { return socket; }

template <class Stream> void run_plain(const Job &job, Meter &meter) {
    asio::io_context context;
    websocket::stream<Stream> socket(context);
    dial(lowest(socket.next_layer()), job.port);
    work(socket, job, meter);
}

template <class Stream> void run_secure(const Job &job, Meter &meter) {
    asio::io_context context;
    asio::ssl::context tls(asio::ssl::context::tls_client);
    tls.load_verify_file(job.ca_file);
    tls.set_verify_mode(asio::ssl::verify_peer);
    websocket::stream<asio::ssl::stream<Stream>> socket(context, tls);
    dial(lowest(socket.next_layer().next_layer()), job.port);
    SSL_set_tlsext_host_name(socket.next_layer().native_handle(), "localhost");
    socket.next_layer().handshake(asio::ssl::stream_base::client);
    work(socket, job, meter);
}

} // namespace

Outcome run_beast_sync(const Job &job) {
    Outcome out;
    Meter meter(job, &out);
    try {
        if (job.task == Task::flat && job.secure) run_secure<tcp::socket>(job, meter);
        if (job.task == Task::flat && !job.secure) run_plain<tcp::socket>(job, meter);
        if (job.task != Task::flat && job.secure) run_secure<SpinStream>(job, meter);
        if (job.task != Task::flat && !job.secure) run_plain<SpinStream>(job, meter);
    } catch (const std::exception &error) {
        out.error = error.what();
        out.good = false;
    }
    return out;
}

} // namespace bench
