#!/usr/bin/env python3
"""Prints the ratios of results files, one of each machine: the median over the pairs of runs, the smallest and the largest.
A pair in which the floor is slower than what stands on it, by more than 2 %, is refused: something disturbed the floor.

usage: table.py RESULTS... [--chart FILE.svg] [--report FILE.md] [--readme README.md]
       --report and --readme put a table between the file's <!-- speed --> marks: that of all goals, and a short one with
       the chart
"""

import argparse
import os
import pathlib
import re
import statistics
import textwrap

import chart
import goals


def read(path):
    """The comment lines before the first pair, and for each pair {name: value}."""
    remarks, pairs = [], []
    for line in path.read_text().splitlines():
        if line.startswith("# pair"):
            pairs.append({})
        elif line.startswith("#"):
            remarks.append(line[2:])
        elif pairs and len(line.split()) == 3:
            name, value, _ = line.split()
            pairs[-1][name] = float(value)
    return remarks, pairs


def values_of(pairs, ours, floor, inverse=False):
    """One value for each pair that has both and is not refused, and how many pairs have both."""
    if floor is None:
        values = [pair[ours] for pair in pairs if ours in pair]
        return values, len(values)
    both = [(pair[ours], pair[floor]) for pair in pairs if pair.get(ours) and pair.get(floor)]
    ratios = [mine / beneath for mine, beneath in both if not goals.is_disturbed(ours, floor, mine, beneath)]
    return [1 / ratio for ratio in ratios] if inverse else ratios, len(both)


def number(value):
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def goal_values(pairs, goal):
    return values_of(pairs, goal.ours, goal.floor, goal.kind == "slower")


OTHERS = {"grpc": "gRPC", "smithy": "aws-smithy-eventstream"}


def others(pairs, goal):
    """The same ratio of other implementations."""
    for who, name in OTHERS.items():
        values, _ = values_of(pairs, goal.ours.replace("ours", who, 1), goal.floor) if goal.floor else ([], 0)
        if values:
            yield f"{name} {number(statistics.median(values))}"


def goals_of(remarks):
    has_avx512 = not any("without AVX-512" in remark for remark in remarks)
    return [goals.on_cpu(goal, has_avx512) for goal in goals.GOALS]


def goal_rows(remarks, pairs):
    for goal in goals_of(remarks):
        values, count = goal_values(pairs, goal)
        if not count:
            continue
        at_least = goal.kind == "share"
        unit = " KiB" if goal.kind == "KiB" else ""
        bound = f"{'≥' if at_least else '≤'} {goal.bound:g}{unit}"
        used = str(count) if len(values) == count else f"{len(values)} of {count}"
        if not values:
            yield goal, (bound, "none", "", used, "floor slower", "")
            continue
        median = statistics.median(values)
        met = median >= goal.bound if at_least else median <= goal.bound
        yield goal, (bound, number(median) + unit, f"{number(min(values))} to {number(max(values))}", used,
                     "yes" if met else "no", ", ".join(others(pairs, goal)))


def goal_table(remarks, pairs):
    yield "| measure, ratio to the floor | goal | ours | least to most | pairs | met | others |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for goal, row in goal_rows(remarks, pairs):
        yield "| " + " | ".join((goal.measure, *row)) + " |"


def short_table(remarks, pairs):
    yield "| what, compared with the floor | ours | others |"
    yield "| --- | --- | --- |"
    for goal, (_, median, _, _, _, rivals) in goal_rows(remarks, pairs):
        if goal.measure in goals.IN_SHORT:
            yield f"| {goals.IN_SHORT[goal.measure]} | {median} | {rivals} |"


def all_ratios(pairs):
    """Everything that has a floor, and other implementations beside it."""
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    for name in names:
        who, _, rest = name.partition(".")
        if who == "floor" or name.rpartition(".")[2] not in goals.COMPARED:
            continue
        values, _ = values_of(pairs, name, f"floor.{rest}")
        if values:
            yield f"{name} {number(statistics.median(values))} times-floor {number(min(values))} {number(max(values))}"


def put_between_marks(path, lines):
    section = "<!-- speed -->\n" + "\n".join(lines) + "\n<!-- end of speed -->"
    new, count = re.subn(r"<!-- speed -->.*?<!-- end of speed -->", lambda _: section, path.read_text(), flags=re.S)
    if count != 1:
        raise SystemExit(f"{path} has no <!-- speed --> section")
    path.write_text(new)


def origin(machines):
    """Where the figures come from, at most 125 columns wide."""
    count = "1 machine" if len(machines) == 1 else f"{len(machines)} machines"
    return textwrap.wrap(f"Measured on {count}: " + "; ".join(remark for remarks in machines for remark in remarks[:2]) + ".", 125)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=pathlib.Path, nargs="+")
    parser.add_argument("--chart", type=pathlib.Path)
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--readme", type=pathlib.Path)
    arguments = parser.parse_args()
    measured = [read(path) for path in arguments.results]
    machines = [remarks for remarks, _ in measured]
    remarks, pairs = sum(machines, []), sum((pairs for _, pairs in measured), [])
    print("\n".join(["", *all_ratios(pairs), "", *goal_table(remarks, pairs)]))
    for remark in remarks:
        print("#", remark)
    if arguments.chart:
        bars = [(goal, statistics.median(values)) for goal in goals_of(remarks) if goal.floor and goal.floor.startswith("floor")
                for values, _ in [goal_values(pairs, goal)] if values]
        arguments.chart.write_text(chart.draw(bars))
    if arguments.report:
        put_between_marks(arguments.report, [*goal_table(remarks, pairs), "", *origin(machines)])
    if arguments.readme:
        image = os.path.relpath(arguments.chart.resolve(), arguments.readme.resolve().parent)
        put_between_marks(arguments.readme, [f"![Share of the floor's speed]({image})", "", *short_table(remarks, pairs), "",
                                             *origin(machines)])


if __name__ == "__main__":
    main()
