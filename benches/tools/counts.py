#!/usr/bin/env python3
"""Counts instructions (callgrind) and system calls (strace) per message, of client and server.

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
import subprocess
import sys
import tempfile

import programs

WORKLOADS = ["echo_p64.64B", "unary_p64.64B", "pingpong.64B"]
LENGTHS = (4000, 24000)


def run(who, transport, workload, side, count, tool):
    """Runs a workload with one side under a tool."""
    patience = {"prefix": tool, "patience": 300}
    length = ["--round-trips", count] if workload.startswith("pingpong") else ["--messages", count]
    with programs.server(who, transport, **(patience if side == "server" else {})) as (_, endpoint):
        programs.client(who, workload, endpoint, *length, **(patience if side == "client" else {}))


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


def report(who, transport, workload, side, profile, folder):
    name = f"{who}.{transport}.{workload}"
    span = messages(workload, LENGTHS[1]) - messages(workload, LENGTHS[0])
    grinds, calls = [], []
    for count in LENGTHS:
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
                for side in ("server", "client"):
                    report(who, arguments.transport, workload, side, arguments.profile, pathlib.Path(folder))


main()
