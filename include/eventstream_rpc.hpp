/**
 * @file eventstream_rpc.hpp
 * The library for C++17 and later: the functions of eventstream_rpc.h with handles, lambdas, exceptions or error codes,
 * futures and std::chrono. Everything is defined in this file.
 *
 * ERRORS. A function that can fail has an error_sink as its last parameter. If it is left out, the function throws
 * esrpc::error; if it is a std::error_code, the function sets that. Codes compare with the constants of the C header,
 * and with std::errc where there is an equivalent: code == ESRPC_ERROR_TIMED_OUT. The settings of client, server,
 * connection_options and tls_config_builder never fail when they are made: connect, listen or build reports the first
 * one that was refused. A chain of them on a temporary can be used at once or kept, since it moves:
 * auto client = esrpc::client("127.0.0.1", 8033).handshake(headers).
 *
 * HANDLES. connection, stream, listener, runtime, message and headers own what they name and can only be moved.
 * Destroying one never blocks. It closes a listener and a client's connection, unless detach was called, and nothing
 * else. connection_ref, stream_ref, message_view and headers_view are borrowed, as callbacks get them; acquire and copy
 * make handles to keep. get returns the C handle, for everything that has no function here. What was moved from is
 * empty: a message or a list of headers without content; anything else fails with ESRPC_ERROR_INVALID_ARGUMENT when it
 * is used or passed on.
 *
 * CALLBACKS. A callback is any function object, move-only ones included. It is destroyed with the object that calls it,
 * on the event-loop thread, or when runtime::stop or esrpc::stop_all has succeeded. Use these rather than
 * esrpc_stop_all, which cannot destroy what is never called again. A callback must not own the object that calls it,
 * which would live for ever: use the reference that it is given.
 *
 * EXCEPTIONS that leave a callback never reach C. One in a callback of a connection closes the connection with the
 * reason callback_threw. One in a callback of a stream ends that stream: on a server with an error message, which
 * quotes only a service_error. Where there is nothing left to end (on_closed, on_shutdown, on_flush, tasks), nothing
 * ends. Every exception except a service_error is passed to on_exception, and connection_ref::exception returns the
 * first.
 *
 * WAITING. Functions that wait fail with ESRPC_ERROR_WOULD_DEADLOCK inside callbacks. A std::future cannot know where
 * it is waited for: do not call its get there.
 *
 * Threads, lifetime and everything else are as in eventstream_rpc.h.
 */
#ifndef EVENTSTREAM_RPC_HPP
#define EVENTSTREAM_RPC_HPP

#include "eventstream_rpc.h"

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>
#if __has_include(<version>)
#include <version>
#endif
#if defined(__cpp_lib_span)
#include <span>
#endif

/** Makes a code from a C constant, so that the two can be compared. */
inline std::error_code make_error_code(esrpc_status_code status) noexcept;

template <>
struct std::is_error_code_enum<esrpc_status_code> : std::true_type {};

namespace esrpc {

/** The reason with which a connection is closed when one of its callbacks throws. */
inline constexpr esrpc_status callback_threw = 1000000;

/** The unit of all times. */
using milliseconds = std::chrono::milliseconds;

/** For any time: no limit. */
inline constexpr milliseconds no_timeout = milliseconds::max();

/** The time of a header: by convention milliseconds since 1970. */
using timestamp = std::chrono::time_point<std::chrono::system_clock, milliseconds>;

/** Returns the version of the library that is loaded, such as "0.1.0". */
[[nodiscard]] inline const char *version() noexcept { return esrpc_version(); }

/* ---- Errors ---- */

/** Returns the category of codes whose value is an esrpc_status. */
[[nodiscard]] inline const std::error_category &category() noexcept {
    class status_category final : public std::error_category {
    public:
        const char *name() const noexcept override { return "esrpc"; }

        std::string message(int value) const override {
            return value == callback_threw ? "a callback threw an exception" : esrpc_status_message(value);
        }

        std::error_condition default_error_condition(int value) const noexcept override {
            switch (value) {
            case ESRPC_ERROR_INVALID_ARGUMENT: return std::errc::invalid_argument;
            case ESRPC_ERROR_UNSUPPORTED: return std::errc::not_supported;
            case ESRPC_ERROR_WOULD_DEADLOCK: return std::errc::resource_deadlock_would_occur;
            case ESRPC_ERROR_CANCELLED: return std::errc::operation_canceled;
            case ESRPC_ERROR_BUFFER_TOO_SMALL: return std::errc::no_buffer_space;
            case ESRPC_ERROR_PROTOCOL_VIOLATION: return std::errc::protocol_error;
            case ESRPC_ERROR_CONNECTION_RESET: return std::errc::connection_reset;
            case ESRPC_ERROR_CONNECTION_REFUSED: return std::errc::connection_refused;
            case ESRPC_ERROR_ADDRESS_IN_USE: return std::errc::address_in_use;
            case ESRPC_ERROR_ADDRESS_UNAVAILABLE: return std::errc::address_not_available;
            case ESRPC_ERROR_ACCESS_DENIED: return std::errc::permission_denied;
            case ESRPC_ERROR_PATH_TOO_LONG: return std::errc::filename_too_long;
            case ESRPC_ERROR_IO: return std::errc::io_error;
            case ESRPC_ERROR_ABORTED: return std::errc::connection_aborted;
            case ESRPC_ERROR_TOO_MANY_FILES: return std::errc::too_many_files_open;
            case ESRPC_ERROR_NOT_FOUND: return std::errc::no_such_file_or_directory;
            case ESRPC_ERROR_WRONG_SOCKET: return std::errc::not_a_socket;
            case ESRPC_ERROR_MESSAGE_TOO_LARGE: return std::errc::message_size;
            case ESRPC_ERROR_WOULD_BLOCK: return std::errc::operation_would_block;
            case ESRPC_ERROR_TIMED_OUT:
            case ESRPC_ERROR_RESOLVE_TIMED_OUT:
            case ESRPC_ERROR_CONNECT_TIMED_OUT:
            case ESRPC_ERROR_TLS_TIMED_OUT:
            case ESRPC_ERROR_HANDSHAKE_TIMED_OUT:
            case ESRPC_ERROR_STREAM_TIMED_OUT:
            case ESRPC_ERROR_WRITE_TIMED_OUT:
            case ESRPC_ERROR_MESSAGE_TIMED_OUT:
            case ESRPC_ERROR_IDLE_TIMED_OUT:
            case ESRPC_ERROR_KEEP_ALIVE_TIMED_OUT: return std::errc::timed_out;
            default: return std::error_condition(value, *this);
            }
        }
    };
    static const status_category instance;
    return instance;
}

/** Makes a code from a status; ESRPC_OK is the code that converts to false. */
[[nodiscard]] inline std::error_code make_code(esrpc_status status) noexcept {
    return std::error_code(status, category());
}

/** Returns the sentence about the last call that failed on this thread, for callers that take errors as values. For a
 * setting that was refused, the failure of client, server or tls_config_builder has it. */
[[nodiscard]] inline const char *last_error_message() noexcept { return esrpc_last_error_message(); }

/** What functions throw: a status, and as what() the library's sentence about this very failure. */
class error : public std::system_error {
public:
    /** The sentence is that of the last call that failed on this thread, if it failed with this status. */
    explicit error(esrpc_status status) : error(status, last_info()) {}

    /** An error with a sentence of its own. */
    error(esrpc_status status, const std::string &sentence) : system_error(make_code(status)), sentence_(sentence) {}

    /** Returns the sentence. */
    [[nodiscard]] const char *what() const noexcept override { return sentence_.what(); }

    /** Returns the status, an ESRPC_ERROR_ constant or a reason that the application chose. */
    [[nodiscard]] esrpc_status status() const noexcept { return code().value(); }

    /** Returns the numbers behind the failure: the system's error and the TLS alert, if there are any. */
    [[nodiscard]] const esrpc_error_info &info() const noexcept { return info_; }

private:
    error(esrpc_status status, const esrpc_error_info &info)
        : system_error(make_code(status)),
          sentence_(info.status == status ? esrpc_last_error_message() : make_code(status).message()) {
        if (info.status == status) info_ = info;
    }

    static esrpc_error_info last_info() noexcept {
        esrpc_error_info info{sizeof info, ESRPC_OK, 0, -1, 0};
        esrpc_last_error_get_info(&info);
        return info;
    }

    /* Copied without throwing, unlike a string. */
    std::runtime_error sentence_;
    esrpc_error_info info_{sizeof info_, ESRPC_OK, 0, -1, 0};
};

/** Where a function reports that it failed: it throws, or sets the std::error_code that is given instead. */
class error_sink {
public:
    /** Throws. */
    error_sink() noexcept = default;
    /** Sets the code. */
    error_sink(std::error_code &code) noexcept : code_(&code) {}

    /** Reports the outcome of a C function. */
    void check(esrpc_status status) const {
        if (code_ != nullptr)
            *code_ = make_code(status);
        else if (status != ESRPC_OK)
            throw error(status);
    }
    /** Reports an error. */
    template <typename Error>
    void fail(const Error &failure) const {
        if (code_ == nullptr) throw failure;
        *code_ = failure.code();
    }

private:
    std::error_code *code_ = nullptr;
};

namespace detail {

inline void check(esrpc_status status) {
    error_sink().check(status);
}

template <auto Release>
struct releaser {
    template <typename Object>
    void operator()(Object *object) const noexcept { Release(object); }
};

template <typename Object, auto Release>
using owned = std::unique_ptr<Object, releaser<Release>>;

inline std::uint32_t to_ms(milliseconds time) noexcept {
    constexpr milliseconds most(ESRPC_NO_TIMEOUT - 1);
    if (time == no_timeout) return ESRPC_NO_TIMEOUT;
    return static_cast<std::uint32_t>(time.count() < 0 ? 0 : (time < most ? time : most).count());
}

/* Runs a function; returns the exception that left it. What pthread_exit unwinds the stack with is not one of C++, so
 * that there is no pointer to it; it must go on, which libstdc++ supports and libc++ does not. */
template <typename Body>
std::exception_ptr caught(Body &&body) {
    try {
        body();
        return nullptr;
    } catch (...) {
        std::exception_ptr exception = std::current_exception();
        if (exception == nullptr) throw;
        return exception;
    }
}

inline error empty_handle(const char *name) {
    return error(ESRPC_ERROR_INVALID_ARGUMENT, std::string(name) + " was moved from, or could not be made");
}

/* The first failure of a builder, to be reported at its end. */
class first_failure {
public:
    void note(esrpc_status status) {
        if (status != ESRPC_OK && !failure_) failure_.emplace(status);
    }

    /* An empty handle is a failure, where C would take NULL for a default. */
    void require(bool is_there, const char *name) {
        if (!is_there && !failure_) failure_.emplace(empty_handle(name));
    }

    void note(const first_failure &other) {
        if (!failure_) failure_ = other.failure_;
    }

    const std::optional<error> &get() const noexcept { return failure_; }

private:
    std::optional<error> failure_;
};

template <typename Type>
inline constexpr bool is_number = std::is_integral_v<Type> && std::is_signed_v<Type> && !std::is_same_v<Type, bool> &&
                                  !std::is_same_v<Type, char> && !std::is_same_v<Type, wchar_t>;

template <typename>
inline constexpr bool always_false = false;

template <typename Type>
inline constexpr bool is_time = false;
template <typename Duration>
inline constexpr bool is_time<std::chrono::time_point<std::chrono::system_clock, Duration>> = true;

template <typename Range>
using element_of = std::remove_cv_t<std::remove_reference_t<decltype(*std::data(std::declval<const Range &>()))>>;

/* Whether a range is of bytes that lie one after the other. */
template <typename Range, typename = void>
struct is_byte_range : std::false_type {};
template <typename Range>
struct is_byte_range<Range, std::void_t<element_of<Range>, decltype(std::size(std::declval<const Range &>()))>>
    : std::bool_constant<sizeof(element_of<Range>) == 1 && std::is_trivially_copyable_v<element_of<Range>>> {};

}  // namespace detail

/** A function object with this signature; unlike std::function it may be move-only. */
template <typename Signature>
class callback;

template <typename Result, typename... Arguments>
class callback<Result(Arguments...)> {
    struct base {
        virtual ~base() = default;
        virtual Result call(Arguments... arguments) = 0;
    };

    template <typename Function>
    struct holder final : base {
        explicit holder(Function &&function) : held(std::move(function)) {}
        explicit holder(const Function &function) : held(function) {}
        Result call(Arguments... arguments) override {
            if constexpr (std::is_void_v<Result>)
                static_cast<void>(held(std::forward<Arguments>(arguments)...));
            else
                return held(std::forward<Arguments>(arguments)...);
        }
        Function held;
    };

public:
    /** None. */
    callback() noexcept = default;
    callback(std::nullptr_t) noexcept {}

    /** Takes a function object. */
    template <typename Function, typename Held = std::decay_t<Function>,
              typename = std::enable_if_t<std::conjunction_v<std::negation<std::is_same<Held, callback>>,
                                                             std::is_invocable_r<Result, Held &, Arguments...>>>>
    callback(Function &&function) : held_(std::make_unique<holder<Held>>(std::forward<Function>(function))) {}

    /** Whether there is one. */
    explicit operator bool() const noexcept { return held_ != nullptr; }

    /** Calls it. */
    Result operator()(Arguments... arguments) const { return held_->call(std::forward<Arguments>(arguments)...); }

private:
    std::unique_ptr<base> held_;
};

/* ---- Bytes and text ---- */

/** Bytes or text that somebody else owns. Made from strings, vectors, arrays and spans of bytes without copying. */
class bytes {
public:
    /** None. */
    constexpr bytes() noexcept : data_(nullptr), size_(0) {}

    /** That many bytes from there. */
    bytes(const void *data, std::size_t size) noexcept : data_(static_cast<const std::uint8_t *>(data)), size_(size) {}

    /** The text up to its NUL. */
    bytes(const char *text) noexcept : bytes(esrpc_text(text)) {}

    /** Those of C. */
    bytes(esrpc_bytes other) noexcept : data_(other.data), size_(other.len) {}

    /** The elements of a string, a vector, an array or a span. */
    template <typename Range, typename = std::enable_if_t<!std::is_same_v<Range, bytes> &&
                                                          !std::is_convertible_v<const Range &, const char *> &&
                                                          detail::is_byte_range<Range>::value>>
    bytes(const Range &range) noexcept : bytes(std::data(range), std::size(range)) {}

    /** Returns where they begin; may be nullptr if there are none. */
    [[nodiscard]] const std::uint8_t *data() const noexcept { return data_; }
    /** Returns how many there are. */
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /** Returns whether there are none. */
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] const std::uint8_t *begin() const noexcept { return data_; }
    [[nodiscard]] const std::uint8_t *end() const noexcept { return data_ + size_; }
    [[nodiscard]] std::uint8_t operator[](std::size_t index) const noexcept { return data_[index]; }

    /** Returns them as text. */
    [[nodiscard]] std::string_view text() const noexcept {
        return std::string_view(reinterpret_cast<const char *>(data_), size_);
    }

#if defined(__cpp_lib_span)
    /** The same bytes. */
    operator std::span<const std::uint8_t>() const noexcept { return {data_, size_}; }
    /** The same bytes. */
    operator std::span<const std::byte>() const noexcept { return {reinterpret_cast<const std::byte *>(data_), size_}; }
#endif

    /** Returns them for a C function. */
    [[nodiscard]] esrpc_bytes get() const noexcept { return esrpc_bytes{data_, size_}; }

    friend bool operator==(bytes left, bytes right) noexcept { return esrpc_bytes_equal(left.get(), right.get()); }
    friend bool operator!=(bytes left, bytes right) noexcept { return !(left == right); }

private:
    const std::uint8_t *data_;
    std::size_t size_;
};

/** Bytes that the library has allocated. */
class buffer {
public:
    buffer() noexcept = default;
    /** Takes over what a C function returned. */
    explicit buffer(esrpc_buffer *owned) noexcept : buffer_(owned) {}

    /** Returns its content, valid as long as the buffer. */
    [[nodiscard]] bytes content() const noexcept { return esrpc_buffer_get_bytes(buffer_.get()); }
    [[nodiscard]] const std::uint8_t *data() const noexcept { return content().data(); }
    [[nodiscard]] std::size_t size() const noexcept { return content().size(); }
    /** Returns its content as text. */
    [[nodiscard]] std::string_view text() const noexcept { return content().text(); }
    [[nodiscard]] esrpc_buffer *get() const noexcept { return buffer_.get(); }

private:
    detail::owned<esrpc_buffer, esrpc_buffer_release> buffer_;
};

/** A UUID. */
struct uuid {
    std::array<std::uint8_t, 16> value{};

    /** Reads the form with hyphens, in either case. */
    [[nodiscard]] static uuid parse(std::string_view text, error_sink errors = {}) {
        uuid parsed;
        errors.check(esrpc_uuid_from_text(bytes(text).get(), parsed.value.data()));
        return parsed;
    }

    /** Returns its text, in lower case with hyphens. */
    [[nodiscard]] std::string text() const {
        char written[37] = "";
        esrpc_uuid_to_text(value.data(), written, sizeof written);
        return written;
    }

    friend bool operator==(const uuid &left, const uuid &right) noexcept { return left.value == right.value; }
    friend bool operator!=(const uuid &left, const uuid &right) noexcept { return left.value != right.value; }
};

/* ---- Headers ---- */

/** One header: a view of one in a list, or of a name and a value that are going to be added to a list. */
class header {
public:
    /** A name and a value: bool, a signed integer, text, bytes, a time of the system's clock or uuid. Both must outlive
     * the header. */
    template <typename Value>
    header(std::string_view name, const Value &value) noexcept : header_{bytes(name).get(), 0, 0, 0, {nullptr, 0}} {
        if constexpr (std::is_same_v<Value, bool>) {
            header_.type = value ? ESRPC_HEADER_TYPE_BOOL_TRUE : ESRPC_HEADER_TYPE_BOOL_FALSE;
            header_.number = value;
        } else if constexpr (detail::is_number<Value>) {
            header_.type = type_of_number(sizeof value);
            header_.number = value;
        } else if constexpr (detail::is_time<Value>) {
            header_.type = ESRPC_HEADER_TYPE_TIMESTAMP;
            header_.number = std::chrono::floor<milliseconds>(value).time_since_epoch().count();
        } else if constexpr (std::is_same_v<Value, uuid>) {
            header_.type = ESRPC_HEADER_TYPE_UUID;
            header_.bytes = esrpc::bytes(value.value).get();
        } else if constexpr (std::is_convertible_v<const Value &, std::string_view>) {
            header_.type = ESRPC_HEADER_TYPE_STRING;
            header_.bytes = esrpc::bytes(static_cast<std::string_view>(value)).get();
        } else if constexpr (std::is_convertible_v<const Value &, esrpc::bytes>) {
            header_.type = ESRPC_HEADER_TYPE_BYTE_BUF;
            header_.bytes = esrpc::bytes(value).get();
        } else {
            static_assert(detail::always_false<Value>,
                          "a header takes a bool, a signed integer, text, bytes, a time of the system clock or a uuid");
        }
    }

    /** One of C. */
    explicit header(const esrpc_header &other) noexcept : header_(other) {}

    [[nodiscard]] std::string_view name() const noexcept { return bytes(header_.name).text(); }
    /** Returns the type, an ESRPC_HEADER_TYPE_ constant. */
    [[nodiscard]] std::int32_t type() const noexcept { return header_.type; }
    [[nodiscard]] const esrpc_header &get() const noexcept { return header_; }

    /** Returns the value if it has exactly this type: bool, a signed integer of 8 to 64 bits, std::string_view,
     * std::string, bytes, timestamp or uuid. */
    template <typename Value>
    [[nodiscard]] std::optional<Value> get_if() const {
        if constexpr (std::is_same_v<Value, bool>) {
            if (header_.type <= ESRPC_HEADER_TYPE_BOOL_FALSE) return header_.type == ESRPC_HEADER_TYPE_BOOL_TRUE;
        } else if constexpr (detail::is_number<Value>) {
            if (header_.type == type_of_number(sizeof(Value))) return static_cast<Value>(header_.number);
        } else if constexpr (std::is_same_v<Value, timestamp>) {
            if (header_.type == ESRPC_HEADER_TYPE_TIMESTAMP)
                return timestamp(milliseconds(header_.number));
        } else if constexpr (std::is_same_v<Value, uuid>) {
            if (header_.type == ESRPC_HEADER_TYPE_UUID) {
                uuid copy;
                for (std::size_t index = 0; index < copy.value.size(); ++index)
                    copy.value[index] = header_.bytes.data[index];
                return copy;
            }
        } else if constexpr (std::is_same_v<Value, std::string_view> || std::is_same_v<Value, std::string>) {
            if (header_.type == ESRPC_HEADER_TYPE_STRING) return Value(esrpc::bytes(header_.bytes).text());
        } else if constexpr (std::is_same_v<Value, esrpc::bytes>) {
            if (header_.type == ESRPC_HEADER_TYPE_BYTE_BUF) return esrpc::bytes(header_.bytes);
        } else {
            static_assert(detail::always_false<Value>,
                          "a header has a bool, a signed integer, std::string(_view), bytes, timestamp or uuid");
        }
        return std::nullopt;
    }

    /** Returns the value, which must have exactly this type; see get_if. */
    template <typename Value>
    [[nodiscard]] Value as() const {
        auto value = get_if<Value>();
        if (!value)
            throw error(ESRPC_ERROR_WRONG_TYPE, "the header \"" + std::string(name()) + "\" has the type " +
                                                    type_name(type()) + ", which is not the one asked for");
        return *std::move(value);
    }

private:
    static const char *type_name(std::int32_t type) noexcept {
        static constexpr const char *names[] = {"true",  "false",    "byte",   "int16",     "int32",
                                                "int64", "byte_buf", "string", "timestamp", "uuid"};
        return type >= 0 && static_cast<std::size_t>(type) < std::size(names) ? names[type] : "unknown";
    }

    static constexpr std::int32_t type_of_number(std::size_t size) noexcept {
        return size == 1   ? ESRPC_HEADER_TYPE_BYTE
               : size == 2 ? ESRPC_HEADER_TYPE_INT16
               : size == 4 ? ESRPC_HEADER_TYPE_INT32
                           : ESRPC_HEADER_TYPE_INT64;
    }

    esrpc_header header_;
};

class headers;

/** A list of headers that is only read, such as that of a message. */
class headers_view {
public:
    /** An empty list. */
    headers_view() noexcept = default;
    /** A list of C. */
    explicit headers_view(const esrpc_headers *list) noexcept : list_(list) {}

    /** Passes over the headers in order. */
    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = header;
        using difference_type = std::ptrdiff_t;
        using pointer = void;
        using reference = header;

        iterator(const esrpc_headers *list, std::size_t index) noexcept : list_(list), index_(index) {}
        [[nodiscard]] header operator*() const noexcept {
            esrpc_header read{};
            esrpc_headers_get(list_, index_, &read);
            return header(read);
        }
        iterator &operator++() noexcept {
            ++index_;
            return *this;
        }
        void operator++(int) noexcept { ++index_; }
        friend bool operator==(const iterator &left, const iterator &right) noexcept {
            return left.index_ == right.index_;
        }
        friend bool operator!=(const iterator &left, const iterator &right) noexcept {
            return left.index_ != right.index_;
        }

    private:
        const esrpc_headers *list_;
        std::size_t index_;
    };

    [[nodiscard]] iterator begin() const noexcept { return iterator(list_, 0); }
    [[nodiscard]] iterator end() const noexcept { return iterator(list_, size()); }
    [[nodiscard]] std::size_t size() const noexcept { return esrpc_headers_count(list_); }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

    /** Returns the header with a given name, the last one if it is repeated; ASCII case does not matter. */
    [[nodiscard]] std::optional<header> find(std::string_view name) const noexcept {
        esrpc_header found{};
        if (list_ == nullptr || esrpc_headers_find(list_, bytes(name).get(), &found) != ESRPC_OK) return std::nullopt;
        return header(found);
    }
    [[nodiscard]] bool contains(std::string_view name) const noexcept { return find(name).has_value(); }

    /** Returns the header with a given name; throws ESRPC_ERROR_HEADER_NOT_FOUND if there is none. */
    [[nodiscard]] header operator[](std::string_view name) const {
        const auto found = find(name);
        if (!found) throw error(ESRPC_ERROR_HEADER_NOT_FOUND, "there is no header " + std::string(name));
        return *found;
    }
    /** Returns the header at an index; throws ESRPC_ERROR_HEADER_NOT_FOUND if there is none. */
    template <typename Index, typename = std::enable_if_t<std::is_integral_v<Index>>>
    [[nodiscard]] header operator[](Index index) const {
        if (static_cast<std::size_t>(index) >= size())
            throw error(ESRPC_ERROR_HEADER_NOT_FOUND, "there is no header at index " + std::to_string(index));
        return *iterator(list_, static_cast<std::size_t>(index));
    }

    /** Encodes the list as the headers of a message, without prelude and payload. */
    [[nodiscard]] std::vector<std::uint8_t> encode(error_sink errors = {}) const {
        std::size_t size = 0;
        esrpc_status status = esrpc_headers_encode(list_, nullptr, 0, &size);
        std::vector<std::uint8_t> encoded(status == ESRPC_ERROR_BUFFER_TOO_SMALL ? size : 0);
        if (!encoded.empty()) status = esrpc_headers_encode(list_, encoded.data(), encoded.size(), &size);
        errors.check(status);
        return encoded;
    }

    /** Copies the list, to change or keep it. The protocol's own headers are left out. */
    [[nodiscard]] headers copy(error_sink errors = {}) const;

    [[nodiscard]] const esrpc_headers *get() const noexcept { return list_; }

protected:
    const esrpc_headers *list_ = nullptr;
};

/** A list of headers to be sent. An empty one costs nothing. */
class headers : public headers_view {
public:
    headers() noexcept = default;

    /** Such as {{":version", "0.1.0"}, {"count", std::int32_t(3)}}. */
    headers(std::initializer_list<header> list) {
        for (const header &added : list) add(added);
    }

    /** Copies a list, for example to pass on those of a message. The protocol's own headers are left out. */
    explicit headers(const headers_view &source) { add_from(source); }

    /** Takes over a list made by a C function. */
    explicit headers(esrpc_headers *owned) noexcept : headers_view(owned), owned_(owned) {}

    headers(headers &&other) noexcept : headers_view(other), owned_(std::move(other.owned_)) { other.list_ = nullptr; }
    headers &operator=(headers &&other) noexcept {
        owned_ = std::move(other.owned_);
        other.list_ = other.owned_.get();
        list_ = owned_.get();
        return *this;
    }
    ~headers() = default;

    /** Decodes what headers_view::encode has encoded. */
    [[nodiscard]] static headers decode(bytes data, error_sink errors = {}) {
        esrpc_headers *decoded = nullptr;
        errors.check(esrpc_headers_decode(data.get(), &decoded));
        return headers(decoded);
    }

    /** Adds a header. */
    headers &add(const header &added, error_sink errors = {}) & {
        errors.check(esrpc_headers_add(writable(), &added.get(), 1));
        return *this;
    }
    headers &&add(const header &added, error_sink errors = {}) && { return std::move(add(added, errors)); }
    /** Adds a name and a value of one of the types that header takes. */
    template <typename Value>
    headers &add(std::string_view name, const Value &value, error_sink errors = {}) & {
        return add(header(name, value), errors);
    }
    template <typename Value>
    headers &&add(std::string_view name, const Value &value, error_sink errors = {}) && {
        return std::move(add(name, value, errors));
    }

    /** Appends copies of another list's headers, with or without those of the protocol, which a send refuses. */
    headers &add_from(const headers_view &source, bool keep_protocol_headers = false, error_sink errors = {}) & {
        if (source.get() == nullptr) return *this;
        errors.check(esrpc_headers_add_from(writable(), source.get(), keep_protocol_headers));
        return *this;
    }
    headers &&add_from(const headers_view &source, bool keep_protocol_headers = false, error_sink errors = {}) && {
        return std::move(add_from(source, keep_protocol_headers, errors));
    }

    /** Removes all headers with a given name; returns whether there were any. */
    bool remove(std::string_view name) noexcept {
        return owned_ != nullptr && esrpc_headers_remove(owned_.get(), bytes(name).get()) == ESRPC_OK;
    }

    /** Removes all headers. */
    void clear() noexcept {
        if (owned_ != nullptr) esrpc_headers_clear(owned_.get());
    }

    /** Returns the C list, which is made if there is none yet. */
    [[nodiscard]] esrpc_headers *writable() noexcept {
        if (owned_ == nullptr) owned_.reset(esrpc_headers_new());
        list_ = owned_.get();
        return owned_.get();
    }

private:
    detail::owned<esrpc_headers, esrpc_headers_release> owned_;
};

inline headers headers_view::copy(error_sink errors) const {
    headers copied;
    copied.add_from(*this, false, errors);
    return copied;
}

/* ---- Messages ---- */

class message;

/** A message that somebody else owns, such as a callback's; valid until the callback returns. */
class message_view {
public:
    /** None. */
    message_view() noexcept = default;
    /** One of C. */
    explicit message_view(const esrpc_message *borrowed) noexcept : message_(borrowed) {}

    /** Whether there is one. */
    explicit operator bool() const noexcept { return message_ != nullptr; }
    /** Returns the headers, including those of the protocol. */
    [[nodiscard]] headers_view headers() const noexcept { return headers_view(esrpc_message_get_headers(message_)); }
    /** Returns the payload. */
    [[nodiscard]] bytes payload() const noexcept { return esrpc_message_get_payload(message_); }
    /** Returns the payload as text. */
    [[nodiscard]] std::string_view text() const noexcept { return payload().text(); }
    /** Returns the type, an ESRPC_MESSAGE_TYPE_ constant; -1 if the message is not one of the RPC protocol. */
    [[nodiscard]] std::int32_t type() const noexcept { return esrpc_message_get_type(message_); }
    /** Returns the ESRPC_MESSAGE_FLAG_ bits. */
    [[nodiscard]] std::int32_t flags() const noexcept { return esrpc_message_get_flags(message_); }
    /** Returns whether this is the last message of its stream. */
    [[nodiscard]] bool is_last() const noexcept { return (flags() & ESRPC_MESSAGE_FLAG_TERMINATE_STREAM) != 0; }
    /** Returns the stream's id; 0 on the connection, -1 if the message is not one of the RPC protocol. */
    [[nodiscard]] std::int32_t stream_id() const noexcept { return esrpc_message_get_stream_id(message_); }
    /** Returns lengths and checksums; zeros if there is no message. */
    [[nodiscard]] esrpc_message_info info() const noexcept {
        esrpc_message_info info{};
        info.struct_size = sizeof info;
        esrpc_message_get_info(message_, &info);
        return info;
    }
    /** Returns the message as one line of JSON, for debugging and tests. */
    [[nodiscard]] std::string json(error_sink errors = {}) const {
        esrpc_buffer *written = nullptr;
        errors.check(esrpc_message_to_json(message_, &written));
        return std::string(buffer(written).text());
    }
    /** Copies the message, to keep it. */
    [[nodiscard]] message copy(error_sink errors = {}) const;

    [[nodiscard]] const esrpc_message *get() const noexcept { return message_; }

protected:
    const esrpc_message *message_ = nullptr;
};

/** A message of its own. */
class message : public message_view {
public:
    message() noexcept = default;
    /** Takes over a message that a C function returned. */
    explicit message(esrpc_message *owned) noexcept : message_view(owned), owned_(owned) {}

    message(message &&other) noexcept : message_view(other), owned_(std::move(other.owned_)) {
        other.message_ = nullptr;
    }
    message &operator=(message &&other) noexcept {
        owned_ = std::move(other.owned_);
        other.message_ = other.owned_.get();
        message_ = owned_.get();
        return *this;
    }
    ~message() = default;

    /** Decodes the message at the beginning of bytes, which stay the caller's and must outlive it. */
    [[nodiscard]] static message decode(bytes data, std::size_t *used = nullptr, error_sink errors = {}) {
        esrpc_message *decoded = nullptr;
        errors.check(esrpc_message_decode(data.get(), &decoded, used));
        return message(decoded);
    }

private:
    detail::owned<esrpc_message, esrpc_message_release> owned_;
};

inline message message_view::copy(error_sink errors) const {
    esrpc_message *copied = nullptr;
    errors.check(esrpc_message_copy(message_, &copied));
    return message(copied);
}

/** Encodes a message without any connection. */
[[nodiscard]] inline buffer encode(const headers_view &list, bytes payload, error_sink errors = {}) {
    esrpc_buffer *encoded = nullptr;
    errors.check(esrpc_message_encode_to_buffer(list.get(), payload.get(), &encoded));
    return buffer(encoded);
}

/** Thrown by a callback of a server's stream, becomes the error message that the client gets. */
class service_error : public std::runtime_error {
public:
    /** An error of the service's model, such as "aws.greengrass#ServiceError", and a sentence for people. */
    service_error(std::string type, const std::string &sentence)
        : std::runtime_error(sentence), type_(std::make_shared<const std::string>(std::move(type))) {}

    [[nodiscard]] const std::string &type() const noexcept { return *type_; }

private:
    std::shared_ptr<const std::string> type_;
};

/** What call throws when the server replies with an error message. */
class application_error : public error {
public:
    explicit application_error(const message_view &reply)
        : error(ESRPC_ERROR_APPLICATION_ERROR), reply_(std::make_shared<message>(reply.copy())) {}

    /** Returns the error message. */
    [[nodiscard]] const message &reply() const noexcept { return *reply_; }

private:
    std::shared_ptr<message> reply_;
};

/* ---- Settings of connections ---- */

/** Limits, times and socket settings of connections, for clients, servers and decoders. Each function sets the option
 * of its name: see esrpc_connection_options_set_NAME in eventstream_rpc.h for what it means, its range and default. */
class connection_options {
public:
    /** Every option at its default. */
    connection_options() noexcept : options_(esrpc_connection_options_new()) {}

    connection_options &max_message_size(std::size_t size) & {
        return set(esrpc_connection_options_set_max_message_size, size);
    }
    connection_options &&max_message_size(std::size_t size) && { return std::move(max_message_size(size)); }
    connection_options &max_handshake_message_size(std::size_t size) & {
        return set(esrpc_connection_options_set_max_handshake_message_size, size);
    }
    connection_options &&max_handshake_message_size(std::size_t size) && {
        return std::move(max_handshake_message_size(size));
    }
    connection_options &max_headers(std::size_t count) & {
        return set(esrpc_connection_options_set_max_headers, count);
    }
    connection_options &&max_headers(std::size_t count) && { return std::move(max_headers(count)); }
    connection_options &max_headers_size(std::size_t size) & {
        return set(esrpc_connection_options_set_max_headers_size, size);
    }
    connection_options &&max_headers_size(std::size_t size) && { return std::move(max_headers_size(size)); }
    connection_options &max_header_value_size(std::size_t size) & {
        return set(esrpc_connection_options_set_max_header_value_size, size);
    }
    connection_options &&max_header_value_size(std::size_t size) && { return std::move(max_header_value_size(size)); }
    connection_options &outbound_limit(std::size_t size) & {
        return set(esrpc_connection_options_set_outbound_limit, size);
    }
    connection_options &&outbound_limit(std::size_t size) && { return std::move(outbound_limit(size)); }
    connection_options &max_streams(std::size_t count) & {
        return set(esrpc_connection_options_set_max_streams, count);
    }
    connection_options &&max_streams(std::size_t count) && { return std::move(max_streams(count)); }
    connection_options &abnormal_event_limit(std::uint32_t per_second, std::uint32_t burst) & {
        return set(esrpc_connection_options_set_abnormal_event_limit, per_second, burst);
    }
    connection_options &&abnormal_event_limit(std::uint32_t per_second, std::uint32_t burst) && {
        return std::move(abnormal_event_limit(per_second, burst));
    }
    connection_options &stream_queue_limit(std::size_t size) & {
        return set(esrpc_connection_options_set_stream_queue_limit, size);
    }
    connection_options &&stream_queue_limit(std::size_t size) && { return std::move(stream_queue_limit(size)); }
    connection_options &linger(milliseconds time) & {
        return set(esrpc_connection_options_set_linger_ms, detail::to_ms(time));
    }
    connection_options &&linger(milliseconds time) && { return std::move(linger(time)); }
    connection_options &resolve_timeout(milliseconds time) & {
        return set(esrpc_connection_options_set_resolve_timeout_ms, detail::to_ms(time));
    }
    connection_options &&resolve_timeout(milliseconds time) && { return std::move(resolve_timeout(time)); }
    connection_options &connect_timeout(milliseconds time) & {
        return set(esrpc_connection_options_set_connect_timeout_ms, detail::to_ms(time));
    }
    connection_options &&connect_timeout(milliseconds time) && { return std::move(connect_timeout(time)); }
    connection_options &tls_timeout(milliseconds time) & {
        return set(esrpc_connection_options_set_tls_timeout_ms, detail::to_ms(time));
    }
    connection_options &&tls_timeout(milliseconds time) && { return std::move(tls_timeout(time)); }
    connection_options &handshake_timeout(milliseconds time) & {
        return set(esrpc_connection_options_set_handshake_timeout_ms, detail::to_ms(time));
    }
    connection_options &&handshake_timeout(milliseconds time) && { return std::move(handshake_timeout(time)); }
    connection_options &write_timeout(milliseconds time) & {
        return set(esrpc_connection_options_set_write_timeout_ms, detail::to_ms(time));
    }
    connection_options &&write_timeout(milliseconds time) && { return std::move(write_timeout(time)); }
    connection_options &message_timeout(milliseconds time) & {
        return set(esrpc_connection_options_set_message_timeout_ms, detail::to_ms(time));
    }
    connection_options &&message_timeout(milliseconds time) && { return std::move(message_timeout(time)); }
    connection_options &idle_timeout(milliseconds time) & {
        return set(esrpc_connection_options_set_idle_timeout_ms, detail::to_ms(time));
    }
    connection_options &&idle_timeout(milliseconds time) && { return std::move(idle_timeout(time)); }
    connection_options &half_open(milliseconds time) & {
        return set(esrpc_connection_options_set_half_open_ms, detail::to_ms(time));
    }
    connection_options &&half_open(milliseconds time) && { return std::move(half_open(time)); }
    connection_options &keep_alive_ping(milliseconds interval, milliseconds timeout) & {
        return set(esrpc_connection_options_set_keep_alive_ping, detail::to_ms(interval), detail::to_ms(timeout));
    }
    connection_options &&keep_alive_ping(milliseconds interval, milliseconds timeout) && {
        return std::move(keep_alive_ping(interval, timeout));
    }
    connection_options &answer_pings(bool on = true) & { return set(esrpc_connection_options_set_answer_pings, on); }
    connection_options &&answer_pings(bool on = true) && { return std::move(answer_pings(on)); }
    connection_options &ping_answer_limit(std::uint32_t per_second, std::uint32_t burst) & {
        return set(esrpc_connection_options_set_ping_answer_limit, per_second, burst);
    }
    connection_options &&ping_answer_limit(std::uint32_t per_second, std::uint32_t burst) && {
        return std::move(ping_answer_limit(per_second, burst));
    }
    connection_options &tcp_nodelay(bool on) & { return set(esrpc_connection_options_set_tcp_nodelay, on); }
    connection_options &&tcp_nodelay(bool on) && { return std::move(tcp_nodelay(on)); }
    connection_options &tcp_keep_alive(bool on, milliseconds idle = {},
                                       milliseconds interval = {}, std::uint32_t probes = 0) & {
        return set(esrpc_connection_options_set_tcp_keep_alive, on, detail::to_ms(idle), detail::to_ms(interval),
                   probes);
    }
    connection_options &&tcp_keep_alive(bool on, milliseconds idle = {}, milliseconds interval = {},
                                        std::uint32_t probes = 0) && {
        return std::move(tcp_keep_alive(on, idle, interval, probes));
    }
    connection_options &socket_buffers(std::size_t send_size, std::size_t receive_size) & {
        return set(esrpc_connection_options_set_socket_buffers, send_size, receive_size);
    }
    connection_options &&socket_buffers(std::size_t send_size, std::size_t receive_size) && {
        return std::move(socket_buffers(send_size, receive_size));
    }

    [[nodiscard]] esrpc_connection_options *get() const noexcept { return options_.get(); }
    /** Returns the first setting that was refused, if one was. */
    [[nodiscard]] const std::optional<error> &failure() const noexcept { return failure_.get(); }

private:
    friend class client;
    friend class server;

    template <typename Setter, typename... Arguments>
    connection_options &set(Setter *setter, const Arguments &...arguments) {
        failure_.require(get() != nullptr, "connection_options");
        failure_.note(setter(get(), arguments...));
        return *this;
    }

    detail::owned<esrpc_connection_options, esrpc_connection_options_release> options_;
    detail::first_failure failure_;
};

/* ---- Decoder ---- */

/** What a decoder of parts calls; each may be left out. Exceptions leave push and end the decoder. */
struct decoder_callbacks {
    /** A message begins: its length, that of its headers, and the checksum over both. */
    callback<void(std::uint32_t total_length, std::uint32_t headers_length, std::uint32_t prelude_crc)> on_prelude{};
    /** One header, valid until the callback returns. */
    callback<void(const header &)> on_header{};
    /** A piece of the payload. */
    callback<void(bytes)> on_payload{};
    /** The message is complete, and its checksum is correct. */
    callback<void(std::uint32_t message_crc)> on_complete{};
    /** The input is damaged; push reports the same. */
    callback<void(std::error_code)> on_error{};
};

/** Finds the messages in a stream of bytes. */
class decoder {
public:
    /** A decoder that hands out whole messages. */
    decoder() {
        esrpc_decoder *made = nullptr;
        detail::check(esrpc_decoder_new(nullptr, nullptr, &made));
        decoder_.reset(made);
    }
    /** The same, with these limits. */
    explicit decoder(const connection_options &limits) : decoder() { set_limits(limits); }

    /** A decoder that hands out the parts of messages while bytes are pushed, and holds no payload. */
    explicit decoder(decoder_callbacks callbacks) : parts_(std::make_unique<parts>()) {
        parts_->callbacks = std::move(callbacks);
        esrpc_decoder_callbacks table{};
        table.struct_size = sizeof table;
        table.on_prelude = on_prelude;
        table.on_header = on_header;
        table.on_payload = on_payload;
        table.on_complete = on_complete;
        table.on_error = on_error;
        esrpc_decoder *made = nullptr;
        detail::check(esrpc_decoder_new(&table, parts_.get(), &made));
        parts_->decoder.reset(made);
    }

    /** Sets the limits, before the first push. */
    void set_limits(const connection_options &limits, error_sink errors = {}) {
        if (limits.failure())
            errors.fail(*limits.failure());
        else
            errors.check(esrpc_decoder_set_limits(get(), limits.get()));
    }

    /** Passes the next bytes. Messages lent before are no longer valid. */
    void push(bytes data, error_sink errors = {}) {
        parts *const called = parts_.get(); /* which a callback may move into another decoder */
        const esrpc_status status = esrpc_decoder_push(get(), data.get());
        if (called != nullptr && called->exception != nullptr)
            std::rethrow_exception(std::exchange(called->exception, nullptr));
        errors.check(status);
    }

    /** Takes the next whole message, valid until the next push; none if more bytes are needed. */
    [[nodiscard]] message_view next(error_sink errors = {}) {
        const esrpc_message *taken = nullptr;
        errors.check(esrpc_decoder_next_message(get(), &taken));
        return message_view(taken);
    }

    /** Takes the next whole message, and calls read for more bytes as often as needed. read returns anything from
     * which bytes can be made, empty at the end of the input; then there is no message, and an error if it ended inside
     * one. */
    template <typename Read, typename = std::enable_if_t<std::is_invocable_v<Read &>>>
    [[nodiscard]] message_view next(Read &&read, error_sink errors = {}) {
        for (;;) {
            const esrpc_message *taken = nullptr;
            const esrpc_status status = esrpc_decoder_next_message(get(), &taken);
            errors.check(status);
            if (taken != nullptr || status != ESRPC_OK) return message_view(taken);
            const auto &chunk = read();
            const bytes more(chunk);
            if (more.empty()) {
                finish(errors);
                return {};
            }
            /* If the bytes are damaged, the next message is an error, once the good ones are taken. */
            esrpc_decoder_push(get(), more.get());
        }
    }

    /** Signals the end of the input; fails with ESRPC_ERROR_INCOMPLETE if that is inside a message. */
    void finish(error_sink errors = {}) { errors.check(esrpc_decoder_finish(get())); }

    [[nodiscard]] esrpc_decoder *get() const noexcept {
        return parts_ != nullptr ? parts_->decoder.get() : decoder_.get();
    }

private:
    struct parts {
        decoder_callbacks callbacks;
        std::exception_ptr exception;
        detail::owned<esrpc_decoder, esrpc_decoder_release> decoder;

        template <typename Body>
        static void run(void *user_data, Body &&body) {
            parts &self = *static_cast<parts *>(user_data);
            self.exception = detail::caught([&] { body(self.callbacks); });
            /* Whoever holds it now has no decoder any more. */
            if (self.exception != nullptr) self.decoder.reset();
        }
    };

    static void ESRPC_CALL on_prelude(esrpc_decoder *, std::uint32_t total, std::uint32_t headers,
                                      std::uint32_t crc, void *user_data) {
        parts::run(user_data, [&](decoder_callbacks &calls) {
            if (calls.on_prelude) calls.on_prelude(total, headers, crc);
        });
    }
    static void ESRPC_CALL on_header(esrpc_decoder *, const esrpc_header *read, void *user_data) {
        parts::run(user_data, [&](decoder_callbacks &calls) {
            if (calls.on_header) calls.on_header(header(*read));
        });
    }
    static void ESRPC_CALL on_payload(esrpc_decoder *, const std::uint8_t *data, std::size_t size,
                                      void *user_data) {
        parts::run(user_data, [&](decoder_callbacks &calls) {
            if (calls.on_payload) calls.on_payload(bytes(data, size));
        });
    }
    static void ESRPC_CALL on_complete(esrpc_decoder *, std::uint32_t crc, void *user_data) {
        parts::run(user_data, [&](decoder_callbacks &calls) {
            if (calls.on_complete) calls.on_complete(crc);
        });
    }
    static void ESRPC_CALL on_error(esrpc_decoder *, esrpc_status status, void *user_data) {
        parts::run(user_data, [&](decoder_callbacks &calls) {
            if (calls.on_error) calls.on_error(make_code(status));
        });
    }

    std::unique_ptr<parts> parts_;
    detail::owned<esrpc_decoder, esrpc_decoder_release> decoder_; /* without callbacks */
};

/* ---- TLS ---- */

/** TLS settings for clients or for servers; they never change. */
class tls_config {
public:
    /** Takes over a reference from C. */
    explicit tls_config(esrpc_tls_config *owned) noexcept : config_(owned) {}

    /** Whether there are any. */
    explicit operator bool() const noexcept { return config_ != nullptr; }
    /** Returns another handle of the same settings. */
    [[nodiscard]] tls_config acquire() const noexcept { return tls_config(esrpc_tls_config_acquire(get())); }
    [[nodiscard]] esrpc_tls_config *get() const noexcept { return config_.get(); }

private:
    detail::owned<esrpc_tls_config, esrpc_tls_config_release> config_;
};

/** Collects TLS settings: tls_config_builder::client().ca_file("ca.pem").build(). */
class tls_config_builder {
public:
    /** Begins settings for clients, which verify servers. */
    [[nodiscard]] static tls_config_builder client() noexcept {
        return tls_config_builder(esrpc_tls_config_builder_new_client());
    }
    /** Begins settings for servers, which need a certificate. */
    [[nodiscard]] static tls_config_builder server() noexcept {
        return tls_config_builder(esrpc_tls_config_builder_new_server());
    }

    /** Trusts the certificates in a file rather than the system's. */
    tls_config_builder &ca_file(std::string_view path) & {
        return set(esrpc_tls_config_builder_add_ca_file, bytes(path).get());
    }
    tls_config_builder &&ca_file(std::string_view path) && { return std::move(ca_file(path)); }
    /** Trusts the certificates in the files of a folder. */
    tls_config_builder &ca_dir(std::string_view path) & {
        return set(esrpc_tls_config_builder_add_ca_dir, bytes(path).get());
    }
    tls_config_builder &&ca_dir(std::string_view path) && { return std::move(ca_dir(path)); }
    /** Trusts certificates in memory, PEM or DER. */
    tls_config_builder &ca(bytes certificates) & { return set(esrpc_tls_config_builder_add_ca, certificates.get()); }
    tls_config_builder &&ca(bytes certificates) && { return std::move(ca(certificates)); }
    /** Presents this certificate, with those that lead to its CA. */
    tls_config_builder &certificate_files(std::string_view chain_path, std::string_view key_path) & {
        return set(esrpc_tls_config_builder_set_certificate_files, bytes(chain_path).get(), bytes(key_path).get());
    }
    tls_config_builder &&certificate_files(std::string_view chain_path, std::string_view key_path) && {
        return std::move(certificate_files(chain_path, key_path));
    }
    /** The same from memory, PEM or DER. */
    tls_config_builder &certificate(bytes chain, bytes key) & {
        return set(esrpc_tls_config_builder_set_certificate, chain.get(), key.get());
    }
    tls_config_builder &&certificate(bytes chain, bytes key) && { return std::move(certificate(chain, key)); }
    /** Adds an application protocol. */
    tls_config_builder &alpn(std::string_view protocol) & {
        return set(esrpc_tls_config_builder_add_alpn, bytes(protocol).get());
    }
    tls_config_builder &&alpn(std::string_view protocol) && { return std::move(alpn(protocol)); }
    /** Sets the lowest and the highest version, ESRPC_TLS_VERSION_ constants. */
    tls_config_builder &versions(std::int32_t lowest, std::int32_t highest) & {
        return set(esrpc_tls_config_builder_set_versions, lowest, highest);
    }
    tls_config_builder &&versions(std::int32_t lowest, std::int32_t highest) && {
        return std::move(versions(lowest, highest));
    }
    /** Sets whether clients need a certificate, an ESRPC_TLS_CLIENT_AUTH_ constant. */
    tls_config_builder &client_auth(std::int32_t wanted) & {
        return set(esrpc_tls_config_builder_set_client_auth, wanted);
    }
    tls_config_builder &&client_auth(std::int32_t wanted) && { return std::move(client_auth(wanted)); }
    /** Sets whether sessions can be resumed. */
    tls_config_builder &session_resumption(bool on) & {
        return set(esrpc_tls_config_builder_set_session_resumption, on);
    }
    tls_config_builder &&session_resumption(bool on) && { return std::move(session_resumption(on)); }
    /** Adds certificate revocation lists. */
    tls_config_builder &crl(bytes lists) & { return set(esrpc_tls_config_builder_add_crl, lists.get()); }
    tls_config_builder &&crl(bytes lists) && { return std::move(crl(lists)); }
    /** The same from a file. */
    tls_config_builder &crl_file(std::string_view path) & {
        return set(esrpc_tls_config_builder_add_crl_file, bytes(path).get());
    }
    tls_config_builder &&crl_file(std::string_view path) && { return std::move(crl_file(path)); }
    /** Sets how lists are applied; depth is an ESRPC_TLS_REVOCATION_DEPTH_ constant. */
    tls_config_builder &revocation(std::int32_t depth, bool allow_unknown) & {
        return set(esrpc_tls_config_builder_set_revocation, depth, allow_unknown);
    }
    tls_config_builder &&revocation(std::int32_t depth, bool allow_unknown) && {
        return std::move(revocation(depth, allow_unknown));
    }
    /** Writes the secrets of all sessions to a file: for debugging only. */
    tls_config_builder &key_log_file(std::string_view path) & {
        return set(esrpc_tls_config_builder_set_key_log_file, bytes(path).get());
    }
    tls_config_builder &&key_log_file(std::string_view path) && { return std::move(key_log_file(path)); }
    /** DANGEROUS: accepts any certificate. For tests on one machine only. */
    tls_config_builder &dangerous_disable_verification() & {
        return set(esrpc_tls_config_builder_dangerous_disable_verification);
    }
    tls_config_builder &&dangerous_disable_verification() && { return std::move(dangerous_disable_verification()); }

    /** Builds settings, or reports the first that was refused. */
    [[nodiscard]] tls_config build(error_sink errors = {}) const {
        esrpc_tls_config *built = nullptr;
        if (builder_ == nullptr)
            errors.fail(detail::empty_handle("tls_config_builder"));
        else if (failure_.get())
            errors.fail(*failure_.get());
        else
            errors.check(esrpc_tls_config_builder_build(get(), &built));
        return tls_config(built);
    }

    [[nodiscard]] esrpc_tls_config_builder *get() const noexcept { return builder_.get(); }
    /** Returns the first setting that was refused, if one was. */
    [[nodiscard]] const std::optional<error> &failure() const noexcept { return failure_.get(); }

private:
    explicit tls_config_builder(esrpc_tls_config_builder *owned) noexcept : builder_(owned) {}

    template <typename Setter, typename... Arguments>
    tls_config_builder &set(Setter *setter, const Arguments &...arguments) {
        failure_.require(get() != nullptr, "tls_config_builder");
        failure_.note(setter(get(), arguments...));
        return *this;
    }

    detail::owned<esrpc_tls_config_builder, esrpc_tls_config_builder_release> builder_;
    detail::first_failure failure_;
};

/* ---- What callbacks need, and who owns it ---- */

namespace detail {

class roster;

/* What a callback's user_data points to. It owns itself, in a roster, for as long as C may call it: until on_destroy,
 * or until a stop, after which there is no on_destroy. */
class closure : public std::enable_shared_from_this<closure> {
public:
    /* Of a runtime: its handle, nullptr for the default one, or unknown_runtime. */
    explicit closure(const void *of_runtime = nullptr) noexcept : runtime(of_runtime) {}
    closure(const closure &) = delete;
    closure &operator=(const closure &) = delete;
    virtual ~closure() = default;

    /* The runtime was stopped, so nothing is going to be called any more. */
    virtual void abandon() noexcept {}

    /* Stands for a runtime that only stop_all stops. */
    static constexpr char unknown_runtime = 0;

    const void *runtime;

private:
    friend class roster;
    std::shared_ptr<closure> self_;
    bool is_listed_ = false;
    closure *previous_ = nullptr;
    closure *next_ = nullptr;
    /* How many stops had begun when it was to be handed to C. */
    std::uint64_t offered_ = 0;
    /* And when C accepted it; 0: not accepted yet. */
    std::uint64_t epoch_ = 0;
};

/* The closures that C may still call. */
class roster {
public:
    roster() noexcept = default;
    roster(const roster &) = delete;
    roster &operator=(const roster &) = delete;
    ~roster() { clear(everything, [](const closure &) { return true; }); }

    static constexpr std::uint64_t everything = std::numeric_limits<std::uint64_t>::max();

    /* That of the process. It is never destroyed, since threads of the library may go on until the process ends. */
    static roster &of_process() {
        static roster &instance = *new roster;
        return instance;
    }

    void add(const std::shared_ptr<closure> &added) {
        const std::lock_guard<std::mutex> lock(mutex_);
        added->self_ = added;
        added->is_listed_ = true;
        added->offered_ = epoch_;
        added->next_ = first_;
        if (first_ != nullptr) first_->previous_ = added.get();
        first_ = added.get();
    }

    void commit(closure &accepted) noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        accepted.epoch_ = epoch_;
        changed_.notify_all();
    }

    /* Returns its last owner, or nullptr if it was removed before. */
    std::shared_ptr<closure> remove(closure &removed) noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!removed.is_listed_) return nullptr;
        unlink(removed);
        changed_.notify_all();
        return std::move(removed.self_);
    }

    /* A stop begins; returns what to clear after it. */
    std::uint64_t begin_stop() noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        return epoch_++;
    }

    /* Waits until other threads know whether C has accepted what they were handing over before that stop. They do
     * nothing else meanwhile; in a forked child they do not exist, so there is a limit. */
    void await_handovers(std::uint64_t epoch, milliseconds timeout) noexcept {
        constexpr milliseconds most = std::chrono::seconds(10);
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait_for(lock, timeout < most ? timeout : most, [&] {
            for (const closure *next = first_; next != nullptr; next = next->next_)
                if (next->epoch_ == 0 && next->offered_ <= epoch) return false;
            return true;
        });
    }

    /* Frees what was accepted no later than that. Destructors run without the lock. */
    template <typename Predicate>
    void clear(std::uint64_t epoch, Predicate &&is_cleared) noexcept {
        closure *cleared = nullptr;
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            for (closure *next = first_; next != nullptr;) {
                closure &found = *std::exchange(next, next->next_);
                const bool is_accepted = found.epoch_ != 0 || epoch == everything;
                if (!is_accepted || found.epoch_ > epoch || !is_cleared(found)) continue;
                unlink(found);
                found.next_ = std::exchange(cleared, &found);
            }
        }
        while (cleared != nullptr) {
            const std::shared_ptr<closure> last = std::move(cleared->self_);
            cleared = cleared->next_;
            last->abandon();
        }
    }

private:
    void unlink(closure &removed) noexcept {
        if (removed.next_ != nullptr) removed.next_->previous_ = removed.previous_;
        (removed.previous_ != nullptr ? removed.previous_->next_ : first_) = removed.next_;
        removed.is_listed_ = false;
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    closure *first_ = nullptr;
    std::uint64_t epoch_ = 1;
};

/* A closure that is being handed to C: it is taken back unless C accepts it. */
template <typename Closure>
class handover {
public:
    handover(roster &home, std::shared_ptr<Closure> made) : home_(home), made_(std::move(made)) { home_.add(made_); }
    handover(const handover &) = delete;
    handover &operator=(const handover &) = delete;
    ~handover() {
        if (made_ != nullptr) home_.remove(*made_);
    }

    Closure *get() const noexcept { return made_.get(); }
    /* C has accepted it, and may have finished with it already. */
    std::shared_ptr<Closure> accepted() noexcept {
        home_.commit(*made_);
        return std::move(made_);
    }

private:
    roster &home_;
    std::shared_ptr<Closure> made_;
};

class connection_closure;
class listener_closure;
class stream_closure;
class call_closure;

}  // namespace detail

/* ---- Streams ---- */

class connection;
class connection_ref;
class stream;
class stream_ref;
class incoming;
class incoming_stream;
class deferred_connection;

/** Called when a message is written, or, with the reason, when it never will be. */
using flush_callback = callback<void(std::error_code)>;
/** Receives an exception that left a callback. */
using exception_callback = callback<void(std::exception_ptr)>;
/** Handles a stream that a client has opened, by accepting it, replying, failing or deferring. */
using stream_handler = callback<void(incoming_stream)>;

/** What a stream calls; each may be left out. */
struct stream_callbacks {
    /** A message has arrived; message_view::is_last says whether it is the last one. */
    callback<void(stream_ref, message_view)> on_message{};
    /** A send was refused with ESRPC_ERROR_WOULD_BLOCK, and there is room again. */
    callback<void(stream_ref)> on_writable{};
    /** The stream is over; without an error if either side has ended it. */
    callback<void(stream_ref, std::error_code)> on_closed{};
};

/** A stream that somebody else owns, such as a callback's. */
class stream_ref {
public:
    stream_ref() noexcept = default;
    /** One of C. */
    explicit stream_ref(esrpc_stream *borrowed, detail::connection_closure *owner = nullptr) noexcept
        : stream_(borrowed), owner_(owner) {}

    /** Whether there is one. */
    explicit operator bool() const noexcept { return stream_ != nullptr; }
    [[nodiscard]] esrpc_stream *get() const noexcept { return stream_; }
    /** Returns a handle to keep. */
    [[nodiscard]] stream acquire() const;

    /** Sets a deadline, before the activation. */
    void set_deadline(milliseconds time, error_sink errors = {}) const {
        errors.check(esrpc_stream_set_deadline_ms(stream_, detail::to_ms(time)));
    }

    /** Opens a client's stream with its first message. */
    void activate(std::string_view operation, bytes payload = {}, const headers &list = {},
                  std::int32_t flags = ESRPC_MESSAGE_FLAG_NONE, flush_callback on_flush = {},
                  error_sink errors = {}) const;
    /** The same, with the code after the payload or the headers. */
    void activate(std::string_view operation, bytes payload, std::error_code &code) const {
        activate(operation, payload, {}, code);
    }
    void activate(std::string_view operation, bytes payload, const headers &list, std::error_code &code) const {
        activate(operation, payload, list, ESRPC_MESSAGE_FLAG_NONE, {}, code);
    }

    /** Sends a message of the application. */
    void send(bytes payload, const headers &list = {}, std::int32_t flags = ESRPC_MESSAGE_FLAG_NONE,
              flush_callback on_flush = {}, error_sink errors = {}) const {
        send_message(ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, payload, list, flags, std::move(on_flush), errors);
    }
    /** The same, with the code after the payload or the headers. */
    void send(bytes payload, std::error_code &code) const { send(payload, {}, code); }
    void send(bytes payload, const headers &list, std::error_code &code) const {
        send(payload, list, ESRPC_MESSAGE_FLAG_NONE, {}, code);
    }

    /** Sends a message of a type, such as ESRPC_MESSAGE_TYPE_APPLICATION_ERROR. */
    void send_message(std::int32_t type, bytes payload, const headers &list = {},
                      std::int32_t flags = ESRPC_MESSAGE_FLAG_NONE, flush_callback on_flush = {},
                      error_sink errors = {}) const;

    /** Sends a message of the application, and waits for room while the outbound queue is full. */
    void send_blocking(bytes payload, milliseconds timeout, const headers &list = {},
                       std::int32_t flags = ESRPC_MESSAGE_FLAG_NONE, error_sink errors = {}) const {
        errors.check(esrpc_stream_send_blocking(stream_, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, flags, list.get(),
                                                payload.get(), detail::to_ms(timeout)));
    }
    /** The same without headers. */
    void send_blocking(bytes payload, milliseconds timeout, std::error_code &code) const {
        send_blocking(payload, timeout, {}, ESRPC_MESSAGE_FLAG_NONE, code);
    }

    /** Takes the next message of a stream without callbacks, and waits for it. None, without an error, when the stream
     * has ended in order. */
    [[nodiscard]] message read(milliseconds timeout, error_sink errors = {}) const {
        esrpc_message *taken = nullptr;
        const esrpc_status status = esrpc_stream_read(stream_, detail::to_ms(timeout), &taken);
        errors.check(status == ESRPC_ERROR_STREAM_CLOSED ? ESRPC_OK : status);
        return message(taken);
    }

    /** Accepts a stream that a client opens. */
    void accept(stream_callbacks callbacks, error_sink errors = {}) const;
    /** Accepts it without callbacks: its messages, beginning with the first, are taken with read. */
    [[nodiscard]] stream accept() const;
    [[nodiscard]] stream accept(std::error_code &code) const;

    /** Refuses it with an APPLICATION_ERROR. */
    void refuse(bytes payload = {}, const headers &list = {}, error_sink errors = {}) const {
        errors.check(esrpc_stream_refuse(stream_, list.get(), payload.get()));
    }
    /** The same without headers. */
    void refuse(bytes payload, std::error_code &code) const { refuse(payload, {}, code); }

    /** Sends the last message of a call. */
    void reply(bytes payload = {}, const headers &list = {}, error_sink errors = {}) const {
        errors.check(esrpc_stream_reply(stream_, list.get(), payload.get()));
    }
    /** The same without headers. */
    void reply(bytes payload, std::error_code &code) const { reply(payload, {}, code); }

    /** Ends a call with an error of a service's model, such as "aws.greengrass#ServiceError". */
    void fail(std::string_view error_type, std::string_view sentence, error_sink errors = {}) const {
        errors.check(esrpc_stream_fail(stream_, bytes(error_type).get(), bytes(sentence).get()));
    }

    /** Decides later, within a time: accept, refuse, reply or fail on the handle that this returns, on any thread. */
    [[nodiscard]] stream defer(milliseconds time, error_sink errors = {}) const;

    /** Ends the stream with an empty last message. */
    void close(error_sink errors = {}) const { errors.check(esrpc_stream_close(stream_)); }

    /** Waits until the stream is over, and returns the reason; ESRPC_ERROR_TIMED_OUT if it is not. */
    [[nodiscard]] std::error_code wait_closed(milliseconds timeout) const noexcept {
        return make_code(esrpc_stream_wait_closed(stream_, detail::to_ms(timeout)));
    }
    /** Returns the id on the connection; 0 before the activation. */
    [[nodiscard]] std::int32_t id() const noexcept { return esrpc_stream_get_id(stream_); }
    /** Returns an ESRPC_STREAM_STATE_ constant. */
    [[nodiscard]] std::int32_t state() const noexcept { return esrpc_stream_get_state(stream_); }
    /** Returns the operation; valid as long as the handle. */
    [[nodiscard]] std::string_view operation() const noexcept {
        return bytes(esrpc_stream_get_operation(stream_)).text();
    }
    /** Returns the stream's connection. */
    [[nodiscard]] connection_ref connection() const noexcept;
    /** Returns why the stream ended. */
    [[nodiscard]] std::error_code end_status() const noexcept {
        return make_code(esrpc_stream_get_end_status(stream_));
    }
    /** Returns a sentence about its end; valid as long as the handle. */
    [[nodiscard]] const char *end_message() const noexcept { return esrpc_stream_get_end_message(stream_); }

protected:
    esrpc_stream *stream_ = nullptr;
    detail::connection_closure *owner_ = nullptr;

private:
    stream accept_to_read(error_sink errors) const;
};

/** A handle of a stream. Destroying it does not end the stream. */
class stream : public stream_ref {
public:
    stream() noexcept = default;
    /** Takes over a reference from C. */
    explicit stream(esrpc_stream *owned) noexcept : stream(owned, nullptr) {}

    stream(stream &&other) noexcept
        : stream_ref(other), owned_(std::move(other.owned_)), keeps_(std::move(other.keeps_)) {
        other.forget();
    }
    stream &operator=(stream &&other) noexcept {
        static_cast<stream_ref &>(*this) = other;
        keeps_ = std::move(other.keeps_);
        owned_ = std::move(other.owned_);
        other.forget();
        return *this;
    }
    ~stream() = default;

private:
    friend class stream_ref;
    friend class connection_ref;

    stream(esrpc_stream *owned, std::shared_ptr<detail::connection_closure> keeps) noexcept
        : stream_ref(owned, keeps.get()), owned_(owned), keeps_(std::move(keeps)) {}
    void forget() noexcept {
        stream_ = nullptr;
        owner_ = nullptr;
    }

    detail::owned<esrpc_stream, esrpc_stream_release> owned_;
    /* Given up first, so that on_destroy is the end of the callbacks. */
    std::shared_ptr<detail::connection_closure> keeps_;
};

/** A stream that a client has opened, as its handler gets it. */
class incoming_stream : public stream_ref {
public:
    incoming_stream(const stream_ref &announced, message_view first) noexcept : stream_ref(announced), first_(first) {}

    /** Returns the first message, valid until the handler returns. */
    [[nodiscard]] message_view message() const noexcept { return first_; }
    /** Returns the first message's headers. */
    [[nodiscard]] headers_view headers() const noexcept { return first_.headers(); }
    /** Returns the first message's payload. */
    [[nodiscard]] bytes payload() const noexcept { return first_.payload(); }
    /** Returns the first message's payload as text. */
    [[nodiscard]] std::string_view text() const noexcept { return first_.text(); }

private:
    message_view first_;
};

/* ---- Connections ---- */

/** What a connection calls; each may be left out. A server's may be set until the callback that accepts it returns. */
struct connection_callbacks {
    /** Client only, once and first: the outcome of connecting. The connection is empty if that failed. */
    callback<void(connection_ref, std::error_code)> on_setup{};
    /** A message on stream-id 0 has arrived. */
    callback<void(connection_ref, message_view)> on_protocol_message{};
    /** Server only: a stream for whose operation there is no other handler. Without it such a stream fails. */
    stream_handler on_stream{};
    /** A send was refused with ESRPC_ERROR_WOULD_BLOCK, and there is room again. */
    callback<void(connection_ref)> on_writable{};
    /** The connection has ended. */
    callback<void(connection_ref, std::error_code)> on_shutdown{};
    /** A callback of the connection or of one of its streams has thrown. */
    exception_callback on_exception{};
};

/** A connection that somebody else owns, such as a callback's. */
class connection_ref {
public:
    connection_ref() noexcept = default;
    /** One of C. */
    explicit connection_ref(esrpc_connection *borrowed, detail::connection_closure *callbacks = nullptr) noexcept
        : connection_(borrowed), closure_(callbacks) {}

    /** Whether there is one. */
    explicit operator bool() const noexcept { return connection_ != nullptr; }
    [[nodiscard]] esrpc_connection *get() const noexcept { return connection_; }
    /** Returns a handle to keep. */
    [[nodiscard]] connection acquire() const;

    /** Calls an operation of the server and waits for the reply. Throws application_error if that is an error message;
     * given a code, it returns the error message with ESRPC_ERROR_APPLICATION_ERROR. */
    message call(std::string_view operation, bytes payload, milliseconds timeout, const headers &list = {},
                 error_sink errors = {}) const {
        esrpc_message *replied = nullptr;
        const esrpc_status status = esrpc_connection_call(connection_, bytes(operation).get(), list.get(),
                                                          payload.get(), detail::to_ms(timeout), &replied);
        message reply(replied);
        if (status == ESRPC_ERROR_APPLICATION_ERROR)
            errors.fail(application_error(reply));
        else
            errors.check(status);
        return reply;
    }
    /** The same without headers. */
    message call(std::string_view operation, bytes payload, milliseconds timeout, std::error_code &code) const {
        return call(operation, payload, timeout, headers(), code);
    }
    /** Calls an operation without waiting: the future gets what call would return or throw. */
    [[nodiscard]] std::future<message> call_async(std::string_view operation, bytes payload,
                                                  milliseconds timeout, const headers &list = {}) const;

    /** Makes a client's stream, which activate opens. */
    [[nodiscard]] stream new_stream(stream_callbacks callbacks, error_sink errors = {}) const;
    /** Makes a client's stream whose messages are taken with read. */
    [[nodiscard]] stream new_stream() const;
    [[nodiscard]] stream new_stream(std::error_code &code) const;

    /** Sends a message on stream-id 0, such as ESRPC_MESSAGE_TYPE_PING. */
    void send_protocol_message(std::int32_t type, bytes payload = {}, const headers &list = {},
                               std::int32_t flags = ESRPC_MESSAGE_FLAG_NONE, flush_callback on_flush = {},
                               error_sink errors = {}) const;

    /** Runs a function once on the connection's event-loop thread. */
    void run_on_loop(callback<void(std::error_code)> task, error_sink errors = {}) const;

    /** Closes the connection once everything accepted before is written; a reason of the application is 1000 or
     * more. */
    void close(esrpc_status reason = ESRPC_OK, error_sink errors = {}) const {
        errors.check(esrpc_connection_close(connection_, reason));
    }
    /** Closes the connection at once, without writing the rest. */
    void abort(error_sink errors = {}) const { errors.check(esrpc_connection_abort(connection_)); }
    /** Stops reading from the peer. */
    void pause_reading(error_sink errors = {}) const { errors.check(esrpc_connection_pause_reading(connection_)); }
    /** Resumes reading from the peer. */
    void resume_reading(error_sink errors = {}) const { errors.check(esrpc_connection_resume_reading(connection_)); }

    /** Waits until the connection is set up, or that has failed. */
    void wait_setup(milliseconds timeout, error_sink errors = {}) const {
        errors.check(esrpc_connection_wait_setup(connection_, detail::to_ms(timeout)));
    }
    /** Waits until everything accepted before is written. */
    void wait_flush(milliseconds timeout, error_sink errors = {}) const {
        errors.check(esrpc_connection_wait_flush(connection_, detail::to_ms(timeout)));
    }
    /** Waits until the connection has ended, and returns the reason; ESRPC_ERROR_TIMED_OUT if it has not. */
    [[nodiscard]] std::error_code wait_shutdown(milliseconds timeout) const noexcept {
        return make_code(esrpc_connection_wait_shutdown(connection_, detail::to_ms(timeout)));
    }
    /** Returns a future that gets the reason when the connection has ended. Closes nothing. Throws
     * ESRPC_ERROR_INVALID_STATE if the connection was not made or accepted through this header. */
    [[nodiscard]] std::future<std::error_code> shutdown_future() const;
    /** Closes the connection, and returns shutdown_future. */
    [[nodiscard]] std::future<std::error_code> shutdown(esrpc_status reason = ESRPC_OK) const {
        std::future<std::error_code> future = shutdown_future();
        close(reason);
        return future;
    }

    /** Returns an ESRPC_CONNECTION_STATE_ constant. */
    [[nodiscard]] std::int32_t state() const noexcept { return esrpc_connection_get_state(connection_); }
    /** Returns whether it is set up and neither side has begun to end it. */
    [[nodiscard]] bool is_open() const noexcept { return esrpc_connection_is_open(connection_); }
    /** Returns this side's address, such as "127.0.0.1:80" or "unix:/path"; valid as long as the handle. */
    [[nodiscard]] const char *local_address() const noexcept { return esrpc_connection_get_local_address(connection_); }
    /** Returns the peer's address. */
    [[nodiscard]] const char *remote_address() const noexcept {
        return esrpc_connection_get_remote_address(connection_);
    }
    /** Returns how many bytes are accepted but not written. */
    [[nodiscard]] std::size_t outbound_size() const noexcept { return esrpc_connection_get_outbound_size(connection_); }
    /** Returns the server's CONNECT_ACK; valid as long as the handle. */
    [[nodiscard]] message_view connect_ack() const noexcept {
        return message_view(esrpc_connection_get_connect_ack(connection_));
    }
    /** Returns why the connection ended. */
    [[nodiscard]] std::error_code end_status() const noexcept {
        return make_code(esrpc_connection_get_end_status(connection_));
    }
    /** Returns a sentence about its end; valid as long as the handle. */
    [[nodiscard]] const char *end_message() const noexcept { return esrpc_connection_get_end_message(connection_); }
    /** Returns the first exception that has left a callback of the connection or of its streams, if any. */
    [[nodiscard]] std::exception_ptr exception() const noexcept;
    /** Returns which process is at the other end of a Unix socket. */
    [[nodiscard]] esrpc_peer_credentials peer_credentials(error_sink errors = {}) const {
        esrpc_peer_credentials credentials{};
        credentials.struct_size = sizeof credentials;
        errors.check(esrpc_connection_get_peer_credentials(connection_, &credentials));
        return credentials;
    }
    /** Returns the negotiated version of TLS, such as "TLSv1.3"; "" without TLS. */
    [[nodiscard]] const char *tls_version() const noexcept { return esrpc_connection_get_tls_version(connection_); }
    /** Returns the negotiated cipher suite by its IANA name; "" without TLS. */
    [[nodiscard]] const char *tls_cipher_suite() const noexcept {
        return esrpc_connection_get_tls_cipher_suite(connection_);
    }
    /** Returns the negotiated application protocol; "" if there is none. */
    [[nodiscard]] const char *tls_alpn() const noexcept { return esrpc_connection_get_tls_alpn(connection_); }
    /** Returns a certificate of the peer's chain, DER; empty if there is none. */
    [[nodiscard]] bytes tls_peer_certificate(std::size_t index = 0) const noexcept {
        esrpc_bytes certificate{nullptr, 0};
        esrpc_connection_get_tls_peer_certificate(connection_, index, &certificate);
        return certificate;
    }
    /** Returns the statistics of the connection. */
    [[nodiscard]] esrpc_stats stats(error_sink errors = {}) const {
        esrpc_stats stats{};
        stats.struct_size = sizeof stats;
        errors.check(esrpc_connection_get_stats(connection_, &stats));
        return stats;
    }

protected:
    esrpc_connection *connection_ = nullptr;
    detail::connection_closure *closure_ = nullptr;

private:
    stream new_stream_to_read(error_sink errors) const;
};

/** A handle of a connection. Destroying it closes the connection of a client, unless detach was called, and leaves that
 * of a server open. */
class connection : public connection_ref {
public:
    connection() noexcept = default;
    /** Takes over a reference from C, which never closes the connection. */
    explicit connection(esrpc_connection *owned) noexcept : connection(owned, nullptr, false) {}

    connection(connection &&other) noexcept
        : connection_ref(other), owned_(std::move(other.owned_)), keeps_(std::move(other.keeps_)),
          closes_(std::exchange(other.closes_, false)) {
        other.forget();
    }
    connection &operator=(connection &&other) noexcept {
        if (this == &other) return *this;
        end();
        static_cast<connection_ref &>(*this) = other;
        keeps_ = std::move(other.keeps_);
        owned_ = std::move(other.owned_);
        closes_ = std::exchange(other.closes_, false);
        other.forget();
        return *this;
    }
    ~connection() { end(); }

    /** Lets the connection stay open when the handle is destroyed. */
    void detach() noexcept { closes_ = false; }

protected:
    friend class connection_ref;
    friend class client;
    friend class incoming;
    friend class detail::connection_closure;

    connection(esrpc_connection *owned, std::shared_ptr<detail::connection_closure> keeps, bool closes) noexcept
        : connection_ref(owned, keeps.get()), owned_(owned), keeps_(std::move(keeps)), closes_(closes) {}

private:
    void end() noexcept {
        if (std::exchange(closes_, false)) esrpc_connection_close(owned_.get(), ESRPC_OK);
    }
    void forget() noexcept {
        connection_ = nullptr;
        closure_ = nullptr;
    }

    detail::owned<esrpc_connection, esrpc_connection_release> owned_;
    /* Given up first, so that on_destroy is the end of the callbacks. */
    std::shared_ptr<detail::connection_closure> keeps_;
    bool closes_ = false;
};

/* ---- Callbacks of connections and streams ---- */

namespace detail {

using operations = std::map<std::string, stream_handler, std::less<>>;

inline const stream_handler *handler_of(const operations &known, std::string_view operation) {
    const auto found = known.find(operation);
    return found == known.end() ? nullptr : &found->second;
}

/* What a server calls: of its listener and of the connections accepted there, which keep it. */
struct service {
    callback<void(incoming)> on_connection;
    callback<bool(connection_ref, message_view)> on_connect;
    callback<void(std::error_code)> on_failed_connection;
    callback<void(std::error_code)> on_closed;
    exception_callback on_exception;
    stream_handler on_stream;
    operations known;

    void report(const std::exception_ptr &exception) const {
        /* There is nobody left to whom an exception of this callback could be reported. */
        if (on_exception) caught([&] { on_exception(exception); });
    }
};

/* Ends a server's stream whose callback threw; returns the exception if that is to be reported. */
inline std::exception_ptr fail_stream(esrpc_stream *stream, std::exception_ptr exception) {
    try {
        std::rethrow_exception(exception);
    } catch (const service_error &failure) {
        esrpc_stream_fail(stream, bytes(failure.type()).get(), bytes(failure.what()).get());
        return nullptr;
    } catch (...) {
        esrpc_stream_fail(stream, esrpc_bytes{nullptr, 0}, bytes("the server failed").get());
    }
    return exception;
}

class connection_closure final : public closure {
public:
    connection_closure(const void *of_runtime, std::shared_ptr<connection_callbacks> called,
                       std::shared_ptr<service> of_listener)
        : closure(of_runtime), callbacks(std::move(called)), listener(std::move(of_listener)) {}

    void abandon() noexcept override {
        children.clear(roster::everything, [](const closure &) { return true; });
        end(ESRPC_ERROR_RUNTIME_SHUTDOWN);
        std::optional<std::promise<connection>> unmade;
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            unmade.swap(connecting_);
        }
        if (unmade) unmade->set_exception(std::make_exception_ptr(stopped()));
        /* A handle may keep this, but nothing calls these any more. */
        const auto last_callbacks = std::move(callbacks);
        const auto last_listener = std::move(listener);
        const auto last_known = std::move(known);
    }

    std::shared_ptr<connection_closure> shared() {
        return std::static_pointer_cast<connection_closure>(shared_from_this());
    }

    static error stopped() {
        return error(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_status_message(ESRPC_ERROR_RUNTIME_SHUTDOWN));
    }

    std::future<connection> connecting() { return connecting_.emplace().get_future(); }

    std::future<std::error_code> shutdown() {
        std::promise<std::error_code> waiter;
        auto future = waiter.get_future();
        const std::lock_guard<std::mutex> lock(mutex_);
        if (ended_)
            waiter.set_value(*ended_);
        else
            waiters_.push_back(std::move(waiter));
        return future;
    }

    std::exception_ptr exception() noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        return exception_;
    }

    void report(const std::exception_ptr &exception) {
        if (exception == nullptr) return;
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (exception_ == nullptr) exception_ = exception;
        }
        if (callbacks->on_exception)
            caught([&] { callbacks->on_exception(exception); });
        else if (listener != nullptr)
            listener->report(exception);
    }

    static esrpc_connection_callbacks table() noexcept {
        esrpc_connection_callbacks table{};
        table.struct_size = sizeof table;
        table.on_setup = on_setup;
        table.on_protocol_message = on_protocol_message;
        table.on_incoming_stream = on_incoming_stream;
        table.on_writable = on_writable;
        table.on_shutdown = on_shutdown;
        table.on_destroy = on_destroy;
        return table;
    }

    std::shared_ptr<connection_callbacks> callbacks;
    std::shared_ptr<service> listener;
    operations known;
    /* Those of its streams, sends and tasks. */
    roster children;

private:
    static connection_closure &of(void *user_data) noexcept { return *static_cast<connection_closure *>(user_data); }

    template <typename Body>
    void run(esrpc_connection *connection, Body &&body) {
        if (const auto exception = caught(body)) {
            esrpc_connection_close(connection, callback_threw);
            report(exception);
        }
    }

    void end(esrpc_status reason) noexcept {
        std::vector<std::promise<std::error_code>> waiters;
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (!ended_) ended_ = make_code(reason);
            waiters.swap(waiters_);
        }
        for (auto &waiter : waiters) waiter.set_value(make_code(reason));
    }

    static void ESRPC_CALL on_setup(esrpc_connection *made, esrpc_status status, void *user_data) {
        connection_closure &self = of(user_data);
        std::optional<std::promise<connection>> promise;
        {
            const std::lock_guard<std::mutex> lock(self.mutex_);
            promise.swap(self.connecting_);
        }
        const error failure(status);
        self.run(made, [&] {
            if (self.callbacks->on_setup) self.callbacks->on_setup(connection_ref(made, &self), make_code(status));
        });
        if (status != ESRPC_OK) self.end(status);
        if (!promise) return;
        if (status == ESRPC_OK)
            promise->set_value(connection(esrpc_connection_acquire(made), self.shared(), true));
        else
            promise->set_exception(std::make_exception_ptr(failure));
    }

    static void ESRPC_CALL on_protocol_message(esrpc_connection *connection, const esrpc_message *message,
                                               void *user_data) {
        connection_closure &self = of(user_data);
        self.run(connection, [&] {
            if (self.callbacks->on_protocol_message)
                self.callbacks->on_protocol_message(connection_ref(connection, &self), message_view(message));
        });
    }

    static void ESRPC_CALL on_incoming_stream(esrpc_connection *, esrpc_stream *stream, const esrpc_message *first,
                                              void *user_data) {
        connection_closure &self = of(user_data);
        const stream_ref announced(stream, &self);
        const auto exception = caught([&] {
            const stream_handler *const handler = self.handler_of(announced.operation());
            if (handler != nullptr)
                (*handler)(incoming_stream(announced, message_view(first)));
            else
                announced.fail("", "there is no such operation");
        });
        if (exception != nullptr) self.report(fail_stream(stream, exception));
    }

    const stream_handler *handler_of(std::string_view operation) const {
        if (const auto own = detail::handler_of(known, operation)) return own;
        if (listener != nullptr) {
            if (const auto shared = detail::handler_of(listener->known, operation)) return shared;
        }
        if (callbacks->on_stream) return &callbacks->on_stream;
        return listener != nullptr && listener->on_stream ? &listener->on_stream : nullptr;
    }

    static void ESRPC_CALL on_writable(esrpc_connection *connection, void *user_data) {
        connection_closure &self = of(user_data);
        self.run(connection, [&] {
            if (self.callbacks->on_writable) self.callbacks->on_writable(connection_ref(connection, &self));
        });
    }

    static void ESRPC_CALL on_shutdown(esrpc_connection *connection, esrpc_status reason, void *user_data) {
        connection_closure &self = of(user_data);
        self.run(connection, [&] {
            if (self.callbacks->on_shutdown)
                self.callbacks->on_shutdown(connection_ref(connection, &self), make_code(reason));
        });
        self.end(reason);
    }

    static void ESRPC_CALL on_destroy(void *user_data) { roster::of_process().remove(of(user_data)); }

    std::mutex mutex_;
    std::exception_ptr exception_;
    std::optional<std::error_code> ended_;
    std::vector<std::promise<std::error_code>> waiters_;
    std::optional<std::promise<connection>> connecting_;
};

/* A closure of something on a connection: a stream, a send or a task. */
class child_closure : public closure {
public:
    explicit child_closure(connection_closure *of_connection)
        : closure(&unknown_runtime), owner(of_connection == nullptr ? nullptr : of_connection->shared()) {}

    static roster &home_of(connection_closure *owner) {
        return owner == nullptr ? roster::of_process() : owner->children;
    }

    void report(const std::exception_ptr &exception) {
        if (owner != nullptr) owner->report(exception);
    }

    /* Gives up what C has finished with. */
    std::shared_ptr<closure> finished() noexcept { return home_of(owner.get()).remove(*this); }

    const std::shared_ptr<connection_closure> owner;
};

/* A function that is called once with a status. */
class once_closure final : public child_closure {
public:
    once_closure(connection_closure *of_connection, callback<void(std::error_code)> called)
        : child_closure(of_connection), called_(std::move(called)) {}

    static void ESRPC_CALL call(esrpc_status status, void *user_data) {
        once_closure &self = *static_cast<once_closure *>(user_data);
        const auto last = self.finished();
        self.report(caught([&] { self.called_(make_code(status)); }));
    }

private:
    callback<void(std::error_code)> called_;
};

/* Calls a C function with a function to be called once and its user_data. */
template <typename Begin>
esrpc_status with_callback(connection_closure *owner, callback<void(std::error_code)> called, Begin &&begin) {
    void(ESRPC_CALL *none)(esrpc_status, void *) = nullptr;
    if (!called) return begin(none, nullptr);
    handover<once_closure> closure(child_closure::home_of(owner),
                                   std::make_shared<once_closure>(owner, std::move(called)));
    const esrpc_status status = begin(&once_closure::call, closure.get());
    if (status == ESRPC_OK) closure.accepted();
    return status;
}

class stream_closure final : public child_closure {
public:
    stream_closure(connection_closure *of_connection, stream_callbacks called, bool on_server)
        : child_closure(of_connection), callbacks_(std::move(called)), is_on_server_(on_server) {}

    static esrpc_stream_callbacks table() noexcept {
        esrpc_stream_callbacks table{};
        table.struct_size = sizeof table;
        table.on_message = on_message;
        table.on_writable = on_writable;
        table.on_closed = on_closed;
        table.on_destroy = on_destroy;
        return table;
    }

private:
    static stream_closure &of(void *user_data) noexcept { return *static_cast<stream_closure *>(user_data); }

    template <typename Body>
    void run(esrpc_stream *stream, Body &&body) {
        auto exception = caught(body);
        if (exception == nullptr) return;
        if (is_on_server_)
            exception = fail_stream(stream, exception);
        else
            esrpc_stream_close(stream);
        report(exception);
    }

    static void ESRPC_CALL on_message(esrpc_stream *stream, const esrpc_message *message, void *user_data) {
        stream_closure &self = of(user_data);
        self.run(stream, [&] {
            if (self.callbacks_.on_message)
                self.callbacks_.on_message(stream_ref(stream, self.owner.get()), message_view(message));
        });
    }
    static void ESRPC_CALL on_writable(esrpc_stream *stream, void *user_data) {
        stream_closure &self = of(user_data);
        self.run(stream, [&] {
            if (self.callbacks_.on_writable) self.callbacks_.on_writable(stream_ref(stream, self.owner.get()));
        });
    }
    static void ESRPC_CALL on_closed(esrpc_stream *stream, esrpc_status reason, void *user_data) {
        stream_closure &self = of(user_data);
        self.run(stream, [&] {
            if (self.callbacks_.on_closed)
                self.callbacks_.on_closed(stream_ref(stream, self.owner.get()), make_code(reason));
        });
    }
    static void ESRPC_CALL on_destroy(void *user_data) { of(user_data).finished(); }

    stream_callbacks callbacks_;
    bool is_on_server_;
};

/* The stream of a call whose reply a future gets. */
class call_closure final : public child_closure {
public:
    using child_closure::child_closure;

    std::future<message> future() { return reply_.get_future(); }

    void abandon() noexcept override { fail(connection_closure::stopped()); }

    void fail(const error &failure) noexcept {
        if (!is_done_.exchange(true)) reply_.set_exception(std::make_exception_ptr(failure));
    }

    static esrpc_stream_callbacks table() noexcept {
        esrpc_stream_callbacks table{};
        table.struct_size = sizeof table;
        table.on_message = on_message;
        table.on_closed = on_closed;
        table.on_destroy = on_destroy;
        return table;
    }

private:
    static call_closure &of(void *user_data) noexcept { return *static_cast<call_closure *>(user_data); }

    static void ESRPC_CALL on_message(esrpc_stream *stream, const esrpc_message *received, void *user_data) {
        call_closure &self = of(user_data);
        if (self.is_done_.exchange(true)) return;
        const message_view borrowed(received);
        const auto exception = caught([&] {
            if (borrowed.type() == ESRPC_MESSAGE_TYPE_APPLICATION_ERROR) throw application_error(borrowed);
            self.reply_.set_value(borrowed.copy());
        });
        if (exception != nullptr) self.reply_.set_exception(exception);
        if (!borrowed.is_last()) esrpc_stream_close(stream);
    }
    static void ESRPC_CALL on_closed(esrpc_stream *, esrpc_status reason, void *user_data) {
        if (reason == ESRPC_ERROR_STREAM_TIMED_OUT)
            of(user_data).fail(error(ESRPC_ERROR_TIMED_OUT, last_error_message()));
        else
            of(user_data).fail(error(reason == ESRPC_OK ? ESRPC_ERROR_STREAM_CLOSED : reason));
    }
    static void ESRPC_CALL on_destroy(void *user_data) { of(user_data).finished(); }

    std::promise<message> reply_;
    std::atomic<bool> is_done_{false};
};

}  // namespace detail

inline stream stream_ref::acquire() const {
    return stream(esrpc_stream_acquire(stream_), owner_ == nullptr ? nullptr : owner_->shared());
}

inline void stream_ref::activate(std::string_view operation, bytes payload, const headers &list, std::int32_t flags,
                                 flush_callback on_flush, error_sink errors) const {
    errors.check(detail::with_callback(owner_, std::move(on_flush), [&](auto called, void *user_data) {
        return esrpc_stream_activate(stream_, bytes(operation).get(), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, flags,
                                     list.get(), payload.get(), called, user_data);
    }));
}

inline void stream_ref::send_message(std::int32_t type, bytes payload, const headers &list, std::int32_t flags,
                                     flush_callback on_flush, error_sink errors) const {
    errors.check(detail::with_callback(owner_, std::move(on_flush), [&](auto called, void *user_data) {
        return esrpc_stream_send_message(stream_, type, flags, list.get(), payload.get(), called, user_data);
    }));
}

inline void stream_ref::accept(stream_callbacks callbacks, error_sink errors) const {
    detail::handover<detail::stream_closure> closure(
        detail::child_closure::home_of(owner_),
        std::make_shared<detail::stream_closure>(owner_, std::move(callbacks), true));
    const esrpc_stream_callbacks table = detail::stream_closure::table();
    const esrpc_status status = esrpc_stream_accept(stream_, &table, closure.get());
    if (status == ESRPC_OK) closure.accepted();
    errors.check(status);
}

inline stream stream_ref::accept() const { return accept_to_read({}); }

inline stream stream_ref::accept(std::error_code &code) const { return accept_to_read(code); }

inline stream stream_ref::accept_to_read(error_sink errors) const {
    stream kept = acquire();
    const esrpc_status status = esrpc_stream_accept(stream_, nullptr, nullptr);
    errors.check(status);
    return status == ESRPC_OK ? std::move(kept) : stream();
}

inline stream stream_ref::defer(milliseconds time, error_sink errors) const {
    stream kept = acquire();
    const esrpc_status status = esrpc_stream_defer(stream_, detail::to_ms(time));
    errors.check(status);
    return status == ESRPC_OK ? std::move(kept) : stream();
}

inline connection_ref stream_ref::connection() const noexcept {
    return connection_ref(esrpc_stream_get_connection(stream_), owner_);
}

inline connection connection_ref::acquire() const {
    return connection(esrpc_connection_acquire(connection_), closure_ == nullptr ? nullptr : closure_->shared(), false);
}

inline std::future<message> connection_ref::call_async(std::string_view operation, bytes payload,
                                                       milliseconds timeout, const headers &list) const {
    detail::handover<detail::call_closure> closure(detail::child_closure::home_of(closure_),
                                                   std::make_shared<detail::call_closure>(closure_));
    std::future<message> future = closure.get()->future();
    const esrpc_stream_callbacks table = detail::call_closure::table();
    esrpc_stream *made = nullptr;
    esrpc_status status = esrpc_connection_new_stream(connection_, &table, closure.get(), &made);
    if (status != ESRPC_OK) {
        closure.get()->fail(error(status));
        return future;
    }
    const auto kept = closure.accepted();
    const stream opened(made);
    status = esrpc_stream_set_deadline_ms(made, detail::to_ms(timeout));
    if (status == ESRPC_OK)
        status = esrpc_stream_activate(made, bytes(operation).get(), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE,
                                       ESRPC_MESSAGE_FLAG_NONE, list.get(), payload.get(), nullptr, nullptr);
    if (status != ESRPC_OK) kept->fail(error(status));
    return future;
}

inline stream connection_ref::new_stream(stream_callbacks callbacks, error_sink errors) const {
    detail::handover<detail::stream_closure> closure(
        detail::child_closure::home_of(closure_),
        std::make_shared<detail::stream_closure>(closure_, std::move(callbacks), false));
    const esrpc_stream_callbacks table = detail::stream_closure::table();
    esrpc_stream *made = nullptr;
    const esrpc_status status = esrpc_connection_new_stream(connection_, &table, closure.get(), &made);
    errors.check(status);
    return status == ESRPC_OK ? stream(made, closure.accepted()->owner) : stream();
}

inline stream connection_ref::new_stream() const { return new_stream_to_read({}); }

inline stream connection_ref::new_stream(std::error_code &code) const { return new_stream_to_read(code); }

inline stream connection_ref::new_stream_to_read(error_sink errors) const {
    esrpc_stream *made = nullptr;
    errors.check(esrpc_connection_new_stream(connection_, nullptr, nullptr, &made));
    return stream(made, closure_ == nullptr ? nullptr : closure_->shared());
}

inline void connection_ref::send_protocol_message(std::int32_t type, bytes payload, const headers &list,
                                                  std::int32_t flags, flush_callback on_flush,
                                                  error_sink errors) const {
    errors.check(detail::with_callback(closure_, std::move(on_flush), [&](auto called, void *user_data) {
        return esrpc_connection_send_protocol_message(connection_, type, flags, list.get(), payload.get(), called,
                                                      user_data);
    }));
}

inline void connection_ref::run_on_loop(callback<void(std::error_code)> task, error_sink errors) const {
    errors.check(detail::with_callback(closure_, std::move(task), [&](auto called, void *user_data) {
        return esrpc_connection_run_on_loop(connection_, called, user_data);
    }));
}

inline std::future<std::error_code> connection_ref::shutdown_future() const {
    if (connection_ == nullptr) throw detail::empty_handle("connection");
    if (closure_ == nullptr)
        throw error(ESRPC_ERROR_INVALID_STATE, "the connection was not made through this header");
    return closure_->shutdown();
}

inline std::exception_ptr connection_ref::exception() const noexcept {
    return closure_ == nullptr ? nullptr : closure_->exception();
}

/* ---- Runtimes ---- */

/** Receives log messages, on any thread. Must not call the library, not even to destroy a handle. */
using log_callback = callback<void(std::int32_t level, std::string_view target, std::string_view line)>;

namespace detail {

class runtime_closure final : public closure {
public:
    runtime_closure(std::shared_ptr<log_callback> on_log_called, std::shared_ptr<callback<void()>> on_ended_called,
                    bool of_default) noexcept
        : log_(std::move(on_log_called)), ended_(std::move(on_ended_called)), is_of_default_(of_default) {}

    static void ESRPC_CALL on_log(std::int32_t level, const char *target, const char *line, void *user_data) {
        const runtime_closure &self = *static_cast<runtime_closure *>(user_data);
        caught([&] { (*self.log_)(level, target, line); });
    }
    static void ESRPC_CALL on_ended(void *user_data) {
        runtime_closure &self = *static_cast<runtime_closure *>(user_data);
        const auto last = self.is_of_default_ ? nullptr : roster::of_process().remove(self);
        if (*self.ended_) caught([&] { (*self.ended_)(); });
    }

private:
    std::shared_ptr<log_callback> log_;
    std::shared_ptr<callback<void()>> ended_;
    bool is_of_default_;
};

/* Stops runtimes. Closures that were made in callbacks or handed over during the first pass are freed by the second. */
template <typename Stop, typename Predicate>
esrpc_status stop(milliseconds timeout, Stop &&stop_runtimes, Predicate &&is_stopped) {
    for (int pass = 0; pass < 2; ++pass) {
        const std::uint64_t begun = roster::of_process().begin_stop();
        if (const esrpc_status status = stop_runtimes()) return status;
        if (pass == 0) roster::of_process().await_handovers(begun, timeout);
        roster::of_process().clear(begun, is_stopped);
    }
    return ESRPC_OK;
}

}  // namespace detail

/** Settings of a runtime. */
class runtime_options {
public:
    /** One thread and no log. */
    runtime_options() noexcept : options_(esrpc_runtime_options_new()) {}

    /** Sets the number of event-loop threads. */
    runtime_options &thread_count(std::size_t count) & {
        failure_.note(esrpc_runtime_options_set_thread_count(get(), count));
        return *this;
    }
    runtime_options &&thread_count(std::size_t count) && { return std::move(thread_count(count)); }
    /** Sets where log messages go; level is an ESRPC_LOG_LEVEL_ constant. */
    runtime_options &log(std::int32_t level, log_callback on_log) & {
        level_ = level;
        log_ = std::make_shared<log_callback>(std::move(on_log));
        return *this;
    }
    runtime_options &&log(std::int32_t level, log_callback on_log) && {
        return std::move(log(level, std::move(on_log)));
    }
    /** Sets what is called when everything on the runtime has ended. */
    runtime_options &on_ended(callback<void()> ended) & {
        ended_ = std::make_shared<callback<void()>>(std::move(ended));
        return *this;
    }
    runtime_options &&on_ended(callback<void()> ended) && { return std::move(on_ended(std::move(ended))); }
    [[nodiscard]] esrpc_runtime_options *get() const noexcept { return options_.get(); }

private:
    friend class runtime;

    std::shared_ptr<detail::runtime_closure> prepared(bool of_default, error_sink errors) const {
        if (get() == nullptr || failure_.get()) {
            errors.fail(get() == nullptr ? detail::empty_handle("runtime_options") : *failure_.get());
            return nullptr;
        }
        auto closure = std::make_shared<detail::runtime_closure>(log_, ended_, of_default);
        const auto on_log = *log_ ? detail::runtime_closure::on_log : nullptr;
        esrpc_status status = esrpc_runtime_options_set_log(get(), level_, on_log, closure.get());
        if (status == ESRPC_OK)
            status = esrpc_runtime_options_set_on_ended(get(), detail::runtime_closure::on_ended, closure.get());
        errors.check(status);
        return status == ESRPC_OK ? closure : nullptr;
    }

    detail::owned<esrpc_runtime_options, esrpc_runtime_options_release> options_;
    detail::first_failure failure_;
    std::int32_t level_ = ESRPC_LOG_LEVEL_OFF;
    std::shared_ptr<log_callback> log_ = std::make_shared<log_callback>();
    std::shared_ptr<callback<void()>> ended_ = std::make_shared<callback<void()>>();
};

/** A handle of event-loop threads and what lives on them. Destroying it ends nothing. */
class runtime {
public:
    /** Starts the threads of a new runtime. */
    runtime() : runtime(runtime_options()) {}
    /** The same with options. After an error that was returned as a value, the handle is empty. */
    explicit runtime(const runtime_options &options, error_sink errors = {}) {
        auto prepared = options.prepared(false, errors);
        if (prepared == nullptr) return;
        detail::handover<detail::runtime_closure> closure(detail::roster::of_process(), std::move(prepared));
        esrpc_runtime *made = nullptr;
        /* It cannot end before this handle is released, so that its closure still exists. */
        const esrpc_status status = esrpc_runtime_new(options.get(), &made);
        errors.check(status);
        if (status != ESRPC_OK) return;
        closure.get()->runtime = made;
        closure.accepted();
        runtime_.reset(made);
        is_empty_ = false;
    }
    /** Takes over a reference from C, where NULL stands for the default runtime. */
    explicit runtime(esrpc_runtime *owned) noexcept : runtime_(owned), is_empty_(false) {}

    runtime(runtime &&other) noexcept
        : runtime_(std::move(other.runtime_)), is_empty_(std::exchange(other.is_empty_, true)) {}
    runtime &operator=(runtime &&other) noexcept {
        runtime_ = std::move(other.runtime_);
        is_empty_ = std::exchange(other.is_empty_, true);
        return *this;
    }
    ~runtime() = default;

    /** Returns a handle of the default runtime, whichever that is when the handle is used. */
    [[nodiscard]] static runtime of_process() noexcept { return runtime(nullptr); }
    /** Sets the options of the default runtimes that are started from now on. */
    static void set_default_options(const runtime_options &options, error_sink errors = {}) {
        static std::mutex &mutex = *new std::mutex;
        static auto &current = *new std::shared_ptr<detail::closure>;
        std::shared_ptr<detail::closure> closure = options.prepared(true, errors);
        if (closure == nullptr) return;
        const std::lock_guard<std::mutex> lock(mutex);
        const esrpc_status status = esrpc_runtime_set_default_options(options.get());
        errors.check(status);
        if (status == ESRPC_OK) current.swap(closure);
    }

    /** Whether there is one, of its own or the default one: not in a handle that was moved from. */
    explicit operator bool() const noexcept { return !is_empty_; }
    /** Returns another handle. */
    [[nodiscard]] runtime acquire() const noexcept {
        runtime another(esrpc_runtime_acquire(get()));
        another.is_empty_ = is_empty_;
        return another;
    }
    /** Returns the C handle; NULL, which C takes for the default runtime, also if this is empty. */
    [[nodiscard]] esrpc_runtime *get() const noexcept { return runtime_.get(); }

    /** Aborts every connection and closes every listener, with all callbacks. */
    void shutdown(error_sink errors = {}) const { check(errors, [&] { return esrpc_runtime_shutdown(get()); }); }
    /** Ends everything gracefully. */
    void drain(milliseconds deadline, error_sink errors = {}) const {
        check(errors, [&] { return esrpc_runtime_drain(get(), detail::to_ms(deadline)); });
    }
    /** Waits until everything has ended and all handles are released. */
    void join(milliseconds timeout, error_sink errors = {}) const {
        check(errors, [&] { return esrpc_runtime_join(get(), detail::to_ms(timeout)); });
    }
    /** Ends everything at once, even while handles are in use. Afterwards no callback is called, and all of them are
     * destroyed, on this thread. Futures get ESRPC_ERROR_RUNTIME_SHUTDOWN. */
    void stop(milliseconds timeout, error_sink errors = {}) const {
        check(errors, [&] {
            return detail::stop(timeout, [&] { return esrpc_runtime_stop(get(), detail::to_ms(timeout)); },
                                [&](const detail::closure &closure) { return closure.runtime == get(); });
        });
    }
    /** Returns how many streams are open. */
    [[nodiscard]] std::size_t open_streams() const noexcept {
        return is_empty_ ? 0 : esrpc_runtime_get_open_streams(get());
    }
    /** Returns how many connections have not ended. */
    [[nodiscard]] std::size_t open_connections() const noexcept {
        return is_empty_ ? 0 : esrpc_runtime_get_open_connections(get());
    }
    /** Returns the statistics of the runtime. */
    [[nodiscard]] esrpc_stats stats(error_sink errors = {}) const {
        esrpc_stats stats{};
        stats.struct_size = sizeof stats;
        check(errors, [&] { return esrpc_runtime_get_stats(get(), &stats); });
        return stats;
    }

private:
    template <typename Call>
    void check(const error_sink &errors, Call &&call) const {
        if (is_empty_)
            errors.fail(detail::empty_handle("runtime"));
        else
            errors.check(call());
    }

    /* nullptr for the default runtime, so that it cannot mean that there is none. */
    detail::owned<esrpc_runtime, esrpc_runtime_release> runtime_;
    bool is_empty_ = true;
};

/** Stops every runtime of the process, also those of other code, as runtime::stop does. */
inline void stop_all(milliseconds timeout, error_sink errors = {}) {
    errors.check(detail::stop(timeout, [&] { return esrpc_stop_all(detail::to_ms(timeout)); },
                              [](const detail::closure &) { return true; }));
}

/* ---- Clients ---- */

/** Where and how to connect: esrpc::client("127.0.0.1", 8033).handshake(headers).connect(5s). One client may connect
 * any number of times; its connections share the callbacks, which are set before the first of them. */
class client {
public:
    /** Connects nowhere yet. */
    client() : options_(esrpc_client_options_new()), callbacks_(std::make_shared<connection_callbacks>()) {}
    /** Connects to a host and port. */
    client(std::string_view host, std::uint32_t port) : client() {
        set(esrpc_client_options_set_host, bytes(host).get(), port);
    }

    /** Connects to a host and port. */
    client &host(std::string_view name, std::uint32_t port) & {
        return set(esrpc_client_options_set_host, bytes(name).get(), port);
    }
    client &&host(std::string_view name, std::uint32_t port) && { return std::move(host(name, port)); }
    /** Connects to the path of a Unix socket, or on Windows to a named pipe. */
    client &unix_path(std::string_view path) & { return set(esrpc_client_options_set_unix_path, bytes(path).get()); }
    client &&unix_path(std::string_view path) && { return std::move(unix_path(path)); }
    /** Connects to the abstract name of a Unix socket (Linux). */
    client &unix_abstract(std::string_view name) & {
        return set(esrpc_client_options_set_unix_abstract, bytes(name).get());
    }
    client &&unix_abstract(std::string_view name) && { return std::move(unix_abstract(name)); }
    /** Uses a connected socket, which belongs to the library once connecting has begun. */
    client &socket(esrpc_socket connected) & { return set(esrpc_client_options_set_socket, connected); }
    client &&socket(esrpc_socket connected) && { return std::move(socket(connected)); }
    /** Restricts which addresses of the host are tried; an ESRPC_ADDRESS_FAMILY_ constant. */
    client &address_family(std::int32_t family) & { return set(esrpc_client_options_set_address_family, family); }
    client &&address_family(std::int32_t family) && { return std::move(address_family(family)); }
    /** Sets this side's own address. */
    client &local_address(std::string_view address, std::uint32_t port = 0) & {
        return set(esrpc_client_options_set_local_address, bytes(address).get(), port);
    }
    client &&local_address(std::string_view address, std::uint32_t port = 0) && {
        return std::move(local_address(address, port));
    }
    /** Restricts TCP to one network interface (Linux). */
    client &network_interface(std::string_view name) & {
        return set(esrpc_client_options_set_interface, bytes(name).get());
    }
    client &&network_interface(std::string_view name) && { return std::move(network_interface(name)); }
    /** Uses TLS; the server's name is the host unless another is given. */
    client &tls(const tls_config &config, std::string_view server_name = {}) & {
        failure_.require(static_cast<bool>(config), "tls_config");
        return set(esrpc_client_options_set_tls, config.get(), bytes(server_name).get());
    }
    client &&tls(const tls_config &config, std::string_view server_name = {}) && {
        return std::move(tls(config, server_name));
    }
    /** Offers these application protocols rather than those of the TLS settings. */
    client &tls_alpn(std::initializer_list<std::string_view> protocols) & {
        std::vector<esrpc_bytes> names;
        for (const std::string_view protocol : protocols) names.push_back(bytes(protocol).get());
        return set(esrpc_client_options_set_tls_alpn, names.data(), names.size());
    }
    client &&tls_alpn(std::initializer_list<std::string_view> protocols) && { return std::move(tls_alpn(protocols)); }
    /** Sets limits and times. */
    client &options(const connection_options &connection) & {
        failure_.note(connection.failure_);
        failure_.require(connection.get() != nullptr, "connection_options");
        return set(esrpc_client_options_set_connection_options, connection.get());
    }
    client &&options(const connection_options &connection) && { return std::move(options(connection)); }
    /** Uses the threads of this runtime rather than those of the default one. */
    client &use_runtime(const runtime &chosen) & {
        failure_.require(static_cast<bool>(chosen), "runtime");
        runtime_ = chosen.get();
        return set(esrpc_client_options_set_runtime, chosen.get());
    }
    client &&use_runtime(const runtime &chosen) && { return std::move(use_runtime(chosen)); }
    /** Sends CONNECT with these headers. Without this it is sent without any. */
    client &handshake(const headers &connect, bytes payload = {}) & {
        sends_connect_ = false;
        return set(esrpc_client_options_set_handshake, connect.get(), payload.get());
    }
    client &&handshake(const headers &connect, bytes payload = {}) && { return std::move(handshake(connect, payload)); }
    /** Leaves CONNECT to the application, which sends it after setup. */
    client &manual_handshake() & noexcept {
        sends_connect_ = false;
        return *this;
    }
    client &&manual_handshake() && noexcept { return std::move(manual_handshake()); }

    /** Sets all callbacks. */
    client &callbacks(connection_callbacks called) & {
        if (callbacks_ != nullptr) *callbacks_ = std::move(called);
        return *this;
    }
    client &&callbacks(connection_callbacks called) && { return std::move(callbacks(std::move(called))); }
    /** Sets one callback; see connection_callbacks. */
    client &on_setup(callback<void(connection_ref, std::error_code)> called) & noexcept {
        return set(&connection_callbacks::on_setup, std::move(called));
    }
    client &&on_setup(callback<void(connection_ref, std::error_code)> called) && noexcept {
        return std::move(on_setup(std::move(called)));
    }
    /** See connection_callbacks. */
    client &on_protocol_message(callback<void(connection_ref, message_view)> called) & noexcept {
        return set(&connection_callbacks::on_protocol_message, std::move(called));
    }
    client &&on_protocol_message(callback<void(connection_ref, message_view)> called) && noexcept {
        return std::move(on_protocol_message(std::move(called)));
    }
    /** See connection_callbacks. */
    client &on_writable(callback<void(connection_ref)> called) & noexcept {
        return set(&connection_callbacks::on_writable, std::move(called));
    }
    client &&on_writable(callback<void(connection_ref)> called) && noexcept {
        return std::move(on_writable(std::move(called)));
    }
    /** See connection_callbacks. */
    client &on_shutdown(callback<void(connection_ref, std::error_code)> called) & noexcept {
        return set(&connection_callbacks::on_shutdown, std::move(called));
    }
    client &&on_shutdown(callback<void(connection_ref, std::error_code)> called) && noexcept {
        return std::move(on_shutdown(std::move(called)));
    }
    /** See connection_callbacks. */
    client &on_exception(exception_callback called) & noexcept {
        return set(&connection_callbacks::on_exception, std::move(called));
    }
    client &&on_exception(exception_callback called) && noexcept { return std::move(on_exception(std::move(called))); }

    /** Connects, and waits until the connection can open streams. */
    [[nodiscard]] connection connect(milliseconds timeout, error_sink errors = {}) {
        connection made = start(errors);
        if (!made) return made;
        const esrpc_status status = esrpc_connection_wait_setup(made.get(), detail::to_ms(timeout));
        /* Does not change what the thread's last error is. */
        if (status != ESRPC_OK) esrpc_connection_abort(made.get());
        errors.check(status);
        return status == ESRPC_OK ? std::move(made) : connection();
    }
    /** Begins to connect, and returns at once. The future gets the connection when it can open streams, or the error.
     * A connection that is never taken out of its future is closed with it. */
    [[nodiscard]] std::future<connection> connect_async() {
        connection made;
        std::future<connection> future;
        const esrpc_status status = begin(made, &future);
        made.detach();
        if (status == ESRPC_OK) return future;
        std::promise<connection> failed;
        failed.set_exception(std::make_exception_ptr(failure_.get() ? *failure_.get() : error(status)));
        return failed.get_future();
    }
    /** Begins to connect, and returns the connection at once; on_setup reports the outcome. */
    [[nodiscard]] connection start(error_sink errors = {}) {
        connection made;
        const esrpc_status status = begin(made, nullptr);
        if (failure_.get())
            errors.fail(*failure_.get());
        else
            errors.check(status);
        return made;
    }

    /** Returns the C options, for rare settings; the runtime is set by use_runtime alone. */
    [[nodiscard]] esrpc_client_options *get() const noexcept { return options_.get(); }
    /** Returns the first setting that was refused, if one was. */
    [[nodiscard]] const std::optional<error> &failure() const noexcept { return failure_.get(); }

private:
    template <typename Setter, typename... Arguments>
    client &set(Setter *setter, const Arguments &...arguments) {
        failure_.require(get() != nullptr, "client");
        failure_.note(setter(get(), arguments...));
        return *this;
    }
    template <typename Callback>
    client &set(Callback connection_callbacks::*member, Callback called) noexcept {
        if (callbacks_ != nullptr) (*callbacks_).*member = std::move(called);
        return *this;
    }

    esrpc_status begin(connection &made, std::future<connection> *future) {
        failure_.require(get() != nullptr, "client");
        if (std::exchange(sends_connect_, false))
            set(esrpc_client_options_set_handshake, nullptr, esrpc_bytes{nullptr, 0});
        if (failure_.get()) return failure_.get()->status();
        detail::handover<detail::connection_closure> closure(
            detail::roster::of_process(),
            std::make_shared<detail::connection_closure>(runtime_, callbacks_, nullptr));
        if (future != nullptr) *future = closure.get()->connecting();
        const esrpc_connection_callbacks table = detail::connection_closure::table();
        esrpc_connection *begun = nullptr;
        const esrpc_status status = esrpc_connection_connect(get(), &table, closure.get(), &begun);
        if (status == ESRPC_OK) made = connection(begun, closure.accepted(), true);
        return status;
    }

    detail::owned<esrpc_client_options, esrpc_client_options_release> options_;
    std::shared_ptr<connection_callbacks> callbacks_;
    detail::first_failure failure_;
    bool sends_connect_ = true;
    const void *runtime_ = nullptr;
};

/* ---- Servers ---- */

/** A connection that a server has accepted. Callbacks are set until the callback that accepted it returns. */
class accepted : public connection {
public:
    /** Handles the streams of an operation. */
    accepted &on_stream(std::string operation, stream_handler handler) & {
        if (closure_ != nullptr) closure_->known.insert_or_assign(std::move(operation), std::move(handler));
        return *this;
    }
    accepted &&on_stream(std::string operation, stream_handler handler) && {
        return std::move(on_stream(std::move(operation), std::move(handler)));
    }
    /** Handles the streams of all other operations. */
    accepted &on_stream(stream_handler handler) & noexcept {
        return set(&connection_callbacks::on_stream, std::move(handler));
    }
    accepted &&on_stream(stream_handler handler) && noexcept { return std::move(on_stream(std::move(handler))); }
    /** See connection_callbacks. */
    accepted &on_protocol_message(callback<void(connection_ref, message_view)> called) & noexcept {
        return set(&connection_callbacks::on_protocol_message, std::move(called));
    }
    accepted &&on_protocol_message(callback<void(connection_ref, message_view)> called) && noexcept {
        return std::move(on_protocol_message(std::move(called)));
    }
    /** See connection_callbacks. */
    accepted &on_writable(callback<void(connection_ref)> called) & noexcept {
        return set(&connection_callbacks::on_writable, std::move(called));
    }
    accepted &&on_writable(callback<void(connection_ref)> called) && noexcept {
        return std::move(on_writable(std::move(called)));
    }
    /** See connection_callbacks. */
    accepted &on_shutdown(callback<void(connection_ref, std::error_code)> called) & noexcept {
        return set(&connection_callbacks::on_shutdown, std::move(called));
    }
    accepted &&on_shutdown(callback<void(connection_ref, std::error_code)> called) && noexcept {
        return std::move(on_shutdown(std::move(called)));
    }
    /** See connection_callbacks. */
    accepted &on_exception(exception_callback called) & noexcept {
        return set(&connection_callbacks::on_exception, std::move(called));
    }
    accepted &&on_exception(exception_callback called) && noexcept {
        return std::move(on_exception(std::move(called)));
    }

private:
    friend class incoming;
    explicit accepted(connection &&made) noexcept : connection(std::move(made)) {}

    /* It is empty after an error that was returned as a value. */
    template <typename Callback>
    accepted &set(Callback connection_callbacks::*member, Callback called) noexcept {
        if (closure_ == nullptr || closure_->callbacks == nullptr) return *this;
        (*closure_->callbacks).*member = std::move(called);
        return *this;
    }
};

/** A connection that a listener announces: accept or defer it before the callback returns, or it is closed. */
class incoming : public connection_ref {
public:
    /** For the listener that announces it. */
    incoming(esrpc_connection *announced, std::shared_ptr<detail::service> of_listener, const void *of_runtime) noexcept
        : connection_ref(announced), service_(std::move(of_listener)), runtime_(of_runtime) {}

    /** Accepts the connection. */
    accepted accept(connection_callbacks callbacks = {}, error_sink errors = {}) const {
        detail::handover<detail::connection_closure> closure(
            detail::roster::of_process(),
            std::make_shared<detail::connection_closure>(
                runtime_, std::make_shared<connection_callbacks>(std::move(callbacks)), service_));
        const esrpc_connection_callbacks table = detail::connection_closure::table();
        const esrpc_status status = esrpc_connection_accept(connection_, &table, closure.get());
        errors.check(status);
        if (status != ESRPC_OK) return accepted({});
        return accepted(connection(esrpc_connection_acquire(connection_), closure.accepted(), false));
    }

    /** Refuses the connection. */
    void refuse() const noexcept { esrpc_connection_close(connection_, ESRPC_OK); }

    /** Lets the server decide later, on any thread. */
    [[nodiscard]] deferred_connection defer(error_sink errors = {}) const;

private:
    friend class deferred_connection;

    std::shared_ptr<detail::service> service_;
    const void *runtime_;
};

/** A connection about which a server has yet to decide. It is closed if this is destroyed first. */
class deferred_connection {
public:
    /** Accepts the connection, with callbacks and those of the server. */
    connection accept(connection_callbacks callbacks = {}, error_sink errors = {}) const {
        return incoming(kept_.get(), service_, runtime_).accept(std::move(callbacks), errors);
    }
    /** Refuses the connection. */
    void refuse() const noexcept { esrpc_connection_close(kept_.get(), ESRPC_OK); }
    /** Returns the connection, for example to find out who its peer is. */
    [[nodiscard]] connection_ref get() const noexcept { return kept_; }

private:
    friend class incoming;
    deferred_connection(const incoming &announced, connection kept) noexcept
        : service_(announced.service_), runtime_(announced.runtime_), kept_(std::move(kept)) {}

    std::shared_ptr<detail::service> service_;
    const void *runtime_;
    connection kept_;
};

inline deferred_connection incoming::defer(error_sink errors) const {
    connection kept = acquire();
    const esrpc_status status = esrpc_connection_defer(connection_);
    errors.check(status);
    return deferred_connection(*this, status == ESRPC_OK ? std::move(kept) : connection());
}

/** A handle of a listening socket. Destroying it closes the socket, unless detach was called, and no connections. */
class listener {
public:
    listener() noexcept = default;
    /** Listens on an address; CONNECT is answered by the library. For anything else see server. */
    listener(std::string_view host, std::uint32_t port, callback<void(incoming)> on_connection);
    /** Takes over a reference from C, which never closes it. */
    explicit listener(esrpc_listener *owned) noexcept : listener_(owned), closes_(false) {}

    listener(listener &&other) noexcept : listener_(std::move(other.listener_)), closes_(other.closes_) {}
    listener &operator=(listener &&other) noexcept {
        if (this == &other) return *this;
        end();
        listener_ = std::move(other.listener_);
        closes_ = other.closes_;
        return *this;
    }
    ~listener() { end(); }

    /** Lets it go on listening when the handle is destroyed. */
    void detach() noexcept { closes_ = false; }

    /** Whether there is one. */
    explicit operator bool() const noexcept { return listener_ != nullptr; }
    [[nodiscard]] esrpc_listener *get() const noexcept { return listener_.get(); }
    /** Returns another handle, which never closes it. */
    [[nodiscard]] listener acquire() const noexcept { return listener(esrpc_listener_acquire(get())); }

    /** Stops listening. Connections go on. */
    void close(error_sink errors = {}) const { errors.check(esrpc_listener_close(get())); }
    /** Ends the listener and its connections gracefully. */
    void drain(milliseconds deadline, error_sink errors = {}) const {
        errors.check(esrpc_listener_drain(get(), detail::to_ms(deadline)));
    }
    /** Waits until it is closed, after drain until its connections have ended. */
    void wait_closed(milliseconds timeout, error_sink errors = {}) const {
        errors.check(esrpc_listener_wait_closed(get(), detail::to_ms(timeout)));
    }
    /** Returns the address, such as "127.0.0.1:80" or "unix:/path"; valid as long as the handle. */
    [[nodiscard]] const char *address() const noexcept { return esrpc_listener_get_address(get()); }
    /** Returns the port, also if the system chose it. */
    [[nodiscard]] std::uint32_t port() const noexcept { return esrpc_listener_get_port(get()); }
    /** Returns how many streams of its connections are open. */
    [[nodiscard]] std::size_t open_streams() const noexcept { return esrpc_listener_get_open_streams(get()); }
    /** Returns how many connections have not ended. */
    [[nodiscard]] std::size_t open_connections() const noexcept { return esrpc_listener_get_open_connections(get()); }
    /** Replaces the TLS settings for new connections. */
    void set_tls(const tls_config &config, error_sink errors = {}) const {
        errors.check(esrpc_listener_set_tls(get(), config.get()));
    }
    /** Takes a connected socket as if it had been accepted here. */
    void adopt_connection(esrpc_socket connected, error_sink errors = {}) const {
        errors.check(esrpc_listener_adopt_connection(get(), connected));
    }
    /** Duplicates the listening socket for a successor; the caller closes it. */
    [[nodiscard]] esrpc_socket dup_socket(error_sink errors = {}) const {
        auto duplicate = static_cast<esrpc_socket>(-1);
        errors.check(esrpc_listener_dup_socket(get(), &duplicate));
        return duplicate;
    }
    /** Returns the statistics of the listener and its connections. */
    [[nodiscard]] esrpc_stats stats(error_sink errors = {}) const {
        esrpc_stats stats{};
        stats.struct_size = sizeof stats;
        errors.check(esrpc_listener_get_stats(get(), &stats));
        return stats;
    }

private:
    friend class server;

    void end() noexcept {
        if (closes_ && listener_ != nullptr) esrpc_listener_close(listener_.get());
    }

    detail::owned<esrpc_listener, esrpc_listener_release> listener_;
    bool closes_ = true;
};

namespace detail {

class listener_closure final : public closure {
public:
    listener_closure(const void *of_runtime, std::shared_ptr<service> called)
        : closure(of_runtime), service_(std::move(called)) {}

    static esrpc_listener_callbacks table() noexcept {
        esrpc_listener_callbacks table{};
        table.struct_size = sizeof table;
        table.on_incoming_connection = on_incoming_connection;
        table.on_failed_connection = on_failed_connection;
        table.on_closed = on_closed;
        table.on_destroy = on_destroy;
        return table;
    }

    static bool ESRPC_CALL on_connect(esrpc_connection *connection, const esrpc_message *connect, void *user_data) {
        const service &called = *static_cast<service *>(user_data);
        bool is_accepted = false;
        const auto exception = caught(
            [&] { is_accepted = called.on_connect(connection_ref(connection), message_view(connect)); });
        if (exception != nullptr) called.report(exception);
        return is_accepted && exception == nullptr;
    }

private:
    static void ESRPC_CALL on_incoming_connection(esrpc_listener *, esrpc_connection *connection, void *user_data) {
        const listener_closure &self = *static_cast<listener_closure *>(user_data);
        const auto exception = caught([&] {
            incoming announced(connection, self.service_, self.runtime);
            if (self.service_->on_connection)
                self.service_->on_connection(std::move(announced));
            else
                announced.accept();
        });
        if (exception == nullptr) return;
        esrpc_connection_close(connection, callback_threw);
        self.service_->report(exception);
    }
    static void ESRPC_CALL on_failed_connection(esrpc_listener *, esrpc_status status, void *user_data) {
        call(user_data, &service::on_failed_connection, status);
    }
    static void ESRPC_CALL on_closed(esrpc_listener *, esrpc_status reason, void *user_data) {
        call(user_data, &service::on_closed, reason);
    }
    static void ESRPC_CALL on_destroy(void *user_data) {
        roster::of_process().remove(*static_cast<listener_closure *>(user_data));
    }

    static void call(void *user_data, callback<void(std::error_code)> service::*called, esrpc_status status) {
        const service &calls = *static_cast<listener_closure *>(user_data)->service_;
        const auto exception = caught([&] {
            if (calls.*called) (calls.*called)(make_code(status));
        });
        if (exception != nullptr) calls.report(exception);
    }

    std::shared_ptr<service> service_;
};

}  // namespace detail

/** Where and how to listen: esrpc::server("::", 8033).on_stream("Echo", echo).listen(). With a runtime of several
 * threads its callbacks may be called on several at once. They are set before listen. */
class server {
public:
    /** Listens nowhere yet. */
    server() : options_(esrpc_listener_options_new()), service_(std::make_shared<detail::service>()) {}
    /** Listens on an address of this machine; port 0: one that the system chooses. */
    server(std::string_view host, std::uint32_t port) : server() {
        set(esrpc_listener_options_set_host, bytes(host).get(), port);
    }

    /** Listens on an address of this machine. */
    server &host(std::string_view address, std::uint32_t port) & {
        return set(esrpc_listener_options_set_host, bytes(address).get(), port);
    }
    server &&host(std::string_view address, std::uint32_t port) && { return std::move(host(address, port)); }
    /** Listens on the path of a Unix socket, or on Windows of a named pipe. */
    server &unix_path(std::string_view path) & { return set(esrpc_listener_options_set_unix_path, bytes(path).get()); }
    server &&unix_path(std::string_view path) && { return std::move(unix_path(path)); }
    /** Listens on the abstract name of a Unix socket (Linux). */
    server &unix_abstract(std::string_view name) & {
        return set(esrpc_listener_options_set_unix_abstract, bytes(name).get());
    }
    server &&unix_abstract(std::string_view name) && { return std::move(unix_abstract(name)); }
    /** Sets the permissions of the socket file. */
    server &unix_mode(std::uint32_t mode) & { return set(esrpc_listener_options_set_unix_mode, mode); }
    server &&unix_mode(std::uint32_t mode) && { return std::move(unix_mode(mode)); }
    /** Uses a listening socket, which belongs to the library once listen has succeeded. */
    server &socket(esrpc_socket listening) & { return set(esrpc_listener_options_set_socket, listening); }
    server &&socket(esrpc_socket listening) && { return std::move(socket(listening)); }
    /** Listens nowhere; connections come from listener::adopt_connection. */
    server &adopt_only() & { return set(esrpc_listener_options_set_adopt_only); }
    server &&adopt_only() && { return std::move(adopt_only()); }
    /** Accepts only what comes in through one network interface (Linux). */
    server &network_interface(std::string_view name) & {
        return set(esrpc_listener_options_set_interface, bytes(name).get());
    }
    server &&network_interface(std::string_view name) && { return std::move(network_interface(name)); }
    /** Makes the connections use TLS. */
    server &tls(const tls_config &config) & {
        failure_.require(static_cast<bool>(config), "tls_config");
        return set(esrpc_listener_options_set_tls, config.get());
    }
    server &&tls(const tls_config &config) && { return std::move(tls(config)); }
    /** Sets limits and times of the connections. */
    server &options(const connection_options &connection) & {
        failure_.note(connection.failure_);
        failure_.require(connection.get() != nullptr, "connection_options");
        return set(esrpc_listener_options_set_connection_options, connection.get());
    }
    server &&options(const connection_options &connection) && { return std::move(options(connection)); }
    /** Uses the threads of this runtime rather than those of the default one. */
    server &use_runtime(const runtime &chosen) & {
        failure_.require(static_cast<bool>(chosen), "runtime");
        runtime_ = chosen.get();
        return set(esrpc_listener_options_set_runtime, chosen.get());
    }
    server &&use_runtime(const runtime &chosen) && { return std::move(use_runtime(chosen)); }
    /** Sets how many connections there may be at a time. */
    server &max_connections(std::size_t count) & { return set(esrpc_listener_options_set_max_connections, count); }
    server &&max_connections(std::size_t count) && { return std::move(max_connections(count)); }
    /** Sets how many connections may be in their handshake. */
    server &max_pending_handshakes(std::size_t count) & {
        return set(esrpc_listener_options_set_max_pending_handshakes, count);
    }
    server &&max_pending_handshakes(std::size_t count) && { return std::move(max_pending_handshakes(count)); }
    /** Sets how many bytes the connections may hold together. */
    server &max_held_bytes(std::size_t size) & { return set(esrpc_listener_options_set_max_held_bytes, size); }
    server &&max_held_bytes(std::size_t size) && { return std::move(max_held_bytes(size)); }

    /** Decides about each client by its CONNECT. Without this the library accepts every client. */
    server &handshake(callback<bool(connection_ref, message_view)> on_connect) & noexcept {
        return set(&detail::service::on_connect, std::move(on_connect));
    }
    server &&handshake(callback<bool(connection_ref, message_view)> on_connect) && noexcept {
        return std::move(handshake(std::move(on_connect)));
    }
    /** Leaves the answer to CONNECT to the application's on_protocol_message. */
    server &manual_handshake() & noexcept {
        answers_connect_ = false;
        return *this;
    }
    server &&manual_handshake() && noexcept { return std::move(manual_handshake()); }
    /** A client has connected. Without this each is accepted. */
    server &on_connection(callback<void(incoming)> called) & noexcept {
        return set(&detail::service::on_connection, std::move(called));
    }
    server &&on_connection(callback<void(incoming)> called) && noexcept {
        return std::move(on_connection(std::move(called)));
    }
    /** Handles the streams of an operation, on all connections that have no handler of their own for it. */
    server &on_stream(std::string operation, stream_handler handler) & {
        if (service_ != nullptr) service_->known.insert_or_assign(std::move(operation), std::move(handler));
        return *this;
    }
    server &&on_stream(std::string operation, stream_handler handler) && {
        return std::move(on_stream(std::move(operation), std::move(handler)));
    }
    /** Handles the streams of all other operations. */
    server &on_stream(stream_handler handler) & noexcept {
        return set(&detail::service::on_stream, std::move(handler));
    }
    server &&on_stream(stream_handler handler) && noexcept { return std::move(on_stream(std::move(handler))); }
    /** A connection was lost before on_connection. */
    server &on_failed_connection(callback<void(std::error_code)> called) & noexcept {
        return set(&detail::service::on_failed_connection, std::move(called));
    }
    server &&on_failed_connection(callback<void(std::error_code)> called) && noexcept {
        return std::move(on_failed_connection(std::move(called)));
    }
    /** The listener is closed. */
    server &on_closed(callback<void(std::error_code)> called) & noexcept {
        return set(&detail::service::on_closed, std::move(called));
    }
    server &&on_closed(callback<void(std::error_code)> called) && noexcept {
        return std::move(on_closed(std::move(called)));
    }
    /** A callback of the server, or of a connection without on_exception of its own, has thrown. */
    server &on_exception(exception_callback called) & noexcept {
        return set(&detail::service::on_exception, std::move(called));
    }
    server &&on_exception(exception_callback called) && noexcept { return std::move(on_exception(std::move(called))); }

    /** Binds and listens, or reports the first setting that was refused. */
    [[nodiscard]] listener listen(error_sink errors = {}) {
        failure_.require(service_ != nullptr, "server");
        if (answers_connect_ && service_ != nullptr) {
            const auto on_connect = service_->on_connect ? detail::listener_closure::on_connect : nullptr;
            set(esrpc_listener_options_set_handshake, on_connect, service_.get());
        }
        if (failure_.get()) {
            errors.fail(*failure_.get());
            return {};
        }
        detail::handover<detail::listener_closure> closure(
            detail::roster::of_process(), std::make_shared<detail::listener_closure>(runtime_, service_));
        const esrpc_listener_callbacks table = detail::listener_closure::table();
        esrpc_listener *listening = nullptr;
        const esrpc_status status = esrpc_listener_listen(get(), &table, closure.get(), &listening);
        if (status == ESRPC_OK) closure.accepted();
        errors.check(status);
        listener made(listening);
        made.closes_ = true;
        return made;
    }

    /** Returns the C options, for rare settings; the runtime and the handshake are set by functions of this class
     * alone. */
    [[nodiscard]] esrpc_listener_options *get() const noexcept { return options_.get(); }
    /** Returns the first setting that was refused, if one was. */
    [[nodiscard]] const std::optional<error> &failure() const noexcept { return failure_.get(); }

private:
    template <typename Setter, typename... Arguments>
    server &set(Setter *setter, const Arguments &...arguments) {
        failure_.require(get() != nullptr, "server");
        failure_.note(setter(get(), arguments...));
        return *this;
    }
    template <typename Callback>
    server &set(Callback detail::service::*member, Callback called) noexcept {
        if (service_ != nullptr) (*service_).*member = std::move(called);
        return *this;
    }

    detail::owned<esrpc_listener_options, esrpc_listener_options_release> options_;
    std::shared_ptr<detail::service> service_;
    detail::first_failure failure_;
    bool answers_connect_ = true;
    const void *runtime_ = nullptr;
};

inline listener::listener(std::string_view host, std::uint32_t port, callback<void(incoming)> on_connection)
    : listener(server(host, port).on_connection(std::move(on_connection)).listen()) {}

}  // namespace esrpc

inline std::error_code make_error_code(esrpc_status_code status) noexcept { return esrpc::make_code(status); }

#endif  /* EVENTSTREAM_RPC_HPP */
