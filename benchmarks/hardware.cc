// SPDX-License-Identifier: MIT
// Measures the machine's peaks: multiply-adds from registers, and reads for several sizes of the
// working set. It is built on demand with -O2 -march=native, takes thread counts and prints one
// JSON object.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

using Clock = std::chrono::steady_clock;

// Results are stored here, so that the compiler removes no loop.
std::atomic<std::uint32_t> sink;
template <typename Vector>
void keep(const Vector& vector) {
  sink += static_cast<std::uint32_t>(vector[0]);
}

constexpr std::size_t kChains = 12;  // independent sums, to hide the latency; all in registers
constexpr std::size_t kIterations = 200000;

// Repeats `step` on each of the chains; returns the multiply-adds done, `width` a step.
template <typename Vector, typename Step>
double chains(double width, Step step) {
  Vector sums[kChains] = {};
  asm volatile("" : "+m"(sums));  // for all the compiler knows they differ
  for (std::size_t n = 0; n < kIterations; ++n) {
#pragma GCC unroll 16
    for (Vector& sum : sums) step(sum);
  }
  for (const Vector& sum : sums) keep(sum);
  return width * kChains * kIterations;
}

// The peaks of each instruction set, and the widest vector to read.
#if defined(__x86_64__)
#if defined(__AVX512VNNI__)
double dot_avx512vnni() {
  const __m512i a = _mm512_set1_epi32(sink), b = _mm512_set1_epi32(sink + 1);
  return chains<__m512i>(64, [&](__m512i& sum) { sum = _mm512_dpbusd_epi32(sum, a, b); });
}
double fma_avx512() {
  const __m512 a = _mm512_set1_ps(sink), b = _mm512_set1_ps(sink + 1);
  return chains<__m512>(16, [&](__m512& sum) { sum = _mm512_fmadd_ps(a, b, sum); });
}
#endif
#if defined(__AMX_INT8__) && defined(__linux__)
// From tiles in L1, as products need them: two of rows and two of weights for four products. 0
// where the system refuses tiles.
double dot_avx512amx() {
  static const bool granted = syscall(SYS_arch_prctl, 0x1023, 18) == 0;  // ARCH_REQ_XCOMP_PERM
  if (!granted) return 0;
  struct alignas(64) Shapes {
    std::uint8_t palette, reserved[15];
    std::uint16_t row_bytes[16];
    std::uint8_t rows[16];
  };
  // Static, because gcc 12 believes that _tile_loadconfig reads 8 bytes of it, and drops the rest.
  static const Shapes shapes = {
      1, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
  alignas(64) static const std::uint8_t tiles[4][1024] = {};
  _tile_loadconfig(&shapes);
  for (std::size_t n = 0; n < kIterations; ++n) {
    _tile_loadd(4, tiles[0], 64);
    _tile_loadd(6, tiles[1], 64);
    _tile_dpbusd(0, 4, 6);
    _tile_loadd(5, tiles[2], 64);
    _tile_dpbusd(1, 5, 6);
    _tile_loadd(7, tiles[3], 64);
    _tile_dpbusd(2, 4, 7);
    _tile_dpbusd(3, 5, 7);
  }
  _tile_release();
  return 4.0 * 16 * 16 * 64 * kIterations;
}
#endif
#if defined(__AVXVNNI__)
double dot_avxvnni() {
  const __m256i a = _mm256_set1_epi32(sink), b = _mm256_set1_epi32(sink + 1);
  return chains<__m256i>(32, [&](__m256i& sum) { sum = _mm256_dpbusd_avx_epi32(sum, a, b); });
}
#endif
#if defined(__AVX2__)
// vpmaddubsw + vpmaddwd, without the vpaddd: the two multiplies are the limit. With the adds, the
// loop reaches between 0.7 and 0.97 of this, depending on the ports that the adds get.
// It is in assembly because a compiler would move products that never change out of the loop.
double dot_avx2() {
  const __m256i a = _mm256_set1_epi32(sink), b = _mm256_set1_epi32(sink + 1);
  const __m256i ones = _mm256_set1_epi16(1);
  return chains<__m256i>(32, [&](__m256i& products) {
    asm("vpmaddubsw %[b], %[a], %[products]\n\t"
        "vpmaddwd %[ones], %[products], %[products]"
        : [products] "+x"(products)
        : [a] "x"(a), [b] "x"(b), [ones] "x"(ones));
  });
}
double fma_avx2() {
  const __m256 a = _mm256_set1_ps(sink), b = _mm256_set1_ps(sink + 1);
  return chains<__m256>(8, [&](__m256& sum) { sum = _mm256_fmadd_ps(a, b, sum); });
}
#endif
#if defined(__AVX512F__)
using Load = __m512i;
#elif defined(__AVX2__)
using Load = __m256i;
#else
using Load = __m128i;
#endif

#elif defined(__aarch64__)
#if defined(__ARM_FEATURE_DOTPROD)
double dot_neon_dotprod() {
  const int8x16_t a = vdupq_n_s8(sink), b = vdupq_n_s8(sink + 1);
  return chains<int32x4_t>(16, [&](int32x4_t& sum) { sum = vdotq_s32(sum, a, b); });
}
#endif
// It is in assembly because a compiler would move products that never change out of the loop.
double dot_neon() {
  const int8x16_t a = vdupq_n_s8(sink), b = vdupq_n_s8(sink + 1);
  return chains<int32x4_t>(16, [&](int32x4_t& sum) {
    int16x8_t pairs;
    asm("smull %[pairs].8h, %[a].8b, %[b].8b\n\t"
        "smlal2 %[pairs].8h, %[a].16b, %[b].16b\n\t"
        "sadalp %[sum].4s, %[pairs].8h"
        : [sum] "+w"(sum), [pairs] "=&w"(pairs)
        : [a] "w"(a), [b] "w"(b));
  });
}
double fma_neon() {
  const float32x4_t a = vdupq_n_f32(sink), b = vdupq_n_f32(sink + 1);
  return chains<float32x4_t>(4, [&](float32x4_t& sum) { sum = vfmaq_f32(sum, a, b); });
}
using Load = uint32x4_t;

#else
#error "no peak is known for this architecture"
#endif

struct Peak {
  const char* isa;
  double (*int8)();
  double (*fp32)();
};

constexpr Peak kPeaks[] = {
#if defined(__AMX_INT8__) && defined(__linux__)
    {"avx512amx", dot_avx512amx, fma_avx512},
#endif
#if defined(__AVX512VNNI__)
    {"avx512vnni", dot_avx512vnni, fma_avx512},
#endif
#if defined(__AVXVNNI__)
    {"avxvnni", dot_avxvnni, fma_avx2},
#endif
#if defined(__AVX2__)
    {"avx2", dot_avx2, fma_avx2},
#endif
#if defined(__ARM_FEATURE_DOTPROD)
    {"neon_dotprod", dot_neon_dotprod, fma_neon},
#endif
#if defined(__aarch64__)
    {"neon", dot_neon, fma_neon},
#endif
};

// Reads [data, data + bytes) again and again, at least 8 MB in all; returns the bytes read.
double read(const Load* data, std::size_t bytes) {
  const std::size_t count = bytes / sizeof(Load);
  const std::size_t passes = std::max<std::size_t>(1, (std::size_t{8} << 20) / bytes);
  Load kept[8] = {};
  for (std::size_t pass = 0; pass < passes; ++pass) {
    for (std::size_t i = 0; i + 8 <= count; i += 8) {
#pragma GCC unroll 8
      for (std::size_t k = 0; k < 8; ++k) kept[k] |= data[i + k];
    }
    // Makes the compiler assume that the next pass reads other bytes.
    asm volatile("" ::: "memory");
  }
  for (const Load& each : kept) keep(each);
  return static_cast<double>(passes) * bytes;
}

// Units a second of `threads` threads that start together. Returns the best of several tries.
double best_rate(unsigned threads, int tries, const std::function<double(unsigned thread)>& loop) {
  double best = 0;
  for (int i = 0; i < tries; ++i) {
    std::atomic<unsigned> waiting{threads};
    std::vector<double> units(threads);
    std::vector<Clock::time_point> begin(threads), end(threads);
    const auto body = [&](unsigned thread) {
      for (--waiting; waiting != 0;) {
      }
      begin[thread] = Clock::now();
      units[thread] = loop(thread);
      end[thread] = Clock::now();
    };
    std::vector<std::thread> others;
    for (unsigned thread = 1; thread < threads; ++thread) others.emplace_back(body, thread);
    body(0);
    for (std::thread& other : others) other.join();
    double sum = 0;
    for (const double each : units) sum += each;
    const std::chrono::duration<double> seconds =
        *std::max_element(end.begin(), end.end()) - *std::min_element(begin.begin(), begin.end());
    best = std::max(best, sum / seconds.count());
  }
  return best;
}

void print_rates(const char* name, const std::vector<unsigned>& threads, int tries,
                 const std::function<double(unsigned thread, unsigned threads)>& loop) {
  std::printf("\"%s\":[", name);
  for (std::size_t i = 0; i < threads.size(); ++i) {
    const auto part = [&](unsigned thread) { return loop(thread, threads[i]); };
    std::printf("%s%.6g", i == 0 ? "" : ",", best_rate(threads[i], tries, part));
  }
  std::printf("]");
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<unsigned> threads;
  for (int i = 1; i < argc; ++i) threads.push_back(std::max(1, std::atoi(argv[i])));
  if (threads.empty()) threads.push_back(1);

  std::printf("{\"threads\":[");
  for (std::size_t i = 0; i < threads.size(); ++i)
    std::printf("%s%u", i == 0 ? "" : ",", threads[i]);
  std::printf("],\"peaks\":[");
  const char* comma = "";
  for (const Peak& peak : kPeaks) {
    if (peak.int8() == 0) continue;
    std::printf("%s{\"isa\":\"%s\",", comma, peak.isa);
    print_rates("int8", threads, 60, [&](unsigned, unsigned) { return peak.int8(); });
    std::printf(",");
    print_rates("fp32", threads, 60, [&](unsigned, unsigned) { return peak.fp32(); });
    std::printf("}");
    comma = ",";
  }
  std::printf("],\"reads\":[");

  constexpr std::size_t kLargest = std::size_t{256} << 20;
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  char* buffer = static_cast<char*>(std::aligned_alloc(kHugePage, kLargest));
  if (buffer == nullptr) return 1;
#if defined(__linux__)
  madvise(buffer, kLargest, MADV_HUGEPAGE);
#endif
  std::fill_n(buffer, kLargest, 1);
  comma = "";
  for (std::size_t bytes = 32 << 10; bytes <= kLargest; bytes *= 2) {
    std::printf("%s{\"bytes\":%zu,", comma, bytes);
    // The threads share the working set, as they share a layer's weights.
    print_rates("bytesPerSecond", threads, bytes > (std::size_t{64} << 20) ? 5 : 30,
                [&](unsigned thread, unsigned count) {
                  const std::size_t part = bytes / count / 1024 * 1024;
                  return read(reinterpret_cast<const Load*>(buffer + thread * part), part);
                });
    std::printf("}");
    comma = ",";
  }
  std::printf("]}\n");
  std::free(buffer);
}
