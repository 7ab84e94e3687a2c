// Blocks of columns: between tensors of any real type, at any address, and float64 in the cache, where arithmetic is.

#ifndef FLWR_BYZANTINE_BLOCKS_H
#define FLWR_BYZANTINE_BLOCKS_H

#include "elements.h"

#include <cstddef>

namespace fb {

// `width` elements of a row, from element `from` on.
void load_doubles(fb_dtype dtype, const char *row, size_t from, size_t width, double *values);
void store_doubles(fb_dtype dtype, const double *values, char *row, size_t from, size_t width);

// The same for a half as float, which holds each exactly.
void load_floats(fb_dtype dtype, const char *row, size_t from, size_t width, float *values);

// Ask for elements that are needed soon: more rows are read at once than the processor follows by itself.
void prefetch_elements(fb_dtype dtype, const char *row, size_t from, size_t width);

// Whether every number of these is finite.
bool all_finite(const double *values, size_t width);
bool all_finite(fb_dtype dtype, const char *row, size_t from, size_t width);

} // namespace fb

#endif
