// The mean, the running mean, and steps of gradient descent. Arithmetic is in float64, a block at a time.

#include "kernel_families.h"

#include "../kernels/blocks.h"
#include "../kernels/parallel.h"
#include "../kernels/sums.h"

#include <algorithm>
#include <array>

namespace fb {
namespace {

constexpr size_t RANGE = size_t(1) << 17; // columns that one thread takes at once
constexpr size_t SUM_BLOCK = 1 << 13;     // long enough to read many streams well, short enough for the cache
constexpr size_t STEP_BLOCK = 1 << 10;
constexpr Bound MEAN_BOUND = {"mean", 1, 1, "n >= f + 1"};

// result = the mean of some rows; false if it is not finite somewhere.
bool mean_of_rows(const KernelCall &call, const std::vector<const char *> &rows, const Output &result) {
  const std::vector<double> weights(rows.size(), 1 / static_cast<double>(rows.size()));
  return weighted_sums(rows_of(call, rows), weights.data(), {FB_FLOAT, nullptr}, {result.destination()});
}

// What a step computes from blocks of its inputs, in place of the first two of them.
template <size_t N, typename Compute>
void by_elements(const KernelCall &call, const std::array<char *, 2> &results, Compute compute) {
  for_ranges(call.elements, RANGE, call.threads, [&](size_t from, size_t width) {
    alignas(ALIGNMENT) std::array<std::array<double, STEP_BLOCK>, N> values;
    for (size_t at = 0; at < width; at += STEP_BLOCK) {
      const size_t some = std::min(STEP_BLOCK, width - at);
      for (size_t i = 0; i < N; ++i)
        load_doubles(call.dtype, call.inputs[i], from + at, some, values[i].data());
      compute(values, some);
      for (size_t i = 0; i < results.size(); ++i)
        if (results[i])
          store_doubles(call.dtype, values[i].data(), results[i], from + at, some);
    }
  });
}

} // namespace

std::vector<TensorPtr> mean_kernel(const KernelCall &call) {
  const long long f = call.args.empty() ? 0 : count_argument("f", call.args[0]);
  const Tolerated all = tolerate(call, MEAN_BOUND, f, true);
  Output result(call);
  if (!mean_of_rows(call, all.rows, result)) {
    const Tolerated finite = tolerate(call, MEAN_BOUND, f, false);
    if (finite.rows.size() < all.rows.size())
      mean_of_rows(call, finite.rows, result);
  }
  return {result.take()};
}

TensorPtr mean_of(const KernelCall &call, const std::vector<const char *> &rows) {
  Output result(call);
  mean_of_rows(call, rows, result);
  return result.take();
}

std::vector<TensorPtr> running_mean_kernel(const KernelCall &call) {
  const double count = static_cast<double>(count_argument("count", call.args[0]));
  Output result(call);
  by_elements<2>(call, {result.data(), nullptr}, [count](auto &values, size_t width) {
    auto &[mean, x] = values;
    for (size_t j = 0; j < width; ++j)
      mean[j] = count > 0 ? mean[j] + (x[j] - mean[j]) / (count + 1) : x[j];
  });
  return {result.take()};
}

std::vector<TensorPtr> sgd_step_kernel(const KernelCall &call) {
  const double rate = real_argument("lr", call.args[0]);
  Output result(call);
  by_elements<2>(call, {result.data(), nullptr}, [rate](auto &values, size_t width) {
    auto &[params, gradient] = values;
    for (size_t j = 0; j < width; ++j)
      params[j] -= rate * gradient[j];
  });
  return {result.take()};
}

std::vector<TensorPtr> momentum_step_kernel(const KernelCall &call) {
  const double rate = real_argument("lr", call.args[0]);
  const double momentum = real_argument("momentum", call.args[1]);
  Output params_after(call), velocity_after(call);
  by_elements<3>(call, {params_after.data(), velocity_after.data()}, [=](auto &values, size_t width) {
    auto &[params, gradient, velocity] = values;
    for (size_t j = 0; j < width; ++j) {
      const double next = momentum * velocity[j] + gradient[j];
      params[j] -= rate * next;
      gradient[j] = next; // the second result
    }
  });
  std::vector<TensorPtr> results = {params_after.take(), velocity_after.take()};
  results.resize(std::max<size_t>(1, std::min(call.outputs, results.size())));
  return results;
}

std::vector<TensorPtr> mean_sgd_step_kernel(const KernelCall &call) {
  const double rate = real_argument("lr", call.args[0]);
  const size_t n = call.inputs.size() - 1;
  const std::vector<double> weights(n, 1 / static_cast<double>(n));
  Output result(call);
  for_ranges(call.elements, RANGE, call.threads, [&](size_t from, size_t width) {
    alignas(ALIGNMENT) std::array<double, SUM_BLOCK> sum, params;
    for (size_t at = 0; at < width; at += SUM_BLOCK) {
      const size_t some = std::min(SUM_BLOCK, width - at);
      sum_rows(call.dtype, call.inputs.data() + 1, weights.data(), n, from + at, some, sum.data());
      load_doubles(call.dtype, call.inputs[0], from + at, some, params.data());
      for (size_t j = 0; j < some; ++j)
        params[j] -= rate * sum[j];
      store_doubles(call.dtype, params.data(), result.data(), from + at, some);
    }
  });
  return {result.take()};
}

} // namespace fb
