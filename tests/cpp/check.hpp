/* What the tests in C++ share: scenarios, checks, and events with a time limit. */
#ifndef CHECK_HPP
#define CHECK_HPP

#include <eventstream_rpc.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

using namespace std::chrono_literals;

/* Long enough for a busy machine; what takes longer hangs. */
inline constexpr std::chrono::seconds time_limit{120};

struct scenario {
    const char *name;
    void (*run)();
};

inline std::vector<scenario> &scenarios() {
    static std::vector<scenario> all;
    return all;
}

struct registration {
    registration(const char *name, void (*run)()) { scenarios().push_back({name, run}); }
};

#define TEST(name)                                      \
    static void name();                                 \
    static const registration register_##name(#name, name); \
    static void name()

[[noreturn]] inline void fail_check(const char *file, int line, const std::string &what) {
    std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
    std::exit(1);
}

#define CHECK(condition) \
    static_cast<void>((condition) ? void() : fail_check(__FILE__, __LINE__, "not true: " #condition))

#define CHECK_THROWS(status_wanted, ...)                                        \
    do {                                                                        \
        bool has_thrown = false;                                                \
        try {                                                                   \
            static_cast<void>(__VA_ARGS__);                                     \
        } catch (const esrpc::error &failure) {                                 \
            has_thrown = true;                                                  \
            CHECK(failure.status() == (status_wanted));                         \
            CHECK(failure.code() == esrpc::make_code(status_wanted));           \
            CHECK(*failure.what() != '\0');                                     \
        }                                                                       \
        CHECK(has_thrown);                                                      \
    } while (false)

/* Something that happens once, on any thread. */
class event {
public:
    void set() {
        const std::lock_guard<std::mutex> lock(mutex_);
        is_set_ = true;
        changed_.notify_all();
    }
    bool is_set() {
        const std::lock_guard<std::mutex> lock(mutex_);
        return is_set_;
    }
    void wait() {
        std::unique_lock<std::mutex> lock(mutex_);
        CHECK(changed_.wait_for(lock, time_limit, [&] { return is_set_; }));
    }
    void wait_for(std::chrono::milliseconds time) {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait_for(lock, time, [&] { return is_set_; });
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool is_set_ = false;
};

/* What callbacks note, in order. */
class journal {
public:
    void note(std::string entry) {
        const std::lock_guard<std::mutex> lock(mutex_);
        entries_.push_back(std::move(entry));
        changed_.notify_all();
    }
    /* Waits for so many entries, and returns all. */
    std::vector<std::string> wait(std::size_t count) {
        std::unique_lock<std::mutex> lock(mutex_);
        CHECK(changed_.wait_for(lock, time_limit, [&] { return entries_.size() >= count; }));
        return entries_;
    }
    bool has(const std::string &entry) {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (const std::string &noted : entries_)
            if (noted == entry) return true;
        return false;
    }
    /* Waits for an entry. */
    void wait_for(const std::string &entry) {
        for (std::size_t count = 0; !has(entry);) count = wait(count + 1).size();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::string> entries_;
};

/* Part of a callback: notes in a journal when the callback is destroyed. */
class captured {
public:
    captured(journal &noting, std::string name) : noting_(&noting), name_(std::move(name)) {}
    captured(captured &&other) noexcept
        : noting_(std::exchange(other.noting_, nullptr)), name_(std::move(other.name_)) {}
    ~captured() {
        if (noting_ != nullptr) noting_->note("freed " + name_);
    }

private:
    journal *noting_;
    std::string name_;
};

inline void echo(esrpc::incoming_stream call) {
    call.reply(call.message().payload());
}

/* An echo server that the system chose a port for. */
inline esrpc::listener echo_server() {
    return esrpc::server("127.0.0.1", 0).on_stream("Echo", echo).listen();
}

/* Ends everything in order; every handle must have been released. */
inline void end_in_order() {
    esrpc::runtime::of_process().shutdown();
    esrpc::runtime::of_process().join(time_limit);
}

#endif
