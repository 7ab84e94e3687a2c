// Median, trimmed mean and mean around the median.

#include "kernel_families.h"

#include "../kernels/order.h"

namespace fb {
namespace {

constexpr Bound MEDIAN = {"median", 2, 1, "n >= 2f + 1"};
constexpr Bound TRIMMED_MEAN = {"trimmed_mean", 2, 1, "n >= 2f + 1"};
constexpr Bound MEAMED = {"meamed", 2, 1, "n >= 2f + 1"};
constexpr Weights UNMIXED = {nullptr, 0};

// The rule over all inputs; again without those that are not finite if there are any.
template <typename Rule>
std::vector<TensorPtr> apply(const KernelCall &call, const Bound &bound, long long f, const Rule &rule) {
  Output result(call);
  const Tolerated inputs = tolerate(call, bound, f, true);
  if (!rule(rows_of(call, inputs.rows), inputs.f, result.destination())) {
    const Tolerated finite = tolerate(call, bound, f, false);
    rule(rows_of(call, finite.rows), finite.f, result.destination());
  }
  return {result.take()};
}

} // namespace

std::vector<TensorPtr> median_kernel(const KernelCall &call) {
  const long long f = call.args.empty() ? 0 : count_argument("f", call.args[0]);
  return apply(call, MEDIAN, f, [](const Rows &rows, size_t, const Destination &to) {
    return mean_of_places(rows, UNMIXED, (rows.size() - 1) / 2, rows.size() / 2 + 1, to);
  });
}

std::vector<TensorPtr> trimmed_mean_kernel(const KernelCall &call) {
  const long long f = count_argument("f", call.args[0]);
  return apply(call, TRIMMED_MEAN, f, [](const Rows &rows, size_t tolerated, const Destination &to) {
    return mean_of_places(rows, UNMIXED, tolerated, rows.size() - tolerated, to);
  });
}

std::vector<TensorPtr> meamed_kernel(const KernelCall &call) {
  const long long f = count_argument("f", call.args[0]);
  return apply(call, MEAMED, f, [](const Rows &rows, size_t tolerated, const Destination &to) {
    const size_t n = rows.size();
    return mean_nearest(rows, UNMIXED, {(n - 1) / 2, n / 2 + 1, n - tolerated}, to);
  });
}

} // namespace fb
