// What kernels share: their arguments, the bound on Byzantine inputs, and output tensors.

#ifndef FLWR_BYZANTINE_KERNEL_SUPPORT_H
#define FLWR_BYZANTINE_KERNEL_SUPPORT_H

#include "kernels.h"

namespace fb {

// Throw an Error unless the argument is one.
long long count_argument(const char *name, const std::string &text); // a whole number, at least 0
double real_argument(const char *name, const std::string &text);     // finite

// A rule's bound on f, as flwr_byzantine.rules states it.
struct Bound {
  const char *rule;
  size_t factor; // n >= factor * f + extra
  size_t extra;
  const char *text;
};

// The finite inputs, and f less those that are not.
struct Tolerated {
  std::vector<const char *> rows;
  std::vector<size_t> places; // of these rows among the inputs
  size_t f = 0;
};

// All inputs if they are taken to be finite, else they are looked through. Throws Error if the bound does not hold.
Tolerated tolerate(const KernelCall &call, const Bound &bound, long long f, bool all_finite);

// A tensor like the inputs, its bytes still to be written.
class Output {
public:
  explicit Output(const KernelCall &call);
  char *data() const { return buffer_.data(); }
  Destination destination() const { return {dtype_, buffer_.data()}; }
  TensorPtr take();

private:
  const fb_dtype dtype_;
  Shape shape_;
  Buffer buffer_;
};

// Some of the call's inputs, as kernels take them.
Rows rows_of(const KernelCall &call, const std::vector<const char *> &rows);

TensorPtr whole_numbers(const std::vector<size_t> &values); // INT64, one dimension

} // namespace fb

#endif
