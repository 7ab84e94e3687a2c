// What the networks for AVX-512 are made of.

#ifndef FLWR_BYZANTINE_SORTER_AVX512_H
#define FLWR_BYZANTINE_SORTER_AVX512_H

#include "simd.h"
#include "sorters.h"

#include <cstddef>

#ifdef FB_TARGET_AVX512
#if !defined(__clang__) // GCC 12 takes its own intrinsics' undefined operands for a mistake
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#define FB_TARGET FB_TARGET_AVX512 static

namespace fb {
namespace {

using Vector = __m512;
constexpr size_t LANES = 16;
constexpr size_t AHEAD = 320; // bytes: more rows are read at once than the processor follows by itself

FB_TARGET_AVX512 FB_INLINE Vector zero() { return _mm512_setzero_ps(); }

FB_TARGET_AVX512 FB_INLINE Vector least(Vector a, Vector b) { return _mm512_min_ps(a, b); }

FB_TARGET_AVX512 FB_INLINE Vector most(Vector a, Vector b) { return _mm512_max_ps(a, b); }

FB_TARGET_AVX512 FB_INLINE void put_in_order(Vector &low, Vector &high) {
  const Vector lesser = least(low, high);
  high = most(low, high);
  low = lesser;
}

// NaN becomes infinity: the instruction gives its second operand where there is no order.
FB_TARGET_AVX512 FB_INLINE Vector load(const char *row, size_t at) {
  prefetch(row, at + AHEAD, 1);
  return least(_mm512_loadu_ps(reinterpret_cast<const float *>(row + at)), _mm512_set1_ps(__builtin_inff()));
}

// The same; a number that is not finite makes `odd` NaN for good.
FB_TARGET_AVX512 FB_INLINE Vector load(const char *row, size_t at, Vector &odd) {
  const Vector values = load(row, at);
  odd = _mm512_fmadd_ps(values, zero(), odd);
  return values;
}

FB_TARGET_AVX512 FB_INLINE void store(float *to, Vector values) { _mm512_storeu_ps(to, values); }

FB_TARGET_AVX512 FB_INLINE void note(float *check, Vector one, Vector other) {
  const Vector odd = _mm512_mul_ps(one, zero());
  store(check, _mm512_add_ps(_mm512_loadu_ps(check), _mm512_fmadd_ps(other, zero(), odd)));
}

} // namespace
} // namespace fb

#endif

#endif
