/* A program with two libraries in Rust in it. */
#include <eventstream_rpc.h>
#include <stdint.h>
#include <string.h>

uint32_t other_sum(uint32_t count);

int main(void)
{
    /* The unwinder and the allocator of both are used. */
    return other_sum(4) == 10 && strcmp(esrpc_version(), ESRPC_VERSION) == 0 &&
                   esrpc_client_options_set_host(NULL, esrpc_text("x"), 0) == ESRPC_ERROR_INVALID_ARGUMENT
               ? 0
               : 1;
}
