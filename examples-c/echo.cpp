// An echo service and its client in one program, in C++17: echo [TEXT]
#include <eventstream_rpc.hpp>

#include <iostream>

using namespace std::chrono_literals;

static void echo(esrpc::incoming_stream call) {
    if (call.payload().empty()) throw esrpc::service_error("example#EmptyMessage", "there is nothing to echo");
    call.reply(call.payload());
}

int main(int argc, char **argv) try {
    // The system chooses the port. Every client is accepted.
    esrpc::listener server("127.0.0.1", 0, [](esrpc::incoming peer) { peer.accept().on_stream("Echo", echo); });

    esrpc::headers headers{{":version", "0.1.0"}};
    auto connection = esrpc::client("127.0.0.1", server.port()).handshake(headers).connect(5s);

    // Waiting for the reply.
    auto reply = connection.call("Echo", argc > 1 ? argv[1] : "hello", 5s);
    std::cout << reply.text() << '\n';

    // Not waiting: the future has the reply, or throws.
    auto later = connection.call_async("Echo", "again", 5s);
    std::cout << later.get().text() << '\n';

    // A failure as a value rather than as an exception.
    std::error_code failure;
    reply = connection.call("Echo", {}, 5s, failure);
    std::cout << failure.message() << ": " << reply.text() << '\n';

    // Whatever was sent is written. Without this, the destructor begins to close the connection.
    connection.shutdown().wait();
    return 0;
} catch (const esrpc::error &failure) {
    std::cerr << failure.what() << '\n';
    return 1;
}
