#!/usr/bin/env bash
# Fuzzes all targets for so many hours in all, in rounds, and reports executions and coverage: fuzz/long.sh HOURS
# What is found goes to fuzz/artifacts, what is new and of use to fuzz/corpus.work.
set -euo pipefail
cd "$(dirname "$0")"
hours=${1:?how many hours?}
end=$(($(date +%s) + $(awk "BEGIN { print int($hours * 3600) }")))
report=target/long.txt

./run.sh 0
: >$report
while [ "$(date +%s)" -lt $end ]; do
    # Each target gets ten minutes a round, so that a short run has all of them, too.
    count=$(find fuzz_targets -name '*.rs' | wc -l)
    share=$(((end - $(date +%s)) * $(nproc) / count))
    seconds=$((share < 600 ? (share > 10 ? share : 10) : 600))
    ./run.sh $seconds | tee -a $report
done

echo "=== executions"
awk -F'[: ,]+' '/executions/ { sum[$1] += $2; coverage[$1] = $5 } END { for (name in sum) print name, sum[name], "cov", coverage[name] }' $report | sort

echo "=== coverage"
./coverage.sh corpus corpus.work
