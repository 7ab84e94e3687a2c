// Sizes and conversions of elements.

#include "elements.h"

#include <array>
#include <cmath>
#include <cstring>

namespace fb {
namespace {

// In the order of fb_dtype.
constexpr std::array<size_t, FB_BFLOAT16 + 1> SIZES = {4, 8, 1, 2, 4, 8, 1, 2, 1, 1, 2, 2};

float float_of_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

uint32_t bits_of_float(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// To float with what is cut off kept in the last bit, so that a second rounding cannot go wrong.
uint32_t float_bits_rounded_to_odd(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const auto sign = static_cast<uint32_t>(bits >> 63) << 31;
  const int exponent = static_cast<int>(bits >> 52 & 0x7ff) - 1023;
  const uint64_t fraction = bits & 0xfffffffffffffULL;
  if (exponent > 127) // infinity, NaN, or beyond every half
    return sign | 0x7f800000u | (exponent == 1024 && fraction ? 0x400000u : 0u);
  if (exponent < -126) // far below the least half; a bfloat as small is rounded from this float's subnormal
    return bits_of_float(static_cast<float>(value)) | sign;
  const bool inexact = fraction & 0x1fffffffULL;
  return sign | static_cast<uint32_t>(exponent + 127) << 23 | static_cast<uint32_t>(fraction >> 29) | (inexact ? 1u : 0u);
}

} // namespace

size_t size_of(fb_dtype dtype) { return SIZES[static_cast<size_t>(dtype)]; }

bool is_real(fb_dtype dtype) {
  return dtype == FB_FLOAT || dtype == FB_DOUBLE || dtype == FB_FLOAT16 || dtype == FB_BFLOAT16;
}

float half_to_float(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16;
  const uint32_t magnitude = bits & 0x7fffu;
  if (magnitude >= 0x7c00u) // infinity and NaN
    return float_of_bits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  // Shifted into a float's place the number is 2^112 too small; the product is exact, subnormals included.
  return float_of_bits(sign | bits_of_float(float_of_bits(magnitude << 13) * 0x1p112f));
}

float bfloat_to_float(uint16_t bits) { return float_of_bits(static_cast<uint32_t>(bits) << 16); }

uint16_t double_to_half(double value) {
  const uint32_t bits = float_bits_rounded_to_odd(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u)
    return sign | 0x7e00u;
  if (magnitude >= 0x47800000u) // 2^16: beyond the largest half even before rounding
    return sign | 0x7c00u;
  if (magnitude < 0x38800000u) { // below 2^-14: a subnormal half, a multiple of 2^-24
    const double scaled = std::ldexp(std::fabs(value), 24);
    return static_cast<uint16_t>(sign | static_cast<uint16_t>(std::nearbyint(scaled)));
  }
  const uint32_t rounded = magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u);
  return static_cast<uint16_t>(sign | rounded >> 13);
}

uint16_t double_to_bfloat(double value) {
  const uint32_t bits = float_bits_rounded_to_odd(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

} // namespace fb
