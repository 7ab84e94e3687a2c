// How a column of many values is sorted: groups of a few in registers, then merges of the groups in the cache.

#ifndef FLWR_BYZANTINE_SORT_PLAN_H
#define FLWR_BYZANTINE_SORT_PLAN_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fb {

constexpr size_t LARGEST_GROUP = 16; // as many as registers hold

struct Comparator {
  uint32_t low;
  uint32_t high;
};

// Rows first ... first + count - 1 are sorted together; the i-th least goes to slot slots[first + i].
struct SortGroup {
  size_t first;
  size_t count;
};

struct SortPlan {
  size_t n;
  std::vector<SortGroup> groups;
  std::vector<uint32_t> slots;
  std::vector<Comparator> merges; // between slots; after them slot i holds the i-th least, for the places wanted
};

// To find the values at places low to high - 1 in ascending order; the other slots hold the other values in any order.
SortPlan plan_sort(size_t n, size_t low, size_t high);

} // namespace fb

#endif
