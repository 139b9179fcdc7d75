/* A sandbox in which the system gives no random bytes: TLS settings are refused, and the process is not aborted. Each case
   has a process of its own, since each process looks only once. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* syscall */
#endif
#include "harness.h"

#include "process.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* From here on getrandom fails with the error, in this process for good. */
static void take_getrandom_away(int error) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* the call's number */),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program;
    uint8_t byte;
    program.len = sizeof filter / sizeof *filter;
    program.filter = filter;
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    CHECK(syscall(SYS_getrandom, &byte, 1, 0) == -1 && errno == error);
}

static esrpc_status build_settings(void) {
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_client();
    esrpc_tls_config *config = NULL;
    esrpc_status status;
    CHECK(builder != NULL);
    CHECK_OK(esrpc_tls_config_builder_dangerous_disable_verification(builder));
    status = esrpc_tls_config_builder_build(builder, &config);
    CHECK((config != NULL) == (status == ESRPC_OK));
    esrpc_tls_config_release(config);
    esrpc_tls_config_builder_release(builder);
    return status;
}

static void hold_a_conversation(void) {
    struct pair pair;
    recorder_clear();
    pair_open(&pair);
    pair_end(&pair);
}

static void refused(void *data) {
    (void)data;
    take_getrandom_away(EPERM);
    CHECK_STATUS(ESRPC_ERROR_TLS_CONFIG, build_settings());
    CHECK(last_error_says("random") && last_error_says("getrandom"));
    hold_a_conversation();
}

static void missing_with_a_file(void *data) {
    (void)data;
    take_getrandom_away(ENOSYS);
    CHECK_OK(build_settings());
    hold_a_conversation();
}

static void missing_without_a_file(void *data) {
    rlim_t before;
    (void)data;
    take_getrandom_away(ENOSYS);
    before = forbid_descriptors();
    CHECK_STATUS(ESRPC_ERROR_TLS_CONFIG, build_settings());
    CHECK(last_error_says("/dev/urandom"));
    allow_descriptors(before);
    hold_a_conversation();
}

static void tls_without_random_bytes_is_refused(void) {
    if (is_under_valgrind()) return;
    in_child(refused, NULL);
    in_child(missing_with_a_file, NULL);
    in_child(missing_without_a_file, NULL);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {TEST(tls_without_random_bytes_is_refused)};
    return RUN_TESTS(tests, argc, argv);
}
