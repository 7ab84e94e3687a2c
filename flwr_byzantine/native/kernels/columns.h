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

// result[j] = the mean of the k of n sorted values of column j nearest to centre[j]. Where two that differ are equally
// near to be the last, tied[j] is not zero and the result is of no use. What was sorted is used up.
void mean_nearest(float *sorted, size_t n, size_t k, const double *centre, double *result, double *tied);
void mean_nearest(double *sorted, size_t n, size_t k, const double *centre, double *result, double *tied);

} // namespace fb

#endif
