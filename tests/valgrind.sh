#!/usr/bin/env bash
# The demo, codec_dump and the tests in C under valgrind: no error, nothing leaked. Builds what it needs.
set -euo pipefail
cd "$(dirname "$0")/.."
# The first error ends the program, since a forked child that another program replaces has no exit status of valgrind's.
valgrind="valgrind --quiet --error-exitcode=9 --exit-on-first-error=yes --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite"

make --no-print-directory -C examples-c
echo "== the demo"
RUNNER=$valgrind examples-c/demo.sh examples-c/build

echo "== codec_dump"
for name in all_types_payload concat_3 overrun_then_good_messages truncated_full unknown_type_10; do
    for mode in --whole "--chunk 7"; do
        status=0
        # The mode is one or two words.
        # shellcheck disable=SC2086
        $valgrind examples-c/build/codec_dump $mode "tests/data/vectors/bin/$name.bin" >/dev/null 2>&1 || status=$?
        # 1 is the exit status of codec_dump for damaged input.
        if [ "$status" -gt 1 ]; then
            echo "codec_dump $mode $name.bin: exit status $status" >&2
            exit 1
        fi
    done
done

echo "== the tests in C"
# Without what measures memory, takes too long, runs itself by /proc/self/exe, counts descriptors to the last one, or ends
# threads, which then cannot free what they hold.
skipped=()
for name in worst_case every_call faults guest_exits guest_limits thread_end; do
    skipped+=(--skip "$name::")
done
ESRPC_TEST_WRAPPER=$valgrind cargo test --test c -- "${skipped[@]}"
