// Sorting networks of up to 64 rows of float in straight-line code, written by _networks.py for each instruction set.

#ifndef FLWR_BYZANTINE_SORTERS_H
#define FLWR_BYZANTINE_SORTERS_H

#include <cstddef>

namespace fb {

constexpr size_t COLUMNS = 64; // of a block, always
constexpr size_t MOST_SORTED = 64;

// Sort COLUMNS columns of rows at any address, from element `from` on: sorted[i * COLUMNS + j] is the i-th least of
// column j, NaN as the largest number. Where a number is not finite, check[j] becomes NaN.
using Sorter = void (*)(const char *const *rows, size_t from, float *sorted, float *check);

// For this processor; null if there is none for so many rows.
Sorter sorter_of(size_t n);
Sorter median_sorter_of(size_t n); // gives the places (n - 1) / 2 and n / 2 alone

} // namespace fb

#endif
