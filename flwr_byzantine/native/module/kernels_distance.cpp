// Krum and Multi-Krum.

#include "kernel_families.h"

#include "../kernels/distances.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace fb {
namespace {

constexpr Bound KRUM = {"krum", 2, 3, "n >= 2f + 3"};
constexpr Bound MULTI_KRUM = {"multi_krum", 2, 3, "n >= 2f + 3"};

// Of each row the sum of its `neighbors` least squared distances to others.
std::vector<double> krum_scores(const SquareMatrix &distances, size_t neighbors) {
  const size_t n = distances.size();
  std::vector<double> scores;
  for (size_t i = 0; i < n; ++i) {
    std::vector<double> others;
    for (size_t j = 0; j < n; ++j)
      if (j != i)
        others.push_back(distances.at(i, j));
    std::sort(others.begin(), others.end());
    const auto last = others.begin() + static_cast<ptrdiff_t>(neighbors);
    scores.push_back(std::accumulate(others.begin(), last, 0.0));
  }
  return scores;
}

// The places of the m least in ascending order; ties to the lowest place.
std::vector<size_t> least(const std::vector<double> &scores, size_t m) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::stable_sort(order.begin(), order.end(), [&scores](size_t a, size_t b) { return scores[a] < scores[b]; });
  order.resize(m);
  return order;
}

bool all_finite(const SquareMatrix &distances) {
  for (size_t i = 0; i < distances.size(); ++i)
    for (size_t j = 0; j < distances.size(); ++j)
      if (!std::isfinite(distances.at(i, j)))
        return false;
  return true;
}

// How many rows are averaged: a number, or a convention's by its name in flwr_byzantine.rules.
size_t selected_count(const std::string &text, size_t n, size_t f) {
  if (text == "classic")
    return n - f - 2;
  if (text == "n-f")
    return n - f;
  if (text == "n-2f-3")
    return std::max<size_t>(1, n - 2 * f - 3);
  const auto number = whole_number(text);
  if (!number)
    throw Error("ERR m must be one of ['classic', 'n-2f-3', 'n-f'] or a number, got '" + printable(text) + "'");
  if (*number < 1 || *number > static_cast<long long>(n))
    throw Error("ERR m must lie between 1 and " + std::to_string(n) + " for n = " + std::to_string(n) +
                " inputs, got " + std::to_string(*number));
  return static_cast<size_t>(*number);
}

TensorPtr copy_of(const KernelCall &call, const char *row) {
  Output result(call);
  const size_t bytes = call.elements * size_of(call.dtype);
  if (bytes > 0)
    std::memcpy(result.data(), row, bytes);
  return result.take();
}

// The value, and if it is wanted which inputs it is made of.
std::vector<TensorPtr> select(const KernelCall &call, const Bound &bound, const std::string &m) {
  const long long f = count_argument("f", call.args[0]);
  Tolerated inputs = tolerate(call, bound, f, true);
  SquareMatrix distances = squared_distances(rows_of(call, inputs.rows));
  if (!all_finite(distances)) {
    inputs = tolerate(call, bound, f, false);
    distances = squared_distances(rows_of(call, inputs.rows));
  }
  const size_t n = inputs.rows.size();
  const std::vector<size_t> chosen = least(krum_scores(distances, n - inputs.f - 2), selected_count(m, n, inputs.f));
  std::vector<const char *> rows;
  std::vector<size_t> places;
  for (const size_t i : chosen) {
    rows.push_back(inputs.rows[i]);
    places.push_back(inputs.places[i]);
  }
  std::vector<TensorPtr> results = {rows.size() == 1 ? copy_of(call, rows[0]) : mean_of(call, rows)};
  if (call.outputs > 1)
    results.push_back(whole_numbers(places));
  return results;
}

} // namespace

std::vector<TensorPtr> krum_kernel(const KernelCall &call) { return select(call, KRUM, "1"); }

std::vector<TensorPtr> multi_krum_kernel(const KernelCall &call) {
  return select(call, MULTI_KRUM, call.args.size() > 1 ? call.args[1] : "classic");
}

} // namespace fb
