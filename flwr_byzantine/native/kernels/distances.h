// Distances between rows, by differences.

#ifndef FLWR_BYZANTINE_DISTANCES_H
#define FLWR_BYZANTINE_DISTANCES_H

#include "rows.h"

#include <vector>

namespace fb {

// A symmetric matrix of n by n numbers.
class SquareMatrix {
public:
  explicit SquareMatrix(size_t n) : n_(n), values_(n * n) {}
  double &at(size_t i, size_t j) { return values_[i * n_ + j]; }
  double at(size_t i, size_t j) const { return values_[i * n_ + j]; }
  size_t size() const { return n_; }
  const std::vector<double> &values() const { return values_; }

private:
  size_t n_;
  std::vector<double> values_;
};

// Squared Euclidean distances of all pairs, within 1e-6 of them. As in flwr_byzantine.rules those among DOUBLE rows of
// extreme size are in another unit, and those to a row out of reach too short: only their order and ratios then mean
// something. Not finite where a row is not.
SquareMatrix squared_distances(const Rows &rows);

// Inner products of the rows about a centre, of the type given.
SquareMatrix gram_about(const Rows &rows, fb_dtype centre_type, const char *centre);

// Euclidean distances to a point, in float64.
std::vector<double> distances_to(const Rows &rows, fb_dtype point_type, const char *point);

} // namespace fb

#endif
