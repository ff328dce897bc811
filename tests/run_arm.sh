#!/bin/bash
# run_arm.sh: builds the C++ tests for 64-bit ARM and runs them under qemu-user on a core for each tier: Cortex-A53 has NEON,
# Cortex-A76 the dot product, `max` the matrix multiplication of 8-bit integers and of bfloat16 as well.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/aarch64

mkdir -p build
cmake --preset aarch64 >"$build.log" || { cat "$build.log"; exit 1; }
cmake --build --preset aarch64

on() { qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu "$@"; }

# The kernel tests in as many parts as the machine has cores, at once.
kernel_tests_on() {
  local core=$1 parts part jobs=()
  parts=$(nproc)
  for ((part = 0; part < parts; ++part)); do
    GTEST_TOTAL_SHARDS=$parts GTEST_SHARD_INDEX=$part on "$core" $build/tests/cpp/sigrun_kernel_tests --gtest_brief=1 &
    jobs+=($!)
  done
  for part in "${jobs[@]}"; do wait "$part"; done
}

ctest --preset aarch64 -R sigrun_weak_symbols
for core_and_tier in cortex-a53:neon cortex-a76:neon_dotprod max:neon_bf16; do
  core=${core_and_tier%:*} tier=${core_and_tier#*:}
  found=$(on "$core" $build/benchmarks/sigrun_kernel_bench --list | tail -n 1)
  [ "$found" = "$tier" ] || { echo "$core: the highest tier should be $tier, it is $found" >&2; exit 1; }
  echo "-- kernels on $core, up to $tier"
  kernel_tests_on "$core"
done
echo "-- everything else on max"
on max $build/tests/cpp/sigrun_tests --gtest_brief=1
