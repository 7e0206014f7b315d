#!/usr/bin/env bash
# Expected: _tile_loadconfig reads the 64 bytes of its operand and _tile_loadd the rows of a tile, so what a program
# stored there before is there.
# So it is: gcc (12) declares that _tile_loadconfig reads 8 bytes and that _tile_loadd reads none. With optimization it
# removes the other stores to a local variable: the processor finds what was on the stack, which kills the program
# (ldtilecfg faults) or gives wrong sums. Data that comes from elsewhere, as in most examples, hides it.
# Where it counts here: native/kernels/simd/avx512amx.h has these instructions in assembly that names its memory;
# benchmarks/hardware.cc has its operands in static storage.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/tiles.c" <<'C'
#include <immintrin.h>
struct Shapes {
  unsigned char palette, reserved[15];
  unsigned short row_bytes[16];
  unsigned char rows[16];
};
void configure(void) {
  struct Shapes shapes = {.palette = 1, .row_bytes = {64}, .rows = {11}};
  _tile_loadconfig(&shapes);
}
void load(void) {
  int row[16] = {22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 22};
  _tile_loadd(0, row, 64);
}
C
gcc -O2 -mamx-tile -S -o "$folder/tiles.s" "$folder/tiles.c"
stores=$(grep -cE '\$(11|22)\b|\.long\s+(11|22)$|mov.*\.LC' "$folder/tiles.s" || true)
echo "gcc $(gcc -dumpfullversion): ldtilecfg and tileloadd are there ($(grep -cE 'ldtilecfg|tileloadd' "$folder/tiles.s") of 2), stores of what they read: $stores"
[ "$stores" = 0 ] || { echo "the behaviour has changed" >&2; exit 1; }
