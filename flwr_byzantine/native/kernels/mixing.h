// Mixtures of the rows of a block of columns: a small matrix of weights times the block, in the cache.

#ifndef FLWR_BYZANTINE_MIXING_H
#define FLWR_BYZANTINE_MIXING_H

#include "scratch.h"
#include "sorters.h"

#include <cstddef>

namespace fb {

// Weights of k mixtures of n rows, as the arithmetic wants them.
template <typename T> class Mixing {
public:
  Mixing(const double *weights, size_t k, size_t n);

  size_t size() const { return k_; }
  size_t padded() const { return padded_; } // mixtures that are written

  // mixed[i * COLUMNS + j] = the sum of weights[i, r] * rows[r][from + j]; rows of T at any address.
  void operator()(const char *const *rows, size_t from, T *mixed) const;

private:
  const size_t k_, n_, padded_;
  const Scratch<T> weights_; // row by row, a tile of mixtures at a time
};

} // namespace fb

#endif
