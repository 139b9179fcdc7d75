/* Promise: inside a log callback every function of the library fails and does nothing, in one way for all.
   tests/c/every_call.rs makes log_calls.h from the header. */
#include "harness.h"

#include "log_calls.h"

static int lines;

static void call_all(int32_t level, const char *target, const char *message, void *user_data) {
    (void)level, (void)target, (void)message, (void)user_data;
    if (lines++ == 0) call_everything();
}

/* Whether it takes objects or not, and whatever it returns otherwise. */
static void every_function_fails_in_a_log_callback(void) {
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    struct pair pair;
    CHECK(LOG_CALL_COUNT > 200);
    lines = 0;
    pair_begin(&pair);
    esrpc_runtime_release(pair.server_runtime);
    CHECK_OK(esrpc_runtime_options_set_log(options, ESRPC_LOG_LEVEL_TRACE, call_all, NULL));
    CHECK_OK(esrpc_runtime_new(options, &pair.server_runtime));
    esrpc_runtime_options_release(options);
    pair_connect(&pair);
    pair_end(&pair);
    CHECK(lines > 0);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {TEST(every_function_fails_in_a_log_callback)};
    return RUN_TESTS(tests, argc, argv);
}
