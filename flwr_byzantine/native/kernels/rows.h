// What kernels read: rows of numbers of one type, each at any address.

#ifndef FLWR_BYZANTINE_ROWS_H
#define FLWR_BYZANTINE_ROWS_H

#include "elements.h"

#include <vector>

namespace fb {

struct Rows {
  fb_dtype dtype;
  std::vector<const char *> at;
  size_t d; // numbers of a row
  size_t threads;

  size_t size() const { return at.size(); }
};

// A row of d numbers that a kernel writes.
struct Destination {
  fb_dtype dtype;
  char *at;
};

} // namespace fb

#endif
