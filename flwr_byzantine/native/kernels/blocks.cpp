// Loading and storing blocks of columns.

#include "blocks.h"

#include "simd.h"

#include <algorithm>
#include <cstring>

namespace fb {
namespace {

constexpr size_t BLOCK = 1024; // of halves, converted at once
constexpr size_t LANES = 32;

template <int> FB_INLINE void float_to_double_body(const unaligned_float *from, size_t width, double *to) {
  for (size_t j = 0; j < width; ++j)
    to[j] = static_cast<double>(from[j]);
}
FB_MULTIVERSION(float_to_double, (const unaligned_float *from, size_t width, double *to), (from, width, to))

template <int> FB_INLINE void double_to_float_body(const double *from, size_t width, unaligned_float *to) {
  for (size_t j = 0; j < width; ++j)
    to[j] = static_cast<float>(from[j]);
}
FB_MULTIVERSION(double_to_float, (const double *from, size_t width, unaligned_float *to), (from, width, to))

FB_INLINE float from_bits(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

// half_to_float without a branch, so that it vectorises.
template <int> FB_INLINE void halves_to_floats_body(const unaligned_half *from, size_t width, float *to) {
  for (size_t j = 0; j < width; ++j) {
    const uint32_t bits = from[j];
    const uint32_t magnitude = (bits & 0x7fffu) << 13;
    const float scaled = from_bits(magnitude) * 0x1p112f;
    const float special = from_bits(magnitude | 0x7f800000u);
    const float value = magnitude >= 0x0f800000u ? special : scaled;
    to[j] = (bits & 0x8000u) ? -value : value;
  }
}
FB_MULTIVERSION(halves_to_floats, (const unaligned_half *from, size_t width, float *to), (from, width, to))

template <int> FB_INLINE void bfloats_to_floats_body(const unaligned_half *from, size_t width, float *to) {
  for (size_t j = 0; j < width; ++j)
    to[j] = from_bits(static_cast<uint32_t>(from[j]) << 16);
}
FB_MULTIVERSION(bfloats_to_floats, (const unaligned_half *from, size_t width, float *to), (from, width, to))

// A number times zero is zero, and NaN if it is not finite.
template <int LENGTH> FB_INLINE void times_zero_body(const double *values, size_t width, double *sums) {
  using Wide = typename Register<double, LENGTH>::Type;
  Wide totals[LANES / LENGTH];
  for (size_t part = 0; part < LANES / LENGTH; ++part)
    totals[part] = Wide{};
  for (size_t j = 0; j + LANES <= width; j += LANES)
    for (size_t part = 0; part < LANES / LENGTH; ++part) {
      Wide value;
      __builtin_memcpy(&value, values + j + part * LENGTH, sizeof value);
      totals[part] += value * 0;
    }
  for (size_t part = 0; part < LANES / LENGTH; ++part)
    __builtin_memcpy(sums + part * LENGTH, &totals[part], sizeof(Wide));
}
FB_MULTIVERSION(times_zero, (const double *values, size_t width, double *sums), (values, width, sums))

const unaligned_half *halves(const char *row, size_t from) {
  return reinterpret_cast<const unaligned_half *>(row) + from;
}

} // namespace

void load_floats(fb_dtype dtype, const char *row, size_t from, size_t width, float *values) {
  if (dtype == FB_FLOAT16)
    halves_to_floats(halves(row, from), width, values);
  else
    bfloats_to_floats(halves(row, from), width, values);
}

void load_doubles(fb_dtype dtype, const char *row, size_t from, size_t width, double *values) {
  if (dtype == FB_DOUBLE) {
    std::memcpy(values, row + from * sizeof(double), width * sizeof(double));
    return;
  }
  if (dtype == FB_FLOAT)
    return float_to_double(reinterpret_cast<const unaligned_float *>(row) + from, width, values);
  float exact[BLOCK];
  for (size_t at = 0; at < width; at += BLOCK) {
    const size_t some = std::min(BLOCK, width - at);
    load_floats(dtype, row, from + at, some, exact);
    float_to_double(exact, some, values + at);
  }
}

void store_doubles(fb_dtype dtype, const double *values, char *row, size_t from, size_t width) {
  if (dtype == FB_DOUBLE) {
    std::memcpy(row + from * sizeof(double), values, width * sizeof(double));
    return;
  }
  if (dtype == FB_FLOAT)
    return double_to_float(values, width, reinterpret_cast<unaligned_float *>(row) + from);
  unaligned_half *const to = reinterpret_cast<unaligned_half *>(row) + from;
  for (size_t j = 0; j < width; ++j)
    to[j] = dtype == FB_FLOAT16 ? double_to_half(values[j]) : double_to_bfloat(values[j]);
}

void prefetch_elements(fb_dtype dtype, const char *row, size_t from, size_t width) {
  prefetch(row, from * size_of(dtype), width * size_of(dtype));
}

bool all_finite(const double *values, size_t width) {
  double sums[LANES];
  times_zero(values, width, sums);
  double total = 0;
  for (const double sum : sums)
    total += sum;
  for (size_t j = width - width % LANES; j < width; ++j)
    total += values[j] * 0;
  return total == 0;
}

bool all_finite(fb_dtype dtype, const char *row, size_t from, size_t width) {
  double values[BLOCK];
  for (size_t at = 0; at < width; at += BLOCK) {
    const size_t some = std::min(BLOCK, width - at);
    load_doubles(dtype, row, from + at, some, values);
    if (!all_finite(values, some))
      return false;
  }
  return true;
}

} // namespace fb
