// Elements of tensors: their sizes, loads from any address, and the two halves of float.

#ifndef FLWR_BYZANTINE_ELEMENTS_H
#define FLWR_BYZANTINE_ELEMENTS_H

#include "element_type.h"

#include <cstddef>
#include <cstdint>

namespace fb {

// Elements at any address: loads and stores through these assume no alignment. Name them where they are used: `auto` and
// templates forget the attribute.
typedef float unaligned_float __attribute__((aligned(1), may_alias));
typedef double unaligned_double __attribute__((aligned(1), may_alias));
typedef uint16_t unaligned_half __attribute__((aligned(1), may_alias));

// The same by the element's type: an attribute of a template's argument would be lost.
template <typename T> struct Unaligned;
template <> struct Unaligned<float> { typedef unaligned_float Type; };
template <> struct Unaligned<double> { typedef unaligned_double Type; };

size_t size_of(fb_dtype dtype); // of one element; 1 for STRING
bool is_real(fb_dtype dtype);   // FLOAT, DOUBLE and the halves

float half_to_float(uint16_t bits);
float bfloat_to_float(uint16_t bits);
// Rounded once, to the nearest and ties to even.
uint16_t double_to_half(double value);
uint16_t double_to_bfloat(double value);

} // namespace fb

#endif
