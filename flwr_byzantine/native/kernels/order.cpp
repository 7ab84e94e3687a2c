// Rows, or mixtures of them, sorted by blocks of columns.

#include "order.h"

#include "blocks.h"
#include "columns.h"
#include "mixing.h"
#include "parallel.h"
#include "scratch.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>

namespace fb {
namespace {

constexpr size_t RANGE = size_t(1) << 15; // columns that one thread takes at once, a multiple of COLUMNS
constexpr size_t AHEAD = 4 * COLUMNS;

// Some rows block by block, in T: as they lie where they are of it and the block is whole, else converted and padded;
// or their mixtures, which read a block many times: it is copied first.
template <typename T> class RowBlocks {
public:
  RowBlocks(const Rows &rows, const Mixing<T> *mixing)
      : rows_(rows), mixing_(mixing), n_(mixing ? mixing->size() : rows.size()), converted_(rows.size() * COLUMNS),
        mixed_(mixing ? mixing->padded() * COLUMNS : 0), sorted_(n_ * COLUMNS),
        own_(places(converted_.data(), rows.size())), mixed_rows_(places(mixed_.data(), mixing ? n_ : 0)) {}

  T *sorted() { return sorted_.data(); }
  FiniteCheck<T> &check() { return check_; }

  // Bring a block in and sort it.
  void sort(const ColumnSort &sort, size_t from, size_t width) {
    const bool in_place = !mixing_ && width == COLUMNS && rows_.dtype == OWN_TYPE;
    values_ = in_place ? rows_.at.data() : own_.data();
    from_ = in_place ? from : 0;
    for (size_t i = 0; !in_place && i < rows_.size(); ++i) {
      prefetch_elements(rows_.dtype, rows_.at[i], from + AHEAD, COLUMNS);
      convert(rows_.at[i], from, width, converted_.data() + i * COLUMNS);
    }
    if (mixing_) {
      (*mixing_)(values_, from_, mixed_.data());
      values_ = mixed_rows_.data();
      from_ = 0;
    }
    sort(values_, from_, sorted_.data(), check_);
  }

  // The values of one column of the block that was sorted.
  std::vector<double> column(size_t j) const {
    std::vector<double> values(n_);
    for (size_t i = 0; i < n_; ++i)
      load_doubles(OWN_TYPE, values_[i], from_ + j, 1, &values[i]);
    return values;
  }

private:
  static constexpr fb_dtype OWN_TYPE = sizeof(T) == sizeof(float) ? FB_FLOAT : FB_DOUBLE;

  static std::vector<const char *> places(const T *blocks, size_t n) {
    std::vector<const char *> at;
    for (size_t i = 0; i < n; ++i)
      at.push_back(reinterpret_cast<const char *>(blocks + i * COLUMNS));
    return at;
  }
  void convert(const char *row, size_t from, size_t width, float *to) const {
    if (rows_.dtype == FB_FLOAT)
      std::memcpy(to, row + from * sizeof(float), width * sizeof(float));
    else
      load_floats(rows_.dtype, row, from, width, to);
  }
  void convert(const char *row, size_t from, size_t width, double *to) const {
    load_doubles(rows_.dtype, row, from, width, to);
  }

  const Rows &rows_;
  const Mixing<T> *const mixing_;
  const size_t n_;
  const Scratch<T> converted_, mixed_, sorted_;
  const std::vector<const char *> own_, mixed_rows_;
  const char *const *values_ = nullptr; // of the block, from element from_ on
  size_t from_ = 0;
  FiniteCheck<T> check_;
};

// Call finish(blocks, width, results) for each sorted block; it writes COLUMNS results.
template <typename T, typename Finish>
bool by_blocks(const Rows &rows, const Weights &weights, const ColumnSort &sort, const Destination &to,
               const Finish &finish) {
  const std::unique_ptr<Mixing<T>> mixing(weights.values ? new Mixing<T>(weights.values, weights.k, rows.size())
                                                         : nullptr);
  std::atomic<bool> finite{true};
  for_ranges(rows.d, RANGE, rows.threads, [&](size_t first, size_t all) {
    RowBlocks<T> blocks(rows, mixing.get());
    alignas(ALIGNMENT) std::array<double, COLUMNS> results;
    for (size_t at = 0; at < all; at += COLUMNS) {
      const size_t width = std::min(COLUMNS, all - at);
      blocks.sort(sort, first + at, width);
      finish(blocks, width, results.data());
      store_doubles(to.dtype, results.data(), to.at, first + at, width);
    }
    if (!blocks.check().passed())
      finite.store(false, std::memory_order_relaxed);
  });
  return finite;
}

template <typename Finish>
bool sorted_blocks(const Rows &rows, const Weights &weights, const ColumnSort &sort, const Destination &to,
                   const Finish &finish) {
  return rows.dtype == FB_DOUBLE ? by_blocks<double>(rows, weights, sort, to, finish)
                                 : by_blocks<float>(rows, weights, sort, to, finish);
}

double mean_of_range(const std::vector<double> &values, size_t low, size_t high) {
  double mean = 0;
  for (size_t i = low; i < high; ++i)
    mean += values[i] / static_cast<double>(high - low);
  return mean;
}

// The mean of the k numbers nearest to the centre; ties go to the lowest row. NaN unless all are finite.
double mean_nearest_by_rank(const std::vector<double> &values, double centre, size_t k) {
  if (!all_finite(values.data(), values.size()))
    return std::nan("");
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::fabs(values[a] - centre) < std::fabs(values[b] - centre);
  });
  std::vector<double> nearest;
  for (size_t i = 0; i < k; ++i)
    nearest.push_back(values[order[i]]);
  return mean_of_range(nearest, 0, k);
}

size_t count_of(const Rows &rows, const Weights &weights) { return weights.values ? weights.k : rows.size(); }

} // namespace

bool mean_of_places(const Rows &rows, const Weights &weights, size_t low, size_t high, const Destination &to) {
  const ColumnSort sort(count_of(rows, weights), low, high);
  return sorted_blocks(rows, weights, sort, to, [low, high](auto &blocks, size_t, double *results) {
    mean_of_places(blocks.sorted(), low, high, results);
  });
}

bool mean_nearest(const Rows &rows, const Weights &weights, const Nearest &nearest, const Destination &to) {
  const size_t n = count_of(rows, weights);
  const ColumnSort sort(n, 0, n);
  return sorted_blocks(rows, weights, sort, to, [n, nearest](auto &blocks, size_t width, double *results) {
    alignas(ALIGNMENT) NearestMeans means;
    const bool tied = mean_nearest(blocks.sorted(), n, nearest, means);
    for (size_t j = 0; tied && j < width; ++j)
      if (means.tied[j] != 0)
        means.results[j] = mean_nearest_by_rank(blocks.column(j), means.centres[j], nearest.k);
    std::copy_n(means.results, COLUMNS, results);
  });
}

} // namespace fb
