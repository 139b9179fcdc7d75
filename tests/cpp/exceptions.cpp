/* Exceptions that leave callbacks. */
#include "check.hpp"

#include <thread>

struct thrown : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/* What an exception says. */
static std::string text_of(const std::exception_ptr &exception) {
    if (exception == nullptr) return "none";
    try {
        std::rethrow_exception(exception);
    } catch (const thrown &caught) {
        return caught.what();
    } catch (...) {
        return "another";
    }
}

static esrpc::exception_callback noting(journal &notes) {
    return [&](std::exception_ptr exception) { notes.note(text_of(exception)); };
}

static void keep_open(esrpc::incoming_stream call) { call.accept(esrpc::stream_callbacks()); }

TEST(an_exception_of_a_clients_connection_closes_it_and_is_reported) {
    journal notes;
    const esrpc::listener server = echo_server();
    for (const std::string where : {"on_setup", "on_protocol_message", "on_writable"}) {
        esrpc::client client("127.0.0.1", server.port());
        client.options(esrpc::connection_options().outbound_limit(1).answer_pings(false))
            .on_exception(noting(notes))
            .on_setup([&](esrpc::connection_ref, std::error_code) {
                if (where == "on_setup") throw thrown(where);
            })
            .on_writable([&](esrpc::connection_ref) {
                if (where == "on_writable") throw thrown(where);
            });
        if (where == "on_protocol_message")
            client.manual_handshake().on_protocol_message(
                [&](esrpc::connection_ref, esrpc::message_view) { throw thrown(where); });
        const esrpc::connection connection = client.start();
        connection.wait_setup(time_limit);
        std::error_code code;
        if (where == "on_protocol_message") connection.send_protocol_message(ESRPC_MESSAGE_TYPE_CONNECT);
        while (where == "on_writable" && code != ESRPC_ERROR_CONNECTION_CLOSED)
            connection.send_protocol_message(ESRPC_MESSAGE_TYPE_PING, std::string(100000, 'x'), {}, 0, {}, code);
        CHECK(connection.shutdown_future().get() == esrpc::make_code(esrpc::callback_threw));
        CHECK(connection.wait_shutdown(time_limit).value() == esrpc::callback_threw);
        notes.wait_for(where);
        CHECK(text_of(connection.exception()) == where);
    }
}

TEST(an_exception_of_on_shutdown_is_reported_and_the_reason_stays) {
    journal notes;
    const esrpc::listener server = echo_server();
    const esrpc::connection connection =
        esrpc::client("127.0.0.1", server.port())
            .on_exception(noting(notes))
            .on_shutdown([](esrpc::connection_ref, std::error_code) { throw thrown("on_shutdown"); })
            .connect(time_limit);
    CHECK(!connection.shutdown().get());
    CHECK(notes.has("on_shutdown") && text_of(connection.exception()) == "on_shutdown");
}

TEST(an_exception_of_a_servers_connection_closes_it_and_is_reported) {
    journal notes;
    esrpc::listener server = esrpc::server("127.0.0.1", 0)
                                 .manual_handshake()
                                 .on_exception(noting(notes))
                                 .on_connection([](esrpc::incoming peer) {
                                     peer.accept().on_protocol_message([](esrpc::connection_ref, esrpc::message_view) {
                                         throw thrown("on_protocol_message");
                                     });
                                 })
                                 .listen();
    CHECK_THROWS(ESRPC_ERROR_PEER_CLOSED, esrpc::client("127.0.0.1", server.port()).connect(time_limit));
    notes.wait_for("on_protocol_message");
}

TEST(an_exception_while_a_client_is_announced_refuses_it) {
    journal notes;
    std::atomic<int> round{0};
    esrpc::listener server = esrpc::server("127.0.0.1", 0)
                                 .on_stream("Echo", echo)
                                 .on_exception(noting(notes))
                                 .on_connection([&](esrpc::incoming peer) {
                                     if (round == 0) throw thrown("before");
                                     peer.accept();
                                     if (round == 1) throw thrown("after");
                                 })
                                 .on_closed([](std::error_code) { throw thrown("on_closed"); })
                                 .listen();
    esrpc::client client("127.0.0.1", server.port());
    CHECK_THROWS(ESRPC_ERROR_PEER_CLOSED, client.connect(time_limit));
    notes.wait_for("before");
    round = 1;
    CHECK_THROWS(ESRPC_ERROR_PEER_CLOSED, client.connect(time_limit));
    notes.wait_for("after");
    round = 2;
    CHECK(client.connect(time_limit).call("Echo", "x", time_limit).text() == "x");
    server.close();
    server.wait_closed(time_limit);
    CHECK(notes.has("on_closed"));
}

TEST(an_exception_about_a_connect_refuses_it) {
    journal notes;
    esrpc::listener server = esrpc::server("127.0.0.1", 0)
                                 .on_exception(noting(notes))
                                 .handshake([](esrpc::connection_ref, esrpc::message_view) -> bool {
                                     throw thrown("on_connect");
                                 })
                                 .listen();
    CHECK_THROWS(ESRPC_ERROR_HANDSHAKE_REFUSED, esrpc::client("127.0.0.1", server.port()).connect(time_limit));
    CHECK(notes.has("on_connect"));
}

TEST(an_exception_of_a_servers_stream_fails_it_and_the_connection_goes_on) {
    journal notes;
    event is_closed;
    esrpc::listener server =
        esrpc::server("127.0.0.1", 0)
            .on_exception(noting(notes))
            .on_stream("Echo", echo)
            .on_stream("Throw", [](esrpc::incoming_stream) { throw thrown("handler"); })
            .on_stream("Accept", [](esrpc::incoming_stream call) {
                call.accept(esrpc::stream_callbacks());
                throw thrown("accepted handler");
            })
            .on_stream("Reply", [](esrpc::incoming_stream call) {
                call.reply("the reply");
                throw thrown("replied handler");
            })
            .on_stream("Service", [](esrpc::incoming_stream call) {
                esrpc::stream_callbacks callbacks;
                callbacks.on_message = [](esrpc::stream_ref, esrpc::message_view) {
                    throw esrpc::service_error("test#Error", "to the client");
                };
                call.accept(std::move(callbacks));
            })
            .on_stream("Message", [&](esrpc::incoming_stream call) {
                esrpc::stream_callbacks callbacks;
                callbacks.on_message = [](esrpc::stream_ref, esrpc::message_view) { throw thrown("on_message"); };
                callbacks.on_closed = [&](esrpc::stream_ref, std::error_code) {
                    is_closed.set();
                    throw thrown("on_closed");
                };
                call.accept(std::move(callbacks));
            })
            .listen();
    const esrpc::connection connection = esrpc::client("127.0.0.1", server.port()).connect(time_limit);
    std::error_code code;
    for (const char *operation : {"Throw", "Accept", "Message"}) {
        const esrpc::message reply = connection.call(operation, {}, time_limit, code);
        CHECK(code == ESRPC_ERROR_APPLICATION_ERROR && reply.text() == "{\"message\":\"the server failed\"}");
    }
    CHECK(connection.call("Reply", {}, time_limit).text() == "the reply");
    CHECK(connection.call("Service", {}, time_limit, code).text() == "{\"message\":\"to the client\"}");
    is_closed.wait();
    for (const char *note : {"handler", "accepted handler", "on_message", "replied handler", "on_closed"})
        notes.wait_for(note);
    CHECK(!notes.has("another"));
    CHECK(connection.call("Echo", "x", time_limit).text() == "x");
}

TEST(an_exception_of_a_clients_stream_ends_it_and_the_connection_goes_on) {
    journal notes;
    esrpc::listener server = esrpc::server("127.0.0.1", 0)
                                 .on_stream("Echo", echo)
                                 .on_stream("Keep", [](esrpc::incoming_stream call) {
                                     call.accept(esrpc::stream_callbacks());
                                     call.send("x");
                                 })
                                 .listen();
    const esrpc::connection connection =
        esrpc::client("127.0.0.1", server.port()).on_exception(noting(notes)).connect(time_limit);
    esrpc::stream_callbacks callbacks;
    callbacks.on_message = [](esrpc::stream_ref, esrpc::message_view) { throw thrown("on_message"); };
    callbacks.on_closed = [](esrpc::stream_ref, std::error_code) { throw thrown("on_closed"); };
    const esrpc::stream stream = connection.new_stream(std::move(callbacks));
    stream.activate("Keep", {}, {}, 0, [](std::error_code) { throw thrown("on_flush"); });
    CHECK(!stream.wait_closed(time_limit));
    const std::vector<std::string> all = notes.wait(3);
    CHECK(all[0] == "on_flush" && all[1] == "on_message" && all[2] == "on_closed");
    CHECK(text_of(connection.exception()) == "on_flush");
    CHECK(connection.call("Echo", "x", time_limit).text() == "x");
}

TEST(an_exception_of_a_writable_stream_ends_it) {
    journal notes;
    esrpc::listener server = esrpc::server("127.0.0.1", 0).on_stream("Keep", keep_open).listen();
    const esrpc::connection connection = esrpc::client("127.0.0.1", server.port())
                                             .options(esrpc::connection_options().outbound_limit(1))
                                             .on_exception(noting(notes))
                                             .connect(time_limit);
    esrpc::stream_callbacks callbacks;
    callbacks.on_writable = [](esrpc::stream_ref) { throw thrown("on_writable"); };
    const esrpc::stream stream = connection.new_stream(std::move(callbacks));
    stream.activate("Keep");
    std::error_code code;
    while (code != ESRPC_ERROR_STREAM_CLOSED) stream.send(std::string(100000, 'x'), {}, 0, {}, code);
    notes.wait_for("on_writable");
    CHECK(!stream.wait_closed(time_limit) && connection.is_open());
}

TEST(an_exception_of_a_task_is_reported) {
    journal notes;
    const esrpc::listener server = echo_server();
    const esrpc::connection connection =
        esrpc::client("127.0.0.1", server.port()).on_exception(noting(notes)).connect(time_limit);
    connection.run_on_loop([](std::error_code) { throw thrown("task"); });
    notes.wait_for("task");
    CHECK(connection.is_open());
}

TEST(exceptions_of_the_callbacks_for_exceptions_and_logs_are_dropped) {
    journal notes;
    {
        esrpc::runtime runtime(
            esrpc::runtime_options()
                .log(ESRPC_LOG_LEVEL_TRACE,
                     [](std::int32_t, std::string_view, std::string_view) { throw thrown("log"); })
                .on_ended([&] {
                    notes.note("ended");
                    throw thrown("on_ended");
                }));
        {
            esrpc::listener server = esrpc::server("127.0.0.1", 0)
                                         .use_runtime(runtime)
                                         .on_stream("Throw", [](esrpc::incoming_stream) { throw thrown("handler"); })
                                         .on_exception([&](std::exception_ptr exception) {
                                             notes.note(text_of(exception));
                                             throw thrown("on_exception");
                                         })
                                         .listen();
            const esrpc::connection connection =
                esrpc::client("127.0.0.1", server.port()).use_runtime(runtime).connect(time_limit);
            CHECK_THROWS(ESRPC_ERROR_APPLICATION_ERROR, connection.call("Throw", {}, time_limit));
        }
        notes.wait_for("handler");
        runtime.shutdown();
        runtime.join(time_limit);
    }
    notes.wait_for("ended");
}

TEST(a_connection_may_have_its_own_report) {
    journal own, shared;
    esrpc::listener server = esrpc::server("127.0.0.1", 0)
                                 .on_exception(noting(shared))
                                 .on_stream("Throw", [](esrpc::incoming_stream) { throw thrown("handler"); })
                                 .on_connection([&](esrpc::incoming peer) { peer.accept().on_exception(noting(own)); })
                                 .listen();
    const esrpc::connection connection = esrpc::client("127.0.0.1", server.port()).connect(time_limit);
    CHECK_THROWS(ESRPC_ERROR_APPLICATION_ERROR, connection.call("Throw", {}, time_limit));
    own.wait_for("handler");
    CHECK(!shared.has("handler"));
}

#if defined(__GLIBC__) && defined(__GLIBCXX__)
/* As an interpreter does when it exits. */
TEST(a_thread_that_ends_inside_a_callback_does_not_end_the_process) {
    const esrpc::listener server = echo_server();
    const esrpc::connection connection = esrpc::client("127.0.0.1", server.port()).connect(time_limit);
    connection.run_on_loop([](std::error_code) { pthread_exit(nullptr); });
    CHECK(connection.wait_shutdown(time_limit) == ESRPC_ERROR_RUNTIME_SHUTDOWN);
    CHECK(connection.exception() == nullptr);
    esrpc::stop_all(time_limit);
    /* What the thread was using is lost, and would be reported as a leak. */
    std::_Exit(0);
}
#endif
