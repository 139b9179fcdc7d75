#!/usr/bin/env python3
"""Prints the ratios of a results file: for each the median over the pairs of runs, and the smallest and largest.

usage: table.py RESULTS [--chart FILE.svg] [--readme README.md]
       --readme puts the goals' table and the chart between the file's <!-- speed --> marks
"""

import argparse
import os
import pathlib
import re
import statistics

import chart
import goals

COMPARED = ("rate", "p50", "cpu_client", "cpu_server")


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
    """One value for each pair that has both."""
    if floor is None:
        return [pair[ours] for pair in pairs if ours in pair]
    ratios = [pair[ours] / pair[floor] for pair in pairs if pair.get(ours) and pair.get(floor)]
    return [1 / ratio for ratio in ratios] if inverse else ratios


def number(value):
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def goal_values(pairs, goal):
    return values_of(pairs, goal.ours, goal.floor, goal.kind == "slower")


OTHERS = {"grpc": "gRPC", "smithy": "aws-smithy-eventstream"}


def others(pairs, goal):
    """The same ratio of other implementations."""
    for who, name in OTHERS.items():
        values = values_of(pairs, goal.ours.replace("ours", who, 1), goal.floor) if goal.floor else []
        if values:
            yield f"{name} {number(statistics.median(values))}"


def goals_of(remarks):
    has_avx512 = not any("without AVX-512" in remark for remark in remarks)
    return [goals.on_cpu(goal, has_avx512) for goal in goals.GOALS]


def goal_rows(remarks, pairs):
    for goal in goals_of(remarks):
        values = goal_values(pairs, goal)
        if not values:
            continue
        median = statistics.median(values)
        at_least = goal.kind == "share"
        met = median >= goal.bound if at_least else median <= goal.bound
        unit = " KiB" if goal.kind == "KiB" else ""
        yield (goal.measure, f"{'≥' if at_least else '≤'} {goal.bound:g}{unit}", number(median) + unit,
               f"{number(min(values))} to {number(max(values))}", "yes" if met else "no", ", ".join(others(pairs, goal)))


def goal_table(remarks, pairs):
    yield "| measure, ratio to the floor | goal | ours | least to most | met | others |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for row in goal_rows(remarks, pairs):
        yield "| " + " | ".join(row) + " |"


def all_ratios(pairs):
    """Everything that has a floor, and other implementations beside it."""
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    for name in names:
        who, _, rest = name.partition(".")
        if who == "floor" or name.rpartition(".")[2] not in COMPARED:
            continue
        values = values_of(pairs, name, f"floor.{rest}")
        if values:
            yield f"{name} {number(statistics.median(values))} times-floor {number(min(values))} {number(max(values))}"


def put_into_readme(readme, image, remarks, pairs):
    text = [f"![Share of the floor's speed]({os.path.relpath(image, readme.parent)})", "", *goal_table(remarks, pairs), "",
            "Measured on: " + "; ".join(remarks[:2]) + "."]
    section = "<!-- speed -->\n" + "\n".join(text) + "\n<!-- end of speed -->"
    old = readme.read_text()
    new, count = re.subn(r"<!-- speed -->.*?<!-- end of speed -->", lambda _: section, old, flags=re.S)
    if count != 1:
        raise SystemExit(f"{readme} has no <!-- speed --> section")
    readme.write_text(new)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--chart", type=pathlib.Path)
    parser.add_argument("--readme", type=pathlib.Path)
    arguments = parser.parse_args()
    remarks, pairs = read(arguments.results)
    print("\n".join(["", *all_ratios(pairs), "", *goal_table(remarks, pairs)]))
    for remark in remarks:
        print("#", remark)
    if arguments.chart:
        bars = [(goal, statistics.median(values)) for goal in goals_of(remarks) if goal.floor and goal.floor.startswith("floor")
                for values in [goal_values(pairs, goal)] if values]
        arguments.chart.write_text(chart.draw(bars))
    if arguments.readme:
        put_into_readme(arguments.readme.resolve(), arguments.chart.resolve(), remarks, pairs)


if __name__ == "__main__":
    main()
