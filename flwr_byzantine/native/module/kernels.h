// Kernels: averages, steps and robust rules without torch, on tensors at any address.

#ifndef FLWR_BYZANTINE_KERNELS_H
#define FLWR_BYZANTINE_KERNELS_H

#include "tensor.h"

#include "../kernels/rows.h"

#include <string>
#include <vector>

namespace fb {

// What a kernel is given: at least one input, all of one real type and one shape.
struct KernelCall {
  fb_dtype dtype;
  Shape shape;
  size_t elements; // of one input
  std::vector<const char *> inputs;
  std::vector<std::string> args;
  size_t outputs; // how many are wanted
  size_t threads;
};

struct Kernel {
  const char *name;
  size_t least_inputs;
  size_t most_inputs;
  size_t least_args;
  size_t most_args;
  size_t most_outputs;
  // Throws Error.
  std::vector<TensorPtr> (*run)(const KernelCall &);
};

// Null if there is none of this name.
const Kernel *find_kernel(std::string_view name);
std::vector<const char *> kernel_names();

struct KernelInput {
  fb_dtype dtype;
  const Shape *shape;
  const char *data;
};

// Check all that is given and run it. Throws Error.
std::vector<TensorPtr> run_kernel(const Kernel &kernel, const std::vector<KernelInput> &inputs,
                                  std::vector<std::string> args, size_t outputs, size_t threads);

} // namespace fb

#endif
