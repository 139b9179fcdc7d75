#!/usr/bin/env python3
"""Counts instructions (callgrind), system calls (strace) and page faults per message, of client and server.

These figures hardly depend on what else the machine does. Each is the difference between a longer and a shorter run, so
that start and end cancel out. The program that is looked at is slow, so that its peer always keeps the window full:
system calls are those of full batches; pingpong shows what a message costs alone. valgrind has no AVX-512: checksums are
computed with the older instructions there.

usage: counts.py [--transport tcp|unix|tls] [--profile COUNT] [WORKLOAD...]
       --profile lists the functions with the most instructions; build with debug information for that:
       make counts PROFILE=15
"""

import argparse
import pathlib
import re
import resource
import subprocess
import sys
import tempfile

import programs

WORKLOADS = ["echo_p64.64B", "unary_p64.64B", "pingpong.64B"]
LENGTHS = (4000, 24000)
LENGTHS_OF_LARGE = (200, 1200)


def length_of(workload, count):
    return ["--round-trips", count] if workload.startswith("pingpong") else ["--messages", count]


def run(who, transport, workload, side, count, tool):
    """Runs a workload with one side under a tool."""
    patience = {"prefix": tool, "patience": 300}
    length = length_of(workload, count)
    with programs.server(who, transport, **(patience if side == "server" else {})) as (_, endpoint):
        programs.client(who, workload, endpoint, *length, **(patience if side == "client" else {}))


def page_faults(who, transport, workload, count):
    """{side: page faults that the system served from memory}, without any tool"""
    ended_before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    with programs.server(who, transport) as (process, endpoint):
        programs.client(who, workload, endpoint, *length_of(workload, count))
        fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        client = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - ended_before
        return {"server": int(fields[7]), "client": client}


def messages(workload, count):
    return count * 11 // 10 if workload.startswith("pingpong") else count


def instructions(output):
    return int(re.search(r"^(?:summary|totals): (\d+)", output.read_text(), re.M)[1])


def system_calls(output):
    """{name: count} of strace's table"""
    rows = (line.split() for line in output.read_text().splitlines())
    return {row[-1]: int(row[3]) for row in rows if len(row) >= 5 and row[0][0].isdigit() and row[-1] != "total"}


def by_function(output):
    """{function: instructions of its own} of a callgrind file"""
    command = ["callgrind_annotate", "--threshold=100", "--show-percs=no", output]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {}
    for number, name in re.findall(r"^\s*([\d,]+)\s+\S*?:(\S.*?)(?: \[[^\]]*\])?$", text, re.M):
        found[name] = found.get(name, 0) + int(number.replace(",", ""))
    return found


def lengths_of(workload):
    return LENGTHS_OF_LARGE if workload.endswith(("64KiB", "MiB")) else LENGTHS


def report_page_faults(who, transport, workload):
    lengths = lengths_of(workload)
    short, long = (page_faults(who, transport, workload, count) for count in lengths)
    span = messages(workload, lengths[1]) - messages(workload, lengths[0])
    for side in long:
        print(f"{who}.{transport}.{workload}.page_faults_{side} {max(0, long[side] - short[side]) / span:.4f} faults/op", flush=True)


def report(who, transport, workload, side, profile, folder):
    name = f"{who}.{transport}.{workload}"
    lengths = lengths_of(workload)
    span = messages(workload, lengths[1]) - messages(workload, lengths[0])
    grinds, calls = [], []
    for count in lengths:
        output = folder / f"{name}.{side}.{count}"
        run(who, transport, workload, side, count,
            ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={output}.callgrind"])
        grinds.append(pathlib.Path(f"{output}.callgrind"))
        run(who, transport, workload, side, count, ["strace", "-f", "-c", "-o", f"{output}.strace"])
        calls.append(system_calls(pathlib.Path(f"{output}.strace")))
    short, long = map(instructions, grinds)
    print(f"{name}.instructions_{side} {(long - short) / span:.0f} instr/op")
    difference = {call: calls[1][call] - calls[0].get(call, 0) for call in calls[1]}
    print(f"{name}.system_calls_{side} {sum(difference.values()) / span:.4f} calls/op")
    for call, count in sorted(difference.items(), key=lambda item: -item[1]):
        if count / span >= 0.001:
            print(f"{name}.{call}_{side} {count / span:.4f} calls/op")
    if profile:
        before, after = map(by_function, grinds)
        growth = {function: after[function] - before.get(function, 0) for function in after}
        for function, count in sorted(growth.items(), key=lambda item: -item[1])[:profile]:
            print(f"# {count / span:8.1f}  {function}")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transport", default="tcp")
    parser.add_argument("--profile", type=int, default=0)
    parser.add_argument("--who", default="ours,floor")
    parser.add_argument("workloads", nargs="*", default=WORKLOADS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for workload in arguments.workloads:
            for who in arguments.who.split(","):
                if who == "floor" and workload.startswith("unary"):
                    continue
                report_page_faults(who, arguments.transport, workload)
                for side in ("server", "client"):
                    report(who, arguments.transport, workload, side, arguments.profile, pathlib.Path(folder))


main()
