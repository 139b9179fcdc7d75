/*
 * libeventstream_rpc for C++17 and later: the C interface of eventstream_rpc.h with handles that release themselves, lambdas for
 * callbacks, exceptions or error codes for failures, and futures. Everything is defined in this file.
 *
 * Errors. A function whose last parameter is `std::error_code &ec = esrpc::throws` throws esrpc::error when it fails; given an
 * error code, it sets that and returns an empty value. esrpc::last_error() is the library's sentence about the failure.
 *
 * Callbacks run on the event-loop thread of their connection, like those of C. They may call anything but what waits; what waits
 * fails there with ESRPC_ERROR_WOULD_DEADLOCK. An exception that leaves a callback goes no further: it closes its connection with
 * the reason esrpc::callback_threw, and connection::exception() returns it.
 *
 * Lambdas live until the object that calls them is destroyed, which is when it has ended and its last handle is gone, or until
 * runtime::stop or esrpc::stop_all has succeeded. With the C functions esrpc_runtime_stop and esrpc_stop_all in their place,
 * they would stay allocated.
 */
#ifndef EVENTSTREAM_RPC_HPP
#define EVENTSTREAM_RPC_HPP

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <future>
#include <initializer_list>
#include <iterator>
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

#include "eventstream_rpc.h"

namespace esrpc {

/* ------------------------------------------------------------------------------------------------ errors */

/** The reason with which a connection is closed when one of its callbacks throws. */
inline constexpr esrpc_status callback_threw = 1000;

/** The statuses of the library, and the reasons of the application from 1000 up, as error codes. */
inline const std::error_category &category() noexcept
{
    struct statuses final : std::error_category {
        const char *name() const noexcept override { return "eventstream_rpc"; }
        std::string message(int value) const override
        {
            return value == callback_threw ? "a callback threw an exception" : esrpc_status_message(value);
        }
    };
    static const statuses instance;
    return instance;
}

/** The error code of a status; ESRPC_OK is no error. */
inline std::error_code make_code(esrpc_status status) noexcept
{
    return {status, category()};
}

/** The sentence about the last failed call on this thread; inside a callback, about the status that it got. */
inline std::string last_error()
{
    return esrpc_last_error_message();
}

/** A failure: its status, and the library's sentence about it. */
class error : public std::system_error {
public:
    explicit error(esrpc_status status, std::string sentence = last_error())
        : std::system_error(make_code(status)), sentence_(std::make_shared<const std::string>(std::move(sentence)))
    {
    }
    esrpc_status status() const noexcept { return code().value(); }
    const char *what() const noexcept override { return sentence_->c_str(); }

private:
    std::shared_ptr<const std::string> sentence_;
};

/** Given as the error code, which it is by default, makes a function throw. It is never written to. */
inline std::error_code throws;

namespace detail {

inline void check(esrpc_status status, std::error_code &ec)
{
    if (&ec != &throws) {
        ec = make_code(status);
    } else if (status != ESRPC_OK) {
        throw error(status);
    }
}

/** A release function as a deleter. */
template <auto release> struct releases {
    template <class T> void operator()(T *handle) const noexcept { release(handle); }
};
template <class T, auto release> using owned = std::unique_ptr<T, releases<release>>;

} // namespace detail

/* ---------------------------------------------------------------------------------------- bytes and times */

/** Never, as a timeout. */
inline constexpr std::chrono::milliseconds no_timeout = std::chrono::milliseconds::max();

namespace detail {

/** Rounded up, so that a short time is not none. */
template <class Rep, class Period> std::uint32_t milliseconds(std::chrono::duration<Rep, Period> time) noexcept
{
    if (time <= std::chrono::duration<Rep, Period>::zero()) return 0;
    if (std::chrono::duration<double, std::milli>(time).count() >= double(ESRPC_NO_TIMEOUT)) return ESRPC_NO_TIMEOUT;
    return static_cast<std::uint32_t>(std::chrono::ceil<std::chrono::milliseconds>(time).count());
}

template <class T, class = void> struct is_bytes : std::false_type {
};
template <class T>
struct is_bytes<T, std::void_t<decltype(std::declval<const T &>().data()), decltype(std::declval<const T &>().size())>>
    : std::bool_constant<sizeof(*std::declval<const T &>().data()) == 1> {
};

} // namespace detail

/** Text or data that somebody else keeps: of strings, string literals, and whatever has data() and size() in bytes, such as vectors
 * and spans of them. */
class bytes {
public:
    constexpr bytes() noexcept = default;
    bytes(const void *data, std::size_t size) noexcept : data_(static_cast<const std::uint8_t *>(data)), size_(size) {}
    bytes(const char *text) noexcept : bytes(text, text == nullptr ? 0 : std::strlen(text)) {}
    bytes(esrpc_bytes c) noexcept : data_(c.data), size_(c.len) {}
    template <class T, std::enable_if_t<detail::is_bytes<T>::value, int> = 0>
    bytes(const T &container) noexcept : bytes(container.data(), container.size())
    {
    }

    const std::uint8_t *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    const std::uint8_t *begin() const noexcept { return data_; }
    const std::uint8_t *end() const noexcept { return data_ + size_; }
    std::string_view text() const noexcept { return {reinterpret_cast<const char *>(data_), size_}; }
    std::vector<std::uint8_t> copy() const { return {begin(), end()}; }
    esrpc_bytes c() const noexcept { return {data_, size_}; }

private:
    const std::uint8_t *data_ = nullptr;
    std::size_t size_ = 0;
};

using uuid = std::array<std::uint8_t, 16>;
using timestamp = std::chrono::time_point<std::chrono::system_clock, std::chrono::milliseconds>;

/* ------------------------------------------------------------------------------------------------ headers */

/** One header of a list, valid as long as that is and is not modified. */
class header {
public:
    explicit header(const esrpc_header &c) noexcept : c_(c) {}
    std::string_view name() const noexcept { return bytes(c_.name).text(); }
    /** One of the ESRPC_HEADER_TYPE_ constants. */
    std::int32_t type() const noexcept { return c_.type; }
    const esrpc_header &c() const noexcept { return c_; }

    /** The value: a bool, std::int8_t to std::int64_t, timestamp, std::string_view, std::string, esrpc::bytes or uuid. Nothing is
     * converted: another type is ESRPC_ERROR_WRONG_TYPE. */
    template <class T> T as(std::error_code &ec = throws) const
    {
        detail::check(is<T>() ? esrpc_status(ESRPC_OK) : wrong_type(), ec);
        if (!is<T>()) return T();
        if constexpr (std::is_same_v<T, timestamp>) {
            return timestamp(std::chrono::milliseconds(c_.number));
        } else if constexpr (std::is_same_v<T, uuid>) {
            uuid value;
            std::memcpy(value.data(), c_.bytes.data, value.size());
            return value;
        } else if constexpr (std::is_arithmetic_v<T>) {
            return static_cast<T>(c_.number);
        } else if constexpr (std::is_same_v<T, bytes>) {
            return bytes(c_.bytes);
        } else {
            return T(bytes(c_.bytes).text());
        }
    }

    /** Whether as<T>() succeeds. */
    template <class T> bool is() const noexcept
    {
        if constexpr (std::is_same_v<T, bool>) {
            return c_.type == ESRPC_HEADER_TYPE_BOOL_TRUE || c_.type == ESRPC_HEADER_TYPE_BOOL_FALSE;
        } else {
            return c_.type == type_of<T>();
        }
    }

private:
    template <class T> static constexpr std::int32_t type_of() noexcept
    {
        if constexpr (std::is_same_v<T, std::int8_t>) return ESRPC_HEADER_TYPE_BYTE;
        else if constexpr (std::is_same_v<T, std::int16_t>) return ESRPC_HEADER_TYPE_INT16;
        else if constexpr (std::is_same_v<T, std::int32_t>) return ESRPC_HEADER_TYPE_INT32;
        else if constexpr (std::is_same_v<T, std::int64_t>) return ESRPC_HEADER_TYPE_INT64;
        else if constexpr (std::is_same_v<T, timestamp>) return ESRPC_HEADER_TYPE_TIMESTAMP;
        else if constexpr (std::is_same_v<T, uuid>) return ESRPC_HEADER_TYPE_UUID;
        else if constexpr (std::is_same_v<T, bytes>) return ESRPC_HEADER_TYPE_BYTE_BUF;
        else {
            static_assert(std::is_same_v<T, std::string_view> || std::is_same_v<T, std::string>, "no header has this type");
            return ESRPC_HEADER_TYPE_STRING;
        }
    }
    esrpc_status wrong_type() const
    {
        return ESRPC_ERROR_WRONG_TYPE;
    }

    esrpc_header c_;
};

/** A list of headers that somebody else keeps. */
class headers_view {
public:
    headers_view() noexcept = default;
    explicit headers_view(const esrpc_headers *c) noexcept : c_(c) {}

    std::size_t size() const noexcept { return esrpc_headers_count(c_); }
    bool empty() const noexcept { return size() == 0; }
    bool contains(std::string_view name) const noexcept { return find(name).has_value(); }

    /** The last header with this name, in which upper and lower case do not matter. */
    std::optional<header> find(std::string_view name) const noexcept
    {
        esrpc_header found;
        if (esrpc_headers_find(c_, bytes(name).c(), &found) != ESRPC_OK) return std::nullopt;
        return header(found);
    }
    /** The same; throws ESRPC_ERROR_HEADER_NOT_FOUND if there is none. */
    header operator[](std::string_view name) const
    {
        esrpc_header found;
        detail::check(esrpc_headers_find(c_, bytes(name).c(), &found), throws);
        return header(found);
    }
    header operator[](const char *name) const { return (*this)[std::string_view(name)]; }
    /** By its place; throws ESRPC_ERROR_INDEX_OUT_OF_RANGE behind the last one. */
    header at(std::size_t index) const
    {
        esrpc_header found;
        detail::check(esrpc_headers_get(c_, index, &found), throws);
        return header(found);
    }

    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = header;
        using difference_type = std::ptrdiff_t;
        using pointer = void;
        using reference = header;
        iterator(const headers_view *list, std::size_t index) noexcept : list_(list), index_(index) {}
        header operator*() const { return list_->at(index_); }
        iterator &operator++() noexcept
        {
            ++index_;
            return *this;
        }
        bool operator==(const iterator &other) const noexcept { return index_ == other.index_; }
        bool operator!=(const iterator &other) const noexcept { return index_ != other.index_; }

    private:
        const headers_view *list_;
        std::size_t index_;
    };
    iterator begin() const noexcept { return {this, 0}; }
    iterator end() const noexcept { return {this, size()}; }
    const esrpc_headers *get() const noexcept { return c_; }

protected:
    const esrpc_headers *c_ = nullptr;
};

/** A list of headers to be filled. One thread at a time. */
class headers : public headers_view {
public:
    headers() : headers_view(esrpc_headers_new()), owned_(const_cast<esrpc_headers *>(c_)) {}
    /** Of strings: {{":version", "0.1.0"}, {"client-name", "accepted.me"}} */
    headers(std::initializer_list<std::pair<std::string_view, std::string_view>> strings) : headers()
    {
        for (const auto &[name, value] : strings) add(name, value);
    }
    headers(headers &&other) noexcept : headers_view(std::exchange(other.c_, nullptr)), owned_(std::move(other.owned_)) {}
    headers &operator=(headers &&other) noexcept
    {
        owned_ = std::move(other.owned_);
        c_ = std::exchange(other.c_, nullptr);
        return *this;
    }

    /** Adds a header. Which type it has follows from that of the value: bool, std::int8_t to std::int64_t, timestamp, uuid, text, or
     * esrpc::bytes for a byte_buf. */
    template <class T> headers &add(std::string_view name, const T &value, std::error_code &ec = throws)
    {
        const esrpc_bytes key = bytes(name).c();
        esrpc_headers *list = owned_.get();
        if constexpr (std::is_same_v<T, bool>) detail::check(esrpc_headers_add_bool(list, key, value), ec);
        else if constexpr (std::is_same_v<T, std::int8_t>) detail::check(esrpc_headers_add_byte(list, key, value), ec);
        else if constexpr (std::is_same_v<T, std::int16_t>) detail::check(esrpc_headers_add_int16(list, key, value), ec);
        else if constexpr (std::is_same_v<T, std::int32_t>) detail::check(esrpc_headers_add_int32(list, key, value), ec);
        else if constexpr (std::is_same_v<T, std::int64_t>) detail::check(esrpc_headers_add_int64(list, key, value), ec);
        else if constexpr (std::is_same_v<T, timestamp>)
            detail::check(esrpc_headers_add_timestamp(list, key, value.time_since_epoch().count()), ec);
        else if constexpr (std::is_same_v<T, uuid>) detail::check(esrpc_headers_add_uuid(list, key, value.data()), ec);
        else if constexpr (std::is_convertible_v<const T &, std::string_view>)
            detail::check(esrpc_headers_add_string(list, key, bytes(std::string_view(value)).c()), ec);
        else {
            static_assert(detail::is_bytes<T>::value, "no header has this type");
            detail::check(esrpc_headers_add_byte_buf(list, key, bytes(value).c()), ec);
        }
        return *this;
    }

    /** Removes every header with this name; ESRPC_ERROR_HEADER_NOT_FOUND if there is none. */
    void remove(std::string_view name, std::error_code &ec = throws)
    {
        detail::check(esrpc_headers_remove(owned_.get(), bytes(name).c()), ec);
    }
    esrpc_headers *get() const noexcept { return owned_.get(); }

private:
    detail::owned<esrpc_headers, esrpc_headers_release> owned_;
};

/* ----------------------------------------------------------------------------------------------- messages */

/** A message that somebody else keeps: in a callback until that returns, of a decoder until its next bytes. */
class message_view {
public:
    message_view() noexcept = default;
    explicit message_view(const esrpc_message *c) noexcept : c_(c) {}

    explicit operator bool() const noexcept { return c_ != nullptr; }
    headers_view headers() const noexcept { return headers_view(esrpc_message_get_headers(c_)); }
    bytes payload() const noexcept { return esrpc_message_get_payload(c_); }
    std::string_view text() const noexcept { return payload().text(); }
    /** One of the ESRPC_MESSAGE_TYPE_ constants, or -1 if it has none. */
    std::int32_t type() const noexcept { return esrpc_message_get_type(c_); }
    std::int32_t flags() const noexcept { return esrpc_message_get_flags(c_); }
    std::int32_t stream_id() const noexcept { return esrpc_message_get_stream_id(c_); }
    bool is_last() const noexcept { return flags() >= 0 && (flags() & ESRPC_MESSAGE_FLAG_TERMINATE_STREAM) != 0; }
    /** All of it as JSON, for logs and tests. */
    std::string json(std::error_code &ec = throws) const
    {
        esrpc_buffer *buffer = nullptr;
        detail::check(esrpc_message_to_json(c_, &buffer), ec);
        detail::owned<esrpc_buffer, esrpc_buffer_release> kept(buffer);
        return std::string(bytes(esrpc_buffer_get_bytes(buffer)).text());
    }
    const esrpc_message *get() const noexcept { return c_; }

protected:
    const esrpc_message *c_ = nullptr;
};

/** A message of one's own. */
class message : public message_view {
public:
    message() noexcept = default;
    /** Takes over what a C function gave. */
    explicit message(esrpc_message *c) noexcept : message_view(c), owned_(c) {}
    message(message &&other) noexcept : message_view(std::exchange(other.c_, nullptr)), owned_(std::move(other.owned_)) {}
    message &operator=(message &&other) noexcept
    {
        owned_ = std::move(other.owned_);
        c_ = std::exchange(other.c_, nullptr);
        return *this;
    }
    /** A copy to keep. */
    explicit message(message_view view, std::error_code &ec = throws)
    {
        esrpc_message *copy = nullptr;
        detail::check(esrpc_message_copy(view.get(), &copy), ec);
        owned_.reset(copy);
        c_ = copy;
    }

private:
    detail::owned<esrpc_message, esrpc_message_release> owned_;
};

/** The bytes of a message with these headers and payload. */
inline std::vector<std::uint8_t> encode(headers_view headers, bytes payload = {}, std::error_code &ec = throws)
{
    esrpc_buffer *buffer = nullptr;
    detail::check(esrpc_message_encode_to_buffer(headers.get(), payload.c(), &buffer), ec);
    detail::owned<esrpc_buffer, esrpc_buffer_release> kept(buffer);
    return bytes(esrpc_buffer_get_bytes(buffer)).copy();
}

/** The message at the beginning of data, which has to stay in place as long as the message; used receives its length. */
inline message decode(bytes data, std::size_t *used = nullptr, std::error_code &ec = throws)
{
    esrpc_message *decoded = nullptr;
    detail::check(esrpc_message_decode(data.c(), &decoded, used), ec);
    return message(decoded);
}

/** Finds the messages in bytes that come in pieces of any size. */
class decoder {
public:
    explicit decoder(std::error_code &ec = throws)
    {
        esrpc_decoder *made = nullptr;
        detail::check(esrpc_decoder_new(nullptr, nullptr, &made), ec);
        c_.reset(made);
    }
    void push(bytes data, std::error_code &ec = throws) { detail::check(esrpc_decoder_push(c_.get(), data.c()), ec); }
    /** The next whole message, valid until the next push; an empty view if more bytes are needed. */
    message_view next(std::error_code &ec = throws)
    {
        const esrpc_message *found = nullptr;
        detail::check(esrpc_decoder_next_message(c_.get(), &found), ec);
        return message_view(found);
    }
    /** The next message of an input that read() returns piece by piece, with nothing at its end; an empty view behind the last
     * message. ESRPC_ERROR_INCOMPLETE if the input ends inside one. */
    template <class Read, std::enable_if_t<std::is_invocable_v<Read &>, int> = 0>
    message_view next(Read &&read, std::error_code &ec = throws)
    {
        for (;;) {
            if (message_view found = next(ec); found || (&ec != &throws && ec)) return found;
            const auto &data = read();
            if (bytes piece = data; piece.empty()) {
                finish(ec);
                return {};
            } else {
                // What it says comes again from next, behind the messages before it.
                std::error_code later;
                push(piece, later);
            }
        }
    }
    /** The end of the input: ESRPC_ERROR_INCOMPLETE inside a message. */
    void finish(std::error_code &ec = throws) { detail::check(esrpc_decoder_finish(c_.get()), ec); }
    esrpc_decoder *get() const noexcept { return c_.get(); }

private:
    detail::owned<esrpc_decoder, esrpc_decoder_release> c_;
};

/* ---------------------------------------------------------------------------------------------- callbacks */

namespace detail {

/** A function object that need not be copied. */
template <class> class function;
template <class R, class... A> class function<R(A...)> {
public:
    function() noexcept = default;
    template <class F, std::enable_if_t<!std::is_same_v<std::decay_t<F>, function> && std::is_invocable_r_v<R, std::decay_t<F> &, A...>, int> = 0>
    function(F &&f) : held_(std::make_shared<holds<std::decay_t<F>>>(std::forward<F>(f)))
    {
    }
    explicit operator bool() const noexcept { return held_ != nullptr; }
    R operator()(A... arguments) const { return held_->call(std::forward<A>(arguments)...); }

private:
    struct any {
        virtual ~any() = default;
        virtual R call(A... arguments) = 0;
    };
    template <class F> struct holds final : any {
        explicit holds(F held) : f(std::move(held)) {}
        R call(A... arguments) override { return f(std::forward<A>(arguments)...); }
        F f;
    };
    /** Shared by copies of the settings that it is part of. */
    std::shared_ptr<any> held_;
};

/** What the library calls back, and so has to live until it no longer does. */
struct closure {
    virtual ~closure() = default;
    /** Destroys the lambdas, also if a handle still knows the closure. */
    virtual void clear() noexcept = 0;

private:
    friend class kept;
    const esrpc_runtime *home = nullptr;
    closure *previous = nullptr, *next = nullptr;
    std::shared_ptr<closure> self;
};

/** All closures of the process. One that is not called back any more, because of its on_destroy or of a stop, leaves. */
class kept {
public:
    static void keep(std::shared_ptr<closure> entry, const esrpc_runtime *home)
    {
        closure *raw = entry.get();
        std::lock_guard<std::mutex> lock(all().mutex);
        raw->home = home;
        raw->self = std::move(entry);
        raw->next = all().first;
        if (raw->next != nullptr) raw->next->previous = raw;
        all().first = raw;
    }
    static void leave(closure *entry) noexcept
    {
        std::shared_ptr<closure> last;
        std::lock_guard<std::mutex> lock(all().mutex);
        last = unlink(entry);
    }
    /** Those of one runtime, or all. */
    static void leave_all(const esrpc_runtime *home, bool every)
    {
        std::vector<std::shared_ptr<closure>> gone;
        {
            std::lock_guard<std::mutex> lock(all().mutex);
            for (closure *entry = all().first; entry != nullptr;) {
                closure *next = entry->next;
                if (every || entry->home == home) gone.push_back(unlink(entry));
                entry = next;
            }
        }
        // What the lambdas hold may come back to this list.
        for (const auto &entry : gone) entry->clear();
    }

private:
    struct list {
        std::mutex mutex;
        closure *first = nullptr;
    };
    /** It outlives every static object, since their handles may still be in use. */
    static list &all()
    {
        static list *const instance = new list;
        return *instance;
    }
    static std::shared_ptr<closure> unlink(closure *entry) noexcept
    {
        if (entry->previous != nullptr) entry->previous->next = entry->next;
        else if (all().first == entry) all().first = entry->next;
        if (entry->next != nullptr) entry->next->previous = entry->previous;
        entry->previous = entry->next = nullptr;
        return std::move(entry->self);
    }
};

/** The answer to one send. */
struct flush final : closure {
    explicit flush(function<void(std::error_code)> f) : told(std::move(f)) {}
    static void ESRPC_CALL call(esrpc_status status, void *user_data) noexcept
    {
        auto *self = static_cast<flush *>(user_data);
        try {
            self->told(make_code(status));
        } catch (...) {
        }
        kept::leave(self);
    }
    void clear() noexcept override { told = {}; }
    function<void(std::error_code)> told;
};

/** Sends with a flush callback, which is kept only if the send is accepted. */
template <class Send>
void send_with(function<void(std::error_code)> on_flush, const esrpc_runtime *home, std::error_code &ec, Send send)
{
    if (!on_flush) return check(send(nullptr, nullptr), ec);
    auto told = std::make_shared<flush>(std::move(on_flush));
    flush *raw = told.get();
    kept::keep(std::move(told), home);
    esrpc_status status = send(flush::call, raw);
    if (status != ESRPC_OK) kept::leave(raw);
    check(status, ec);
}

} // namespace detail

/* ------------------------------------------------------------------------------------------------ runtime */

/** Event-loop threads, and what lives on them. Without one, everything is on the default runtime of the process. */
class runtime {
public:
    /** A log function gets each line up to the level, an ESRPC_LOG_LEVEL_ constant, on any thread; it must call nothing. */
    using log_function = detail::function<void(std::int32_t level, std::string_view target, std::string_view line)>;

    explicit runtime(std::size_t threads = 1, std::int32_t log_level = ESRPC_LOG_LEVEL_OFF, log_function log = {},
                     std::error_code &ec = throws)
    {
        detail::owned<esrpc_runtime_options, esrpc_runtime_options_release> options(esrpc_runtime_options_new());
        auto logs = std::make_shared<log_closure>();
        logs->log = std::move(log);
        esrpc_status status = esrpc_runtime_options_set_thread_count(options.get(), threads);
        if (status == ESRPC_OK && logs->log) {
            status = esrpc_runtime_options_set_log(options.get(), log_level, log_closure::call, logs.get());
            if (status == ESRPC_OK) status = esrpc_runtime_options_set_on_ended(options.get(), log_closure::ended, logs.get());
        }
        esrpc_runtime *made = nullptr;
        if (status == ESRPC_OK) status = esrpc_runtime_new(options.get(), &made);
        detail::check(status, ec);
        if (status == ESRPC_OK && logs->log) detail::kept::keep(std::move(logs), made);
        c_.reset(made);
    }
    runtime(runtime &&) noexcept = default;
    runtime &operator=(runtime &&) noexcept = default;

    /** Aborts everything that lives on it. Returns at once. */
    void shutdown(std::error_code &ec = throws) { detail::check(esrpc_runtime_shutdown(c_.get()), ec); }
    /** Lets open streams finish, then closes. Returns at once. */
    template <class Duration> void drain(Duration deadline, std::error_code &ec = throws)
    {
        detail::check(esrpc_runtime_drain(c_.get(), detail::milliseconds(deadline)), ec);
    }
    /** Waits until everything has ended and all handles are gone. */
    template <class Duration> void join(Duration timeout, std::error_code &ec = throws)
    {
        detail::check(esrpc_runtime_join(c_.get(), detail::milliseconds(timeout)), ec);
    }
    /** Ends it while handles are in use: afterwards nothing is called, and the lambdas of what lived on it are destroyed. */
    template <class Duration> void stop(Duration timeout, std::error_code &ec = throws)
    {
        esrpc_status status = esrpc_runtime_stop(c_.get(), detail::milliseconds(timeout));
        if (status == ESRPC_OK) detail::kept::leave_all(c_.get(), false);
        detail::check(status, ec);
    }
    esrpc_runtime *get() const noexcept { return c_.get(); }

private:
    struct log_closure final : detail::closure {
        static void ESRPC_CALL call(std::int32_t level, const char *target, const char *line, void *user_data) noexcept
        {
            try {
                static_cast<log_closure *>(user_data)->log(level, target, line);
            } catch (...) {
            }
        }
        static void ESRPC_CALL ended(void *user_data) noexcept { detail::kept::leave(static_cast<log_closure *>(user_data)); }
        void clear() noexcept override { log = {}; }
        log_function log;
    };
    detail::owned<esrpc_runtime, esrpc_runtime_release> c_;
};

/** Ends every runtime of the process, for a program that is about to exit: afterwards nothing is called, and all lambdas are
 * destroyed. Handles may be destroyed later. */
template <class Duration> void stop_all(Duration timeout, std::error_code &ec = throws)
{
    esrpc_status status = esrpc_stop_all(detail::milliseconds(timeout));
    if (status == ESRPC_OK) detail::kept::leave_all(nullptr, true);
    detail::check(status, ec);
}

/* ---------------------------------------------------------------------------------------------------- TLS */

/** TLS settings, shared by many connections. A copy is one more reference. */
class tls_config {
public:
    explicit tls_config(esrpc_tls_config *c) noexcept : c_(c, esrpc_tls_config_release) {}
    esrpc_tls_config *get() const noexcept { return c_.get(); }

private:
    std::shared_ptr<esrpc_tls_config> c_;
};

/** Builds TLS settings; what it lacks can be set by the functions of C with get(). */
class tls_config_builder {
public:
    /** For clients: servers are verified by the system's CAs unless others are added. */
    static tls_config_builder client() { return tls_config_builder(esrpc_tls_config_builder_new_client()); }
    /** For servers, which need a certificate. */
    static tls_config_builder server() { return tls_config_builder(esrpc_tls_config_builder_new_server()); }

    /** CAs to trust, or the peer's own certificate, in a file or as PEM or DER. */
    tls_config_builder &ca_file(std::string_view path, std::error_code &ec = throws)
    {
        detail::check(esrpc_tls_config_builder_add_ca_file(c_.get(), bytes(path).c()), ec);
        return *this;
    }
    tls_config_builder &ca(bytes certificates, std::error_code &ec = throws)
    {
        detail::check(esrpc_tls_config_builder_add_ca(c_.get(), certificates.c()), ec);
        return *this;
    }
    /** This side's certificate chain and its key. */
    tls_config_builder &certificate_files(std::string_view chain, std::string_view key, std::error_code &ec = throws)
    {
        detail::check(esrpc_tls_config_builder_set_certificate_files(c_.get(), bytes(chain).c(), bytes(key).c()), ec);
        return *this;
    }
    tls_config_builder &certificate(bytes chain, bytes key, std::error_code &ec = throws)
    {
        detail::check(esrpc_tls_config_builder_set_certificate(c_.get(), chain.c(), key.c()), ec);
        return *this;
    }
    tls_config_builder &alpn(std::string_view protocol, std::error_code &ec = throws)
    {
        detail::check(esrpc_tls_config_builder_add_alpn(c_.get(), bytes(protocol).c()), ec);
        return *this;
    }
    /** Whether clients have to show a certificate: an ESRPC_TLS_CLIENT_AUTH_ constant. */
    tls_config_builder &client_auth(std::int32_t client_auth, std::error_code &ec = throws)
    {
        detail::check(esrpc_tls_config_builder_set_client_auth(c_.get(), client_auth), ec);
        return *this;
    }
    tls_config build(std::error_code &ec = throws) const
    {
        esrpc_tls_config *config = nullptr;
        detail::check(esrpc_tls_config_builder_build(c_.get(), &config), ec);
        return tls_config(config);
    }
    esrpc_tls_config_builder *get() const noexcept { return c_.get(); }

private:
    explicit tls_config_builder(esrpc_tls_config_builder *c) noexcept : c_(c) {}
    detail::owned<esrpc_tls_config_builder, esrpc_tls_config_builder_release> c_;
};

/* ------------------------------------------------------------------------------------------------ options */

/** Limits and times that clients and listeners have in common; the defaults are those of C. The functions of C set the rest, with
 * get(). */
class connection_options {
public:
    connection_options() : c_(esrpc_connection_options_new()) {}

    connection_options &max_message_size(std::size_t bytes) { return set(esrpc_connection_options_set_max_message_size(get(), bytes)); }
    connection_options &max_headers(std::size_t count) { return set(esrpc_connection_options_set_max_headers(get(), count)); }
    connection_options &max_streams(std::size_t count) { return set(esrpc_connection_options_set_max_streams(get(), count)); }
    /** Bytes that wait to be sent before sends fail with ESRPC_ERROR_WOULD_BLOCK. */
    connection_options &outbound_limit(std::size_t bytes) { return set(esrpc_connection_options_set_outbound_limit(get(), bytes)); }
    /** Bytes of messages that wait to be read on a stream. */
    connection_options &stream_queue_limit(std::size_t bytes)
    {
        return set(esrpc_connection_options_set_stream_queue_limit(get(), bytes));
    }
    template <class D> connection_options &linger(D time)
    {
        return set(esrpc_connection_options_set_linger_ms(get(), detail::milliseconds(time)));
    }
    template <class D> connection_options &resolve_timeout(D time)
    {
        return set(esrpc_connection_options_set_resolve_timeout_ms(get(), detail::milliseconds(time)));
    }
    template <class D> connection_options &connect_timeout(D time)
    {
        return set(esrpc_connection_options_set_connect_timeout_ms(get(), detail::milliseconds(time)));
    }
    template <class D> connection_options &tls_timeout(D time)
    {
        return set(esrpc_connection_options_set_tls_timeout_ms(get(), detail::milliseconds(time)));
    }
    template <class D> connection_options &handshake_timeout(D time)
    {
        return set(esrpc_connection_options_set_handshake_timeout_ms(get(), detail::milliseconds(time)));
    }
    template <class D> connection_options &write_timeout(D time)
    {
        return set(esrpc_connection_options_set_write_timeout_ms(get(), detail::milliseconds(time)));
    }
    template <class D> connection_options &message_timeout(D time)
    {
        return set(esrpc_connection_options_set_message_timeout_ms(get(), detail::milliseconds(time)));
    }
    template <class D> connection_options &idle_timeout(D time)
    {
        return set(esrpc_connection_options_set_idle_timeout_ms(get(), detail::milliseconds(time)));
    }
    template <class I, class T> connection_options &keep_alive_ping(I interval, T timeout)
    {
        return set(esrpc_connection_options_set_keep_alive_ping(get(), detail::milliseconds(interval), detail::milliseconds(timeout)));
    }
    connection_options &answer_pings(bool on) { return set(esrpc_connection_options_set_answer_pings(get(), on)); }
    connection_options &tcp_nodelay(bool on) { return set(esrpc_connection_options_set_tcp_nodelay(get(), on)); }
    esrpc_connection_options *get() const noexcept { return c_.get(); }

private:
    connection_options &set(esrpc_status status)
    {
        detail::check(status, throws);
        return *this;
    }
    detail::owned<esrpc_connection_options, esrpc_connection_options_release> c_;
};

/* ------------------------------------------------------------------------------------------------ streams */

/** What a stream calls; for those that are read with stream::read, nothing. */
class stream_callbacks {
public:
    stream_callbacks &on_message(detail::function<void(message_view)> f)
    {
        message = std::move(f);
        return *this;
    }
    /** Once, at the end; the code is empty if the stream ended as it should. */
    stream_callbacks &on_closed(detail::function<void(std::error_code)> f)
    {
        closed = std::move(f);
        return *this;
    }
    /** After a send failed with ESRPC_ERROR_WOULD_BLOCK, there is room again. */
    stream_callbacks &on_writable(detail::function<void()> f)
    {
        writable = std::move(f);
        return *this;
    }

    detail::function<void(message_view)> message;
    detail::function<void(std::error_code)> closed;
    detail::function<void()> writable;
};

namespace detail {

/** The exception that left a callback of a connection. */
struct thrown {
    std::mutex mutex;
    std::exception_ptr exception;
};

template <class F> void guarded(thrown &thrown, esrpc_connection *connection, F f) noexcept
{
    try {
        f();
    } catch (...) {
        {
            std::lock_guard<std::mutex> lock(thrown.mutex);
            if (thrown.exception == nullptr) thrown.exception = std::current_exception();
        }
        esrpc_connection_close(connection, callback_threw);
    }
}

struct stream_closure final : closure {
    stream_callbacks callbacks;
    std::shared_ptr<thrown> exceptions;

    void clear() noexcept override { callbacks = {}; }
    static stream_closure &of(void *user_data) noexcept { return *static_cast<stream_closure *>(user_data); }
    template <class F> void run(esrpc_stream *stream, F f) noexcept
    {
        guarded(*exceptions, esrpc_stream_get_connection(stream), f);
    }
    static void ESRPC_CALL on_message(esrpc_stream *stream, const esrpc_message *message, void *user_data) noexcept
    {
        auto &self = of(user_data);
        if (self.callbacks.message) self.run(stream, [&] { self.callbacks.message(message_view(message)); });
    }
    static void ESRPC_CALL on_writable(esrpc_stream *stream, void *user_data) noexcept
    {
        auto &self = of(user_data);
        if (self.callbacks.writable) self.run(stream, [&] { self.callbacks.writable(); });
    }
    static void ESRPC_CALL on_closed(esrpc_stream *stream, esrpc_status reason, void *user_data) noexcept
    {
        auto &self = of(user_data);
        if (self.callbacks.closed) self.run(stream, [&] { self.callbacks.closed(make_code(reason)); });
    }
    static void ESRPC_CALL on_destroy(void *user_data) noexcept { kept::leave(&of(user_data)); }

    static esrpc_stream_callbacks table() noexcept
    {
        esrpc_stream_callbacks table = {};
        table.struct_size = sizeof table;
        table.on_message = on_message;
        table.on_writable = on_writable;
        table.on_closed = on_closed;
        table.on_destroy = on_destroy;
        return table;
    }
};

/** Gives a stream its callbacks, which are kept if that succeeds. */
template <class Begin>
void begin_stream(stream_callbacks callbacks, std::shared_ptr<thrown> exceptions, const esrpc_runtime *home,
                  std::error_code &ec, Begin begin)
{
    auto state = std::make_shared<stream_closure>();
    state->callbacks = std::move(callbacks);
    state->exceptions = std::move(exceptions);
    stream_closure *raw = state.get();
    esrpc_stream_callbacks table = stream_closure::table();
    kept::keep(std::move(state), home);
    esrpc_status status = begin(&table, raw);
    if (status != ESRPC_OK) kept::leave(raw);
    check(status, ec);
}

} // namespace detail

/** A stream of a connection: one reference. Destroying it does not end the stream. */
class stream {
public:
    using flushed = detail::function<void(std::error_code)>;

    stream() noexcept = default;
    /** Takes over a reference; home is the runtime, NULL for the default one. */
    explicit stream(esrpc_stream *c, const esrpc_runtime *home = nullptr, std::shared_ptr<detail::thrown> exceptions = {}) noexcept
        : c_(c), home_(home), exceptions_(std::move(exceptions))
    {
    }

    /** Opens a client's stream with its first message. on_flush is told when that is written, or why not. */
    void activate(std::string_view operation, const headers_view &headers, bytes payload, std::int32_t flags = 0,
                  flushed on_flush = {}, std::error_code &ec = throws)
    {
        detail::send_with(std::move(on_flush), home_, ec, [&](esrpc_flush_callback callback, void *user_data) {
            return esrpc_stream_activate(get(), bytes(operation).c(), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, flags, headers.get(),
                                         payload.c(), callback, user_data);
        });
    }
    void activate(std::string_view operation, bytes payload = {}, std::error_code &ec = throws)
    {
        activate(operation, headers_view(), payload, 0, {}, ec);
    }
    /** Sends a message; with ESRPC_MESSAGE_FLAG_TERMINATE_STREAM among the flags, the last one. */
    void send(const headers_view &headers, bytes payload, std::int32_t flags = 0, flushed on_flush = {}, std::error_code &ec = throws)
    {
        detail::send_with(std::move(on_flush), home_, ec, [&](esrpc_flush_callback callback, void *user_data) {
            return esrpc_stream_send_message(get(), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, flags, headers.get(), payload.c(),
                                             callback, user_data);
        });
    }
    void send(bytes payload, std::error_code &ec = throws) { send(headers_view(), payload, 0, {}, ec); }
    /** Sends as soon as there is room. */
    template <class Duration> void send_blocking(bytes payload, Duration timeout, std::error_code &ec = throws)
    {
        detail::check(esrpc_stream_send_blocking(get(), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, nullptr, payload.c(),
                                                 detail::milliseconds(timeout)),
                      ec);
    }
    /** A server's last message. */
    void reply(bytes payload, std::error_code &ec = throws) { reply(headers_view(), payload, ec); }
    void reply(const headers_view &headers, bytes payload, std::error_code &ec = throws)
    {
        detail::check(esrpc_stream_reply(get(), headers.get(), payload.c()), ec);
    }
    /** A server's error, the last message. */
    void fail(std::string_view error_type, std::string_view message, std::error_code &ec = throws)
    {
        detail::check(esrpc_stream_fail(get(), bytes(error_type).c(), bytes(message).c()), ec);
    }
    /** Ends the stream with an empty message. */
    void close(std::error_code &ec = throws) { detail::check(esrpc_stream_close(get()), ec); }
    /** The next message of a stream without callbacks; ESRPC_ERROR_STREAM_CLOSED behind the last one. */
    template <class Duration> esrpc::message read(Duration timeout, std::error_code &ec = throws)
    {
        esrpc_message *found = nullptr;
        detail::check(esrpc_stream_read(get(), detail::milliseconds(timeout), &found), ec);
        return esrpc::message(found);
    }
    template <class Duration> void wait_closed(Duration timeout, std::error_code &ec = throws)
    {
        detail::check(esrpc_stream_wait_closed(get(), detail::milliseconds(timeout)), ec);
    }
    /** Of a deferred stream: accepts it. */
    void accept(stream_callbacks callbacks, std::error_code &ec = throws)
    {
        detail::begin_stream(std::move(callbacks), exceptions_, home_, ec, [&](const esrpc_stream_callbacks *table, void *user_data) {
            return esrpc_stream_accept(get(), table, user_data);
        });
    }
    std::int32_t id() const noexcept { return esrpc_stream_get_id(get()); }
    std::string_view operation() const noexcept { return bytes(esrpc_stream_get_operation(get())).text(); }
    std::string end_message() const { return esrpc_stream_get_end_message(get()); }
    esrpc_stream *get() const noexcept { return c_.get(); }

private:
    detail::owned<esrpc_stream, esrpc_stream_release> c_;
    const esrpc_runtime *home_ = nullptr;
    std::shared_ptr<detail::thrown> exceptions_;
};

/** A stream that a client opens, while it is announced. */
class incoming_stream {
public:
    incoming_stream(esrpc_stream *c, const esrpc_message *first, const esrpc_runtime *home, std::shared_ptr<detail::thrown> exceptions)
        : c_(c), first_(first), home_(home), exceptions_(std::move(exceptions))
    {
    }
    std::string_view operation() const noexcept { return bytes(esrpc_stream_get_operation(c_)).text(); }
    /** The first message. */
    message_view message() const noexcept { return first_; }
    headers_view headers() const noexcept { return first_.headers(); }
    bytes payload() const noexcept { return first_.payload(); }
    std::string_view text() const noexcept { return first_.text(); }

    /** The last message; no more is needed for a call with one answer. */
    void reply(bytes payload, std::error_code &ec = throws) { reply(headers_view(), payload, ec); }
    void reply(const headers_view &headers, bytes payload, std::error_code &ec = throws)
    {
        detail::check(esrpc_stream_reply(c_, headers.get(), payload.c()), ec);
    }
    void fail(std::string_view error_type, std::string_view message, std::error_code &ec = throws)
    {
        detail::check(esrpc_stream_fail(c_, bytes(error_type).c(), bytes(message).c()), ec);
    }
    /** Accepts a stream of many messages. Its first one is passed to on_message, too. */
    stream accept(stream_callbacks callbacks, std::error_code &ec = throws)
    {
        detail::begin_stream(std::move(callbacks), exceptions_, home_, ec, [&](const esrpc_stream_callbacks *table, void *user_data) {
            return esrpc_stream_accept(c_, table, user_data);
        });
        return kept();
    }
    /** Leaves the decision to later, on any thread: reply, fail or accept of the stream that this returns. */
    template <class Duration> stream defer(Duration deadline, std::error_code &ec = throws)
    {
        detail::check(esrpc_stream_defer(c_, detail::milliseconds(deadline)), ec);
        return kept();
    }
    esrpc_stream *get() const noexcept { return c_; }

private:
    stream kept() const { return stream(esrpc_stream_acquire(c_), home_, exceptions_); }
    esrpc_stream *c_;
    message_view first_;
    const esrpc_runtime *home_;
    std::shared_ptr<detail::thrown> exceptions_;
};

/** Thrown by the handler of an operation, becomes the error that the client gets; other exceptions close the connection. */
class service_error : public std::runtime_error {
public:
    service_error(std::string type, const std::string &message) : std::runtime_error(message), type_(std::move(type)) {}
    const std::string &type() const noexcept { return type_; }

private:
    std::string type_;
};

/** The server's answer to a call is an error message. */
class application_error : public error {
public:
    explicit application_error(message reply)
        : error(ESRPC_ERROR_APPLICATION_ERROR, std::string(reply.text())), reply_(std::make_shared<message>(std::move(reply)))
    {
    }
    message_view reply() const noexcept { return *reply_; }

private:
    std::shared_ptr<message> reply_;
};

/* -------------------------------------------------------------------------------------------- connections */

/** What a connection calls. Operations are for servers. */
class connection_callbacks {
public:
    using operation = detail::function<void(incoming_stream)>;

    connection_callbacks &on_protocol_message(detail::function<void(message_view)> f)
    {
        protocol_message = std::move(f);
        return *this;
    }
    connection_callbacks &on_writable(detail::function<void()> f)
    {
        writable = std::move(f);
        return *this;
    }
    /** Once, at the end; the code is empty if this side ended it and nothing was lost. */
    connection_callbacks &on_shutdown(detail::function<void(std::error_code)> f)
    {
        shutdown = std::move(f);
        return *this;
    }
    /** Called for each stream that a client opens for this operation. */
    connection_callbacks &on_stream(std::string name, operation f)
    {
        operations[std::move(name)] = std::move(f);
        return *this;
    }
    /** Called for streams of all other operations, which are refused without it. */
    connection_callbacks &on_any_stream(operation f)
    {
        other = std::move(f);
        return *this;
    }

    detail::function<void(message_view)> protocol_message;
    detail::function<void()> writable;
    detail::function<void(std::error_code)> shutdown;
    std::map<std::string, operation, std::less<>> operations;
    operation other;
};

class connection;

namespace detail {

struct connection_closure final : closure, std::enable_shared_from_this<connection_closure> {
    connection_callbacks callbacks;
    std::shared_ptr<thrown> exceptions = std::make_shared<thrown>();
    const esrpc_runtime *runtime = nullptr;
    /** Called once: with the connection, or with why there is none. */
    function<void(connection_closure &, esrpc_connection *, esrpc_status)> setup;
    std::promise<std::error_code> ending;
    std::shared_future<std::error_code> ended = ending.get_future().share();
    /** What a server's connections use of their listener. */
    std::shared_ptr<void> owner;

    void clear() noexcept override
    {
        callbacks = {};
        setup = {};
        // Whoever waits for the end gets std::future_error.
        ending = {};
    }
    static connection_closure &of(void *user_data) noexcept { return *static_cast<connection_closure *>(user_data); }

    static void ESRPC_CALL on_setup(esrpc_connection *connection, esrpc_status status, void *user_data) noexcept
    {
        auto &self = of(user_data);
        if (self.setup) guarded(*self.exceptions, connection, [&] { self.setup(self, connection, status); });
        self.setup = {};
        if (status != ESRPC_OK) self.ending.set_value(make_code(status));
    }
    static void ESRPC_CALL on_protocol_message(esrpc_connection *connection, const esrpc_message *message, void *user_data) noexcept
    {
        auto &self = of(user_data);
        if (!self.callbacks.protocol_message) return;
        guarded(*self.exceptions, connection, [&] { self.callbacks.protocol_message(message_view(message)); });
    }
    static void ESRPC_CALL on_incoming_stream(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *first,
                                              void *user_data) noexcept
    {
        auto &self = of(user_data);
        guarded(*self.exceptions, connection, [&] {
            auto found = self.callbacks.operations.find(bytes(esrpc_stream_get_operation(stream)).text());
            const auto &handler = found == self.callbacks.operations.end() ? self.callbacks.other : found->second;
            if (!handler) return;
            try {
                handler(incoming_stream(stream, first, self.runtime, self.exceptions));
            } catch (const service_error &failure) {
                std::error_code ignored;
                incoming_stream(stream, first, self.runtime, self.exceptions).fail(failure.type(), failure.what(), ignored);
            }
        });
    }
    static void ESRPC_CALL on_writable(esrpc_connection *connection, void *user_data) noexcept
    {
        auto &self = of(user_data);
        if (self.callbacks.writable) guarded(*self.exceptions, connection, [&] { self.callbacks.writable(); });
    }
    static void ESRPC_CALL on_shutdown(esrpc_connection *connection, esrpc_status reason, void *user_data) noexcept
    {
        auto &self = of(user_data);
        if (self.callbacks.shutdown) guarded(*self.exceptions, connection, [&] { self.callbacks.shutdown(make_code(reason)); });
        self.ending.set_value(make_code(reason));
    }
    static void ESRPC_CALL on_destroy(void *user_data) noexcept { kept::leave(&of(user_data)); }

    static esrpc_connection_callbacks table() noexcept
    {
        esrpc_connection_callbacks table = {};
        table.struct_size = sizeof table;
        table.on_setup = on_setup;
        table.on_protocol_message = on_protocol_message;
        table.on_incoming_stream = on_incoming_stream;
        table.on_writable = on_writable;
        table.on_shutdown = on_shutdown;
        table.on_destroy = on_destroy;
        return table;
    }
};

} // namespace detail

/** A connection: one reference. That of a client is closed when its handle is destroyed, which waits for nothing; that of a server
 * lives on. */
class connection {
public:
    using flushed = stream::flushed;

    connection() noexcept = default;
    connection(connection &&other) noexcept = default;
    connection &operator=(connection &&other) noexcept
    {
        end();
        c_ = std::move(other.c_);
        state_ = std::move(other.state_);
        closes_ = other.closes_;
        return *this;
    }
    ~connection() { end(); }
    /** Lets the connection live on when the handle is destroyed. */
    void detach() noexcept { closes_ = false; }
    explicit operator bool() const noexcept { return c_ != nullptr; }

    /** Calls an operation and waits for the answer; an error message is an application_error, or with an error code it is returned
     * beside ESRPC_ERROR_APPLICATION_ERROR. */
    template <class Duration>
    message call(std::string_view operation, const headers_view &headers, bytes payload, Duration timeout,
                 std::error_code &ec = throws)
    {
        esrpc_message *reply = nullptr;
        esrpc_status status = esrpc_connection_call(get(), bytes(operation).c(), headers.get(), payload.c(),
                                                    detail::milliseconds(timeout), &reply);
        message owned(reply);
        if (status == ESRPC_ERROR_APPLICATION_ERROR && &ec == &throws) throw application_error(std::move(owned));
        detail::check(status, ec);
        return owned;
    }
    template <class Duration>
    message call(std::string_view operation, bytes payload, Duration timeout, std::error_code &ec = throws)
    {
        return call(operation, headers_view(), payload, timeout, ec);
    }
    /** The same without waiting: the future gets the answer, or an error. Works on any thread. */
    template <class Duration>
    std::future<message> call_async(std::string_view operation, const headers_view &headers, bytes payload, Duration timeout)
    {
        struct pending {
            std::promise<message> promise;
            std::optional<message> reply;
            esrpc_stream *stream = nullptr;
        };
        auto call = std::make_shared<pending>();
        auto result = call->promise.get_future();
        stream_callbacks callbacks;
        callbacks.on_message([call](message_view first) {
            if (call->reply) return;
            call->reply.emplace(first);
            if (!first.is_last()) esrpc_stream_close(call->stream);
        });
        callbacks.on_closed([call](std::error_code reason) {
            if (!call->reply) {
                esrpc_status status = reason ? reason.value() : esrpc_status(ESRPC_ERROR_STREAM_CLOSED);
                if (status == ESRPC_ERROR_STREAM_TIMED_OUT) status = ESRPC_ERROR_TIMED_OUT;
                call->promise.set_exception(std::make_exception_ptr(error(status)));
            } else if (call->reply->type() == ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE) {
                call->promise.set_value(std::move(*call->reply));
            } else {
                call->promise.set_exception(std::make_exception_ptr(application_error(std::move(*call->reply))));
            }
        });
        stream opened = new_stream(std::move(callbacks));
        call->stream = opened.get();
        detail::check(esrpc_stream_set_deadline_ms(opened.get(), std::max<std::uint32_t>(1, detail::milliseconds(timeout))), throws);
        opened.activate(operation, headers, payload);
        return result;
    }
    template <class Duration> std::future<message> call_async(std::string_view operation, bytes payload, Duration timeout)
    {
        return call_async(operation, headers_view(), payload, timeout);
    }

    /** A stream to be activated, whose messages are passed to the callbacks. */
    stream new_stream(stream_callbacks callbacks, std::error_code &ec = throws)
    {
        esrpc_stream *made = nullptr;
        detail::begin_stream(std::move(callbacks), exceptions(), runtime(), ec, [&](const esrpc_stream_callbacks *table, void *user_data) {
            return esrpc_connection_new_stream(get(), table, user_data, &made);
        });
        return stream(made, runtime(), exceptions());
    }
    /** A stream to be activated, whose messages wait for stream::read. */
    stream new_stream(std::error_code &ec = throws)
    {
        esrpc_stream *made = nullptr;
        detail::check(esrpc_connection_new_stream(get(), nullptr, nullptr, &made), ec);
        return stream(made, runtime(), exceptions());
    }

    void send_protocol_message(std::int32_t type, std::int32_t flags, const headers_view &headers, bytes payload,
                               flushed on_flush = {}, std::error_code &ec = throws)
    {
        detail::send_with(std::move(on_flush), runtime(), ec, [&](esrpc_flush_callback callback, void *user_data) {
            return esrpc_connection_send_protocol_message(get(), type, flags, headers.get(), payload.c(), callback, user_data);
        });
    }
    /** Begins to close: what was sent before is written. The reason is 0 or 1001 and up. */
    void close(esrpc_status reason = ESRPC_OK, std::error_code &ec = throws)
    {
        detail::check(esrpc_connection_close(get(), reason), ec);
    }
    void abort(std::error_code &ec = throws) { detail::check(esrpc_connection_abort(get()), ec); }
    /** Closes; the future gets the reason, once it has ended. */
    std::shared_future<std::error_code> shutdown()
    {
        close();
        return ended();
    }
    /** Gets the reason when the connection has ended; of one that was stopped, std::future_error. */
    std::shared_future<std::error_code> ended() const { return state_->ended; }
    template <class Duration> void wait_shutdown(Duration timeout, std::error_code &ec = throws)
    {
        detail::check(esrpc_connection_wait_shutdown(get(), detail::milliseconds(timeout)), ec);
    }
    /** What left a callback as an exception and closed the connection, or NULL. */
    std::exception_ptr exception() const
    {
        std::lock_guard<std::mutex> lock(state_->exceptions->mutex);
        return state_->exceptions->exception;
    }
    bool is_open() const noexcept { return esrpc_connection_is_open(get()); }
    std::string local_address() const { return esrpc_connection_get_local_address(get()); }
    std::string remote_address() const { return esrpc_connection_get_remote_address(get()); }
    std::string end_message() const { return esrpc_connection_get_end_message(get()); }
    esrpc_connection *get() const noexcept { return c_.get(); }

    /** Inside the callback that announced the connection: see connection_callbacks. */
    connection &on_stream(std::string name, connection_callbacks::operation f)
    {
        state_->callbacks.on_stream(std::move(name), std::move(f));
        return *this;
    }
    connection &on_any_stream(connection_callbacks::operation f)
    {
        state_->callbacks.on_any_stream(std::move(f));
        return *this;
    }
    connection &on_protocol_message(detail::function<void(message_view)> f)
    {
        state_->callbacks.on_protocol_message(std::move(f));
        return *this;
    }
    connection &on_shutdown(detail::function<void(std::error_code)> f)
    {
        state_->callbacks.on_shutdown(std::move(f));
        return *this;
    }

private:
    friend class client;
    friend class incoming;
    friend class deferred_connection;
    connection(esrpc_connection *c, std::shared_ptr<detail::connection_closure> state, bool closes) noexcept
        : c_(c), state_(std::move(state)), closes_(closes)
    {
    }
    const esrpc_runtime *runtime() const noexcept { return state_ == nullptr ? nullptr : state_->runtime; }
    std::shared_ptr<detail::thrown> exceptions() const { return state_ == nullptr ? nullptr : state_->exceptions; }
    void end() noexcept
    {
        if (c_ != nullptr && closes_) esrpc_connection_close(c_.get(), ESRPC_OK);
        c_.reset();
    }

    detail::owned<esrpc_connection, esrpc_connection_release> c_;
    std::shared_ptr<detail::connection_closure> state_;
    bool closes_ = true;
};

/** Where a client connects, and how. */
class client {
public:
    client(std::string_view host, std::uint16_t port) : client()
    {
        detail::check(esrpc_client_options_set_host(get(), bytes(host).c(), port), throws);
    }
    /** To a Unix socket, or a named pipe of Windows. */
    static client unix_path(std::string_view path)
    {
        client made;
        detail::check(esrpc_client_options_set_unix_path(made.get(), bytes(path).c()), throws);
        return made;
    }

    /** Sends CONNECT with these headers and payload, and connects only if the server accepts it. */
    client &handshake(const headers_view &headers, bytes payload = {}) &
    {
        detail::check(esrpc_client_options_set_handshake(get(), headers.get(), payload.c()), throws);
        return *this;
    }
    client &tls(const tls_config &config, std::string_view server_name = {}) &
    {
        detail::check(esrpc_client_options_set_tls(get(), config.get(), bytes(server_name).c()), throws);
        return *this;
    }
    client &options(const connection_options &options) &
    {
        detail::check(esrpc_client_options_set_connection_options(get(), options.get()), throws);
        return *this;
    }
    client &on(const esrpc::runtime &runtime) &
    {
        detail::check(esrpc_client_options_set_runtime(get(), runtime.get()), throws);
        runtime_ = runtime.get();
        return *this;
    }
    client &callbacks(connection_callbacks callbacks) &
    {
        callbacks_ = std::move(callbacks);
        return *this;
    }
    client &&handshake(const headers_view &headers, bytes payload = {}) && { return std::move(handshake(headers, payload)); }
    client &&tls(const tls_config &config, std::string_view server_name = {}) && { return std::move(tls(config, server_name)); }
    client &&options(const connection_options &settings) && { return std::move(options(settings)); }
    client &&on(const esrpc::runtime &runtime) && { return std::move(on(runtime)); }
    client &&callbacks(connection_callbacks callbacks_of) && { return std::move(callbacks(std::move(callbacks_of))); }

    /** Connects, and waits until that is done. */
    template <class Duration> connection connect(Duration timeout, std::error_code &ec = throws) const
    {
        connection made = begin({}, ec);
        if (!made) return made;
        esrpc_status status = esrpc_connection_wait_setup(made.get(), detail::milliseconds(timeout));
        if (status != ESRPC_OK) {
            // What follows must not replace the sentence.
            error failure(status);
            esrpc_connection_abort(made.get());
            made = connection();
            if (&ec == &throws) throw failure;
        }
        detail::check(status, ec);
        return made;
    }
    /** Connects; the future gets the connection, or an error. Works on any thread. */
    std::future<connection> connect_async() const
    {
        auto promise = std::make_shared<std::promise<connection>>();
        auto result = promise->get_future();
        connection made = begin(
            [promise](detail::connection_closure &self, esrpc_connection *c, esrpc_status status) {
                if (status == ESRPC_OK) {
                    promise->set_value(connection(esrpc_connection_acquire(c), self.shared_from_this(), true));
                } else {
                    promise->set_exception(std::make_exception_ptr(error(status)));
                }
            },
            throws);
        made.detach();
        return result;
    }
    esrpc_client_options *get() const noexcept { return c_.get(); }

private:
    client() : c_(esrpc_client_options_new()) {}
    connection begin(decltype(detail::connection_closure::setup) setup, std::error_code &ec) const
    {
        auto state = std::make_shared<detail::connection_closure>();
        state->callbacks = callbacks_;
        state->runtime = runtime_;
        state->setup = std::move(setup);
        esrpc_connection_callbacks table = detail::connection_closure::table();
        detail::kept::keep(state, runtime_);
        esrpc_connection *made = nullptr;
        esrpc_status status = esrpc_connection_connect(get(), &table, state.get(), &made);
        if (status != ESRPC_OK) {
            detail::kept::leave(state.get());
            detail::check(status, ec);
            return {};
        }
        return connection(made, std::move(state), true);
    }

    detail::owned<esrpc_client_options, esrpc_client_options_release> c_;
    const esrpc_runtime *runtime_ = nullptr;
    connection_callbacks callbacks_;
};

/* ---------------------------------------------------------------------------------------------- listeners */

/** A client that has connected and waits for a decision. */
class deferred_connection {
public:
    /** Accepts the client. Everything that its connection calls has to be given here. */
    connection accept(connection_callbacks callbacks, std::error_code &ec = throws)
    {
        auto state = std::make_shared<detail::connection_closure>();
        state->callbacks = std::move(callbacks);
        state->runtime = runtime_;
        state->owner = owner_;
        esrpc_connection_callbacks table = detail::connection_closure::table();
        detail::kept::keep(state, runtime_);
        esrpc_status status = esrpc_connection_accept(c_.get(), &table, state.get());
        if (status != ESRPC_OK) {
            detail::kept::leave(state.get());
            detail::check(status, ec);
            return {};
        }
        detail::check(status, ec);
        return connection(esrpc_connection_acquire(c_.get()), std::move(state), false);
    }
    void refuse(std::error_code &ec = throws) { detail::check(esrpc_connection_close(c_.get(), ESRPC_OK), ec); }
    std::string remote_address() const { return esrpc_connection_get_remote_address(c_.get()); }
    esrpc_connection *get() const noexcept { return c_.get(); }

private:
    friend class incoming;
    deferred_connection(esrpc_connection *c, const esrpc_runtime *runtime, std::shared_ptr<void> owner) noexcept
        : c_(c), runtime_(runtime), owner_(std::move(owner))
    {
    }
    detail::owned<esrpc_connection, esrpc_connection_release> c_;
    const esrpc_runtime *runtime_;
    std::shared_ptr<void> owner_;
};

/** A client that has connected, while it is announced. One that is neither accepted nor deferred is refused. */
class incoming {
public:
    incoming(esrpc_connection *c, const esrpc_runtime *runtime, std::shared_ptr<void> owner) noexcept
        : c_(c), runtime_(runtime), owner_(std::move(owner))
    {
    }
    /** Accepts the client. What its connection calls may be given here, or to the result before the callback returns. The
     * connection lives on when that is destroyed. */
    connection accept(connection_callbacks callbacks = {}, std::error_code &ec = throws)
    {
        return deferred_connection(esrpc_connection_acquire(c_), runtime_, owner_).accept(std::move(callbacks), ec);
    }
    /** Leaves the decision to later, on any thread. */
    deferred_connection defer(std::error_code &ec = throws)
    {
        detail::check(esrpc_connection_defer(c_), ec);
        return deferred_connection(esrpc_connection_acquire(c_), runtime_, owner_);
    }
    std::string remote_address() const { return esrpc_connection_get_remote_address(c_); }
    esrpc_connection *get() const noexcept { return c_; }

private:
    esrpc_connection *c_;
    const esrpc_runtime *runtime_;
    std::shared_ptr<void> owner_;
};

/** Where a server listens, and how. Every CONNECT is accepted unless on_connect says otherwise. */
class listener_options {
public:
    listener_options() : c_(esrpc_listener_options_new()) {}
    listener_options(std::string_view host, std::uint16_t port) : listener_options()
    {
        detail::check(esrpc_listener_options_set_host(get(), bytes(host).c(), port), throws);
    }
    static listener_options unix_path(std::string_view path)
    {
        listener_options made;
        detail::check(esrpc_listener_options_set_unix_path(made.get(), bytes(path).c()), throws);
        return made;
    }
    listener_options &tls(const tls_config &config)
    {
        detail::check(esrpc_listener_options_set_tls(get(), config.get()), throws);
        return *this;
    }
    listener_options &options(const connection_options &options)
    {
        detail::check(esrpc_listener_options_set_connection_options(get(), options.get()), throws);
        return *this;
    }
    listener_options &max_connections(std::size_t count)
    {
        detail::check(esrpc_listener_options_set_max_connections(get(), count), throws);
        return *this;
    }
    listener_options &on(const runtime &runtime)
    {
        detail::check(esrpc_listener_options_set_runtime(get(), runtime.get()), throws);
        runtime_ = runtime.get();
        return *this;
    }
    /** Asked for each CONNECT; false refuses the client. */
    listener_options &on_connect(detail::function<bool(message_view)> f)
    {
        connect_ = std::move(f);
        return *this;
    }
    /** The application sends CONNECT_ACK itself, in on_protocol_message. */
    listener_options &own_handshake()
    {
        own_handshake_ = true;
        return *this;
    }
    esrpc_listener_options *get() const noexcept { return c_.get(); }

private:
    friend class listener;
    detail::owned<esrpc_listener_options, esrpc_listener_options_release> c_;
    const esrpc_runtime *runtime_ = nullptr;
    detail::function<bool(message_view)> connect_;
    bool own_handshake_ = false;
};

/** A server's listening socket. Destroying it closes the socket, and not the connections. */
class listener {
public:
    listener(listener_options options, detail::function<void(incoming)> on_connection, std::error_code &ec = throws)
    {
        auto state = std::make_shared<closure>();
        state->announce = std::move(on_connection);
        state->asked = std::make_shared<question>();
        state->asked->connect = options.connect_;
        state->runtime = options.runtime_;
        esrpc_status status = ESRPC_OK;
        if (!options.own_handshake_) {
            esrpc_connect_callback ask = options.connect_ ? question::ask : nullptr;
            status = esrpc_listener_options_set_handshake(options.get(), ask, state->asked.get());
        }
        esrpc_listener_callbacks table = {};
        table.struct_size = sizeof table;
        table.on_incoming_connection = closure::on_incoming_connection;
        table.on_destroy = closure::on_destroy;
        detail::kept::keep(state, options.runtime_);
        esrpc_listener *made = nullptr;
        if (status == ESRPC_OK) status = esrpc_listener_listen(options.get(), &table, state.get(), &made);
        if (status != ESRPC_OK) detail::kept::leave(state.get());
        detail::check(status, ec);
        c_.reset(made);
    }
    /** Port 0: the system chooses one. */
    listener(std::string_view host, std::uint16_t port, detail::function<void(incoming)> on_connection, std::error_code &ec = throws)
        : listener(listener_options(host, port), std::move(on_connection), ec)
    {
    }
    listener(listener &&) noexcept = default;
    listener &operator=(listener &&other) noexcept
    {
        if (c_ != nullptr) esrpc_listener_close(c_.get());
        c_ = std::move(other.c_);
        return *this;
    }
    ~listener()
    {
        if (c_ != nullptr) esrpc_listener_close(c_.get());
    }

    std::string address() const { return esrpc_listener_get_address(c_.get()); }
    std::uint16_t port() const noexcept { return static_cast<std::uint16_t>(esrpc_listener_get_port(c_.get())); }
    void close(std::error_code &ec = throws) { detail::check(esrpc_listener_close(c_.get()), ec); }
    /** Lets the open streams of its connections finish, then closes them. Returns at once. */
    template <class Duration> void drain(Duration deadline, std::error_code &ec = throws)
    {
        detail::check(esrpc_listener_drain(c_.get(), detail::milliseconds(deadline)), ec);
    }
    template <class Duration> void wait_closed(Duration timeout, std::error_code &ec = throws)
    {
        detail::check(esrpc_listener_wait_closed(c_.get(), detail::milliseconds(timeout)), ec);
    }
    /** New TLS settings for the clients to come. */
    void tls(const tls_config &config, std::error_code &ec = throws) { detail::check(esrpc_listener_set_tls(c_.get(), config.get()), ec); }
    esrpc_listener *get() const noexcept { return c_.get(); }

private:
    /** Asked as long as there are connections, also when the listener is gone. */
    struct question {
        static bool ESRPC_CALL ask(esrpc_connection *, const esrpc_message *connect, void *user_data) noexcept
        {
            try {
                return static_cast<question *>(user_data)->connect(message_view(connect));
            } catch (...) {
                return false;
            }
        }
        detail::function<bool(message_view)> connect;
    };
    struct closure final : detail::closure {
        static void ESRPC_CALL on_incoming_connection(esrpc_listener *, esrpc_connection *connection, void *user_data) noexcept
        {
            auto &self = *static_cast<closure *>(user_data);
            try {
                self.announce(incoming(connection, self.runtime, self.asked));
            } catch (...) {
                esrpc_connection_close(connection, callback_threw);
            }
        }
        static void ESRPC_CALL on_destroy(void *user_data) noexcept { detail::kept::leave(static_cast<closure *>(user_data)); }
        void clear() noexcept override
        {
            announce = {};
            asked->connect = {};
        }
        detail::function<void(incoming)> announce;
        std::shared_ptr<question> asked;
        const esrpc_runtime *runtime = nullptr;
    };
    detail::owned<esrpc_listener, esrpc_listener_release> c_;
};

} // namespace esrpc

#endif
