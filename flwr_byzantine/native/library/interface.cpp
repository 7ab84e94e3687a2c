// From C to the kernels and back.

#include "interface.h"

#include "../kernels/blocks.h"
#include "../kernels/distances.h"
#include "../kernels/order.h"
#include "../kernels/parallel.h"
#include "../kernels/sums.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>

#include <sys/mman.h>

namespace {

// So that a library can be told from one of other sources.
__attribute__((used)) const char SOURCE_DIGEST[] = FB_SOURCE_DIGEST;

constexpr size_t RANGE = size_t(1) << 16;
constexpr uintptr_t PAGE = 4096;

fb_dtype type_of(const fb_rows &rows) { return static_cast<fb_dtype>(rows.dtype); }

fb::Rows rows_of(const fb_rows &given) {
  return {type_of(given), {given.rows, given.rows + given.n}, given.d, static_cast<size_t>(std::max(1, given.threads))};
}

fb::Destination destination_of(const fb_rows &to, size_t row) { return {type_of(to), to.rows[row]}; }

// Kernels throw where there is no memory, and nowhere else.
template <typename Call> int guarded(const Call &call) {
  try {
    return call() ? 0 : 1;
  } catch (const std::exception &) {
    return -1;
  }
}

bool write(const std::vector<double> &values, double *to) {
  std::copy(values.begin(), values.end(), to);
  return std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
}

bool is_finite(const fb::Rows &rows, const char *row) {
  std::atomic<bool> finite{true};
  fb::for_ranges(rows.d, RANGE, rows.threads, [&](size_t from, size_t width) {
    if (finite.load(std::memory_order_relaxed) && !fb::all_finite(rows.dtype, row, from, width))
      finite.store(false, std::memory_order_relaxed);
  });
  return finite;
}

} // namespace

int fb_finite_rows(const fb_rows *given, uint8_t *finite) {
  return guarded([&] {
    const fb::Rows rows = rows_of(*given);
    for (size_t i = 0; i < rows.size(); ++i)
      finite[i] = is_finite(rows, rows.at[i]);
    return std::all_of(finite, finite + rows.size(), [](uint8_t is) { return is != 0; });
  });
}

int fb_mean_of_places(const fb_rows *rows, const fb_weights *weights, size_t low, size_t high, const fb_rows *to) {
  return guarded([&] {
    return fb::mean_of_places(rows_of(*rows), {weights->values, weights->k}, low, high, destination_of(*to, 0));
  });
}

int fb_mean_nearest(const fb_rows *rows, const fb_weights *weights, size_t low, size_t high, size_t k,
                    const fb_rows *to) {
  return guarded([&] {
    return fb::mean_nearest(rows_of(*rows), {weights->values, weights->k}, {low, high, k}, destination_of(*to, 0));
  });
}

int fb_weighted_sum(const fb_rows *rows, const fb_weights *weights, const fb_rows *centre, const fb_rows *to) {
  return guarded([&] {
    std::vector<fb::Destination> destinations;
    for (size_t i = 0; i < to->n; ++i)
      destinations.push_back(destination_of(*to, i));
    const fb::Centre about = centre ? fb::Centre{type_of(*centre), centre->rows[0]} : fb::Centre{FB_FLOAT, nullptr};
    return fb::weighted_sums(rows_of(*rows), weights->values, about, destinations);
  });
}

int fb_squared_distances(const fb_rows *rows, double *distances) {
  return guarded([&] { return write(fb::squared_distances(rows_of(*rows)).values(), distances); });
}

int fb_gram_about(const fb_rows *rows, const fb_rows *centre, double *products) {
  return guarded(
      [&] { return write(fb::gram_about(rows_of(*rows), type_of(*centre), centre->rows[0]).values(), products); });
}

int fb_distances_to(const fb_rows *rows, const fb_rows *point, double *distances) {
  return guarded(
      [&] { return write(fb::distances_to(rows_of(*rows), type_of(*point), point->rows[0]), distances); });
}

int fb_large_pages(const fb_rows *rows) {
#ifdef MADV_HUGEPAGE
  for (size_t i = 0; i < rows->n; ++i) {
    const auto row = reinterpret_cast<uintptr_t>(rows->rows[i]);
    const uintptr_t end = row + rows->d * fb::size_of(type_of(*rows));
    const uintptr_t first = (row + PAGE - 1) / PAGE * PAGE, last = end / PAGE * PAGE;
    if (first < last)
      madvise(reinterpret_cast<void *>(first), last - first, MADV_HUGEPAGE); // advice: it may be refused
  }
#else
  (void)rows;
#endif
  return 0;
}
