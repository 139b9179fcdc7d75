/* When callbacks are destroyed, and what is left after a stop. */
#include "check.hpp"

#include <thread>
#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

static esrpc::connection connect_to(const esrpc::listener &server) {
    return esrpc::client("127.0.0.1", server.port()).connect(time_limit);
}

static esrpc::stream_callbacks noting(journal &notes, const std::string &name) {
    esrpc::stream_callbacks callbacks;
    callbacks.on_closed = [&notes, name, part = captured(notes, name)](esrpc::stream_ref, std::error_code) {
        notes.note("closed " + name);
    };
    return callbacks;
}

TEST(callbacks_are_destroyed_after_the_last_call_children_first) {
    journal notes;
    {
        esrpc::listener server =
            esrpc::server("127.0.0.1", 0)
                .on_stream("Keep", [](esrpc::incoming_stream call) { call.accept(esrpc::stream_callbacks()); })
                .on_closed([&, part = captured(notes, "listener")](std::error_code) { notes.note("closed listener"); })
                .listen();
        esrpc::client client("127.0.0.1", server.port());
        client.on_shutdown([&, part = captured(notes, "connection")](esrpc::connection_ref, std::error_code) {
            notes.note("closed connection");
        });
        const esrpc::connection connection = client.connect(time_limit);
        const esrpc::stream stream = connection.new_stream(noting(notes, "stream"));
        stream.activate("Keep", {}, {}, 0, [&, part = captured(notes, "flush")](std::error_code) {
            notes.note("written");
        });
        notes.wait_for("freed flush");
        CHECK(!notes.has("freed stream") && !notes.has("freed connection"));
        client = esrpc::client();
        connection.close();
        notes.wait_for("closed connection");
        server.drain(0s);
        server.wait_closed(time_limit);
        CHECK(!notes.has("freed stream") && !notes.has("freed connection") && !notes.has("freed listener"));
    }
    end_in_order();
    const std::vector<std::string> all = notes.wait(8);
    std::string in_order;
    for (const std::string &note : all)
        if (note.find("listener") == std::string::npos) in_order += note + ", ";
    CHECK(in_order == "written, freed flush, closed stream, closed connection, freed stream, freed connection, ");
    CHECK(notes.has("closed listener") && notes.has("freed listener") && all.size() == 8);
}

TEST(what_c_never_accepts_is_destroyed_at_once) {
    journal notes;
    const esrpc::listener server = echo_server();
    const esrpc::connection connection = connect_to(server);
    {
        const esrpc::stream stream = connection.new_stream();
        std::error_code code;
        stream.send("x", {}, 0, [part = captured(notes, "send")](std::error_code) { CHECK(false); }, code);
        CHECK(code == ESRPC_ERROR_STREAM_NOT_ACTIVATED && notes.has("freed send"));
        stream.activate("", {}, {}, 0, [part = captured(notes, "activation")](std::error_code) { CHECK(false); }, code);
        CHECK(code == ESRPC_ERROR_INVALID_ARGUMENT && notes.has("freed activation"));
        CHECK_THROWS(ESRPC_ERROR_INVALID_STATE, stream.accept(noting(notes, "accept")));
        CHECK(notes.has("freed accept"));
    }
    /* A stream that is never activated is destroyed with its handle, on the event-loop thread. */
    static_cast<void>(connection.new_stream(noting(notes, "stream")));
    notes.wait_for("freed stream");
}

TEST(callbacks_of_a_connection_that_fails_are_destroyed) {
    journal notes;
    esrpc::listener server = echo_server();
    const std::uint32_t port = server.port();
    server.close();
    server.wait_closed(time_limit);
    std::error_code code;
    CHECK(!esrpc::client("127.0.0.1", port)
               .on_setup([&, part = captured(notes, "setup")](esrpc::connection_ref made, std::error_code status) {
                   CHECK(!made && status == ESRPC_ERROR_CONNECTION_REFUSED);
                   notes.note("failed");
               })
               .connect(time_limit, code));
    notes.wait_for("freed setup");
    CHECK(code == ESRPC_ERROR_CONNECTION_REFUSED && notes.has("failed"));
    CHECK(!esrpc::client().on_setup([part = captured(notes, "nowhere")](esrpc::connection_ref, std::error_code) {
        CHECK(false);
    }).start(code));
    CHECK(code == ESRPC_ERROR_INVALID_ARGUMENT && notes.has("freed nowhere"));
    CHECK(!esrpc::server().on_closed([part = captured(notes, "listener")](std::error_code) {
        CHECK(false);
    }).listen(code));
    CHECK(code == ESRPC_ERROR_INVALID_ARGUMENT && notes.has("freed listener"));
}

TEST(a_client_can_connect_again_with_the_same_callbacks) {
    journal notes;
    const esrpc::listener server = echo_server();
    {
        esrpc::client client("127.0.0.1", server.port());
        client.on_shutdown([&, part = captured(notes, "shared")](esrpc::connection_ref, std::error_code) {
            notes.note("over");
        });
        for (int round = 0; round < 2; ++round) static_cast<void>(client.connect(time_limit).shutdown().get());
        CHECK(notes.wait(2).size() == 2 && !notes.has("freed shared"));
    }
    notes.wait_for("freed shared");
}

TEST(handles_can_be_destroyed_inside_callbacks) {
    journal notes;
    const esrpc::listener server = echo_server();
    struct {
        esrpc::connection connection;
        esrpc::stream stream;
    } held;
    held.connection = connect_to(server);
    esrpc::stream_callbacks callbacks;
    callbacks.on_message = [&, part = captured(notes, "stream")](esrpc::stream_ref, esrpc::message_view message) {
        held.stream = {};
        held.connection = {};
        CHECK(!notes.has("freed stream") && message.text() == "x");
        notes.note("message");
    };
    held.stream = held.connection.new_stream(std::move(callbacks));
    event go;
    held.connection.run_on_loop([&](std::error_code) { go.wait(); });
    held.stream.activate("Echo", "x");
    go.set();
    notes.wait_for("freed stream");
    CHECK(notes.has("message"));
}

/* Everything that a program may hold when it is stopped. */
struct program {
    explicit program(journal &notes, esrpc::runtime on = esrpc::runtime::of_process()) : runtime(std::move(on)) {
        server = esrpc::server("127.0.0.1", 0)
                     .use_runtime(runtime)
                     .on_stream("Keep",
                                [&notes, part = captured(notes, "server")](esrpc::incoming_stream opened) {
                                    opened.accept(noting(notes, "accepted"));
                                })
                     .on_connection([&notes, part = captured(notes, "incoming")](esrpc::incoming peer) {
                         peer.accept().on_shutdown(
                             [&notes, inner = captured(notes, "served")](esrpc::connection_ref, std::error_code) {
                                 notes.note("called");
                             });
                     })
                     .on_closed([&notes](std::error_code) { notes.note("called"); })
                     .listen();
        connection = esrpc::client("127.0.0.1", server.port())
                         .use_runtime(runtime)
                         .on_shutdown(
                             [&notes, part = captured(notes, "client")](esrpc::connection_ref, std::error_code) {
                                 notes.note("called");
                             })
                         .connect(time_limit);
        esrpc::stream_callbacks callbacks = noting(notes, "stream");
        event arrived;
        stream = connection.new_stream(std::move(callbacks));
        stream.activate("Keep", "x", {}, 0, [&](std::error_code) { arrived.set(); });
        arrived.wait();
        unactivated = connection.new_stream(noting(notes, "unactivated"));
        call = connection.call_async("Keep", {}, time_limit);
        end = connection.shutdown_future();
        connection.wait_flush(time_limit);
        while (runtime.open_streams() < 4) std::this_thread::yield();
        /* Never called: the loop ends before it. */
        connection.pause_reading();
    }

    void check_stopped(journal &notes) {
        for (const char *part : {"server", "accepted", "incoming", "served", "client", "stream", "unactivated"})
            CHECK(notes.has("freed " + std::string(part)));
        CHECK(!notes.has("called"));
        CHECK_THROWS(ESRPC_ERROR_RUNTIME_SHUTDOWN, call.get());
        CHECK(end.get() == ESRPC_ERROR_RUNTIME_SHUTDOWN);
        CHECK(connection.shutdown_future().get() == ESRPC_ERROR_RUNTIME_SHUTDOWN);
        CHECK_THROWS(ESRPC_ERROR_RUNTIME_SHUTDOWN, connection.call("Keep", {}, time_limit));
        CHECK_THROWS(ESRPC_ERROR_RUNTIME_SHUTDOWN, stream.send("x", {}, 0, [](std::error_code) { CHECK(false); }));
        CHECK_THROWS(ESRPC_ERROR_RUNTIME_SHUTDOWN, connection.new_stream(noting(notes, "late")));
        CHECK(notes.has("freed late"));
        CHECK_THROWS(ESRPC_ERROR_RUNTIME_SHUTDOWN, server.drain(0s));
    }

    esrpc::runtime runtime;
    esrpc::listener server;
    esrpc::connection connection;
    esrpc::stream stream;
    esrpc::stream unactivated;
    std::future<esrpc::message> call;
    std::future<std::error_code> end;
};

TEST(a_stop_destroys_all_callbacks_while_handles_live) {
    journal notes;
    program running(notes);
    esrpc::stop_all(time_limit);
    running.check_stopped(notes);
    /* The next use of the default runtime makes a new one. */
    CHECK(connect_to(echo_server()).is_open());
    esrpc::stop_all(time_limit);
}

TEST(a_stop_destroys_the_callbacks_of_what_has_no_handle) {
    journal notes;
    {
        program running(notes);
        running.connection.detach();
        running.server.detach();
    }
    CHECK(!notes.has("freed client") && !notes.has("freed incoming"));
    esrpc::stop_all(time_limit);
    for (const char *part : {"server", "accepted", "incoming", "served", "client", "stream", "unactivated"})
        CHECK(notes.has("freed " + std::string(part)));
}

TEST(a_stop_of_one_runtime_leaves_the_others_alone) {
    journal notes, others;
    program other(others);
    {
        esrpc::runtime runtime(esrpc::runtime_options().thread_count(2).log(
            ESRPC_LOG_LEVEL_ERROR,
            [part = captured(notes, "log")](std::int32_t, std::string_view, std::string_view) {}));
        program running(notes, runtime.acquire());
        runtime.stop(time_limit);
        running.check_stopped(notes);
        CHECK(notes.has("freed log"));
    }
    CHECK(!others.has("freed client") && other.connection.is_open());
    CHECK(other.call.wait_for(0s) == std::future_status::timeout);
    esrpc::runtime::of_process().stop(time_limit);
    other.check_stopped(others);
}

TEST(a_stop_that_does_not_end_in_time_destroys_nothing) {
    journal notes;
    event inside, go_on;
    const esrpc::listener server = echo_server();
    const esrpc::connection connection = connect_to(server);
    connection.run_on_loop([&, part = captured(notes, "task")](std::error_code) {
        inside.set();
        go_on.wait();
    });
    inside.wait();
    CHECK_THROWS(ESRPC_ERROR_TIMED_OUT, esrpc::stop_all(1ms));
    CHECK(!notes.has("freed task"));
    go_on.set();
    esrpc::stop_all(time_limit);
    CHECK(notes.has("freed task"));
}

TEST(what_a_server_accepts_while_a_stop_waits_is_destroyed) {
    journal notes;
    event inside, go_on;
    esrpc::listener server = esrpc::server("127.0.0.1", 0)
                                 .on_connection([&](esrpc::incoming peer) {
                                     inside.set();
                                     go_on.wait();
                                     std::error_code code;
                                     esrpc::connection_callbacks callbacks;
                                     callbacks.on_writable = [part = captured(notes, "late")](esrpc::connection_ref) {};
                                     peer.accept(std::move(callbacks), code).on_stream(echo).on_stream("Echo", echo);
                                     notes.note(code ? "refused" : "accepted");
                                 })
                                 .listen();
    const esrpc::connection connection = esrpc::client("127.0.0.1", server.port()).start();
    inside.wait();
    std::thread stopping([] { esrpc::stop_all(time_limit); });
    std::error_code code;
    while (code != ESRPC_ERROR_RUNTIME_SHUTDOWN) static_cast<void>(server.stats(code));
    go_on.set();
    stopping.join();
    CHECK(notes.has("freed late") && (notes.has("refused") || notes.has("accepted")));
}

/* The last steps of client::connect_async on a thread that is interrupted when C has accepted the callbacks. */
TEST(what_is_being_handed_over_while_a_stop_begins_is_destroyed) {
    journal notes;
    event begun, stopped;
    const esrpc::runtime runtime;
    const esrpc::listener server = esrpc::server("127.0.0.1", 0).use_runtime(runtime).listen();
    std::thread connecting([&] {
        auto callbacks = std::make_shared<esrpc::connection_callbacks>();
        callbacks->on_writable = [part = captured(notes, "late")](esrpc::connection_ref) {};
        esrpc::client client("127.0.0.1", server.port());
        client.use_runtime(runtime);
        esrpc::detail::handover<esrpc::detail::connection_closure> closure(
            esrpc::detail::roster::of_process(),
            std::make_shared<esrpc::detail::connection_closure>(runtime.get(), std::move(callbacks), nullptr));
        const esrpc_connection_callbacks table = esrpc::detail::connection_closure::table();
        esrpc_connection *connection = nullptr;
        CHECK(esrpc_connection_connect(client.get(), &table, closure.get(), &connection) == ESRPC_OK);
        begun.set();
        while (esrpc_connection_run_on_loop(connection, nullptr, nullptr) != ESRPC_ERROR_RUNTIME_SHUTDOWN)
            std::this_thread::yield();
        stopped.wait_for(100ms);
        closure.accepted();
        esrpc_connection_release(connection);
    });
    begun.wait();
    runtime.stop(time_limit);
    stopped.set();
    connecting.join();
    CHECK(notes.has("freed late"));
}

TEST(callbacks_that_own_their_object_are_destroyed_by_a_stop) {
    journal notes;
    {
        const esrpc::listener server = echo_server();
        auto owned = std::make_shared<esrpc::connection>();
        esrpc::client client("127.0.0.1", server.port());
        client.on_shutdown([owned, part = captured(notes, "cycle")](esrpc::connection_ref, std::error_code) {});
        *owned = client.connect(time_limit);
    }
    esrpc::stop_all(time_limit);
    CHECK(notes.has("freed cycle"));
}

#if !defined(_WIN32)
TEST(a_forked_child_has_callbacks_of_its_own) {
    journal notes;
    program running(notes);
    const pid_t child = ::fork();
    if (child == 0) {
        CHECK_THROWS(ESRPC_ERROR_FORKED, running.connection.call("Keep", {}, time_limit));
        journal own;
        program of_child(own);
        esrpc::stop_all(time_limit);
        of_child.check_stopped(own);
        std::_Exit(0);
    }
    int status = 0;
    CHECK(child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(running.connection.is_open() && !notes.has("freed client"));
    esrpc::stop_all(time_limit);
    running.check_stopped(notes);
}
#endif

TEST(connections_can_be_made_while_everything_is_stopped) {
    std::atomic<bool> is_over{false};
    std::atomic<int> attempts{0};
    const auto token = std::make_shared<int>(0);
    std::vector<std::thread> threads;
    for (int index = 0; index < 3; ++index)
        threads.emplace_back([&] {
            for (; !is_over; ++attempts) {
                std::error_code code;
                esrpc::listener server = esrpc::server("127.0.0.1", 0)
                                             .on_stream("Echo", echo)
                                             .on_connection([token](esrpc::incoming peer) {
                                                 peer.accept().on_writable([token](esrpc::connection_ref) {});
                                             })
                                             .listen(code);
                if (code) continue;
                esrpc::connection connection = esrpc::client("127.0.0.1", server.port())
                                                   .on_writable([token](esrpc::connection_ref) {})
                                                   .connect(time_limit, code);
                if (code) continue;
                auto future = connection.call_async("Echo", "x", time_limit);
                connection.call("Echo", "x", time_limit, code);
                future.wait();
            }
        });
    while (attempts < 300) esrpc::stop_all(time_limit);
    is_over = true;
    for (std::thread &thread : threads) thread.join();
    esrpc::stop_all(time_limit);
    CHECK(token.use_count() == 1);
}
