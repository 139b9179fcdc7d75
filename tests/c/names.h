/* Names that the test resolves: the getaddrinfo of this program replaces that of the system, for the library as well. */
#ifndef NAMES_H
#define NAMES_H

#include "raw_peer.h"

#include <netdb.h>

/* What the next lookups return, under the recorder's lock. */
static struct {
    const char *addresses[4]; /* ends with NULL */
    bool stuck;               /* lookups of "stuck..." wait for the gate */
    size_t running;
} names;

static inline void names_set(const char *first, const char *second) {
    pthread_mutex_lock(&recorder.lock);
    names.addresses[0] = first;
    names.addresses[1] = second;
    names.addresses[2] = NULL;
    pthread_mutex_unlock(&recorder.lock);
}

static inline void names_stick(void) {
    pthread_mutex_lock(&recorder.lock);
    names.stuck = true;
    pthread_mutex_unlock(&recorder.lock);
}

/* Lets every stuck lookup continue, and waits until all have ended. */
static inline void names_let_go(void) {
    struct timespec deadline = deadline_in(PATIENCE_SECONDS);
    pthread_mutex_lock(&recorder.lock);
    names.stuck = false;
    pthread_cond_broadcast(&recorder.changed);
    while (names.running > 0) CHECK(wait_locked(&deadline));
    pthread_mutex_unlock(&recorder.lock);
}

static inline struct addrinfo *new_address(const char *text, const char *service) {
    struct sockaddr_in6 v6;
    struct sockaddr_in v4;
    struct addrinfo *info = (struct addrinfo *)calloc(1, sizeof *info + sizeof v6);
    CHECK(info != NULL);
    uint32_t port = service == NULL ? 0 : (uint32_t)strtoul(service, NULL, 10);
    info->ai_socktype = SOCK_STREAM;
    info->ai_protocol = IPPROTO_TCP;
    info->ai_addr = (struct sockaddr *)(info + 1);
    if (strchr(text, ':') == NULL) {
        v4 = ipv4_address(text, port);
        info->ai_family = AF_INET;
        info->ai_addrlen = sizeof v4;
        memcpy(info->ai_addr, &v4, sizeof v4);
    } else {
        memset(&v6, 0, sizeof v6);
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons((uint16_t)port);
        CHECK(inet_pton(AF_INET6, text, &v6.sin6_addr) == 1);
        info->ai_family = AF_INET6;
        info->ai_addrlen = sizeof v6;
        memcpy(info->ai_addr, &v6, sizeof v6);
    }
    return info;
}

#ifdef __cplusplus
#define DOES_NOT_THROW noexcept
extern "C" {
#else
#define DOES_NOT_THROW
#endif

/* "unknown...": there is no such name; "empty...": it has no address; "stuck...": no answer while names are stuck. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
    const char *addresses[4];
    struct addrinfo **end = result;
    (void)hints;
    pthread_mutex_lock(&recorder.lock);
    memcpy(addresses, names.addresses, sizeof addresses);
    names.running++;
    pthread_mutex_unlock(&recorder.lock);
    note("lookup %.60s", node);
    pthread_mutex_lock(&recorder.lock);
    while (names.stuck && strncmp(node, "stuck", 5) == 0) pthread_cond_wait(&recorder.changed, &recorder.lock);
    names.running--;
    pthread_cond_broadcast(&recorder.changed);
    pthread_mutex_unlock(&recorder.lock);

    *result = NULL;
    if (strncmp(node, "unknown", 7) == 0) return EAI_NONAME;
    if (strncmp(node, "empty", 5) == 0) return 0;
    for (size_t i = 0; addresses[i] != NULL; i++) {
        *end = new_address(addresses[i], service);
        end = &(*end)->ai_next;
    }
    return 0;
}

void freeaddrinfo(struct addrinfo *info) DOES_NOT_THROW {
    while (info != NULL) {
        struct addrinfo *next = info->ai_next;
        free(info);
        info = next;
    }
}

#ifdef __cplusplus
}
#endif

#endif
