/* How a server is told to stop: SIGINT and SIGTERM, or on Windows Ctrl+C and the closing of its console. */
#ifndef EXAMPLES_STOPPING_H
#define EXAMPLES_STOPPING_H

#include <stdbool.h>

#ifdef _WIN32
#include <windows.h>

static HANDLE stopping;

static BOOL WINAPI ask_to_stop(DWORD event)
{
    (void)event;
    SetEvent(stopping);
    return TRUE;
}

/* Call it first of all. */
static inline bool prepare_to_stop(void)
{
    stopping = CreateEventW(NULL, TRUE, FALSE, NULL);
    return stopping != NULL && SetConsoleCtrlHandler(ask_to_stop, TRUE) != 0;
}

static inline bool await_stop(void)
{
    return WaitForSingleObject(stopping, INFINITE) == WAIT_OBJECT_0;
}

/* From any thread. */
static inline void stop_now(void)
{
    SetEvent(stopping);
}

#else
#include <signal.h>
#include <unistd.h>

static sigset_t stopping;

/* Call it first of all. Blocked here, the two signals stay pending until sigwait takes them; the library's threads take none. */
static inline bool prepare_to_stop(void)
{
    sigemptyset(&stopping);
    sigaddset(&stopping, SIGINT);
    sigaddset(&stopping, SIGTERM);
    return sigprocmask(SIG_BLOCK, &stopping, NULL) == 0;
}

static inline bool await_stop(void)
{
    int caught;
    return sigwait(&stopping, &caught) == 0;
}

/* From any thread. */
static inline void stop_now(void)
{
    kill(getpid(), SIGTERM);
}
#endif

#endif
