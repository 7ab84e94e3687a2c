// Order statistics of rows or of their mixtures, coordinate by coordinate.

#ifndef FLWR_BYZANTINE_ORDER_H
#define FLWR_BYZANTINE_ORDER_H

#include "columns.h"
#include "rows.h"

#include <cstddef>

namespace fb {

// In place of the rows k mixtures of them, mixed block by block; or with null the rows themselves.
struct Weights {
  const double *values; // [k, n]
  size_t k;
};

// to = the mean of the values at places low to high - 1 in ascending order, NaN as the largest. Whether all was finite.
bool mean_of_places(const Rows &rows, const Weights &weights, size_t low, size_t high, const Destination &to);

// to = the mean of the k values nearest to the centre; ties go to the lowest row. Whether all was finite; if not, it is
// of no use.
bool mean_nearest(const Rows &rows, const Weights &weights, const Nearest &nearest, const Destination &to);

} // namespace fb

#endif
