// SPDX-License-Identifier: MIT
// A Boost.Beast WebSocket server, ws or wss, that echoes or streams: a peer that other people wrote, for
// interoperation tests and for measuring by hand. One thread. It accepts messages of any size and speaks
// whatever subprotocol the client offers first. Not for the open network: it limits nothing.
//
// Prints its port, then serves until killed, or until --connections of them have ended.
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <functional>
#include <memory>

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using tcp = asio::ip::tcp;
using Error = beast::error_code;

const char usage[] =
    "usage: beast_server [option ...]\n"
    "  --address A        listen on this address; 127.0.0.1 is the default\n"
    "  --port N           at this port; 0, the default, for any free one\n"
    "  --tls CERT KEY     wss, with these PEM files\n"
    "  --deflate          agree to permessage-deflate\n"
    "  --stream           send messages instead of echoing\n"
    "  --payload N        stream: bytes in a message, 16 at least; the first 16 are the send time (64)\n"
    "  --rate R           stream: messages each second; 0, the default, as fast as they are taken\n"
    "  --messages N       stream: close with 1000 after so many; 0, the default, never\n"
    "  --binary           stream: binary messages; else text\n"
    "  --fragment N       split what is sent into frames of N bytes\n"
    "  --connections N    stream: begin when N are open; and end when N have ended\n"
    "  --pin CPU          run there\n";

struct Options {
    int port = 0, pin = -1;
    std::string address = "127.0.0.1", cert, key;
    bool deflate = false, stream = false, binary = false;
    size_t payload = 64, fragment = 0;
    long rate = 0, messages = 0, connections = 0;
};

int64_t now_ns() {
    timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return static_cast<int64_t>(at.tv_sec) * 1000000000 + at.tv_nsec;
}

void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    sched_setaffinity(0, sizeof set, &set);
}

struct Server {
    Options options;
    asio::io_context context{1};
    std::unique_ptr<asio::ssl::context> tls;
    std::vector<std::function<void()>> waiting; // streams that begin when everybody is there
    long opened = 0, ended = 0;

    void on_open(std::function<void()> begin) {
        waiting.push_back(std::move(begin));
        if (++opened < options.connections) return;
        std::vector<std::function<void()>> all = std::move(waiting);
        waiting.clear();
        for (auto &each : all) each();
    }
    void on_end() {
        if (++ended >= options.connections && options.connections > 0) context.stop();
    }
};

template <class Stream> class Session : public std::enable_shared_from_this<Session<Stream>> {
public:
    template <class... Args>
    explicit Session(Server &server, Args &&...args)
        : server_(server), socket_(std::forward<Args>(args)...), timer_(server.context) {}
    ~Session() { server_.on_end(); }

    websocket::stream<Stream> &socket() { return socket_; }

    void upgrade() {
        auto self = this->shared_from_this();
        http::async_read(socket_.next_layer(), buffer_, request_, [self](Error error, size_t) {
            if (!error) self->accept();
        });
    }

private:
    void accept() {
        websocket::permessage_deflate deflate;
        deflate.server_enable = server_.options.deflate;
        socket_.set_option(deflate);
        socket_.read_message_max(0);
        socket_.auto_fragment(server_.options.fragment > 0);
        if (server_.options.fragment)
            socket_.write_buffer_bytes(std::max<size_t>(8, server_.options.fragment));
        std::string offered(request_[http::field::sec_websocket_protocol]);
        std::string chosen = offered.substr(0, offered.find(','));
        socket_.set_option(websocket::stream_base::decorator([chosen](websocket::response_type &response) {
            if (!chosen.empty()) response.set(http::field::sec_websocket_protocol, chosen);
        }));
        auto self = this->shared_from_this();
        socket_.async_accept(request_, [self](Error error) {
            if (!error) self->serve();
        });
    }

    void serve() {
        buffer_.consume(buffer_.size());
        receive();
        if (!server_.options.stream) return;
        auto self = this->shared_from_this();
        payload_.assign(std::max<size_t>(16, server_.options.payload), 'x');
        server_.on_open([self] {
            self->started_ = now_ns();
            self->send_next();
        });
    }

    void receive() {
        auto self = this->shared_from_this();
        socket_.async_read(buffer_, [self](Error error, size_t) {
            if (error) return self->stop();
            if (!self->server_.options.stream) return self->echo();
            self->buffer_.consume(self->buffer_.size());
            self->receive();
        });
    }

    void echo() {
        auto self = this->shared_from_this();
        socket_.text(socket_.got_text());
        socket_.async_write(buffer_.data(), [self](Error error, size_t) {
            if (error) return;
            self->buffer_.consume(self->buffer_.size());
            self->receive();
        });
    }

    void stop() {
        stopped_ = true;
        timer_.cancel();
    }

    void send_next() {
        const Options &options = server_.options;
        auto self = this->shared_from_this();
        if (stopped_) return;
        if (options.messages && sent_ == options.messages)
            return socket_.async_close(websocket::close_code::normal, [self](Error) {});
        int64_t due = options.rate > 0 ? started_ + sent_ * 1000000000 / options.rate : 0;
        if (due <= now_ns()) return send_now();
        timer_.expires_after(std::chrono::nanoseconds(due - now_ns()));
        timer_.async_wait([self](Error error) {
            if (!error) self->send_now();
        });
    }

    void send_now() {
        char text[17];
        snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(now_ns()));
        payload_.replace(0, 16, text, 16);
        socket_.text(!server_.options.binary);
        auto self = this->shared_from_this();
        socket_.async_write(asio::buffer(payload_), [self](Error error, size_t) {
            if (error) return;
            self->sent_++;
            self->send_next();
        });
    }

    Server &server_;
    websocket::stream<Stream> socket_;
    asio::steady_timer timer_;
    beast::flat_buffer buffer_;
    http::request<http::string_body> request_;
    std::string payload_;
    int64_t started_ = 0;
    long sent_ = 0;
    bool stopped_ = false;
};

using TlsStream = asio::ssl::stream<tcp::socket>;

void begin(Server &server, tcp::socket &&socket) {
    socket.set_option(tcp::no_delay(true));
    if (!server.tls) return std::make_shared<Session<tcp::socket>>(server, std::move(socket))->upgrade();
    auto session = std::make_shared<Session<TlsStream>>(server, std::move(socket), *server.tls);
    session->socket().next_layer().async_handshake(asio::ssl::stream_base::server, [session](Error error) {
        if (!error) session->upgrade();
    });
}

void accept_next(Server &server, tcp::acceptor &acceptor) {
    acceptor.async_accept([&server, &acceptor](Error error, tcp::socket socket) {
        if (!error) begin(server, std::move(socket));
        accept_next(server, acceptor);
    });
}

bool read_options(int argc, char **argv, Options *out) {
    for (int i = 1; i < argc; i++) {
        std::string name = argv[i];
        if (name == "--deflate")
            out->deflate = true;
        else if (name == "--stream")
            out->stream = true;
        else if (name == "--binary")
            out->binary = true;
        else if (name == "--tls" && i + 2 < argc) {
            out->cert = argv[++i];
            out->key = argv[++i];
        } else if (i + 1 >= argc)
            return false;
        else if (name == "--address")
            out->address = argv[++i];
        else if (name == "--port")
            out->port = atoi(argv[++i]);
        else if (name == "--pin")
            out->pin = atoi(argv[++i]);
        else if (name == "--payload")
            out->payload = static_cast<size_t>(atol(argv[++i]));
        else if (name == "--fragment")
            out->fragment = static_cast<size_t>(atol(argv[++i]));
        else if (name == "--rate")
            out->rate = atol(argv[++i]);
        else if (name == "--messages")
            out->messages = atol(argv[++i]);
        else if (name == "--connections")
            out->connections = atol(argv[++i]);
        else
            return false;
    }
    return true;
}

void serve(Server &server) {
    const Options &options = server.options;
    if (!options.cert.empty()) {
        server.tls = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
        server.tls->use_certificate_chain_file(options.cert);
        server.tls->use_private_key_file(options.key, asio::ssl::context::pem);
    }
    tcp::endpoint where(asio::ip::make_address(options.address), static_cast<unsigned short>(options.port));
    tcp::acceptor acceptor(server.context, where);
    printf("%d\n", acceptor.local_endpoint().port());
    fflush(stdout);
    accept_next(server, acceptor);
    server.context.run();
}

} // namespace

int main(int argc, char **argv) {
    Server server;
    if (!read_options(argc, argv, &server.options)) {
        fputs(usage, stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    if (server.options.pin >= 0) pin(server.options.pin);
    try {
        serve(server);
    } catch (const std::exception &error) {
        fprintf(stderr, "beast_server: %s\n", error.what());
        return 1;
    }
    return 0;
}
