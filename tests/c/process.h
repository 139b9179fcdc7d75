/* What a test can see of its own process from outside the library (Linux). */
#ifndef PROCESS_H
#define PROCESS_H

#include "events.h"

#include <dirent.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static inline size_t count_entries(const char *folder) {
    size_t count = 0;
    const struct dirent *entry;
    DIR *directory = opendir(folder);
    CHECK(directory != NULL);
    while ((entry = readdir(directory)) != NULL) count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

#ifdef _WIN32
#include <tlhelp32.h>

/* Not in the headers of MinGW. */
WINBASEAPI HRESULT WINAPI GetThreadDescription(HANDLE thread, PWSTR *name);

/* Open handles, of whatever kind. */
static inline size_t count_descriptors(void) {
    DWORD count = 0;
    CHECK(GetProcessHandleCount(GetCurrentProcess(), &count) != 0);
    return count;
}

static inline bool is_of_library(DWORD id) {
    HANDLE thread = OpenThread(THREAD_QUERY_LIMITED_INFORMATION, FALSE, id);
    WCHAR *name = NULL;
    bool is_one = thread != NULL && SUCCEEDED(GetThreadDescription(thread, &name)) && wcsncmp(name, L"esrpc", 5) == 0;
    LocalFree(name);
    if (thread != NULL) CloseHandle(thread);
    return is_one;
}

/* The library's threads, by their names. */
static inline size_t count_threads(void) {
    size_t count = 0;
    THREADENTRY32 entry;
    HANDLE threads = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
    CHECK(threads != INVALID_HANDLE_VALUE);
    entry.dwSize = sizeof entry;
    for (BOOL more = Thread32First(threads, &entry); more; more = Thread32Next(threads, &entry))
        count += entry.th32OwnerProcessID == GetCurrentProcessId() && is_of_library(entry.th32ThreadID);
    CloseHandle(threads);
    return count;
}
#else
/* Open descriptors, including the one that counting needs. */
static inline size_t count_descriptors(void) {
    return count_entries("/proc/self/fd");
}

/* The library's threads, by their names: sanitizers have threads of their own. */
static inline size_t count_threads(void) {
    size_t count = 0;
    const struct dirent *entry;
    DIR *directory = opendir("/proc/self/task");
    CHECK(directory != NULL);
    while ((entry = readdir(directory)) != NULL) {
        char path[64], name[32] = "";
        FILE *file;
        snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", entry->d_name);
        file = fopen(path, "r");
        if (file == NULL) continue; /* not a thread, or one that has just ended */
        if (fgets(name, sizeof name, file) != NULL) count += strncmp(name, "esrpc", 5) == 0;
        fclose(file);
    }
    closedir(directory);
    return count;
}
#endif

/* A thread takes its name when it begins to run, and stays visible for a moment after it was joined. */
static inline void await_threads(size_t count) {
    struct timespec now, deadline = deadline_in(PATIENCE_SECONDS);
    while (count_threads() != count) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        CHECK(now.tv_sec < deadline.tv_sec);
        sched_yield();
    }
}

/* A thread that has no name yet is not seen by await_threads, but its descriptors are. */
static inline void await_descriptors(size_t count) {
    struct timespec now, deadline = deadline_in(PATIENCE_SECONDS);
    while (count_descriptors() != count) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        CHECK(now.tv_sec < deadline.tv_sec);
        sched_yield();
    }
}

/* Valgrind handles some system calls itself. */
static inline bool is_under_valgrind(void) {
    const char *wrapper = getenv("ESRPC_TEST_WRAPPER");
    return wrapper != NULL && strstr(wrapper, "valgrind") != NULL;
}

/* Valgrind and sanitizers are slow, and keep memory of their own. */
static inline bool is_watched(void) {
    return getenv("ESRPC_TEST_WRAPPER") != NULL || getenv("ESRPC_TEST_CFLAGS") != NULL;
}

/* Runs `work` in a forked child, which must succeed. */
static inline void in_child(void (*work)(void *data), void *data) {
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(PATIENCE_SECONDS * 2); /* a child that hangs must not outlive the test */
        /* The copied lock may be held, and its waiting threads do not exist here. */
        memset(&recorder, 0, sizeof recorder);
        recorder_begin();
        work(data);
        /* Another program takes its place, or a leak checker would count what the threads of the parent had allocated. */
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Leaves the process no descriptor to open; returns the limit before. */
static inline rlim_t forbid_descriptors(void) {
    struct rlimit limit;
    int next = dup(0);
    rlim_t before;
    CHECK(next >= 0 && close(next) == 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    before = limit.rlim_cur;
    limit.rlim_cur = (rlim_t)next;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    return before;
}

static inline void allow_descriptors(rlim_t count) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = count;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* A new folder for socket files that every user may enter. */
static inline void make_folder(char folder[60]) {
    const char *parent = getenv("TMPDIR");
    if (parent == NULL || strlen(parent) > 30) parent = "/tmp";
    snprintf(folder, 60, "%s/esrpc-test-XXXXXX", parent);
    CHECK(mkdtemp(folder) != NULL);
    CHECK(chmod(folder, 0755) == 0);
}

static inline const char *in_folder(const char *folder, const char *name, char path[108]) {
    snprintf(path, 108, "%s/%s", folder, name);
    return path;
}

#endif
