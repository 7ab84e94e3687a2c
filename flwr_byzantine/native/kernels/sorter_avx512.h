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

FB_TARGET FB_INLINE Vector zero() { return _mm512_setzero_ps(); }

FB_TARGET FB_INLINE Vector all(float value) { return _mm512_set1_ps(value); }

FB_TARGET FB_INLINE Vector least(Vector a, Vector b) { return _mm512_min_ps(a, b); }

FB_TARGET FB_INLINE Vector most(Vector a, Vector b) { return _mm512_max_ps(a, b); }

FB_TARGET FB_INLINE Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }

FB_TARGET FB_INLINE Vector multiply(Vector a, Vector b) { return _mm512_mul_ps(a, b); }

FB_TARGET FB_INLINE Vector multiply_add(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }

FB_TARGET FB_INLINE Vector read(const float *from) { return _mm512_loadu_ps(from); }

FB_TARGET FB_INLINE void store(float *to, Vector values) { _mm512_storeu_ps(to, values); }

} // namespace
} // namespace fb

#include "sorter_steps.h"

#endif

#endif
