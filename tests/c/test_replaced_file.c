/* A Unix socket's file that somebody replaces while the library makes it. The bind of this program replaces that of the system,
   for the library as well. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* for syscall and mkdtemp */
#endif

#include "raw_peer.h"

#include <sys/stat.h>
#include <sys/syscall.h>

#ifdef __cplusplus
#define NEVER_THROWS noexcept
#else
#define NEVER_THROWS
#endif

static char socket_path[100], victim_path[100];

int bind(int descriptor, const struct sockaddr *address, socklen_t len) NEVER_THROWS {
    int result = (int)syscall(SYS_bind, descriptor, address, len);
    if (address->sa_family != AF_UNIX || strcmp(((const struct sockaddr_un *)address)->sun_path, socket_path) != 0) return result;
    if (result != 0 || unlink(socket_path) != 0 || symlink(victim_path, socket_path) != 0) abort();
    note("replaced");
    return result;
}

static void the_permissions_of_what_a_link_leads_to_stay(void) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener *listener = NULL;
    struct stat victim;
    char folder[] = "/tmp/esrpc-test-XXXXXX";
    CHECK(mkdtemp(folder) != NULL);
    snprintf(socket_path, sizeof socket_path, "%s/socket", folder);
    snprintf(victim_path, sizeof victim_path, "%s/victim", folder);
    int descriptor = open(victim_path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    CHECK(descriptor >= 0 && close(descriptor) == 0);
    CHECK_OK(esrpc_listener_options_set_unix_path(options, esrpc_text(socket_path)));
    CHECK_OK(esrpc_listener_options_set_unix_mode(options, 0666));
    CHECK_STATUS(ESRPC_ERROR_ADDRESS_IN_USE, esrpc_listener_listen(options, NULL, NULL, &listener));
    CHECK(last_error_says("was replaced while it was being made"));
    await("replaced");
    CHECK(stat(victim_path, &victim) == 0 && (victim.st_mode & 0777) == 0600);
    CHECK(unlink(victim_path) == 0 && rmdir(folder) == 0);
    esrpc_listener_options_release(options);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {TEST(the_permissions_of_what_a_link_leads_to_stay)};
    return RUN_TESTS(tests, argc, argv);
}
