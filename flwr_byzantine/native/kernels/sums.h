// Weighted sums of rows.

#ifndef FLWR_BYZANTINE_SUMS_H
#define FLWR_BYZANTINE_SUMS_H

#include "rows.h"

#include <cstddef>

namespace fb {

// sum[j] = weights[0] * rows[0][from + j] + ... + weights[n - 1] * rows[n - 1][from + j], in float64.
void sum_rows(fb_dtype dtype, const char *const *rows, const double *weights, size_t n, size_t from, size_t width,
              double *sum);

// What a weighted sum is about: with a row, what the weights lack to 1 goes to it.
struct Centre {
  fb_dtype dtype;
  const char *at; // null if there is none
};

// to[i] = the sum of weights[i * n + j] * rows[j]. Rows without a weight are not read. Whether the results are finite.
bool weighted_sums(const Rows &rows, const double *weights, const Centre &centre,
                   const std::vector<Destination> &to);

} // namespace fb

#endif
