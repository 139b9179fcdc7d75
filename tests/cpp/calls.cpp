/* Clients and servers: calls, streams, futures, decisions, transports. */
#include "check.hpp"

#include <thread>
#if !defined(_WIN32)
#include <unistd.h>
#endif

static_assert(!std::is_copy_constructible_v<esrpc::connection> &&
              std::is_nothrow_move_constructible_v<esrpc::connection>);
static_assert(!std::is_copy_constructible_v<esrpc::stream> && std::is_nothrow_move_constructible_v<esrpc::stream>);
static_assert(!std::is_copy_constructible_v<esrpc::listener> && std::is_nothrow_move_constructible_v<esrpc::listener>);
static_assert(!std::is_copy_constructible_v<esrpc::runtime> && std::is_nothrow_move_constructible_v<esrpc::runtime>);
static_assert(!std::is_copy_constructible_v<esrpc::client> && std::is_nothrow_move_constructible_v<esrpc::client>);
static_assert(!std::is_copy_constructible_v<esrpc::server> && std::is_nothrow_move_constructible_v<esrpc::server>);
static_assert(std::is_trivially_copyable_v<esrpc::stream_ref> && std::is_trivially_copyable_v<esrpc::connection_ref>);

static esrpc::connection connect_to(const esrpc::listener &server) {
    return esrpc::client("127.0.0.1", server.port()).handshake({{":version", "0.1.0"}}).connect(time_limit);
}

/* A server that keeps its streams open and unanswered. */
static void keep_open(esrpc::incoming_stream call) { call.accept({}); }

static void check_calls(esrpc::connection_ref connection) {
    CHECK(connection.call("Echo", "hello", time_limit).text() == "hello");
    CHECK(connection.call("Echo", std::vector<std::uint8_t>{1, 2}, time_limit, {{"h", true}}).payload().size() == 2);
}

TEST(the_program_that_the_documentation_shows_works) {
    esrpc::listener server("127.0.0.1", 0, [](esrpc::incoming peer) { peer.accept().on_stream("Echo", echo); });
    const esrpc::headers headers{{":version", "0.1.0"}};
    auto connection = esrpc::client("127.0.0.1", server.port()).handshake(headers).connect(5s);
    auto reply = connection.call("Echo", "payload", 5s);
    CHECK(reply.text() == "payload");
}

TEST(operations_are_found_by_name) {
    esrpc::listener server = esrpc::server("127.0.0.1", 0)
                                 .on_stream("Echo", echo)
                                 .on_stream("Both", [](esrpc::incoming_stream call) { call.reply("of the server"); })
                                 .on_connection([](esrpc::incoming peer) {
                                     peer.accept().on_stream("Both", [](esrpc::incoming_stream call) {
                                         call.reply("of the connection", {{"operation-was", call.operation()}});
                                     });
                                 })
                                 .listen();
    const esrpc::connection connection = connect_to(server);
    check_calls(connection);
    const esrpc::message reply = connection.call("Both", {}, time_limit);
    CHECK(reply.text() == "of the connection" && reply.headers()["operation-was"].as<std::string>() == "Both");
    CHECK_THROWS(ESRPC_ERROR_APPLICATION_ERROR, connection.call("Neither", {}, time_limit));
    check_calls(connection);
}

TEST(an_unknown_operation_can_have_a_handler) {
    esrpc::listener server = esrpc::server("127.0.0.1", 0)
                                 .on_stream("Echo", echo)
                                 .on_stream([](esrpc::incoming_stream call) { call.reply(call.operation()); })
                                 .listen();
    const esrpc::connection connection = connect_to(server);
    CHECK(connection.call("Anything", {}, time_limit).text() == "Anything");
    check_calls(connection);
}

TEST(an_error_message_is_an_exception_or_a_value) {
    esrpc::listener server("127.0.0.1", 0, [](esrpc::incoming peer) {
        peer.accept()
            .on_stream("Fail", [](esrpc::incoming_stream call) { call.fail("test#Error", "not today"); })
            .on_stream("Throw", [](esrpc::incoming_stream) { throw esrpc::service_error("test#Thrown", "thrown"); })
            .on_stream("Refuse", [](esrpc::incoming_stream call) { call.refuse("no", {{"why", std::int32_t(3)}}); })
            .on_stream("Nothing", [](esrpc::incoming_stream) {});
    });
    const esrpc::connection connection = connect_to(server);
    try {
        connection.call("Throw", {}, time_limit);
        CHECK(false);
    } catch (const esrpc::application_error &failure) {
        CHECK(failure.code() == ESRPC_ERROR_APPLICATION_ERROR);
        CHECK(failure.reply().headers()["service-model-type"].as<std::string>() == "test#Thrown");
        CHECK(failure.reply().text() == "{\"message\":\"thrown\"}");
        CHECK(std::string(failure.what()).find("thrown") != std::string::npos);
    }
    CHECK(connection.exception() == nullptr);
    std::error_code code;
    CHECK(connection.call("Fail", {}, time_limit, code).text() == "{\"message\":\"not today\"}");
    CHECK(code == ESRPC_ERROR_APPLICATION_ERROR);
    const esrpc::message refusal = connection.call("Refuse", {}, time_limit, code);
    CHECK(code == ESRPC_ERROR_APPLICATION_ERROR && refusal.headers()["why"].as<std::int32_t>() == 3);
    CHECK(connection.call("Nothing", {}, time_limit, code) && code == ESRPC_ERROR_APPLICATION_ERROR);
    CHECK(!connection.call("", {}, time_limit, code) && code == ESRPC_ERROR_INVALID_ARGUMENT);
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, connection.call("", {}, time_limit));
}

TEST(connecting_to_nobody_is_an_error_either_way) {
    esrpc::listener server = echo_server();
    esrpc::client client("127.0.0.1", server.port());
    server.close();
    server.wait_closed(time_limit);
    CHECK_THROWS(ESRPC_ERROR_CONNECTION_REFUSED, client.connect(time_limit));
    std::error_code code;
    CHECK(!client.connect(time_limit, code) && code == std::errc::connection_refused);
    CHECK(std::string(esrpc::last_error_message()).find("127.0.0.1") != std::string::npos);
    std::future<esrpc::connection> future = client.connect_async();
    CHECK_THROWS(ESRPC_ERROR_CONNECTION_REFUSED, future.get());
}

TEST(the_first_setting_that_is_refused_is_reported_at_the_end) {
    esrpc::client client("127.0.0.1", 70000);
    client.host("", 1).network_interface("a name that is far too long");
    CHECK(client.failure() && client.failure()->status() == ESRPC_ERROR_INVALID_ARGUMENT);
    CHECK(std::string(client.failure()->what()).find("70000") != std::string::npos);
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, client.connect(time_limit));
    std::error_code code;
    CHECK(!client.start(code) && code == ESRPC_ERROR_INVALID_ARGUMENT);
    std::future<esrpc::connection> future = client.connect_async();
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, future.get());
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT,
                 esrpc::client("127.0.0.1", 1).options(esrpc::connection_options().idle_timeout(0s)).connect(1s));
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, esrpc::server("127.0.0.1", 0).max_connections(0).listen());
    CHECK(!esrpc::server("127.0.0.1", 0).max_connections(0).listen(code) && code == ESRPC_ERROR_INVALID_ARGUMENT);
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, esrpc::runtime(esrpc::runtime_options().thread_count(0)));
}

TEST(every_setting_of_connections_reaches_the_library) {
    esrpc::connection_options options;
    options.max_message_size(1000).max_handshake_message_size(500).max_headers(20).max_headers_size(400);
    options.max_header_value_size(100).outbound_limit(10000).max_streams(3).abnormal_event_limit(1, 2);
    options.stream_queue_limit(100).linger(0ms).resolve_timeout(1s).connect_timeout(2s).tls_timeout(3s);
    options.handshake_timeout(esrpc::no_timeout).write_timeout(1min).message_timeout(2min).idle_timeout(1h);
    options.half_open(1s).keep_alive_ping(1min, 10s).answer_pings().ping_answer_limit(5, 6).tcp_nodelay(true);
    options.tcp_keep_alive(true, 10s, 1s, 3).socket_buffers(0, 0);
    CHECK(!options.failure());
    const esrpc::listener server = echo_server();
    const esrpc::connection connection = esrpc::client("127.0.0.1", server.port()).options(options).connect(time_limit);
    check_calls(connection);
    const std::vector<std::uint8_t> large(2000);
    CHECK_THROWS(ESRPC_ERROR_MESSAGE_TOO_LARGE, connection.call("Echo", large, time_limit));
    options.max_streams(0);
    CHECK(options.failure());
}

TEST(futures_get_replies_errors_and_ends) {
    esrpc::listener server("127.0.0.1", 0, [](esrpc::incoming peer) {
        peer.accept()
            .on_stream("Echo", echo)
            .on_stream("Fail", [](esrpc::incoming_stream call) { call.fail("test#Error", "no"); })
            .on_stream("Keep", keep_open)
            .on_stream("Two", [](esrpc::incoming_stream call) {
                call.accept({});
                call.send("first");
                call.send("second");
            });
    });
    esrpc::connection connection = esrpc::client("127.0.0.1", server.port()).connect_async().get();
    auto echoed = connection.call_async("Echo", "x", time_limit);
    auto failed = connection.call_async("Fail", {}, time_limit);
    auto late = connection.call_async("Keep", {}, 1ms);
    auto first = connection.call_async("Two", {}, time_limit);
    auto unsent = connection.call_async("", {}, time_limit);
    auto lost = connection.call_async("Keep", {}, time_limit);
    CHECK(echoed.get().text() == "x" && first.get().text() == "first");
    CHECK_THROWS(ESRPC_ERROR_APPLICATION_ERROR, failed.get());
    CHECK_THROWS(ESRPC_ERROR_TIMED_OUT, late.get());
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, unsent.get());
    auto end = connection.shutdown_future();
    CHECK(end.wait_for(0s) == std::future_status::timeout);
    CHECK(connection.shutdown(4000).get().value() == 4000 && end.get().value() == 4000);
    CHECK(connection.shutdown_future().get().value() == 4000 && connection.end_status().value() == 4000);
    CHECK_THROWS(ESRPC_ERROR_CONNECTION_CLOSED, lost.get());
    auto closed = connection.call_async("Echo", {}, time_limit);
    CHECK_THROWS(ESRPC_ERROR_CONNECTION_CLOSED, closed.get());
}

TEST(a_connection_that_stays_in_its_future_is_closed) {
    event ended;
    esrpc::listener server("127.0.0.1", 0, [&](esrpc::incoming peer) {
        peer.accept().on_shutdown([&](esrpc::connection_ref, std::error_code) { ended.set(); });
    });
    esrpc::client("127.0.0.1", server.port()).connect_async().wait();
    ended.wait();
}

TEST(destroying_a_clients_handle_closes_and_a_detached_one_does_not) {
    journal ends;
    esrpc::listener server("127.0.0.1", 0, [&](esrpc::incoming peer) {
        peer.accept().on_stream("Echo", echo).on_shutdown([&](esrpc::connection_ref, std::error_code reason) {
            ends.note(std::to_string(reason.value()));
        });
    });
    connect_to(server);
    CHECK(ends.wait(1).size() == 1);
    esrpc::connection kept;
    {
        esrpc::connection detached = connect_to(server);
        detached.detach();
        kept = detached.acquire();
    }
    check_calls(kept);
    esrpc::connection moved = std::move(kept);
    CHECK(!kept && moved);
    check_calls(moved);
    moved = connect_to(server);
    check_calls(moved);
    CHECK(ends.wait(1).size() == 1);
    server.drain(0s);
    CHECK(ends.wait(3).size() == 3);
    server.wait_closed(time_limit);
}

TEST(a_listener_stops_when_its_handle_is_destroyed_and_its_connections_go_on) {
    esrpc::connection connection;
    std::uint32_t port;
    {
        esrpc::listener server = echo_server();
        esrpc::listener moved = std::move(server);
        CHECK(!server && moved);
        port = moved.port();
        connection = connect_to(moved);
    }
    check_calls(connection);
    std::error_code code;
    /* The socket is closed on another thread. */
    while (esrpc::client("127.0.0.1", port).connect(time_limit, code)) std::this_thread::yield();
    CHECK(code);
    connection = {};
    esrpc::listener kept;
    {
        esrpc::listener detached = echo_server();
        detached.detach();
        kept = detached.acquire();
    }
    check_calls(connect_to(kept));
    kept.close();
}

TEST(streams_carry_many_messages_both_ways) {
    esrpc::listener server("127.0.0.1", 0, [](esrpc::incoming peer) {
        peer.accept().on_stream("Chat", [](esrpc::incoming_stream call) {
            esrpc::stream_callbacks callbacks;
            callbacks.on_message = [](esrpc::stream_ref stream, esrpc::message_view message) {
                stream.send(message.payload());
                if (message.text() == "end") stream.close();
            };
            call.accept(std::move(callbacks));
        });
    });
    const esrpc::connection connection = connect_to(server);
    journal seen;
    esrpc::stream_callbacks callbacks;
    callbacks.on_message = [&](esrpc::stream_ref stream, esrpc::message_view message) {
        CHECK(stream.connection().is_open());
        seen.note(message.is_last() ? "last" : std::string(message.text()));
    };
    callbacks.on_closed = [&](esrpc::stream_ref stream, std::error_code reason) {
        seen.note("closed " + std::to_string(reason.value()) + " " + std::to_string(stream.id()));
    };
    const esrpc::stream stream = connection.new_stream(std::move(callbacks));
    CHECK_THROWS(ESRPC_ERROR_STREAM_NOT_ACTIVATED, stream.send("early"));
    stream.set_deadline(time_limit);
    stream.activate("Chat", "a", {}, 0, [&](std::error_code status) { CHECK(!status); seen.note("written"); });
    seen.wait_for("written");
    seen.wait_for("a");
    stream.send("b", {{"h", "v"}});
    stream.send_blocking("end", time_limit);
    CHECK(!stream.wait_closed(time_limit));
    const std::vector<std::string> all = seen.wait(6);
    CHECK(all[2] == "b" && all[3] == "end" && all[4] == "last" && all[5] == "closed 0 1");
    std::error_code code;
    stream.send("late", {}, 0, {}, code);
    CHECK(code == ESRPC_ERROR_STREAM_CLOSED && !stream.end_status() && stream.operation() == "Chat");
}

TEST(what_functions_return_may_be_ignored) {
    journal seen;
    esrpc::connection_callbacks callbacks;
    callbacks.on_stream = [&](esrpc::incoming_stream call) {
        seen.note(std::string(call.text()));
        call.reply();
        return true;
    };
    callbacks.on_shutdown = [&](esrpc::connection_ref, std::error_code) { return seen.note("end"), 0; };
    esrpc::listener server("127.0.0.1", 0, [&](esrpc::incoming peer) { return peer.accept(std::move(callbacks)); });
    esrpc::connection connection = connect_to(server);
    connection.call("Note", "1", time_limit);
    std::error_code code;
    connection.call("Note", "2", time_limit, code);
    CHECK(!code);
    connection = {};
    const std::vector<std::string> all = seen.wait(3);
    CHECK(all[0] == "1" && all[1] == "2" && all[2] == "end");
}

#if __cplusplus >= 202002L
TEST(callbacks_can_be_named_where_they_are_passed) {
    const esrpc::listener server = echo_server();
    const esrpc::connection connection = connect_to(server);
    journal seen;
    const esrpc::stream stream = connection.new_stream({
        .on_message = [&](esrpc::stream_ref, esrpc::message_view reply) { seen.note(std::string(reply.text())); },
    });
    stream.activate("Echo", "x");
    seen.wait_for("x");
}
#endif

TEST(a_code_may_follow_the_payload_or_the_headers) {
    std::error_code replied;
    esrpc::listener server("127.0.0.1", 0, [&](esrpc::incoming peer) {
        peer.accept()
            .on_stream("Reply", [&](esrpc::incoming_stream call) {
                call.reply(call.payload(), replied);
                CHECK(!replied);
                call.reply("twice", replied);
                CHECK(replied);
                call.refuse("after that", replied);
                CHECK(replied);
            })
            .on_stream("Keep", keep_open);
    });
    const esrpc::connection connection = connect_to(server);
    std::error_code code = ESRPC_ERROR_IO;
    CHECK(connection.call("Reply", "x", time_limit, code).text() == "x" && !code);
    const esrpc::stream stream = connection.new_stream();
    stream.send("early", code);
    CHECK(code == ESRPC_ERROR_STREAM_NOT_ACTIVATED);
    stream.activate("", "x", code);
    CHECK(code == ESRPC_ERROR_INVALID_ARGUMENT);
    stream.activate("Keep", "x", {{"h", true}}, code);
    CHECK(!code);
    stream.activate("Keep", "x", code);
    CHECK(code);
    stream.send("a", code);
    CHECK(!code);
    stream.send("b", {{"h", true}}, code);
    CHECK(!code);
    stream.send_blocking("c", time_limit, code);
    CHECK(!code);
    CHECK(connection.new_stream(code) && !code && connection.new_stream({}));
    CHECK(!stream.accept(code) && code == ESRPC_ERROR_INVALID_STATE);
    stream.close();
    stream.send("late", {{"h", true}}, code);
    CHECK(code == ESRPC_ERROR_STREAM_CLOSED);
    stream.send_blocking("late", time_limit, code);
    CHECK(code == ESRPC_ERROR_STREAM_CLOSED);
}

TEST(streams_without_callbacks_are_read) {
    event is_read;
    std::thread reader;
    esrpc::listener server("127.0.0.1", 0, [&](esrpc::incoming peer) {
        peer.accept().on_stream("Sum", [&](esrpc::incoming_stream call) {
            reader = std::thread([&, stream = call.accept()] {
                std::string sum;
                while (auto message = stream.read(time_limit)) {
                    sum += message.text();
                    if (message.text() == "!") stream.reply(sum);
                }
                is_read.set();
            });
        });
    });
    const esrpc::connection connection = connect_to(server);
    const esrpc::stream stream = connection.new_stream();
    stream.activate("Sum", "1");
    std::error_code code;
    CHECK(!stream.read(0s, code) && code == ESRPC_ERROR_TIMED_OUT);
    stream.send("2");
    stream.send("!");
    CHECK(stream.read(time_limit).text() == "12!");
    CHECK(!stream.read(time_limit) && !stream.read(time_limit, code) && !code);
    is_read.wait();
    reader.join();
}

TEST(decisions_can_be_made_later) {
    std::vector<std::thread> threads;
    esrpc::listener server =
        esrpc::server("127.0.0.1", 0)
            .handshake([](esrpc::connection_ref peer, esrpc::message_view connect) {
                CHECK(std::string(peer.remote_address()).find("127.0.0.1:") == 0);
                return connect.text() == "secret";
            })
            .on_connection([&](esrpc::incoming peer) {
                threads.emplace_back([later = peer.defer()] {
                    CHECK(*later.get().remote_address() != '\0');
                    esrpc::connection_callbacks callbacks;
                    callbacks.on_stream = [](esrpc::incoming_stream call) { call.reply(call.operation()); };
                    static_cast<void>(later.accept(std::move(callbacks)));
                });
            })
            .on_stream("Later", [&](esrpc::incoming_stream call) {
                threads.emplace_back([later = call.defer(time_limit)] { later.reply("later"); });
            })
            .on_stream("Accepted", [&](esrpc::incoming_stream call) {
                threads.emplace_back([later = call.defer(time_limit)] {
                    esrpc::stream_callbacks callbacks;
                    callbacks.on_message = [](esrpc::stream_ref stream, esrpc::message_view first) {
                        stream.reply(first.payload());
                    };
                    later.accept(std::move(callbacks));
                });
            })
            .listen();
    {
        const esrpc::connection connection =
            esrpc::client("127.0.0.1", server.port()).handshake({}, "secret").connect(time_limit);
        CHECK(connection.call("Any", {}, time_limit).text() == "Any");
        CHECK(connection.call("Later", {}, time_limit).text() == "later");
        CHECK(connection.call("Accepted", "x", time_limit).text() == "x");
    }
    CHECK_THROWS(ESRPC_ERROR_HANDSHAKE_REFUSED, connect_to(server));
    for (std::thread &thread : threads) thread.join();
}

TEST(connections_can_be_refused) {
    esrpc::listener server("127.0.0.1", 0, [](esrpc::incoming peer) { peer.refuse(); });
    CHECK_THROWS(ESRPC_ERROR_PEER_CLOSED, connect_to(server));
    esrpc::listener other("127.0.0.1", 0, [](esrpc::incoming peer) { peer.defer().refuse(); });
    CHECK_THROWS(ESRPC_ERROR_PEER_CLOSED, connect_to(other));
    esrpc::listener silent("127.0.0.1", 0, [](esrpc::incoming) {});
    CHECK_THROWS(ESRPC_ERROR_PEER_CLOSED, connect_to(silent));
}

TEST(applications_can_do_the_handshake_and_answer_pings) {
    esrpc::listener server = esrpc::server("127.0.0.1", 0)
                                 .manual_handshake()
                                 .on_connection([](esrpc::incoming peer) {
                                     peer.accept().on_protocol_message([](esrpc::connection_ref connection,
                                                                          esrpc::message_view message) {
                                         if (message.type() == ESRPC_MESSAGE_TYPE_CONNECT)
                                             connection.send_protocol_message(
                                                 ESRPC_MESSAGE_TYPE_CONNECT_ACK, "welcome", {},
                                                 ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED);
                                         else
                                             connection.send_protocol_message(ESRPC_MESSAGE_TYPE_PING_RESPONSE,
                                                                              message.payload());
                                     });
                                 })
                                 .listen();
    CHECK(connect_to(server).connect_ack().text() == "welcome");
    journal seen;
    esrpc::client client("127.0.0.1", server.port());
    client.manual_handshake()
        .on_setup([](esrpc::connection_ref connection, std::error_code status) {
            CHECK(!status && connection);
            connection.send_protocol_message(ESRPC_MESSAGE_TYPE_CONNECT);
        })
        .on_protocol_message([&](esrpc::connection_ref, esrpc::message_view message) {
            seen.note(std::string(message.text()));
        });
    const esrpc::connection connection = client.start();
    seen.wait_for("welcome");
    connection.send_protocol_message(ESRPC_MESSAGE_TYPE_PING, "ping", {}, 0, [&](std::error_code status) {
        seen.note("written " + std::to_string(status.value()));
    });
    seen.wait_for("ping");
    seen.wait_for("written 0");
    connection.wait_flush(time_limit);
    std::error_code code;
    connection.send_protocol_message(ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, {}, {}, 0,
                                     [&](std::error_code) { CHECK(false); }, code);
    CHECK(code == ESRPC_ERROR_WRONG_MESSAGE_TYPE);
}

TEST(waiting_in_a_callback_is_an_error) {
    const esrpc::listener server = echo_server();
    const esrpc::connection connection = connect_to(server);
    event done;
    connection.run_on_loop([&](std::error_code status) {
        CHECK(!status);
        std::error_code code;
        connection.call("Echo", {}, time_limit, code);
        CHECK(code == ESRPC_ERROR_WOULD_DEADLOCK && code == std::errc::resource_deadlock_would_occur);
        CHECK_THROWS(ESRPC_ERROR_WOULD_DEADLOCK, connect_to(server));
        CHECK(connection.wait_shutdown(time_limit) == ESRPC_ERROR_WOULD_DEADLOCK);
        CHECK_THROWS(ESRPC_ERROR_WOULD_DEADLOCK, connection.wait_flush(time_limit));
        CHECK_THROWS(ESRPC_ERROR_WOULD_DEADLOCK, server.wait_closed(time_limit));
        CHECK_THROWS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc::stop_all(time_limit));
        done.set();
    });
    done.wait();
    check_calls(connection);
}

TEST(runtimes_log_report_their_end_and_are_joined) {
    event has_ended;
    std::atomic<int> lines{0};
    esrpc::runtime runtime(esrpc::runtime_options()
                               .thread_count(2)
                               .log(ESRPC_LOG_LEVEL_DEBUG,
                                    [&](std::int32_t level, std::string_view target, std::string_view line) {
                                        CHECK(level <= ESRPC_LOG_LEVEL_DEBUG && !target.empty() && !line.empty());
                                        ++lines;
                                    })
                               .on_ended([&] { has_ended.set(); }));
    {
        esrpc::listener server = esrpc::server("127.0.0.1", 0).use_runtime(runtime).on_stream("Echo", echo).listen();
        const esrpc::connection connection =
            esrpc::client("127.0.0.1", server.port()).use_runtime(runtime).connect(time_limit);
        check_calls(connection);
        /* The client has a reply before either side has noted the end of its stream. */
        const auto latest = std::chrono::steady_clock::now() + time_limit;
        while (runtime.open_streams() > 0 && std::chrono::steady_clock::now() < latest) std::this_thread::yield();
        CHECK(runtime.open_connections() == 2);
        CHECK(runtime.open_streams() == 0);
        CHECK(runtime.stats().streams_opened > 0);
        CHECK(connection.stats().messages_sent > 0 && server.stats().connections_opened == 1);
        CHECK(server.open_connections() == 1 && server.open_streams() == 0);
        std::error_code code;
        runtime.join(0s, code);
        CHECK(code == ESRPC_ERROR_TIMED_OUT);
    }
    runtime.drain(time_limit);
    runtime.join(time_limit);
    has_ended.wait();
    CHECK(lines > 0);
}

TEST(the_default_runtime_has_options_too) {
    std::atomic<int> lines{0};
    esrpc::runtime::set_default_options(esrpc::runtime_options().log(
        ESRPC_LOG_LEVEL_DEBUG, [&](std::int32_t, std::string_view, std::string_view) { ++lines; }));
    {
        const esrpc::listener server = echo_server();
        check_calls(connect_to(server));
        CHECK_THROWS(ESRPC_ERROR_INVALID_STATE, esrpc::runtime::set_default_options(esrpc::runtime_options()));
    }
    end_in_order();
    const int logged = lines;
    CHECK(logged > 0);
    esrpc::runtime::set_default_options(esrpc::runtime_options());
    check_calls(connect_to(echo_server()));
    CHECK(lines == logged);
}

TEST(a_socket_pair_makes_a_connection) {
    /* The listener of a supervisor is one of C; its address comes out of C++ all the same. */
    esrpc::listener server = esrpc::server().adopt_only().on_stream("Echo", echo).listen();
    CHECK(*server.address() == '\0' && server.port() == 0);
    CHECK_THROWS(ESRPC_ERROR_INVALID_STATE, server.dup_socket());
    CHECK_THROWS(ESRPC_ERROR_WRONG_SOCKET, server.adopt_connection(-1));
    CHECK_THROWS(ESRPC_ERROR_WRONG_SOCKET, esrpc::client().socket(-1).connect(time_limit));
}

#if !defined(_WIN32)
TEST(calls_go_over_a_unix_socket) {
    const std::string path = "/tmp/esrpc-cpp-" + std::to_string(::getpid());
    esrpc::listener server = esrpc::server().unix_path(path).unix_mode(0600).on_stream("Echo", echo).listen();
    CHECK(server.address() == "unix:" + path);
    const esrpc::connection connection = esrpc::client().unix_path(path).connect(time_limit);
    check_calls(connection);
    CHECK(connection.remote_address() == "unix:" + path);
    CHECK(connection.peer_credentials().pid == static_cast<std::int32_t>(::getpid()));
    CHECK_THROWS(ESRPC_ERROR_INVALID_STATE, connect_to(echo_server()).peer_credentials());
    server.drain(0s);
    server.wait_closed(time_limit);
    CHECK(connection.wait_shutdown(time_limit) == ESRPC_ERROR_PEER_CLOSED);
    CHECK(*connection.end_message() != '\0' && !connection.is_open());
}
#endif

static std::string certificate(const char *name) {
    const char *folder = std::getenv("ESRPC_TEST_CERTIFICATES");
    CHECK(folder != nullptr);
    return std::string(folder) + '/' + name;
}

TEST(tls_calls_are_encrypted_and_names_are_checked) {
    const esrpc::tls_config server_tls = esrpc::tls_config_builder::server()
                                             .certificate_files(certificate("server.pem"), certificate("server.key"))
                                             .alpn("esrpc")
                                             .build();
    auto client_builder = esrpc::tls_config_builder::client();
    client_builder.ca_file(certificate("ca.pem")).alpn("esrpc").versions(ESRPC_TLS_VERSION_1_3, ESRPC_TLS_VERSION_1_3);
    const esrpc::tls_config client_tls = client_builder.build();
    journal failures;
    esrpc::listener server = esrpc::server("127.0.0.1", 0)
                                 .tls(server_tls)
                                 .on_stream("Echo", echo)
                                 .on_failed_connection([&](std::error_code why) {
                                     failures.note(why ? "failed" : "?");
                                     throw std::runtime_error("in on_failed_connection");
                                 })
                                 .on_exception([&](std::exception_ptr) { failures.note("threw"); })
                                 .listen();
    esrpc::client client("127.0.0.1", server.port());
    const esrpc::connection connection = client.tls(client_tls, "server.example").connect(time_limit);
    check_calls(connection);
    CHECK(std::string(connection.tls_version()) == "TLSv1.3" && std::string(connection.tls_alpn()) == "esrpc");
    CHECK(*connection.tls_cipher_suite() != '\0' && !connection.tls_peer_certificate().empty());
    CHECK_THROWS(ESRPC_ERROR_TLS_WRONG_NAME, client.tls(client_tls, "other.example").connect(time_limit));
    failures.wait_for("threw");
    CHECK(failures.has("failed"));
    server.set_tls(server_tls.acquire());
    check_calls(client.tls(client_tls, "server.example").tls_alpn({"other", "esrpc"}).connect(time_limit));
}

TEST(tls_settings_that_are_refused_are_reported_by_build) {
    auto builder = esrpc::tls_config_builder::client();
    builder.ca_file("/there/is/no/such/file").alpn("");
    CHECK_THROWS(ESRPC_ERROR_NOT_FOUND, builder.build());
    std::error_code code;
    CHECK(builder.build(code).get() == nullptr && code == std::errc::no_such_file_or_directory);
    CHECK_THROWS(ESRPC_ERROR_TLS_CONFIG, esrpc::tls_config_builder::server().build());
}
