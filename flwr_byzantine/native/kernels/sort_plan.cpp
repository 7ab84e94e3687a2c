// Batcher's odd-even merges of sorted groups, without what the wanted places do not depend on.

#include "sort_plan.h"

#include <algorithm>
#include <numeric>

namespace fb {
namespace {

using Wires = std::vector<uint32_t>;

// Every second one, from the first or from the second on.
Wires every_second(const Wires &wires, size_t from) {
  Wires some;
  for (size_t i = from; i < wires.size(); i += 2)
    some.push_back(wires[i]);
  return some;
}

// Merge two sorted sequences (Knuth, TAOCP 3, 5.3.4): the wires in ascending order once the comparators have run.
Wires merge(const Wires &left, const Wires &right, std::vector<Comparator> &comparators) {
  if (left.empty() || right.empty())
    return left.empty() ? right : left;
  if (left.size() == 1 && right.size() == 1) {
    comparators.push_back({left[0], right[0]});
    return {left[0], right[0]};
  }
  const Wires odd = merge(every_second(left, 0), every_second(right, 0), comparators);
  const Wires even = merge(every_second(left, 1), every_second(right, 1), comparators);
  Wires merged = {odd[0]};
  for (size_t i = 0; i < even.size(); ++i) {
    merged.push_back(even[i]);
    if (i + 1 == odd.size())
      continue;
    comparators.push_back({even[i], odd[i + 1]});
    merged.push_back(odd[i + 1]);
  }
  for (size_t i = even.size() + 1; i < odd.size(); ++i)
    merged.push_back(odd[i]);
  return merged;
}

std::vector<SortGroup> equal_groups(size_t n) {
  const size_t count = (n + LARGEST_GROUP - 1) / LARGEST_GROUP;
  std::vector<SortGroup> groups;
  for (size_t i = 0; i < count; ++i)
    groups.push_back({n * i / count, n * (i + 1) / count - n * i / count});
  return groups;
}

// Neighbours first, so that sequences of about the same length meet.
Wires merge_all(const std::vector<SortGroup> &groups, std::vector<Comparator> &comparators) {
  std::vector<Wires> sorted;
  for (const SortGroup &group : groups) {
    sorted.emplace_back(group.count);
    std::iota(sorted.back().begin(), sorted.back().end(), static_cast<uint32_t>(group.first));
  }
  while (sorted.size() > 1) {
    std::vector<Wires> longer;
    for (size_t i = 0; i + 1 < sorted.size(); i += 2)
      longer.push_back(merge(sorted[i], sorted[i + 1], comparators));
    if (sorted.size() % 2 == 1)
      longer.push_back(sorted.back());
    sorted = std::move(longer);
  }
  return sorted.front();
}

// Without those whose results nothing wanted depends on.
std::vector<Comparator> needed(const std::vector<Comparator> &comparators, std::vector<bool> wanted) {
  std::vector<Comparator> kept;
  for (auto it = comparators.rbegin(); it != comparators.rend(); ++it) {
    if (!wanted[it->low] && !wanted[it->high])
      continue;
    wanted[it->low] = wanted[it->high] = true;
    kept.push_back(*it);
  }
  std::reverse(kept.begin(), kept.end());
  return kept;
}

} // namespace

SortPlan plan_sort(size_t n, size_t low, size_t high) {
  SortPlan plan{n, equal_groups(n), std::vector<uint32_t>(n), {}};
  std::vector<Comparator> comparators;
  const Wires order = merge_all(plan.groups, comparators);
  // A wire is named by the place at which it ends, so that the result lies in order.
  for (size_t place = 0; place < n; ++place)
    plan.slots[order[place]] = static_cast<uint32_t>(place);
  for (Comparator &comparator : comparators)
    comparator = {plan.slots[comparator.low], plan.slots[comparator.high]};
  std::vector<bool> wanted(n, false);
  std::fill(wanted.begin() + static_cast<ptrdiff_t>(low), wanted.begin() + static_cast<ptrdiff_t>(high), true);
  plan.merges = needed(comparators, std::move(wanted));
  return plan;
}

} // namespace fb
