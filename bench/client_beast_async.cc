// SPDX-License-Identifier: MIT
// Boost.Beast, asynchronous: async_read and async_write with completion handlers on one io_context. Sleeping,
// it calls run(), as nearly everybody does; spinning, poll() in a loop, which never enters a waiting epoll.
#include "client.h"

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
using Error = beast::error_code;

template <class Socket> struct Session {
    asio::io_context &context;
    Socket &socket;
    const Job &job;
    Meter &meter;
    Waiting waiting;
    beast::flat_buffer buffer{};
    std::string message{};
    int64_t began = 0;
    Error error{};
    bool done = false;

    void fail(Error what) {
        error = what;
        done = true;
    }
    void send() {
        began = now_ns();
        socket.async_write(asio::buffer(message), [this](Error what, size_t) {
            if (what) return fail(what);
            receive();
        });
    }
    void receive() {
        socket.async_read(buffer, [this](Error what, size_t) {
            if (what) return fail(what);
            on_message();
        });
    }
    void on_message() {
        if (job.task == Task::round_trip) meter.sample(now_ns() - began);
        if (job.task == Task::paced)
            meter.sample(now_ns() - stamped(static_cast<const uint8_t *>(buffer.cdata().data())));
        buffer.consume(buffer.size());
        if (meter.message()) {
            done = true;
            return meter.end();
        }
        job.task == Task::round_trip ? send() : receive();
    }
    void run() {
        socket.auto_fragment(false);
        socket.text(true);
        socket.handshake("localhost", job.target);
        message = job.task == Task::round_trip ? std::string(job.bytes, 'x') : "go";
        send();
        if (waiting == Waiting::sleep) context.run();
        while (!done) context.poll();
        if (error) throw beast::system_error(error);
    }
};

void dial(tcp::socket &socket, int port) {
    socket.connect(tcp::endpoint(asio::ip::address_v4::loopback(), static_cast<unsigned short>(port)));
    socket.set_option(tcp::no_delay(true));
}

void run_plain(const Job &job, Meter &meter, Waiting waiting) {
    asio::io_context context(1); // one thread: no locks
    websocket::stream<tcp::socket> socket(context);
    dial(socket.next_layer(), job.port);
    Session<decltype(socket)>{context, socket, job, meter, waiting}.run();
}

void run_secure(const Job &job, Meter &meter, Waiting waiting) {
    asio::io_context context(1);
    asio::ssl::context tls(asio::ssl::context::tls_client);
    tls.load_verify_file(job.ca_file);
    tls.set_verify_mode(asio::ssl::verify_peer);
    websocket::stream<asio::ssl::stream<tcp::socket>> socket(context, tls);
    dial(socket.next_layer().next_layer(), job.port);
    SSL_set_tlsext_host_name(socket.next_layer().native_handle(), "localhost");
    socket.next_layer().handshake(asio::ssl::stream_base::client);
    Session<decltype(socket)>{context, socket, job, meter, waiting}.run();
}

} // namespace

Outcome run_beast_async(const Job &job, Waiting waiting) {
    Outcome out;
    Meter meter(job, &out);
    try {
        job.secure ? run_secure(job, meter, waiting) : run_plain(job, meter, waiting);
    } catch (const std::exception &error) {
        out.error = error.what();
        out.good = false;
    }
    return out;
}

} // namespace bench
