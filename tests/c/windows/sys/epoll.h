/* The library calls nothing of this on Windows. */
struct epoll_event {
    int events;
};
#define epoll_pwait(descriptor, events, most, timeout_ms, signals) \
    ((void)(descriptor), (void)(events), (void)(most), (void)(timeout_ms), NOT_ON_WINDOWS("epoll_pwait"))
