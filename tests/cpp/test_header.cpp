// The C++ header: each scenario is a function, run by its name.
//
// test_header SCENARIO FOLDER: in the folder there are certificate.pem and key.pem, for localhost, and room for sockets.
#include <eventstream_rpc.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>

using namespace std::chrono_literals;

#define REQUIRE(condition)                                                                                                      \
    do {                                                                                                                        \
        if (!(condition)) {                                                                                                     \
            std::fprintf(stderr, "%s:%d: not so: %s\nlast error: %s\n", __FILE__, __LINE__, #condition, esrpc_last_error_message()); \
            std::abort();                                                                                                       \
        }                                                                                                                       \
    } while (0)

static constexpr auto patience = 60s;
static std::string folder;

template <class F> static esrpc_status status_of(F f)
{
    try {
        f();
    } catch (const esrpc::error &failure) {
        REQUIRE(std::string(failure.what()).size() > 5);
        return failure.status();
    }
    return ESRPC_OK;
}

static void echo(esrpc::incoming_stream call)
{
    call.reply(call.payload());
}

static esrpc::headers version()
{
    return {{":version", "0.1.0"}};
}

/* Says when it is destroyed; a lambda holds it. */
struct life {
    explicit life(std::promise<void> &end) : end_(&end) {}
    life(life &&other) noexcept : end_(std::exchange(other.end_, nullptr)) {}
    life &operator=(life &&) = delete;
    ~life()
    {
        if (end_ != nullptr) end_->set_value();
    }
    std::promise<void> *end_;
};

static bool is_over(std::promise<void> &end)
{
    static_assert(!std::is_copy_constructible_v<life>, "lambdas that cannot be copied are accepted");
    return end.get_future().wait_for(patience) == std::future_status::ready;
}

static esrpc::connection connect(const esrpc::listener &server, esrpc::connection_callbacks callbacks = {})
{
    return esrpc::client("127.0.0.1", server.port()).handshake(version()).callbacks(std::move(callbacks)).connect(patience);
}

static void calls_and_their_errors()
{
    esrpc::listener server("127.0.0.1", 0, [](esrpc::incoming peer) {
        peer.accept().on_stream("Echo", echo).on_stream("Fail", [](esrpc::incoming_stream call) {
            call.fail("test#Error", "not today");
        }).on_stream("Throw", [](esrpc::incoming_stream) { throw esrpc::service_error("test#Thrown", "thrown"); });
    });
    auto connection = connect(server);
    REQUIRE(connection.call("Echo", "hello", patience).text() == "hello");
    REQUIRE(connection.call("Echo", std::vector<std::uint8_t>{1, 2}, patience).payload().size() == 2);
    try {
        connection.call("Throw", {}, patience);
        REQUIRE(false);
    } catch (const esrpc::application_error &failure) {
        REQUIRE(failure.reply().headers()["service-model-type"].as<std::string>() == "test#Thrown");
        REQUIRE(failure.code() == esrpc::make_code(ESRPC_ERROR_APPLICATION_ERROR));
    }
    std::error_code ec;
    auto reply = connection.call("Fail", {}, patience, ec);
    REQUIRE(ec.value() == ESRPC_ERROR_APPLICATION_ERROR && reply.text() == "{\"message\":\"not today\"}");
    REQUIRE(ec.message().size() > 5 && std::string(ec.category().name()) == "eventstream_rpc");
    // Nobody has registered this one.
    connection.call("Other", {}, patience, ec);
    REQUIRE(ec.value() == ESRPC_ERROR_APPLICATION_ERROR);
    connection.call("Echo", "again", patience, ec);
    REQUIRE(!ec);
    REQUIRE(status_of([&] { connection.call("", {}, patience); }) == ESRPC_ERROR_INVALID_ARGUMENT);
    REQUIRE(!connection.shutdown().get());
    REQUIRE(status_of([&] { connection.call("Echo", {}, patience); }) == ESRPC_ERROR_CONNECTION_CLOSED);
    server.close();
    REQUIRE(status_of([&] { connect(server); }) == ESRPC_ERROR_CONNECTION_REFUSED);
}

static void headers_of_every_type()
{
    const esrpc::uuid id{{1, 2, 3}};
    const esrpc::timestamp when(std::chrono::milliseconds(1234567890123));
    esrpc::headers list;
    list.add("bool", true).add("byte", std::int8_t(-1)).add("short", std::int16_t(-2)).add("int", std::int32_t(-3));
    list.add("long", std::int64_t(-4)).add("time", when).add("id", id).add("text", "words").add("string", std::string("more"));
    list.add("data", std::vector<std::uint8_t>{7, 8}).add("raw", esrpc::bytes("xyz"));
    const auto data = esrpc::encode(list, "payload");
    std::size_t used = 0;
    auto message = esrpc::decode(data, &used);
    const auto read = message.headers();
    REQUIRE(used == data.size() && message.text() == "payload" && read.size() == 11);
    REQUIRE(read["bool"].as<bool>() && read["byte"].as<std::int8_t>() == -1 && read["short"].as<std::int16_t>() == -2);
    REQUIRE(read["INT"].as<std::int32_t>() == -3 && read["long"].as<std::int64_t>() == -4);
    REQUIRE(read["time"].as<esrpc::timestamp>() == when && read["id"].as<esrpc::uuid>() == id);
    REQUIRE(read["text"].as<std::string_view>() == "words" && read["string"].as<std::string>() == "more");
    REQUIRE(read["data"].as<esrpc::bytes>().copy() == (std::vector<std::uint8_t>{7, 8}) && read["raw"].is<esrpc::bytes>());
    REQUIRE(!read.contains("none") && !read.find("none") && read.at(0).name() == "bool");
    REQUIRE(status_of([&] { read["none"]; }) == ESRPC_ERROR_HEADER_NOT_FOUND);
    REQUIRE(status_of([&] { read["text"].as<std::int32_t>(); }) == ESRPC_ERROR_WRONG_TYPE);
    std::error_code ec;
    REQUIRE(read["text"].as<bool>(ec) == false && ec.value() == ESRPC_ERROR_WRONG_TYPE);
    std::size_t count = 0;
    for (const auto &header : read) count += header.name().size() > 1;
    REQUIRE(count == 11);
    list.remove("bool");
    REQUIRE(status_of([&] { list.remove("bool"); }) == ESRPC_ERROR_HEADER_NOT_FOUND && list.size() == 10);
    esrpc::headers moved = std::move(list);
    REQUIRE(moved.size() == 10 && moved.get() != nullptr);
    REQUIRE(message.json().find("\"words\"") != std::string::npos);
}

static void a_decoder_reads_pieces()
{
    std::vector<std::uint8_t> data;
    for (std::int32_t i = 0; i < 3; i++) {
        auto one = esrpc::encode(esrpc::headers().add("k", i), "x");
        data.insert(data.end(), one.begin(), one.end());
    }
    std::size_t at = 0;
    auto read = [&] {
        const std::size_t len = std::min<std::size_t>(7, data.size() - at);
        return esrpc::bytes(data.data() + std::exchange(at, at + len), len);
    };
    std::int32_t sum = 0, count = 0;
    for (esrpc::decoder d; auto message = d.next(read);) {
        sum += message.headers()["k"].as<std::int32_t>();
        count++;
    }
    REQUIRE(sum == 3 && count == 3);
    data.pop_back();
    at = count = 0;
    REQUIRE(status_of([&] { for (esrpc::decoder d; auto message = d.next(read);) count++; }) == ESRPC_ERROR_INCOMPLETE && count == 2);
    // Damage is reported behind the messages before it, also as a value.
    data[(data.size() + 1) / 3 + 1] ^= 1;
    at = count = 0;
    std::error_code ec;
    for (esrpc::decoder d; auto message = d.next(read, ec);) count++;
    REQUIRE(count == 1 && ec.value() == ESRPC_ERROR_PRELUDE_CHECKSUM);
}

static void streams_of_many_messages()
{
    esrpc::listener server("127.0.0.1", 0, [](esrpc::incoming peer) {
        peer.accept().on_stream("Chat", [](esrpc::incoming_stream call) {
            // The lambda needs the stream that is being accepted.
            auto own = std::make_shared<esrpc::stream>();
            esrpc::stream_callbacks callbacks;
            callbacks.on_message([own](esrpc::message_view message) {
                if (!message.is_last()) own->send(message.payload());
            });
            *own = call.accept(std::move(callbacks));
        });
    });
    auto connection = connect(server);
    std::promise<void> said;
    std::promise<std::error_code> closed, written;
    std::string all;
    auto stream = connection.new_stream(esrpc::stream_callbacks()
                                            .on_message([&](esrpc::message_view message) {
                                                all += message.text();
                                                if (all == "ab") said.set_value();
                                            })
                                            .on_closed([&](std::error_code reason) { closed.set_value(reason); }));
    stream.activate("Chat", version(), "a", 0, [&](std::error_code status) { written.set_value(status); });
    REQUIRE(!written.get_future().get() && stream.operation() == "Chat" && stream.id() == 1);
    stream.send("b");
    said.get_future().get();
    stream.close();
    REQUIRE(status_of([&] { stream.send("c"); }) == ESRPC_ERROR_STREAM_CLOSED);
    REQUIRE(!closed.get_future().get());
    auto readable = connection.new_stream();
    readable.activate("Chat", "first");
    REQUIRE(readable.read(patience).text() == "first");
    readable.send_blocking("second", patience);
    REQUIRE(readable.read(patience).text() == "second");
    std::error_code ec;
    readable.read(0ms, ec);
    REQUIRE(ec.value() == ESRPC_ERROR_TIMED_OUT);
}

/* One that throws closes its connection, and the exception is kept. */
static void exceptions_in_callbacks()
{
    struct expected {};
    auto is_expected = [](const esrpc::connection &connection) {
        try {
            if (connection.exception()) std::rethrow_exception(connection.exception());
        } catch (const expected &) {
            return true;
        }
        return false;
    };
    // On the server, for a stream that opens.
    std::promise<esrpc::connection> accepted;
    esrpc::listener server("127.0.0.1", 0, [&](esrpc::incoming peer) {
        auto connection = peer.accept();
        connection.on_stream("Echo", echo).on_stream("Throw", [](esrpc::incoming_stream) { throw expected(); });
        accepted.set_value(std::move(connection));
    });
    {
        auto client = connect(server);
        auto served = accepted.get_future().get();
        REQUIRE(status_of([&] { client.call("Throw", {}, patience); }) == ESRPC_ERROR_PEER_CLOSED);
        REQUIRE(served.ended().get() == esrpc::make_code(esrpc::callback_threw) && is_expected(served));
    }
    // On the client, for a message, for the end of a stream and for its own end.
    for (int where = 0; where < 3; where++) {
        accepted = {};
        esrpc::connection_callbacks callbacks;
        callbacks.on_shutdown([where](std::error_code) {
            if (where == 2) throw expected();
        });
        auto client = connect(server, std::move(callbacks));
        auto stream = client.new_stream(esrpc::stream_callbacks()
                                            .on_message([where](esrpc::message_view) {
                                                if (where == 0) throw expected();
                                            })
                                            .on_closed([where](std::error_code) {
                                                if (where == 1) throw expected();
                                            }));
        stream.activate("Echo", "x");
        stream.wait_closed(patience);
        if (where == 2) client.close();
        const auto reason = client.ended().get();
        REQUIRE(reason.value() == (where == 2 ? 0 : esrpc::callback_threw) && is_expected(client));
    }
    // While a client is announced: it is refused, and the listener goes on.
    std::atomic<bool> throws{true};
    esrpc::listener other("127.0.0.1", 0, [&](esrpc::incoming peer) {
        if (throws) throw expected();
        peer.accept().on_stream("Echo", echo);
    });
    REQUIRE(status_of([&] { connect(other); }) != ESRPC_OK);
    throws = false;
    REQUIRE(connect(other).call("Echo", "x", patience).text() == "x");
    // In a flush callback nobody hears it.
    auto client = connect(other);
    auto stream = client.new_stream();
    stream.activate("Echo", esrpc::headers_view(), "x", 0, [](std::error_code) { throw expected(); });
    REQUIRE(stream.read(patience).text() == "x");
}

static void lambdas_live_until_nothing_calls_them()
{
    std::promise<void> listener_end, server_end, stream_end, client_end, call_end;
    {
        esrpc::listener server("127.0.0.1", 0, [held = life(listener_end), &server_end](esrpc::incoming peer) {
            peer.accept().on_stream("Echo", [held_too = life(server_end)](esrpc::incoming_stream call) { echo(std::move(call)); });
        });
        auto client = connect(server, esrpc::connection_callbacks().on_shutdown([held = life(client_end)](std::error_code) {}));
        {
            auto stream = client.new_stream(esrpc::stream_callbacks().on_message([held = life(stream_end)](esrpc::message_view) {}));
            stream.activate("Echo", "x");
            stream.wait_closed(patience);
        }
        REQUIRE(is_over(stream_end));
        // Streams that are never activated, and connections that are never made.
        client.new_stream(esrpc::stream_callbacks().on_message([held = life(call_end)](esrpc::message_view) {}));
        REQUIRE(is_over(call_end));
        std::promise<void> failed_end;
        std::error_code ec;
        esrpc::client("127.0.0.1", 1)
            .callbacks(esrpc::connection_callbacks().on_shutdown([held = life(failed_end)](std::error_code) {}))
            .connect(patience, ec);
        REQUIRE(ec.value() == ESRPC_ERROR_CONNECTION_REFUSED && is_over(failed_end));
    }
    // The handles are gone: the connection of the client is closed, and so ends that of the server.
    REQUIRE(is_over(client_end) && is_over(server_end) && is_over(listener_end));
}

static void a_stop_destroys_lambdas_and_leaves_handles()
{
    std::promise<void> listener_end, server_end, client_end, stream_end;
    esrpc::listener server("127.0.0.1", 0, [held = life(listener_end), &server_end](esrpc::incoming peer) {
        peer.accept().on_stream("Never", [held_too = life(server_end)](esrpc::incoming_stream call) {
            auto never = std::make_shared<esrpc::stream>();
            *never = call.accept(esrpc::stream_callbacks().on_closed([never](std::error_code) {}));
        });
    });
    auto client = connect(server, esrpc::connection_callbacks().on_shutdown([held = life(client_end)](std::error_code) {}));
    auto stream = client.new_stream(esrpc::stream_callbacks().on_message([held = life(stream_end)](esrpc::message_view) {}));
    stream.activate("Never", "x");
    auto call = client.call_async("Never", "x", patience);
    auto ended = client.ended();
    esrpc::stop_all(patience);
    REQUIRE(is_over(listener_end) && is_over(server_end) && is_over(client_end) && is_over(stream_end));
    try {
        call.get();
        REQUIRE(false);
    } catch (const std::future_error &broken) {
        REQUIRE(broken.code() == std::future_errc::broken_promise);
    }
    REQUIRE(status_of([&] { stream.send("x"); }) == ESRPC_ERROR_RUNTIME_SHUTDOWN);
    REQUIRE(status_of([&] { client.call("Echo", "x", patience); }) == ESRPC_ERROR_RUNTIME_SHUTDOWN);
    // A new default runtime is made.
    calls_and_their_errors();
    esrpc::stop_all(patience);
}

static void a_runtime_is_stopped_alone()
{
    std::promise<void> ours, theirs, log_end;
    std::atomic<int> lines{0};
    esrpc::runtime runtime(2, ESRPC_LOG_LEVEL_DEBUG,
                           [held = life(log_end), &lines](std::int32_t, std::string_view, std::string_view) { lines++; });
    esrpc::listener server("127.0.0.1", 0, [held = life(theirs)](esrpc::incoming peer) { peer.accept().on_stream("Echo", echo); });
    auto client = esrpc::client("127.0.0.1", server.port())
                      .on(runtime)
                      .handshake(version())
                      .callbacks(esrpc::connection_callbacks().on_shutdown([held = life(ours)](std::error_code) {}))
                      .connect(patience);
    REQUIRE(client.call("Echo", "x", patience).text() == "x" && lines > 0);
    runtime.stop(patience);
    REQUIRE(is_over(ours) && is_over(log_end));
    REQUIRE(connect(server).call("Echo", "x", patience).text() == "x");
    std::future<void> alive = theirs.get_future();
    REQUIRE(alive.wait_for(0s) == std::future_status::timeout);
    theirs = {};
    // The lambda of the listener still has a promise to keep.
    esrpc::stop_all(patience);
}

static void futures()
{
    esrpc::listener server("127.0.0.1", 0, [](esrpc::incoming peer) {
        peer.accept().on_stream("Echo", echo).on_stream("Later", [](esrpc::incoming_stream call) {
            std::thread([later = call.defer(patience)]() mutable { later.reply("later"); }).detach();
        }).on_stream("Never", [](esrpc::incoming_stream call) {
            auto kept = std::make_shared<esrpc::stream>();
            *kept = call.accept(esrpc::stream_callbacks().on_closed([kept](std::error_code) {}));
        }).on_stream("Fail", [](esrpc::incoming_stream call) { call.fail("test#Error", "no"); });
    });
    auto connection = esrpc::client("127.0.0.1", server.port()).handshake(version()).connect_async().get();
    auto later = connection.call_async("Later", {}, patience);
    auto echoed = connection.call_async("Echo", version(), "x", patience);
    auto never = connection.call_async("Never", {}, 1ms);
    auto failed = connection.call_async("Fail", {}, patience);
    REQUIRE(later.get().text() == "later" && echoed.get().text() == "x");
    REQUIRE(status_of([&] { never.get(); }) == ESRPC_ERROR_TIMED_OUT);
    REQUIRE(status_of([&] { failed.get(); }) == ESRPC_ERROR_APPLICATION_ERROR);
    auto lost = connection.call_async("Never", {}, patience);
    REQUIRE(!connection.shutdown().get());
    REQUIRE(status_of([&] { lost.get(); }) == ESRPC_ERROR_CONNECTION_CLOSED);
    server.close();
    auto refused = esrpc::client("127.0.0.1", server.port()).connect_async();
    REQUIRE(status_of([&] { refused.get(); }) == ESRPC_ERROR_CONNECTION_REFUSED);
}

static void servers_decide_who_may_come()
{
    esrpc::listener_options options("127.0.0.1", 0);
    options.on_connect([](esrpc::message_view connect) { return connect.text() == "secret"; });
    esrpc::listener server(std::move(options), [](esrpc::incoming peer) {
        std::thread([later = peer.defer()]() mutable {
            esrpc::connection_callbacks callbacks;
            callbacks.on_any_stream([](esrpc::incoming_stream call) { call.reply(call.operation()); });
            later.accept(std::move(callbacks));
        }).detach();
    });
    auto client = esrpc::client("127.0.0.1", server.port()).handshake(version(), "secret").connect(patience);
    REQUIRE(client.call("Anything", {}, patience).text() == "Anything");
    esrpc::client wrong("127.0.0.1", server.port());
    wrong.handshake(version(), "guess");
    REQUIRE(status_of([&] { wrong.connect(patience); }) == ESRPC_ERROR_HANDSHAKE_REFUSED);
    esrpc::listener silent("127.0.0.1", 0, [](esrpc::incoming peer) { peer.defer().refuse(); });
    REQUIRE(status_of([&] { connect(silent); }) == ESRPC_ERROR_PEER_CLOSED);
}

static void tls_and_unix_sockets()
{
    auto server_tls = esrpc::tls_config_builder::server();
    server_tls.certificate_files(folder + "/certificate.pem", folder + "/key.pem");
    auto client_tls = esrpc::tls_config_builder::client();
    client_tls.ca_file(folder + "/certificate.pem");
    auto accept = [](esrpc::incoming peer) { peer.accept().on_stream("Echo", echo); };
    esrpc::listener_options options("127.0.0.1", 0);
    options.tls(server_tls.build());
    esrpc::listener secure(std::move(options), accept);
    auto client = esrpc::client("127.0.0.1", secure.port()).tls(client_tls.build(), "localhost").handshake(version()).connect(patience);
    REQUIRE(client.call("Echo", "x", patience).text() == "x");
    esrpc::client wrong("127.0.0.1", secure.port());
    wrong.tls(client_tls.build(), "other.example");
    REQUIRE(status_of([&] { wrong.connect(patience); }) == ESRPC_ERROR_TLS_WRONG_NAME);
    REQUIRE(status_of([&] { client_tls.ca_file("/none"); }) != ESRPC_OK);

    const std::string path = folder + "/socket";
    esrpc::listener local(esrpc::listener_options::unix_path(path), accept);
    REQUIRE(local.address() == "unix:" + path);
    auto near = esrpc::client::unix_path(path).handshake(version()).connect(patience);
    REQUIRE(near.call("Echo", "x", patience).text() == "x" && near.remote_address() == "unix:" + path);
}

static void waiting_in_a_callback_fails()
{
    std::promise<esrpc_status> result;
    esrpc::listener server("127.0.0.1", 0, [&](esrpc::incoming peer) {
        peer.accept();
        result.set_value(status_of([] { esrpc::client("127.0.0.1", 1).connect(patience); }));
    });
    auto client = connect(server);
    REQUIRE(result.get_future().get() == ESRPC_ERROR_WOULD_DEADLOCK);
}

static void handles_move()
{
    std::promise<std::error_code> end;
    esrpc::listener first("127.0.0.1", 0, [](esrpc::incoming peer) { peer.accept().on_stream("Echo", echo); });
    esrpc::listener server = std::move(first);
    esrpc::connection_callbacks callbacks;
    callbacks.on_shutdown([&](std::error_code reason) { end.set_value(reason); });
    auto one = connect(server, std::move(callbacks));
    esrpc::connection two = std::move(one);
    REQUIRE(!one && two && two.is_open());
    REQUIRE(two.call("Echo", "x", patience).text() == "x");
    // What the handle had before is closed.
    two = connect(server);
    REQUIRE(!end.get_future().get());
    esrpc::message message = two.call("Echo", "y", patience);
    esrpc::message moved = std::move(message);
    REQUIRE(!message && moved.text() == "y" && esrpc::message(esrpc::message_view(moved)).text() == "y");
    // A detached one lives on, until the server goes.
    auto three = connect(server);
    auto ended = three.ended();
    three.detach();
    three = esrpc::connection();
    REQUIRE(ended.wait_for(0s) == std::future_status::timeout);
    server.drain(patience);
    REQUIRE(ended.get().value() == ESRPC_ERROR_PEER_CLOSED);
    server.wait_closed(patience);
}

static void options_reach_the_library()
{
    esrpc::connection_options options;
    options.max_message_size(1000).idle_timeout(1h).linger(0ms).answer_pings(true).keep_alive_ping(1min, 10s).connect_timeout(esrpc::no_timeout);
    REQUIRE(status_of([&] { options.idle_timeout(0s); }) == ESRPC_ERROR_INVALID_ARGUMENT);
    esrpc::listener server("127.0.0.1", 0, [](esrpc::incoming peer) { peer.accept().on_stream("Echo", echo); });
    auto client = esrpc::client("127.0.0.1", server.port()).options(options).handshake(version()).connect(patience);
    const std::vector<std::uint8_t> large(2000);
    REQUIRE(status_of([&] { client.call("Echo", large, patience); }) == ESRPC_ERROR_MESSAGE_TOO_LARGE);
}

int main(int argc, char **argv)
{
    static const std::pair<std::string_view, void (*)()> scenarios[] = {
        {"calls_and_their_errors", calls_and_their_errors},
        {"headers_of_every_type", headers_of_every_type},
        {"a_decoder_reads_pieces", a_decoder_reads_pieces},
        {"streams_of_many_messages", streams_of_many_messages},
        {"exceptions_in_callbacks", exceptions_in_callbacks},
        {"lambdas_live_until_nothing_calls_them", lambdas_live_until_nothing_calls_them},
        {"a_stop_destroys_lambdas_and_leaves_handles", a_stop_destroys_lambdas_and_leaves_handles},
        {"a_runtime_is_stopped_alone", a_runtime_is_stopped_alone},
        {"futures", futures},
        {"servers_decide_who_may_come", servers_decide_who_may_come},
        {"tls_and_unix_sockets", tls_and_unix_sockets},
        {"waiting_in_a_callback_fails", waiting_in_a_callback_fails},
        {"handles_move", handles_move},
        {"options_reach_the_library", options_reach_the_library},
    };
    if (argc != 3) {
        for (const auto &[name, scenario] : scenarios) std::printf("%.*s\n", int(name.size()), name.data());
        return 0;
    }
    folder = argv[2];
    for (const auto &[name, scenario] : scenarios) {
        if (name != argv[1]) continue;
        scenario();
        // What lambdas hold is gone now, so that a leak is one.
        esrpc::stop_all(patience);
        std::puts("ok");
        return 0;
    }
    return 2;
}
