// Order statistics of short blocks of columns.

#ifndef FLWR_BYZANTINE_COLUMNS_H
#define FLWR_BYZANTINE_COLUMNS_H

#include "sort_plan.h"
#include "sorters.h"

#include <cstddef>

namespace fb {

// What tells a block with a number that is not finite: sums of numbers times zero. NaN once there was one.
template <typename T> struct alignas(64) FiniteCheck {
  T sums[COLUMNS] = {};

  bool passed() const {
    for (const T sum : sums)
      if (sum != 0)
        return false;
    return true;
  }
};

// How to find the values at places low to high - 1 in ascending order, of n rows.
class ColumnSort {
public:
  ColumnSort(size_t n, size_t low, size_t high);

  // Sort COLUMNS columns of rows of T at any address, from element `from` on, NaN as the largest number:
  // sorted[i * COLUMNS + j] is the i-th least of column j, for the places wanted.
  void operator()(const char *const *rows, size_t from, float *sorted, FiniteCheck<float> &check) const;
  void operator()(const char *const *rows, size_t from, double *sorted, FiniteCheck<double> &check) const;

private:
  Sorter straight_; // for float; null if there is none
  SortPlan plan_;
};

// result[j] = the mean of places low to high - 1 of column j.
void mean_of_places(const float *sorted, size_t low, size_t high, double *result);
void mean_of_places(const double *sorted, size_t low, size_t high, double *result);

struct Nearest {
  size_t low, high; // the centre is the mean of these places
  size_t k;
};

// Of COLUMNS columns of n sorted values the centres, and the means of the k values nearest to them. Where two that
// differ are equally near to be the last, tied[j] is not zero and results[j] is of no use.
struct NearestMeans {
  double centres[COLUMNS];
  double results[COLUMNS];
  double tied[COLUMNS];
};

// Whether there is a tie.
bool mean_nearest(const float *sorted, size_t n, const Nearest &nearest, NearestMeans &to);
bool mean_nearest(const double *sorted, size_t n, const Nearest &nearest, NearestMeans &to);

} // namespace fb

#endif
