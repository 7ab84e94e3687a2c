// A script or a model: what was stored, and what the backend made of it at the first need.

#ifndef FLWR_BYZANTINE_PROGRAM_H
#define FLWR_BYZANTINE_PROGRAM_H

#include "backend.h"
#include "tensor.h"

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace fb {

enum class ProgramKind { script, model };

// As it was stored.
struct ProgramText {
  ProgramKind kind = ProgramKind::script;
  std::string device;
  std::string tag;
  PayloadPtr text; // a script's source, a model's file
  std::vector<std::string> entry_points;
  uint64_t batch_size = 0; // kept for clients that ask: nothing is batched
  uint64_t min_batch_size = 0;
  uint64_t min_batch_timeout = 0;
};

// Of the runs since it was stored, or since AI.INFO ... RESETSTAT.
struct RunStatistics {
  long long duration_us = 0;
  long long samples = 0;
  long long calls = 0;
  long long errors = 0;
};

class Program {
public:
  explicit Program(ProgramText stored) : stored_(std::move(stored)) {}
  Program(const Program &) = delete;
  Program &operator=(const Program &) = delete;
  ~Program();

  const ProgramText &stored() const { return stored_; }
  bool is_script() const { return stored_.kind == ProgramKind::script; }
  size_t memory() const;

  // For the backend. Compiled by whoever comes first, on any thread. Throws Error.
  fb_program *compiled();

  RunStatistics statistics; // main thread only

private:
  void compile();

  const ProgramText stored_;
  std::mutex mutex_;
  fb_program *compiled_ = nullptr;
};

using ProgramPtr = std::shared_ptr<Program>;

// Whether a device's name is one; throws Error if it is a GPU, which no backend here has.
void check_device(std::string_view device);

} // namespace fb

#endif
