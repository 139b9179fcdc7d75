/* Settings in chains: on a variable a chain returns a reference to it, on a temporary one that is moved from. */
#include "check.hpp"

static bool accept_all(esrpc::connection_ref, esrpc::message_view) { return true; }

/* Each of these uses every setting of a class: one that forgot what it is called on would change the type of the whole
 * chain. */
template <typename Chain>
decltype(auto) set_all(Chain &&chain, const esrpc::connection_options *) {
    return std::forward<Chain>(chain)
        .max_message_size(1000).max_handshake_message_size(500).max_headers(20).max_headers_size(400)
        .max_header_value_size(100).outbound_limit(10000).max_streams(3).abnormal_event_limit(1, 2)
        .stream_queue_limit(100).linger(0ms).resolve_timeout(1s).connect_timeout(2s).tls_timeout(3s)
        .handshake_timeout(4s).write_timeout(1min).message_timeout(2min).idle_timeout(1h).half_open(1s)
        .keep_alive_ping(1min, 10s).answer_pings().ping_answer_limit(5, 6).tcp_nodelay(true)
        .tcp_keep_alive(true, 10s, 1s, 3).socket_buffers(0, 0);
}

template <typename Chain>
decltype(auto) set_all(Chain &&chain, const esrpc::tls_config_builder *) {
    return std::forward<Chain>(chain)
        .ca_file("").ca_dir("").ca({}).certificate_files("", "").certificate({}, {}).alpn("")
        .versions(ESRPC_TLS_VERSION_1_2, ESRPC_TLS_VERSION_1_3).client_auth(ESRPC_TLS_CLIENT_AUTH_NONE)
        .session_resumption(false).crl({}).crl_file("").revocation(ESRPC_TLS_REVOCATION_DEPTH_CHAIN, true)
        .key_log_file("").dangerous_disable_verification();
}

template <typename Chain>
decltype(auto) set_all(Chain &&chain, const esrpc::runtime_options *) {
    return std::forward<Chain>(chain).thread_count(1).log(ESRPC_LOG_LEVEL_OFF, {}).on_ended({});
}

template <typename Chain>
decltype(auto) set_all(Chain &&chain, const esrpc::client *) {
    return std::forward<Chain>(chain)
        .host("127.0.0.1", 1).unix_path("/").unix_abstract("a").socket(esrpc_socket(-1))
        .address_family(ESRPC_ADDRESS_FAMILY_ANY).local_address("127.0.0.1").network_interface("lo")
        .tls(esrpc::tls_config(nullptr)).tls_alpn({"a"}).options(esrpc::connection_options())
        .use_runtime(esrpc::runtime::of_process()).handshake({}).manual_handshake().callbacks({}).on_setup({})
        .on_protocol_message({}).on_writable({}).on_shutdown({}).on_exception({});
}

template <typename Chain>
decltype(auto) set_all(Chain &&chain, const esrpc::server *) {
    return std::forward<Chain>(chain)
        .host("127.0.0.1", 0).unix_path("/").unix_abstract("a").unix_mode(0600).socket(esrpc_socket(-1)).adopt_only()
        .network_interface("lo").tls(esrpc::tls_config(nullptr)).options(esrpc::connection_options())
        .use_runtime(esrpc::runtime::of_process()).max_connections(1).max_pending_handshakes(1).max_held_bytes(100000)
        .handshake(accept_all).manual_handshake().on_connection({}).on_stream("Echo", echo).on_stream(echo)
        .on_failed_connection({}).on_closed({}).on_exception({});
}

template <typename Chain>
decltype(auto) set_all(Chain &&chain, const esrpc::accepted *) {
    return std::forward<Chain>(chain)
        .on_stream("Echo", echo).on_stream(echo).on_protocol_message({}).on_writable({}).on_shutdown({})
        .on_exception({});
}

template <typename Chain>
decltype(auto) set_all(Chain &&chain, const esrpc::headers *) {
    return std::forward<Chain>(chain).add({"a", 1}).add("b", 2).add_from(esrpc::headers_view());
}

template <typename Settings>
constexpr bool chains_keep_their_kind =
    std::is_same_v<decltype(set_all(std::declval<Settings &>(), static_cast<Settings *>(nullptr))), Settings &> &&
    std::is_same_v<decltype(set_all(std::declval<Settings>(), static_cast<Settings *>(nullptr))), Settings &&>;

static_assert(chains_keep_their_kind<esrpc::connection_options>);
static_assert(chains_keep_their_kind<esrpc::tls_config_builder>);
static_assert(chains_keep_their_kind<esrpc::runtime_options>);
static_assert(chains_keep_their_kind<esrpc::client>);
static_assert(chains_keep_their_kind<esrpc::server>);
static_assert(chains_keep_their_kind<esrpc::accepted>);
static_assert(chains_keep_their_kind<esrpc::headers>);

TEST(a_chain_on_a_temporary_can_be_kept) {
    auto limits = esrpc::connection_options().max_message_size(1000).idle_timeout(1h);
    auto threads = esrpc::runtime_options().thread_count(2);
    const esrpc::runtime runtime(threads);
    journal ends;
    {
        auto server = esrpc::server("127.0.0.1", 0).options(limits).use_runtime(runtime).on_connection(
            [&](esrpc::incoming peer) {
                auto accepted = peer.accept().on_stream("Echo", echo).on_shutdown(
                    [&](esrpc::connection_ref, std::error_code) { ends.note("end"); });
                accepted.on_stream([](esrpc::incoming_stream call) { call.reply(call.operation()); });
            });
        const esrpc::listener listener = server.listen();
        const auto connect = esrpc::headers().add(":version", "0.1.0").add({"client-name", "test"});
        auto client = esrpc::client("127.0.0.1", listener.port()).use_runtime(runtime).handshake(connect);
        for (int count = 0; count < 2; ++count) {
            const esrpc::connection connection = client.options(limits).connect(time_limit);
            CHECK(connection.call("Echo", "hello", time_limit).text() == "hello");
            CHECK(connection.call("Other", {}, time_limit).text() == "Other");
            CHECK_THROWS(ESRPC_ERROR_MESSAGE_TOO_LARGE, connection.call("Echo", std::string(2000, 'x'), time_limit));
        }
        ends.wait(2);
    }
    runtime.stop(time_limit);
}

TEST(a_kept_chain_reports_what_was_refused_in_it) {
    auto limits = esrpc::connection_options().max_streams(0).max_headers(10);
    CHECK(limits.failure());
    auto client = esrpc::client("127.0.0.1", 1).options(limits).network_interface("lo");
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, client.connect(time_limit));
}

TEST(tls_settings_that_are_kept_report_what_was_refused) {
    auto builder = esrpc::tls_config_builder::client().ca_file("/there/is/no/such/file").alpn("a");
    CHECK_THROWS(ESRPC_ERROR_NOT_FOUND, builder.build());
}

/* What is left of a handle when another has taken it over. */
template <typename Handle>
static Handle moved_from(Handle handle) {
    const Handle taker = std::move(handle);
    return handle;
}

TEST(a_runtime_that_was_moved_from_is_not_the_default_one) {
    esrpc::runtime left = moved_from(esrpc::runtime());
    CHECK(!left && !left.acquire() && esrpc::runtime::of_process() && esrpc::runtime::of_process().acquire());
    const esrpc::listener server = echo_server();
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, esrpc::client("127.0.0.1", server.port()).use_runtime(left).connect(1s));
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, esrpc::server("127.0.0.1", 0).use_runtime(left).listen());
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, left.shutdown());
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, left.drain(0s));
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, left.join(0s));
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, left.stop(time_limit));
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, left.stats());
    std::error_code code;
    left.stop(time_limit, code);
    CHECK(code == ESRPC_ERROR_INVALID_ARGUMENT);
    /* The default runtime goes on. */
    const esrpc::connection connection = esrpc::client("127.0.0.1", server.port()).connect(time_limit);
    CHECK(left.open_connections() == 0 && left.open_streams() == 0);
    CHECK(connection.call("Echo", "x", time_limit).text() == "x");

    const esrpc::runtime unmade(esrpc::runtime_options().thread_count(0), code);
    CHECK(code == ESRPC_ERROR_INVALID_ARGUMENT && !unmade);
    CHECK(!esrpc::client("127.0.0.1", server.port()).use_runtime(unmade).connect(time_limit, code) && code);
    left = esrpc::runtime();
    CHECK(left);
    esrpc::runtime &same = left;
    left = std::move(same);
    CHECK(left);
    left.stop(time_limit);
}

TEST(settings_that_were_moved_from_are_not_the_defaults) {
    const esrpc::listener server = echo_server();
    const auto refused = [&](esrpc::client client) {
        CHECK(client.failure() && client.failure()->status() == ESRPC_ERROR_INVALID_ARGUMENT);
        CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, client.connect(time_limit));
        return std::string(client.failure()->what()).find("moved") != std::string::npos;
    };
    const esrpc::connection_options limits = moved_from(esrpc::connection_options());
    CHECK(refused(esrpc::client("127.0.0.1", server.port()).options(limits)));
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, esrpc::server("127.0.0.1", 0).options(limits).listen());
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, esrpc::decoder{limits});
    /* NULL is no TLS in C: the call would go over the network in the clear. */
    const esrpc::tls_config none(nullptr);
    CHECK(!none && refused(esrpc::client("127.0.0.1", server.port()).tls(none)));
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, esrpc::server("127.0.0.1", 0).tls(none).listen());
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, moved_from(esrpc::tls_config_builder::client()).build());
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, esrpc::runtime(moved_from(esrpc::runtime_options())));
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT,
                 esrpc::runtime::set_default_options(moved_from(esrpc::runtime_options())));
}

TEST(settings_and_handles_that_were_moved_from_fail_when_they_are_used) {
    esrpc::client client = moved_from(esrpc::client("127.0.0.1", 1).handshake({}));
    client.host("127.0.0.1", 1).callbacks({}).on_setup({}).on_protocol_message({}).on_writable({});
    client.on_shutdown({}).on_exception({});
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, client.connect(time_limit));
    std::future<esrpc::connection> connecting = moved_from(esrpc::client("127.0.0.1", 1)).connect_async();
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, connecting.get());
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, moved_from(esrpc::client("127.0.0.1", 1)).start());

    esrpc::server server = moved_from(esrpc::server("127.0.0.1", 0));
    server.handshake(accept_all).on_connection({}).on_stream("Echo", echo).on_stream(echo).on_failed_connection({});
    server.on_closed({}).on_exception({}).max_connections(1);
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, server.listen());
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, moved_from(esrpc::server("127.0.0.1", 0).manual_handshake()).listen());

    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, moved_from(echo_server()).close());
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, moved_from(esrpc::decoder()).push("x"));
    const esrpc::listener listener = echo_server();
    const esrpc::connection connected = esrpc::client("127.0.0.1", listener.port()).connect(time_limit);
    const esrpc::connection connection = moved_from(connected.acquire());
    CHECK(!connection);
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, connection.call("Echo", "x", time_limit));
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, connection.new_stream());
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, connection.shutdown());
    std::future<esrpc::message> call = connection.call_async("Echo", "x", time_limit);
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, call.get());
    const esrpc::stream stream = moved_from(connected.new_stream());
    CHECK(!stream);
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, stream.activate("Echo"));
}

TEST(a_deferred_connection_that_was_moved_from_decides_nothing) {
    event is_decided;
    esrpc::listener server("127.0.0.1", 0, [&](esrpc::incoming peer) {
        esrpc::deferred_connection later = peer.defer();
        const esrpc::deferred_connection taker = std::move(later);
        later.refuse();
        CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, later.accept());
        esrpc::connection_callbacks callbacks;
        callbacks.on_stream = echo;
        static_cast<void>(taker.accept(std::move(callbacks)));
        is_decided.set();
    });
    const esrpc::connection connection = esrpc::client("127.0.0.1", server.port()).connect(time_limit);
    is_decided.wait();
    CHECK(connection.call("Echo", "x", time_limit).text() == "x");
}
