#include "ops/support/broadcast.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "ops/support/quantization.h"
#include "ops/support/worker_scratch.h"

namespace sigrun::ops {
namespace {

// Dimension `d` of `shape`, counted from the innermost; 1 beyond its rank.
int32_t FromBack(const Shape& shape, size_t d) { return d < shape.size() ? shape[shape.size() - 1 - d] : 1; }

// Neighbouring dimensions along which the same operands move.
struct Group {
  int64_t extent;
  std::array<bool, BroadcastPlan::kMaxOperands> moves;
};

std::vector<Group> Collapse(std::span<const Shape> operands, const Shape& output) {
  std::vector<Group> groups;  // innermost first
  for (size_t d = 0; d < output.size(); ++d) {
    Group group{FromBack(output, d), {}};
    if (group.extent == 1) continue;
    for (size_t i = 0; i < operands.size(); ++i) group.moves[i] = FromBack(operands[i], d) != 1;
    if (!groups.empty() && groups.back().moves == group.moves) {
      groups.back().extent *= group.extent;
    } else {
      groups.push_back(group);
    }
  }
  if (groups.empty()) groups.push_back({1, {true, true, true}});
  return groups;
}

}  // namespace

Shape BroadcastShapes(const Prepare& p, const Shape& a, const Shape& b) {
  Shape shape(std::max(a.size(), b.size()));
  for (size_t d = 0; d < shape.size(); ++d) {
    const int32_t x = FromBack(a, d), y = FromBack(b, d);
    p.Check(x == y || x == 1 || y == 1, "shapes ", ToString(a), " and ", ToString(b), " do not broadcast");
    shape[shape.size() - 1 - d] = x == 1 ? y : x;
  }
  return shape;
}

BroadcastPlan PlanBroadcast(const Prepare& p, std::initializer_list<Shape> operands, const Shape& output) {
  BroadcastPlan plan;
  plan.operands = static_cast<int>(operands.size());
  if (ElementCount(output, "the output") == 0) return plan;
  const std::vector<Group> groups = Collapse({operands.begin(), operands.size()}, output);
  plan.loops = static_cast<int>(groups.size()) - 1;
  if (plan.loops > kMaxLoops) p.Refuse(StatusCode::kUnimplemented, Concat("broadcasting to ", ToString(output), " takes too many loops"));
  plan.run = groups[0].extent;
  plan.runs = 1;
  for (int i = 0; i < plan.operands; ++i) {
    const size_t operand = static_cast<size_t>(i);
    plan.fixed[i] = !groups[0].moves[operand];
    int64_t below = plan.fixed[i] ? 1 : plan.run;
    for (size_t g = 1; g < groups.size(); ++g) {
      plan.stride[i][groups.size() - 1 - g] = groups[g].moves[operand] ? below : 0;
      if (groups[g].moves[operand]) below *= groups[g].extent;
    }
  }
  for (size_t g = 1; g < groups.size(); ++g) {
    plan.runs *= groups[g].extent;
    p.Check(plan.runs <= INT32_MAX, "broadcasting to ", ToString(output), " takes too many steps");
    plan.extent[groups.size() - 1 - g] = static_cast<int32_t>(groups[g].extent);
  }
  return plan;
}

void EmitPairs(Prepare& p, size_t operand_bytes, size_t result_bytes, kernels::PairsKernel kernel, bool swapped) {
  using kernels::Operands;
  EmitBinaryRuns(p, operand_bytes, result_bytes, 1, [=](const void* from_a, const void* from_b, void* to, const LoopRuns& runs) {
    const Operands turned = runs.operands == Operands::kVectorScalar   ? Operands::kScalarVector
                            : runs.operands == Operands::kScalarVector ? Operands::kVectorScalar
                                                                       : Operands::kVectorVector;
    const auto* a = static_cast<const std::byte*>(from_a);
    const auto* b = static_cast<const std::byte*>(from_b);
    auto* y = static_cast<std::byte*>(to);
    const int64_t bytes = static_cast<int64_t>(operand_bytes);
    for (int64_t k = 0; k < runs.count; ++k) {
      swapped ? kernel(b, a, y, static_cast<size_t>(runs.n), turned) : kernel(a, b, y, static_cast<size_t>(runs.n), runs.operands);
      a += runs.step[0] * bytes;
      b += runs.step[1] * bytes;
      y += runs.n * static_cast<int64_t>(result_bytes);
    }
  });
}

void EmitBinaryF32(Prepare& p, kernels::Binary op) {
  const kernels::ClampF32 clamp = ActivationClamp(p);
  const kernels::BinaryF32* row = p.kernels().binary_f32[static_cast<size_t>(op)];
  EmitBinary<float, float>(p, 1, [row, clamp](const float* a, const float* b, float* y, size_t n, kernels::Operands operands) {
    row[static_cast<size_t>(operands)](a, b, y, n, clamp);
  });
}

namespace {

// Runs of few elements along which one operand is the same every time, as a vector of channels is: it is written down several times, so
// that there are fewer and longer runs. False if the plan is another.
bool EmitRepeated(Prepare& p, const BroadcastPlan& plan, size_t operand_bytes, size_t result_bytes, int64_t cost, const BinaryRun& f) {
  constexpr int64_t kLongRun = 256, kElements = 1024;
  if (plan.loops != 1 || plan.run >= kLongRun || plan.fixed[0] || plan.fixed[1]) return false;
  const int repeated = plan.stride[0][0] == 0 ? 0 : 1;
  if (plan.stride[repeated][0] != 0 || plan.stride[1 - repeated][0] != plan.run) return false;
  const int64_t times = std::min(kElements / plan.run, plan.runs), count = times * plan.run, all = plan.runs * plan.run;
  const size_t once = static_cast<size_t>(plan.run) * operand_bytes;
  const Slot copies = p.Scratch(once * static_cast<size_t>(times));
  p.Emit([=, moving = p.in(1 - repeated), short_one = p.in(repeated), y = p.out(0)](RunContext& run) noexcept {
    std::byte* vector = run.get<std::byte>(copies);
    for (int64_t i = 0; i < times; ++i) std::memcpy(vector + static_cast<size_t>(i) * once, run.get<std::byte>(short_one), once);
    const std::byte* from = run.get<std::byte>(moving);
    std::byte* to = run.get<std::byte>(y);
    run.Parallel(static_cast<int32_t>((all + count - 1) / count), cost * count, [&](kernels::Range range, int) {
      for (int64_t at = range.begin * count; at < std::min(range.end * count, all); at += count) {
        const std::byte* x = from + at * static_cast<int64_t>(operand_bytes);
        f(repeated == 0 ? vector : x, repeated == 0 ? x : vector, to + at * static_cast<int64_t>(result_bytes),
          {std::min(count, all - at), 1, {}, kernels::Operands::kVectorVector});
      }
    });
  });
  return true;
}

constexpr int64_t kBeyond = 16;  // bytes that may be written behind what is asked for

// As many elements as fit into kBeyond bytes.
template <class T>
struct Block {
  static constexpr int64_t kElements = kBeyond / static_cast<int64_t>(sizeof(T));
  T element[kElements];
};

// Calls f(std::type_identity<T>()) where T has as many bytes as an element.
template <class F>
void WithBytes(size_t bytes, const F& f) {
  switch (bytes) {
    case 1: return f(std::type_identity<uint8_t>());
    case 2: return f(std::type_identity<uint16_t>());
    case 4: return f(std::type_identity<uint32_t>());
    case 8: return f(std::type_identity<uint64_t>());
    default: return f(std::type_identity<Bytes<16>>());
  }
}

/// An operand whose short runs are written out, for a kernel that takes many at once.
struct ShortRuns {
  int64_t run, stride;  // elements of a run, from a run to the next
  bool fixed;

  /// Writes `count` runs of one loop, the first of which is at `from`.
  template <class T>
  void Write(const T* from, int64_t count, T* to) const {
    if (fixed) {
      run <= Block<T>::kElements       ? Fill<1>(from, count, to)
      : run <= 2 * Block<T>::kElements ? Fill<2>(from, count, to)
                                       : Fill<0>(from, count, to);
    } else if (stride != 0) {
      CopyElements(from, to, count * run);
    } else if (run <= Block<T>::kElements) {
      Block<T> block = {};
      std::memcpy(&block, from, static_cast<size_t>(run) * sizeof(T));
      for (int64_t k = 0; k < count; ++k) std::memcpy(to + k * run, &block, sizeof(block));
    } else {
      CopyElements(from, to, run);
      for (int64_t done = run, all = count * run; done < all; done *= 2) CopyElements(to, to + done, std::min(done, all - done));
    }
  }

  // kBlocks blocks a run; 0: as many as it takes.
  template <int kBlocks, class T>
  void Fill(const T* from, int64_t count, T* to) const {
    const int64_t end = kBlocks == 0 ? run : kBlocks * Block<T>::kElements;
    for (int64_t k = 0; k < count; ++k, from += stride, to += run) {
      T element;
      std::memcpy(&element, from, sizeof(T));
      Block<T> block;
      std::fill_n(block.element, Block<T>::kElements, element);
      for (int64_t i = 0; i < end; i += Block<T>::kElements) std::memcpy(to + i, &block, sizeof(block));
    }
  }
};

// Runs so short that calls would take most of the time: operands that are not as dense as the output are written out, some thousand
// elements at a time. False if the runs are longer.
bool EmitShortRuns(Prepare& p, const BroadcastPlan& plan, size_t operand_bytes, size_t result_bytes, int64_t cost, const BinaryRun& f) {
  constexpr int64_t kShort = 64, kElements = 1024;
  const int64_t element = static_cast<int64_t>(operand_bytes);
  if (plan.loops < 1 || plan.runs < 2 || plan.run * element > kShort) return false;
  const int inner = plan.loops - 1;
  const int64_t runs_at_once = std::min<int64_t>(kElements / plan.run, plan.runs);
  const size_t buffer = static_cast<size_t>((runs_at_once * plan.run * element + 2 * kBeyond + 63) / 64 * 64);
  std::array<ShortRuns, 2> operand;
  std::array<bool, 2> dense;
  for (size_t i = 0; i < 2; ++i) {
    operand[i] = {plan.run, plan.stride[i][inner], plan.fixed[i]};
    dense[i] = p.elements(static_cast<int>(i)) == plan.runs * plan.run;
  }
  const WorkerScratch scratch(p, 2 * buffer);
  WithBytes(operand_bytes, [&]<class T>(std::type_identity<T>) {
    p.Emit([=, a = p.in(0), b = p.in(1), y = p.out(0)](RunContext& run) noexcept {
      const std::array<const T*, 2> from{run.get<T>(a), run.get<T>(b)};
      const int32_t parts = static_cast<int32_t>((plan.runs + runs_at_once - 1) / runs_at_once);
      run.Parallel(parts, 2 * cost * runs_at_once * plan.run, [&](kernels::Range range, int worker) {
        LoopWalk walk(plan, range.begin * runs_at_once);
        for (int64_t first = range.begin * runs_at_once, end = std::min(range.end * runs_at_once, plan.runs); first < end;
             first += runs_at_once) {
          const int64_t count = std::min(runs_at_once, end - first);
          std::array<const T*, 2> x;
          std::array<T*, 2> written;
          for (size_t i = 0; i < 2; ++i) {
            written[i] = reinterpret_cast<T*>(scratch.of(run, worker) + i * buffer);
            x[i] = dense[i] ? from[i] + first * plan.run : written[i];
          }
          for (int64_t done = 0, n = 0; done < count; done += n, walk.Go(n)) {
            n = std::min(count - done, walk.left());
            for (size_t i = 0; i < 2; ++i) {
              if (!dense[i]) operand[i].Write(from[i] + walk.at()[i], n, written[i] + done * plan.run);
            }
          }
          f(x[0], x[1], run.get<std::byte>(y) + first * plan.run * static_cast<int64_t>(result_bytes),
            {count * plan.run, 1, {}, kernels::Operands::kVectorVector});
        }
      });
    });
  });
  return true;
}

}  // namespace

void EmitBinaryRuns(Prepare& p, size_t operand_bytes, size_t result_bytes, int64_t cost, BinaryRun f) {
  const Shape shape = BroadcastShapes(p, p.shape(0), p.shape(1));
  p.SetShape(0, shape);
  const bool strings = p.type(0) == TensorType::kString;
  for (int i = 0; i < 2; ++i) {
    if (operand_bytes == result_bytes && !strings && p.shape(i) == shape) p.MayOverwrite(0, i);
  }
  const BroadcastPlan plan = PlanBroadcast(p, {p.shape(0), p.shape(1)}, shape);
  const int64_t step = static_cast<int64_t>(operand_bytes), result_step = static_cast<int64_t>(result_bytes);
  if (!strings && EmitRepeated(p, plan, operand_bytes, result_bytes, cost, f)) return;
  if (!strings && EmitShortRuns(p, plan, operand_bytes, result_bytes, cost, f)) return;
  std::array<int64_t, 2> steps = {};
  for (size_t i = 0; i < 2 && plan.loops > 0; ++i) steps[i] = plan.stride[i][plan.loops - 1];
  p.Emit([=, f = std::move(f), operands = OperandsOf(plan), a = p.in(0), b = p.in(1), y = p.out(0)](RunContext& run) noexcept {
    const auto elements = [&](Slot slot) {
      return strings ? reinterpret_cast<const std::byte*>(Elements<const std::string>(run, slot)) : run.get<const std::byte>(slot);
    };
    const std::byte *pa = elements(a), *pb = elements(b);
    std::byte* py = run.get<std::byte>(y);
    ForLoops(run, plan, cost, [&](const Offsets& at, int64_t to, int64_t n, int64_t count) {
      f(pa + at[0] * step, pb + at[1] * step, py + to * result_step, {n, count, steps, operands});
    });
  });
}

}  // namespace sigrun::ops
