#include "measure.h"
#include "workloads.h"

#include <semaphore.h>

/* Loopback ports are few: those of closed connections wait for a minute. */
#define MAX_CONNECTIONS 20000
#define MAX_AT_A_TIME 32

struct connecting {
    struct client *client;
    size_t begun, active;
    struct rate rate;
    struct latencies latencies; /* until CONNECT_ACK */
    struct attempt {
        struct connecting *connecting;
        esrpc_connection *connection;
        uint64_t begun_at;
    } attempts[MAX_AT_A_TIME];
    sem_t ended;
};

static void begin(struct attempt *attempt);

static void on_setup(esrpc_connection *connection, esrpc_status status, void *user_data)
{
    struct attempt *attempt = user_data;
    check(status);
    if (attempt->connecting->rate.state == RATE_MEASURING)
        latencies_add(&attempt->connecting->latencies, now_ns() - attempt->begun_at);
    check(esrpc_connection_close(connection, ESRPC_OK));
}

static void on_shutdown(esrpc_connection *connection, esrpc_status reason, void *user_data)
{
    struct attempt *attempt = user_data;
    struct connecting *connecting = attempt->connecting;
    check(reason);
    esrpc_connection_release(connection);
    if (connecting->begun == MAX_CONNECTIONS)
        rate_stop(&connecting->rate);
    if (rate_add(&connecting->rate, 1) && connecting->begun < MAX_CONNECTIONS) {
        connecting->begun++;
        begin(attempt);
    } else if (--connecting->active == 0) {
        sem_post(&connecting->ended);
    }
}

static void begin(struct attempt *attempt)
{
    static const esrpc_connection_callbacks callbacks = {
        .struct_size = sizeof callbacks, .on_setup = on_setup, .on_shutdown = on_shutdown};
    attempt->begun_at = now_ns();
    check(esrpc_connection_connect(attempt->connecting->client->target, &callbacks, attempt, &attempt->connection));
}

static void run(struct client *client, size_t at_a_time)
{
    struct connecting connecting = {.client = client, .begun = at_a_time, .active = at_a_time};
    size_t i;
    sem_init(&connecting.ended, 0, 0);
    latencies_new(&connecting.latencies, MAX_CONNECTIONS);
    rate_begin(&connecting.rate, client->options);
    for (i = 0; i < at_a_time; i++) {
        connecting.attempts[i].connecting = &connecting;
        begin(&connecting.attempts[i]);
    }
    while (sem_wait(&connecting.ended))
        ;
    rate_print(&connecting.rate, 0, "conn/s");
    latencies_print(&connecting.latencies);
    sem_destroy(&connecting.ended);
}

void run_conn_seq(struct client *client)
{
    run(client, 1);
}

void run_conn_c32(struct client *client)
{
    run(client, MAX_AT_A_TIME);
}
