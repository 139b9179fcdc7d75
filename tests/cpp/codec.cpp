/* Bytes, headers, messages and decoders. */
#include "check.hpp"

static_assert(!std::is_copy_constructible_v<esrpc::headers> && std::is_nothrow_move_constructible_v<esrpc::headers>);
static_assert(!std::is_copy_constructible_v<esrpc::message> && std::is_nothrow_move_constructible_v<esrpc::message>);
static_assert(!std::is_copy_constructible_v<esrpc::decoder> && std::is_nothrow_move_constructible_v<esrpc::decoder>);
static_assert(!std::is_copy_constructible_v<esrpc::buffer> && std::is_nothrow_move_constructible_v<esrpc::buffer>);
static_assert(std::is_trivially_copyable_v<esrpc::message_view> && std::is_trivially_copyable_v<esrpc::bytes>);
static_assert(std::is_nothrow_default_constructible_v<esrpc::headers>);
static_assert(std::is_error_code_enum_v<esrpc_status_code>);

static const esrpc::uuid some_uuid = esrpc::uuid::parse("123E4567-e89b-12d3-a456-426614174000");
static const esrpc::timestamp some_time{1700000000123ms};

static esrpc::headers every_type() {
    const std::uint8_t raw[] = {0, 1, 255};
    return {
        {"true", true},
        {"false", false},
        {"byte", std::int8_t(-1)},
        {"int16", std::int16_t(-2)},
        {"int32", std::int32_t(-3)},
        {"int64", std::int64_t(-4)},
        {"bytes", raw},
        {"text", "h\xc3\xa9llo"},
        {"string", std::string("value")},
        {"time", some_time},
        {"uuid", some_uuid},
    };
}

static void check_every_type(const esrpc::headers_view &list) {
    CHECK(list.size() == 11);
    CHECK(list["true"].as<bool>() && !list["false"].as<bool>());
    CHECK(list["byte"].as<std::int8_t>() == -1);
    CHECK(list["int16"].as<std::int16_t>() == -2);
    CHECK(list["INT32"].as<std::int32_t>() == -3);
    CHECK(list["int64"].as<std::int64_t>() == -4 && list["int64"].as<long long>() == -4);
    CHECK(list["bytes"].as<esrpc::bytes>() == esrpc::bytes("\x00\x01\xff", 3));
    CHECK(list["text"].as<std::string_view>() == "h\xc3\xa9llo");
    CHECK(list["string"].as<std::string>() == "value");
    CHECK(list["time"].as<esrpc::timestamp>() == some_time);
    CHECK(list["uuid"].as<esrpc::uuid>() == some_uuid);
}

TEST(headers_keep_their_types) {
    const esrpc::headers list = every_type();
    check_every_type(list);
    check_every_type(esrpc::headers::decode(list.encode()));
    CHECK(list[0].name() == "true" && list[10].type() == ESRPC_HEADER_TYPE_UUID);
    std::string names;
    for (const esrpc::header header : list) names += std::string(header.name()) + ' ';
    CHECK(names == "true false byte int16 int32 int64 bytes text string time uuid ");
    const auto now = std::chrono::system_clock::now();
    const esrpc::headers timed{{"now", now}};
    CHECK(timed["now"].as<esrpc::timestamp>() == std::chrono::floor<esrpc::milliseconds>(now));
    CHECK(some_uuid.text() == "123e4567-e89b-12d3-a456-426614174000");
}

TEST(a_header_that_is_missing_or_of_another_type_is_an_error) {
    const esrpc::headers list = every_type();
    CHECK(list.contains("byte") && !list.contains("nothing") && !list.find("nothing"));
    CHECK_THROWS(ESRPC_ERROR_HEADER_NOT_FOUND, list["nothing"]);
    CHECK_THROWS(ESRPC_ERROR_HEADER_NOT_FOUND, list[11]);
    CHECK_THROWS(ESRPC_ERROR_HEADER_NOT_FOUND, esrpc::headers()["nothing"]);
    CHECK_THROWS(ESRPC_ERROR_WRONG_TYPE, list["int32"].as<std::int64_t>());
    CHECK_THROWS(ESRPC_ERROR_WRONG_TYPE, list["byte"].as<bool>());
    CHECK(!list["text"].get_if<esrpc::bytes>() && list["text"].get_if<std::string_view>());
}

TEST(headers_can_be_changed_copied_and_moved) {
    esrpc::headers list = every_type();
    list.add("byte", std::int32_t(7)).add({"last", 8});
    CHECK(list["byte"].as<std::int32_t>() == 7 && list.size() == 13);
    CHECK(list.remove("BYTE") && !list.remove("byte") && list.size() == 11);
    const esrpc::headers copy = list.copy();
    CHECK(esrpc::headers(esrpc::headers_view(list)).size() == 11 && esrpc::headers_view().copy().empty());
    esrpc::headers moved = std::move(list);
    CHECK(list.empty() && list.get() == nullptr && moved.size() == 11 && copy.size() == 11);
    list = std::move(moved);
    CHECK(list.size() == 11 && moved.empty());
    esrpc::headers &same = list;
    list = std::move(same);
    CHECK(list.size() == 11 && list.get() == list.writable());
    list.clear();
    CHECK(list.empty() && copy.size() == 11);
    CHECK(!esrpc::headers().remove("any"));
    esrpc::headers().clear();
}

TEST(failures_of_headers_can_be_values) {
    esrpc::headers list;
    const std::string long_name(256, 'n');
    std::error_code code;
    list.add(long_name, true, code);
    CHECK(code == ESRPC_ERROR_HEADER_NAME_LENGTH && code.category() == esrpc::category());
    CHECK(std::string(esrpc::last_error_message()).find("256") != std::string::npos);
    CHECK_THROWS(ESRPC_ERROR_HEADER_NAME_LENGTH, list.add(long_name, true));
    list.add("n", "\xff", code);
    CHECK(code == ESRPC_ERROR_INVALID_UTF8);
    list.add("n", "good", code);
    CHECK(!code && list.size() == 1);
    CHECK(esrpc::headers::decode("\x01", code).empty() && code == ESRPC_ERROR_HEADER_OVERRUN);
    CHECK(esrpc::uuid::parse("not one", code) == esrpc::uuid() && code == ESRPC_ERROR_INVALID_UUID);
}

TEST(codes_have_names_sentences_and_equivalents) {
    const std::error_code code = ESRPC_ERROR_TIMED_OUT;
    CHECK(code == std::errc::timed_out && code != std::errc::io_error && code.value() == 6);
    CHECK(std::string(code.category().name()) == "esrpc");
    CHECK(code.message() == esrpc_status_message(ESRPC_ERROR_TIMED_OUT));
    CHECK(esrpc::make_code(ESRPC_ERROR_CONNECTION_REFUSED) == std::errc::connection_refused);
    CHECK(esrpc::make_code(ESRPC_ERROR_WOULD_DEADLOCK) == std::errc::resource_deadlock_would_occur);
    CHECK(!esrpc::make_code(ESRPC_OK));
    CHECK(esrpc::make_code(esrpc::callback_threw).message().find("exception") != std::string::npos);
    const esrpc::error failure(ESRPC_ERROR_IO, "a sentence");
    const esrpc::error copy = failure;
    CHECK(std::string(copy.what()) == "a sentence" && copy.code() == std::errc::io_error);
    CHECK(std::string(esrpc::version()) == ESRPC_VERSION);
}

TEST(bytes_are_made_of_whatever_holds_some) {
    const std::string text = "abc";
    const std::vector<std::uint8_t> numbers{97, 98, 99};
    const std::array<char, 3> letters{'a', 'b', 'c'};
    const std::vector<std::byte> raw{std::byte(97), std::byte(98), std::byte(99)};
    const unsigned char plain[] = {97, 98, 99};
    for (const esrpc::bytes made : {esrpc::bytes(text), esrpc::bytes("abc"), esrpc::bytes(std::string_view(text)),
                                    esrpc::bytes(numbers), esrpc::bytes(letters), esrpc::bytes(raw),
                                    esrpc::bytes(plain), esrpc::bytes(text.data(), 3)})
        CHECK(made == esrpc::bytes("abc") && made.text() == "abc" && made.size() == 3 && made[2] == 'c');
    static_assert(!std::is_constructible_v<esrpc::bytes, std::vector<int>>);
    static_assert(!std::is_constructible_v<esrpc::bytes, int>);
    CHECK(esrpc::bytes().empty() && esrpc::bytes("a") != esrpc::bytes("b"));
#if defined(__cpp_lib_span)
    const std::span<const std::uint8_t> span = esrpc::bytes("abc");
    CHECK(span.size() == 3 && esrpc::bytes(span) == esrpc::bytes("abc"));
    CHECK(std::span<const std::byte>(esrpc::bytes("abc")).size() == 3);
#endif
}

TEST(a_message_is_encoded_decoded_and_copied) {
    const esrpc::buffer encoded = esrpc::encode(every_type(), "payload");
    std::size_t used = 0;
    esrpc::message decoded = esrpc::message::decode(encoded, &used);
    CHECK(used == encoded.size() && decoded && decoded.text() == "payload");
    check_every_type(decoded.headers());
    CHECK(decoded.type() == -1 && decoded.flags() == 0 && !decoded.is_last());
    CHECK(decoded.info().total_length == encoded.size() && decoded.info().header_count == 11);
    CHECK(decoded.json().find("\"payload\":\"cGF5bG9hZA==\"") != std::string::npos);
    const esrpc::message copy = decoded.copy();
    const esrpc::message moved = std::move(decoded);
    CHECK(!decoded && decoded.text().empty() && moved.text() == copy.text());
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, esrpc::message_view().copy());
}

TEST(a_damaged_message_is_an_error_either_way) {
    const esrpc::buffer encoded = esrpc::encode(esrpc::headers(), "payload");
    std::vector<std::uint8_t> damaged(encoded.content().begin(), encoded.content().end());
    damaged.back() ^= 1;
    CHECK_THROWS(ESRPC_ERROR_MESSAGE_CHECKSUM, esrpc::message::decode(damaged));
    std::error_code code;
    CHECK(!esrpc::message::decode(damaged, nullptr, code) && code == ESRPC_ERROR_MESSAGE_CHECKSUM);
}

/* Reads a text in pieces. */
struct reader {
    std::string input;
    std::size_t piece;
    std::size_t begin = 0;

    std::string operator()() {
        const std::string read = input.substr(begin, piece);
        begin += read.size();
        return read;
    }
};

static std::string two_messages() {
    const esrpc::buffer first = esrpc::encode(esrpc::headers{{"k", std::int32_t(1)}}, "one");
    const esrpc::buffer second = esrpc::encode(esrpc::headers{{"k", std::int32_t(2)}}, "two");
    return std::string(first.text()) + std::string(second.text());
}

TEST(a_loop_over_a_decoder_passes_over_all_messages) {
    for (std::size_t piece : {1, 7, 1000}) {
        reader read{two_messages(), piece};
        std::string seen;
        for (esrpc::decoder decoder; auto message = decoder.next(read);)
            seen += std::string(message.text()) + std::to_string(message.headers()["k"].as<std::int32_t>());
        CHECK(seen == "one1two2");
    }
}

TEST(a_decoder_reports_input_that_is_cut_off_or_damaged) {
    esrpc::decoder cut;
    reader half{two_messages(), 5};
    half.input.pop_back();
    CHECK(cut.next(half).text() == "one");
    CHECK_THROWS(ESRPC_ERROR_INCOMPLETE, cut.next(half));

    reader bad{two_messages(), 1000};
    bad.input.back() ^= 1;
    esrpc::decoder damaged;
    std::error_code code;
    CHECK(damaged.next(bad, code).text() == "one" && !code);
    CHECK(!damaged.next(bad, code) && code == ESRPC_ERROR_MESSAGE_CHECKSUM);
    CHECK_THROWS(ESRPC_ERROR_MESSAGE_CHECKSUM, damaged.next(bad));
}

TEST(a_decoder_takes_limits_before_its_first_push) {
    esrpc::decoder decoder(esrpc::connection_options().max_message_size(20));
    CHECK_THROWS(ESRPC_ERROR_MESSAGE_TOO_LARGE, decoder.push(two_messages()));
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, esrpc::decoder(esrpc::connection_options().max_message_size(1)));
    esrpc::decoder other;
    other.push(two_messages());
    CHECK(other.next().text() == "one" && other.next().text() == "two" && !other.next());
    other.finish();
    CHECK_THROWS(ESRPC_ERROR_INVALID_STATE, other.set_limits(esrpc::connection_options()));
}

TEST(a_decoder_of_parts_calls_back) {
    std::string seen;
    esrpc::decoder_callbacks callbacks;
    callbacks.on_prelude = [&](std::uint32_t total, std::uint32_t, std::uint32_t) { seen += std::to_string(total); };
    callbacks.on_header = [&](const esrpc::header &header) { seen += " " + std::string(header.name()); };
    callbacks.on_payload = [&](esrpc::bytes piece) { seen += " " + std::string(piece.text()); };
    callbacks.on_complete = [&, end = std::make_unique<char>(';')](std::uint32_t) { seen += *end; };
    callbacks.on_error = [&](std::error_code code) { seen += code == ESRPC_ERROR_PRELUDE_CHECKSUM ? "damaged" : "?"; };
    esrpc::decoder decoder(std::move(callbacks));
    esrpc::decoder moved = std::move(decoder);
    moved.push(two_messages());
    CHECK(seen == "26 k one;26 k two;");
    std::error_code code;
    moved.push("not a message", code);
    CHECK(code == ESRPC_ERROR_PRELUDE_CHECKSUM && seen == "26 k one;26 k two;damaged");
}

TEST(an_exception_of_a_decoders_callback_leaves_push) {
    journal freed;
    int headers = 0;
    {
        esrpc::decoder_callbacks callbacks;
        callbacks.on_header = [&, part = captured(freed, "on_header")](const esrpc::header &) {
            ++headers;
            throw std::runtime_error("no");
        };
        esrpc::decoder decoder(std::move(callbacks));
        bool is_thrown = false;
        try {
            decoder.push(two_messages());
        } catch (const std::runtime_error &thrown) {
            is_thrown = thrown.what() == std::string("no");
        }
        CHECK(is_thrown && headers == 1);
        CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, decoder.push(two_messages()));
        CHECK(headers == 1 && !freed.has("freed on_header"));
    }
    CHECK(freed.has("freed on_header"));
}

TEST(an_exception_leaves_push_although_the_callback_has_moved_the_decoder) {
    std::optional<esrpc::decoder> decoder, moved;
    esrpc::decoder_callbacks callbacks;
    callbacks.on_header = [&](const esrpc::header &) {
        moved = std::move(decoder);
        throw std::runtime_error("no");
    };
    decoder.emplace(std::move(callbacks));
    bool is_thrown = false;
    try {
        decoder->push(two_messages());
    } catch (const std::runtime_error &thrown) {
        is_thrown = thrown.what() == std::string("no");
    }
    CHECK(is_thrown && moved->get() == nullptr);
    CHECK_THROWS(ESRPC_ERROR_INVALID_ARGUMENT, moved->push(two_messages()));
}
