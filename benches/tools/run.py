#!/usr/bin/env python3
"""Measures everything: pairs of runs in turn, ours and then the floor of that case, so that what disturbs the machine
disturbs both. Prints "name value unit" lines and writes them to a file; "# pair N" begins each pair.

ours.TRANSPORT.WORKLOAD.METRIC is the library; floor.TRANSPORT.WORKLOAD.METRIC is what it is compared with in this case:
raw sockets with messages of the same length, for TLS over plain TCP, for calls the echo on one stream.
grpc... and smithy... are other implementations, if they are there.

usage: run.py [--pairs N] [--seconds S] [--quick] [--results FILE] [--no-realtime] [TRANSPORT [WORKLOAD]]
       TRANSPORT: tcp, unix, tls, codec, scale; all when left out
"""

import argparse
import collections
import datetime
import os
import pathlib
import platform
import re
import resource
import sys

import goals
import programs

TRANSPORTS = ("tcp", "unix", "tls")
# name in the results: workload of our client, of the floor's, whether on one CPU
Workload = collections.namedtuple("Workload", "name ours floor one_cpu")
WORKLOADS = [
    Workload("pingpong.64B", "pingpong.64B", "pingpong.64B", False),
    Workload("pingpong_1c.64B", "pingpong.64B", "pingpong.64B", True),
    Workload("pingpong_sync.64B", "pingpong_sync.64B", "pingpong.64B", False),
    Workload("pingpong_sync_1c.64B", "pingpong_sync.64B", "pingpong.64B", True),
    Workload("pingpong_after_1MiB_1c.64B", "pingpong_after_1MiB.64B", "pingpong.64B", True),
    Workload("unary_seq.64B", "unary_seq.64B", "pingpong.64B", False),
    Workload("unary_seq_1c.64B", "unary_seq.64B", "pingpong.64B", True),
    *(Workload(f"unary_p64.{size}", f"unary_p64.{size}", f"echo_p64.{size}", False) for size in ("64B", "1KiB", "64KiB")),
    *(Workload(f"echo_p64.{size}", f"echo_p64.{size}", f"echo_p64.{size}", False) for size in ("64B", "1KiB", "64KiB")),
    Workload("echo_p8.1MiB", "echo_p8.1MiB", "echo_p8.1MiB", False),
    *(Workload(f"flood.{size}", f"flood.{size}", f"flood.{size}", False) for size in ("64B", "1KiB", "64KiB")),
    Workload("conn_seq", "conn_seq", "conn_seq", False),
    Workload("conn_c32", "conn_c32", None, False),
    Workload("mem.1000", "mem.1000", None, False),
]
GRPC_WORKLOADS = ("unary_seq.64B", "unary_seq_1c.64B", "unary_p64.64B", "unary_p64.1KiB", "unary_p64.64KiB")

# name, workload, options of the client, of both: each is compared with the first of its group
Scale = collections.namedtuple("Scale", "name workload client both pinned")
SCALES = [
    *(Scale(f"loops.{n}", "echo_connections.64B", ["--connections", 4], ["--loops", n], False) for n in (1, 2)),
    *(Scale(f"idle_connections.{n}", "echo_p64.64B", ["--idle-connections", n], [], True) for n in (1, 100, 10000)),
    *(Scale(f"open_streams.{n}", "echo_p64.64B", ["--idle-streams", n - 1], [], True) for n in (1, 1000, 100000)),
    *(Scale(f"queued_messages.{n}", "flood.64B", ["--unflushed", n], [], True) for n in (64, 65536)),
]
DESCRIPTORS_SPARE = 200
# How often a pair is measured whose floor was disturbed.
ATTEMPTS = 3


class Recorder:
    """Where the lines go."""

    def __init__(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(path, "w")
        self.failures = 0

    def line(self, text):
        print(text, flush=True)
        self.file.write(text + "\n")
        self.file.flush()

    def values(self, prefix, values):
        for metric, value, unit in values:
            self.line(f"{prefix}.{metric} {value:g} {unit}" if value < 1e5 else f"{prefix}.{metric} {value:.0f} {unit}")

    def attempt(self, name, action, *arguments):
        try:
            values = action(*arguments)
        except programs.Failed as error:
            self.failures += 1
            self.line(f"# FAILED {name}: {error}")
            return {}
        self.values(name, values)
        return {metric: value for metric, value, _ in values}


class Runner:
    def __init__(self, arguments, recorder):
        quick = arguments.quick
        self.record = recorder
        self.pairs = 1 if quick else arguments.pairs
        self.seconds = 0.3 if quick else arguments.seconds
        self.round_trips = 3000 if quick else 20000
        self.realtime = not arguments.no_realtime and programs.may_be_realtime()

    def run(self, who, transport, workload, one_cpu=False, client=(), both=(), pinned=True):
        """One run of one program pair in two processes."""
        cpus = programs.cpus(one_cpu) if pinned else (None, None)
        server_prepare, client_prepare = (programs.on_cpu(cpu, self.realtime) for cpu in cpus)
        options = ["--seconds", self.seconds, "--warm-up", self.seconds / 5, "--round-trips", self.round_trips]
        with programs.server(who, transport, *both, prepare=server_prepare) as (process, endpoint):
            return programs.client(who, workload, endpoint, "--server-pid", process.pid, *options, *client, *both,
                                   prepare=client_prepare)

    def pair(self, transport, workload):
        """Ours, then its floor; again while the floor was disturbed, so that the last of each counts."""
        for _ in range(ATTEMPTS):
            if not self.is_disturbed_pair(transport, workload):
                break
        if workload.name in GRPC_WORKLOADS and transport != "tls" and programs.is_there("grpc"):
            case = f"grpc.{transport}.{workload.name}"
            self.record.attempt(case, self.run, "grpc", transport, workload.ours, workload.one_cpu)

    def is_disturbed_pair(self, transport, workload):
        case, floor = f"{transport}.{workload.name}", {}
        ours = self.record.attempt(f"ours.{case}", self.run, "ours", transport, workload.ours, workload.one_cpu)
        beneath = "tcp" if transport == "tls" else transport
        if transport == "tls" and workload.ours == "conn_seq":
            floor = self.record.attempt(f"floor.{case}", self.tls_connection_floor)
        elif workload.floor:
            floor = self.record.attempt(f"floor.{case}", self.run, "floor", beneath, workload.floor, workload.one_cpu)
        compared = (name for name in goals.COMPARED if name in ours and name in floor)
        return any(goals.is_disturbed(f"ours.{case}.{name}", f"floor.{case}.{name}", ours[name], floor[name]) for name in compared)

    def tls_connection_floor(self):
        """A handshake in memory, a plain connection, and one round trip more."""
        certificates = programs.certificates()
        command = [programs.BUILD / "tls_handshake", *(certificates / name for name in ("ca.pem", "server.pem", "server.key"))]
        handshake = programs.lines_of([*command, self.seconds], self.computing())[0][1]
        connection = 1e6 / dict(row[:2] for row in self.run("floor", "tcp", "conn_seq"))["rate"]
        round_trip = dict(row[:2] for row in self.run("floor", "tcp", "pingpong.64B"))["p50"]
        return [("handshake", handshake, "us"), ("connection", connection, "us"), ("round_trip", round_trip, "us"),
                ("rate", 1e6 / (handshake + connection + round_trip), "conn/s")]

    def computing(self):
        """What never waits counts its CPU time; at realtime priority the system would stop it now and then."""
        return programs.on_cpu(programs.cpus(False)[1], False)

    def codec(self, workload):
        seconds = self.seconds / 5
        for program in ("codec", "smithy"):
            if (programs.BUILD / program).exists():
                command = [programs.BUILD / program, seconds, *([workload] if workload else [])]
                try:
                    for name, value, unit in programs.lines_of(command, self.computing()):
                        self.record.line(f"{name} {value:.0f} {unit}")
                except programs.Failed as error:
                    self.record.failures += 1
                    self.record.line(f"# FAILED {program}: {error}")

    def scale(self, scale):
        needed = max([n for n in scale.client if isinstance(n, int)], default=0) + DESCRIPTORS_SPARE
        if "--idle-connections" in scale.client and resource.getrlimit(resource.RLIMIT_NOFILE)[0] < needed:
            self.record.line(f"# {scale.name} is left out: it needs {needed} descriptors")
            return
        self.record.attempt(f"ours.scale.{scale.name}", lambda: self.run("ours", "tcp", scale.workload, client=scale.client,
                                                                         both=scale.both, pinned=scale.pinned))


def cpu():
    """Its name, and what it lacks for fast checksums: see goals.py."""
    facts = dict(re.findall(r"^(\S[^\t:]*)\t*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M))
    lacks = "" if "avx512vl" in facts.get("flags", "") else " without AVX-512"
    return facts.get("model name", platform.machine()) + lacks


def describe(recorder, runner):
    recorder.line(f"# {datetime.date.today()}, Linux {platform.release()}, {len(os.sched_getaffinity(0))} CPUs of {cpu()}")
    recorder.line(f"# {runner.pairs} pairs, {runner.seconds} s each, "
                  f"{'realtime priority' if runner.realtime else 'usual priority'}, load {os.getloadavg()[0]:.1f}")
    if not programs.is_there("grpc"):
        recorder.line("# gRPC is not measured: libgrpc++-dev is not installed")
    if not (programs.BUILD / "smithy").exists():
        recorder.line("# aws-smithy-eventstream is not measured: it could not be built")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-realtime", action="store_true", help="do not run before all other processes")
    parser.add_argument("--results", type=pathlib.Path, default=programs.BUILD / "results.txt")
    parser.add_argument("transport", nargs="?", choices=(*TRANSPORTS, "codec", "scale"))
    parser.add_argument("workload", nargs="?")
    arguments = parser.parse_args()

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    recorder = Recorder(arguments.results)
    runner = Runner(arguments, recorder)
    describe(recorder, runner)

    def wanted(transport, name):
        return arguments.transport in (None, transport) and arguments.workload in (None, name)

    for number in range(1, runner.pairs + 1):
        recorder.line(f"# pair {number}")
        if arguments.transport in (None, "codec"):
            runner.codec(arguments.workload)
        for transport in TRANSPORTS:
            for workload in WORKLOADS:
                if wanted(transport, workload.name):
                    runner.pair(transport, workload)
        for scale in SCALES:
            if wanted("scale", scale.name) or wanted("scale", scale.name.rpartition(".")[0]):
                runner.scale(scale)
    sys.exit(1 if recorder.failures else 0)


main()
