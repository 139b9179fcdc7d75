"""What is aimed at: each row compares a measurement of ours with the floor's in the same pair of runs."""

import collections

# ours and floor are names in the results; kind says which way the goal goes:
#   share: a rate, at least that share of the floor's      times: a cost, at most so many times the floor's
#   slower: a rate, time per operation at most so many times the floor's      KiB: at most so much
Goal = collections.namedtuple("Goal", "measure ours floor kind bound")

# A large message costs its checksums most, and crc32fast is far slower on a CPU without AVX-512: what a rate of large
# messages over plain sockets is to reach there.
LARGE, LARGE_WITHOUT_AVX512 = ("64KiB", "1MiB"), 0.55


def against_floor(measure, case, metric, kind, bound):
    return Goal(measure, f"ours.{case}.{metric}", f"floor.{case}.{metric}", kind, bound)


def of_scale(measure, group, many, few):
    return [Goal(f"{measure}, CPU per message, {side}", f"ours.scale.{group}.{many}.cpu_{side}",
                 f"ours.scale.{group}.{few}.cpu_{side}", "times", 1.1) for side in ("client", "server")]


def on_cpu(goal, has_avx512):
    """The goal for such a CPU."""
    is_large_rate = goal.kind == "share" and goal.ours.split(".")[1] in ("tcp", "unix") and goal.ours.split(".")[3] in LARGE
    return goal._replace(bound=LARGE_WITHOUT_AVX512) if is_large_rate and not has_avx512 else goal


COSTS = ("p50", "cpu_client", "cpu_server")
# What is compared with the floor.
COMPARED = ("rate", *COSTS)


def is_disturbed(name, floor_name, value, floor_value):
    """Whether a measurement beats its floor, which does a part of the same work: then something held the floor up."""
    if not floor_name.startswith("floor"):
        return False
    ratio = floor_value / value if name.rpartition(".")[2] in COSTS else value / floor_value
    return ratio > LEVEL


# Where the floor's work is all there is, as in encoding small messages, two runs differ by so much either way.
LEVEL = 1.02


NAMES = {"tcp": "TCP", "unix": "Unix socket", "tls": "TLS"}
GOALS = [
    *(against_floor(f"echo_p64.64B, {NAMES[transport]}, CPU per message, {side}", f"{transport}.echo_p64.64B", f"cpu_{side}", "times", 2)
      for transport in ("tcp", "unix") for side in ("client", "server")),
    *(against_floor(f"{workload}.64B, {NAMES[transport]}, p50 on one CPU", f"{transport}.{workload}_1c.64B", "p50", "times", bound)
      for transport, bound in (("tcp", 1.15), ("unix", 1.25)) for workload in ("pingpong", "pingpong_after_1MiB")),
    *(against_floor(f"{workload}, {NAMES[transport]}", f"{transport}.{workload}", "rate", "share", bound)
      for workload, tcp, unix in (("echo_p64.64B", 0.7, 0.7), ("echo_p64.64KiB", 0.8, 0.7), ("echo_p8.1MiB", 0.8, 0.7),
                                  ("unary_p64.64B", 0.5, 0.5), ("flood.64B", 0.15, 0.15), ("flood.64KiB", 0.8, 0.7))
      for transport, bound in (("tcp", tcp), ("unix", unix))),
    against_floor("echo_p64.64KiB, TLS", "tls.echo_p64.64KiB", "rate", "share", 0.45),
    against_floor("flood.64KiB, TLS", "tls.flood.64KiB", "rate", "share", 0.4),
    against_floor("conn_seq, TCP", "tcp.conn_seq", "rate", "share", 0.85),
    against_floor("conn_seq, TLS, time", "tls.conn_seq", "rate", "slower", 1.15),
    *(Goal(f"server memory per connection, {NAMES[transport]}, {when}", f"ours.{transport}.mem.1000.server_{metric}", None, "KiB", bound)
      for transport, bound in (("tcp", 2), ("tls", 12))
      for metric, when in (("idle", "idle"), ("after_64KiB_call", "after a 64 KiB call"))),
    *of_scale("beside 10,000 idle connections", "idle_connections", 10000, 1),
    *of_scale("beside 100,000 open streams", "open_streams", 100000, 1),
    against_floor("encode 64 B", "codec.encode.64B", "rate", "share", 0.4),
    against_floor("decode 64 B", "codec.decode.64B", "rate", "share", 0.35),
    *(against_floor(f"{operation} {size}", f"codec.{operation}.{size.replace(' ', '')}", "rate", "share", 0.9)
      for size in ("16 KiB", "1 MiB") for operation in ("encode", "decode")),
]

# What README shows, in its words.
IN_SHORT = {
    "echo_p64.64B, TCP": "echo of 64 B, 64 in flight: share of the rate",
    "echo_p64.64KiB, TCP": "echo of 64 KiB, 64 in flight: share of the rate",
    "echo_p64.64KiB, TLS": "echo of 64 KiB over TLS, whose floor is plain TCP: share of the rate",
    "unary_p64.64B, TCP": "64 calls at a time, each on a stream of its own: share of the rate of echoes",
    "pingpong.64B, TCP, p50 on one CPU": "one message there and back: times the median",
    "flood.64KiB, TCP": "one direction, 64 KiB: share of the rate",
    "conn_seq, TCP": "connect, handshake, close: share of the rate",
    "encode 64 B": "encoding a message of 64 B: share of the rate",
    "decode 64 B": "decoding it: share of the rate",
    "server memory per connection, TCP, idle": "memory of an idle connection on a server",
}
