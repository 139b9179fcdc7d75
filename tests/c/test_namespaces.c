/* A forked child with its parent's process id, which is 1 for each in a namespace of its own: the parent's objects are foreign
   to it all the same. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* unshare */
#endif
#include "harness.h"

#include "process.h"

static void be_a_child_with_the_same_id(void *data) {
    struct pair *pair = (struct pair *)data;
    esrpc_runtime *runtime = NULL;
    CHECK(getpid() == 1);
    CHECK_STATUS(ESRPC_ERROR_FORKED, esrpc_runtime_shutdown(pair->client_runtime));
    CHECK_STATUS(ESRPC_ERROR_FORKED, esrpc_runtime_join(pair->client_runtime, ESRPC_NO_TIMEOUT));
    CHECK_STATUS(ESRPC_ERROR_FORKED, esrpc_runtime_stop(pair->client_runtime, ESRPC_NO_TIMEOUT));
    CHECK_STATUS(ESRPC_ERROR_FORKED, esrpc_connection_close(pair->client_connection, ESRPC_OK));
    CHECK_STATUS(ESRPC_ERROR_FORKED, esrpc_connection_wait_flush(pair->server_connection, ESRPC_NO_TIMEOUT));
    CHECK_STATUS(ESRPC_ERROR_FORKED, esrpc_listener_close(pair->listening));
    esrpc_connection_release(pair->client_connection);
    CHECK_OK(esrpc_runtime_new(NULL, &runtime));
    CHECK_OK(esrpc_runtime_shutdown(runtime));
    CHECK_OK(esrpc_runtime_join(runtime, PATIENCE_MS));
    esrpc_runtime_release(runtime);
}

static void be_the_first_of_a_namespace(void *data) {
    struct pair pair;
    (void)data;
    CHECK(getpid() == 1);
    pair_open(&pair);
    CHECK(unshare(CLONE_NEWPID) == 0);
    in_child(be_a_child_with_the_same_id, &pair);
    pair_end(&pair);
}

static void be_one_who_may_make_namespaces(void *data) {
    (void)data;
    if (unshare(CLONE_NEWPID) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) {
        fprintf(stderr, "the system does not allow new namespaces here: not tried\n");
        return;
    }
    in_child(be_the_first_of_a_namespace, NULL);
}

/* In a process of its own: once the first one of its namespace has ended, it can have no more children. */
static void a_child_with_the_same_id_is_another_process(void) {
    in_child(be_one_who_may_make_namespaces, NULL);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {TEST(a_child_with_the_same_id_is_another_process)};
    return RUN_TESTS(tests, argc, argv);
}
