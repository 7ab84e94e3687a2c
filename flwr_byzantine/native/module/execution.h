// The job of a command that computes, be it one step or a DAG of them.

#ifndef FLWR_BYZANTINE_EXECUTION_H
#define FLWR_BYZANTINE_EXECUTION_H

#include "backend.h"
#include "jobs.h"
#include "kernels.h"
#include "program.h"
#include "syntax.h"
#include "tensor.h"

#include <string>
#include <variant>
#include <vector>

namespace fb {

// A tensor within a job, and its bytes as they were when the job saw it first.
struct Slot {
  TensorPtr tensor;
  PayloadPtr payload;
  PayloadPtr replaced; // what an aligned copy was made of, if one was
};

struct SetStep {
  size_t slot;
};

struct GetStep {
  size_t slot;
  TensorFormat format;
};

struct RunStep {
  CallKind kind;
  ProgramPtr program = nullptr;   // null for a kernel
  const Kernel *kernel = nullptr; // null for a program
  std::string function = {};      // empty: a model's
  bool is_entry_point = false;    // as AI.SCRIPTSTORE was told
  std::vector<std::string> keys = {};
  std::vector<std::string> args = {};
  std::vector<size_t> inputs = {};
  std::vector<size_t> outputs = {};
  bool ran = false;
  long long duration_us = 0;
};

using Step = std::variant<SetStep, GetStep, RunStep>;

class Execution : public Job {
public:
  // A command by itself replies OK or its error; a DAG a reply for each of its commands.
  explicit Execution(bool is_dag);

  size_t add_slot(TensorPtr tensor = nullptr);
  void add_step(Step step) { steps_.push_back(std::move(step)); }
  void persist(RedisModuleString *key, size_t slot) { persisted_.emplace_back(HeldString(key), slot); }

  void run() override;
  void finish(RedisModuleCtx *ctx) override;

private:
  void run_step(RunStep &step);
  void run_kernel_step(RunStep &step);
  void run_program_step(RunStep &step);
  static fb_tensor lend(Slot &slot);
  void keep_outputs(const RunStep &step, std::vector<TensorPtr> outputs);
  void keep_aligned_copies();
  void count_runs() const;
  void change_keys(RedisModuleCtx *ctx) const;
  void reply_steps(RedisModuleCtx *ctx) const;

  const bool is_dag_;
  const size_t threads_;
  const long long run_limit_ms_;
  std::vector<Slot> slots_;
  std::vector<Step> steps_;
  std::vector<std::pair<HeldString, size_t>> persisted_;
  size_t done_ = 0;   // steps
  std::string error_; // of the step after these
};

// The step of a command: its script, model or kernel looked up, its slots still to be filled in. Throws Error.
RunStep make_run_step(RedisModuleCtx *ctx, const CallSyntax &call, const Arguments &arguments);

} // namespace fb

#endif
