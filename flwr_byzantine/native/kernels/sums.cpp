// Weighted sums: a strip of columns whose sums stay in registers, over all rows.

#include "sums.h"

#include "blocks.h"
#include "mixing.h"
#include "parallel.h"
#include "simd.h"

#include <algorithm>
#include <array>
#include <atomic>

namespace fb {
namespace {

constexpr size_t RANGE = size_t(1) << 16; // columns that one thread takes at once
constexpr size_t BLOCK = 1 << 10;         // of sums, in the cache
constexpr size_t REGISTERS = 8;           // of sums
constexpr size_t WIDEST_STRIP = 64;       // columns whose sums are in registers, with AVX-512
constexpr size_t AHEAD = 320;             // bytes: more rows are read at once than the processor follows by itself

template <typename T> using Row = const typename Unaligned<T>::Type *;

// The sums of one strip, REGISTERS registers wide, of all rows.
template <typename T, int LENGTH>
FB_INLINE void add_strip(const char *const *rows, const double *weights, size_t n, size_t at,
                         typename Register<double, LENGTH>::Type *sums) {
  using Wide = typename Register<double, LENGTH>::Type;
  for (size_t r = 0; r < REGISTERS; ++r)
    sums[r] = Wide{};
  for (size_t i = 0; i < n; ++i) {
    const char *const row = rows[i] + at * sizeof(T);
    prefetch(row, AHEAD, REGISTERS * LENGTH * sizeof(T));
    for (size_t r = 0; r < REGISTERS; ++r) {
      typename Register<T, LENGTH>::Type values;
      Wide wide;
      __builtin_memcpy(&values, row + r * sizeof values, sizeof values);
      widen<LENGTH>(values, wide);
      sums[r] += weights[i] * wide;
    }
  }
}

template <typename T, int LENGTH>
FB_INLINE void add_strips(const char *const *rows, const double *weights, size_t n, size_t from, size_t width,
                          double *sum) {
  using Wide = typename Register<double, LENGTH>::Type;
  constexpr size_t strip = REGISTERS * LENGTH;
  size_t at = 0;
  for (; at + strip <= width; at += strip) {
    Wide sums[REGISTERS];
    add_strip<T, LENGTH>(rows, weights, n, from + at, sums);
    for (size_t r = 0; r < REGISTERS; ++r)
      __builtin_memcpy(sum + at + r * LENGTH, &sums[r], sizeof(Wide));
  }
  for (; at < width; ++at) {
    double total = 0;
    for (size_t i = 0; i < n; ++i)
      total += weights[i] * static_cast<double>(reinterpret_cast<Row<T>>(rows[i])[from + at]);
    sum[at] = total;
  }
}

template <int LENGTH>
FB_INLINE void sum_floats_body(const char *const *rows, const double *weights, size_t n, size_t from, size_t width,
                               double *sum) {
  add_strips<float, LENGTH>(rows, weights, n, from, width, sum);
}
FB_MULTIVERSION(sum_floats,
                (const char *const *rows, const double *weights, size_t n, size_t from, size_t width, double *sum),
                (rows, weights, n, from, width, sum))

template <int LENGTH>
FB_INLINE void sum_doubles_body(const char *const *rows, const double *weights, size_t n, size_t from, size_t width,
                                double *sum) {
  add_strips<double, LENGTH>(rows, weights, n, from, width, sum);
}
FB_MULTIVERSION(sum_doubles,
                (const char *const *rows, const double *weights, size_t n, size_t from, size_t width, double *sum),
                (rows, weights, n, from, width, sum))

// Whole strips of float rows, their sums rounded to float at once; `odd` becomes NaN where a sum is not finite.
template <int LENGTH>
FB_INLINE void store_floats_body(const char *const *rows, const double *weights, size_t n, size_t from, size_t width,
                                 float *to, double *odd) {
  using Wide = typename Register<double, LENGTH>::Type;
  Wide products{};
  for (size_t at = 0; at < width; at += REGISTERS * LENGTH) {
    Wide sums[REGISTERS];
    add_strip<float, LENGTH>(rows, weights, n, from + at, sums);
    for (size_t r = 0; r < REGISTERS; ++r) {
      typename Register<float, LENGTH>::Type values;
      narrow<LENGTH>(sums[r], values);
      __builtin_memcpy(reinterpret_cast<char *>(to) + (from + at + r * LENGTH) * sizeof(float), &values, sizeof values);
      products += sums[r] * 0;
    }
  }
  for (size_t lane = 0; lane < LENGTH; ++lane)
    *odd += products[lane];
}
FB_MULTIVERSION(store_floats,
                (const char *const *rows, const double *weights, size_t n, size_t from, size_t width, float *to,
                 double *odd),
                (rows, weights, n, from, width, to, odd))

template <int> FB_INLINE void add_values_body(const float *values, double weight, size_t width, double *sum) {
  for (size_t j = 0; j < width; ++j)
    sum[j] += weight * static_cast<double>(values[j]);
}
FB_MULTIVERSION(add_values, (const float *values, double weight, size_t width, double *sum),
                (values, weight, width, sum))

void sum_halves(fb_dtype dtype, const char *const *rows, const double *weights, size_t n, size_t from, size_t width,
                double *sum) {
  alignas(64) std::array<float, BLOCK> values;
  std::fill(sum, sum + width, 0.0);
  for (size_t at = 0; at < width; at += BLOCK) {
    const size_t some = std::min(BLOCK, width - at);
    for (size_t i = 0; i < n; ++i) {
      prefetch_elements(dtype, rows[i], from + at + BLOCK, some);
      load_floats(dtype, rows[i], from + at, some, values.data());
      add_values(values.data(), weights[i], some, sum + at);
    }
  }
}

// Those rows that have a weight.
struct Weighted {
  Weighted(const Rows &rows, const double *row_weights) {
    for (size_t i = 0; i < rows.size(); ++i) {
      rest -= row_weights[i];
      if (row_weights[i] != 0) {
        at.push_back(rows.at[i]);
        weights.push_back(row_weights[i]);
      }
    }
  }

  std::vector<const char *> at;
  std::vector<double> weights;
  double rest = 1; // what the weights lack to 1
};

void add_centre(const Centre &centre, double weight, size_t from, size_t width, double *sum) {
  std::array<double, BLOCK> values;
  load_doubles(centre.dtype, centre.at, from, width, values.data());
  for (size_t j = 0; j < width; ++j)
    sum[j] += weight * values[j];
}

bool one_sum(const Rows &rows, const double *weights, const Centre &centre, const Destination &to) {
  const Weighted weighted(rows, weights);
  std::atomic<bool> finite{true};
  const bool at_once = rows.dtype == FB_FLOAT && to.dtype == FB_FLOAT && !centre.at;
  for_ranges(rows.d, RANGE, rows.threads, [&](size_t from, size_t all) {
    alignas(64) std::array<double, BLOCK> sum;
    const size_t whole = at_once ? all - all % WIDEST_STRIP : 0;
    double odd = 0;
    store_floats(weighted.at.data(), weighted.weights.data(), weighted.at.size(), from, whole,
                 reinterpret_cast<float *>(to.at), &odd);
    if (odd != 0)
      finite.store(false, std::memory_order_relaxed);
    for (size_t at = whole; at < all; at += BLOCK) {
      const size_t some = std::min(BLOCK, all - at);
      sum_rows(rows.dtype, weighted.at.data(), weighted.weights.data(), weighted.at.size(), from + at, some,
               sum.data());
      if (centre.at)
        add_centre(centre, weighted.rest, from + at, some, sum.data());
      if (!all_finite(sum.data(), some))
        finite.store(false, std::memory_order_relaxed);
      store_doubles(to.dtype, sum.data(), to.at, from + at, some);
    }
  });
  return finite;
}

} // namespace

void sum_rows(fb_dtype dtype, const char *const *rows, const double *weights, size_t n, size_t from, size_t width,
              double *sum) {
  if (dtype == FB_FLOAT)
    sum_floats(rows, weights, n, from, width, sum);
  else if (dtype == FB_DOUBLE)
    sum_doubles(rows, weights, n, from, width, sum);
  else
    sum_halves(dtype, rows, weights, n, from, width, sum);
}

bool weighted_sums(const Rows &rows, const double *weights, const Centre &centre,
                   const std::vector<Destination> &to) {
  if (to.size() == 1)
    return one_sum(rows, weights, centre, to[0]);
  const size_t n = rows.size(), k = to.size();
  const Mixing<double> mixing(weights, k, n);
  std::vector<double> rest;
  for (size_t i = 0; i < k; ++i)
    rest.push_back(Weighted(rows, weights + i * n).rest);
  std::atomic<bool> finite{true};
  for_ranges(rows.d, RANGE, rows.threads, [&](size_t from, size_t all) {
    const Scratch<double> block(n * COLUMNS), mixed(mixing.padded() * COLUMNS);
    std::vector<const char *> at_block;
    for (size_t i = 0; i < n; ++i)
      at_block.push_back(reinterpret_cast<const char *>(block.data() + i * COLUMNS));
    for (size_t at = 0; at < all; at += COLUMNS) {
      const size_t some = std::min(COLUMNS, all - at);
      for (size_t i = 0; i < n; ++i) {
        prefetch_elements(rows.dtype, rows.at[i], from + at + 4 * COLUMNS, COLUMNS);
        load_doubles(rows.dtype, rows.at[i], from + at, some, block.data() + i * COLUMNS);
      }
      mixing(at_block.data(), 0, mixed.data());
      for (size_t i = 0; i < k; ++i) {
        double *const sum = mixed.data() + i * COLUMNS;
        if (centre.at)
          add_centre(centre, rest[i], from + at, some, sum);
        if (!all_finite(sum, some))
          finite.store(false, std::memory_order_relaxed);
        store_doubles(to[i].dtype, sum, to[i].at, from + at, some);
      }
    }
  });
  return finite;
}

} // namespace fb
