// What kernels share.

#include "kernel_support.h"

#include "../kernels/blocks.h"
#include "../kernels/parallel.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>

namespace fb {
namespace {

constexpr size_t FINITE_RANGE = size_t(1) << 16;
constexpr long long MOST_COUNT = 1'000'000'000; // far from where arithmetic on counts overflows

std::vector<size_t> finite_places(const KernelCall &call) {
  std::vector<size_t> places;
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    std::atomic<bool> finite{true};
    for_ranges(call.elements, FINITE_RANGE, call.threads, [&](size_t from, size_t width) {
      if (finite.load(std::memory_order_relaxed) && !all_finite(call.dtype, call.inputs[i], from, width))
        finite = false;
    });
    if (finite)
      places.push_back(i);
  }
  return places;
}

std::string named(const Bound &bound, long long f) {
  return std::string("ERR ") + bound.rule + "(f=" + std::to_string(f) + ")";
}

} // namespace

long long count_argument(const char *name, const std::string &text) {
  const auto number = whole_number(text);
  if (!number)
    throw Error(std::string("ERR ") + name + " must be an integer, got " + printable(text));
  if (*number < 0 || *number > MOST_COUNT)
    throw Error(std::string("ERR ") + name + " must be at " + (*number < 0 ? "least 0" : "most 10^9") + ", got " + name +
                " = " + std::to_string(*number));
  return *number;
}

double real_argument(const char *name, const std::string &text) {
  const auto number = real_number(text);
  if (!number || !std::isfinite(*number))
    throw Error(std::string("ERR ") + name + " must be a finite number, got " + printable(text));
  return *number;
}

Tolerated tolerate(const KernelCall &call, const Bound &bound, long long f, bool all_finite) {
  const size_t inputs = call.inputs.size();
  Tolerated tolerated;
  if (all_finite) {
    tolerated.places.resize(inputs);
    std::iota(tolerated.places.begin(), tolerated.places.end(), size_t(0));
  } else {
    tolerated.places = finite_places(call);
  }
  for (const size_t place : tolerated.places)
    tolerated.rows.push_back(call.inputs[place]);
  const size_t n = tolerated.rows.size();
  const auto excluded = static_cast<long long>(inputs - n);
  if (f < excluded)
    throw Error(named(bound, f) + ": " + std::to_string(excluded) + " of " + std::to_string(inputs) +
                " inputs are not finite");
  tolerated.f = static_cast<size_t>(f - excluded);
  const size_t needed = bound.factor * tolerated.f + bound.extra;
  if (n < needed && all_finite) // f may be lower, and the bound with it
    return tolerate(call, bound, f, false);
  if (n < needed)
    throw Error(named(bound, f - excluded) + " needs n >= " + std::to_string(needed) + " inputs (" + bound.text +
                "), got n = " + std::to_string(n));
  return tolerated;
}

Output::Output(const KernelCall &call)
    : dtype_(call.dtype), shape_(call.shape), buffer_(Buffer::of(call.elements * size_of(call.dtype))) {}

TensorPtr Output::take() {
  return make_tensor(dtype_, std::move(shape_), std::make_shared<Payload>(std::move(buffer_)));
}

Rows rows_of(const KernelCall &call, const std::vector<const char *> &rows) {
  return {call.dtype, rows, call.elements, call.threads};
}

TensorPtr whole_numbers(const std::vector<size_t> &values) {
  const std::vector<int64_t> numbers(values.begin(), values.end());
  Buffer buffer = Buffer::of(numbers.size() * sizeof(int64_t));
  if (!numbers.empty())
    std::memcpy(buffer.data(), numbers.data(), buffer.size());
  return make_tensor(FB_INT64, {static_cast<int64_t>(numbers.size())}, std::make_shared<Payload>(std::move(buffer)));
}

} // namespace fb
