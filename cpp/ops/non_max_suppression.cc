#include <algorithm>
#include <cmath>
#include <queue>

#include "ops/op.h"
#include "ops/support/elements.h"

// NON_MAX_SUPPRESSION_V4 and _V5: boxes by falling score, without those that overlap a better one too much. V5 also lowers the scores of
// boxes that overlap less (Soft-NMS with a Gaussian weight).
namespace sigrun::ops {
namespace {

enum Input : int { kBoxes, kScores, kMaxOutputs, kIouThreshold, kScoreThreshold, kSigma };

struct Candidate {
  int32_t index;
  float score;
  int32_t compared;  // how many of the selected boxes it has been compared with
  bool operator<(const Candidate& other) const { return score < other.score; }
};

/// Corners of a box in either order.
struct Box {
  float top, left, bottom, right;
  explicit Box(const float* p)
      : top(std::min(p[0], p[2])), left(std::min(p[1], p[3])), bottom(std::max(p[0], p[2])), right(std::max(p[1], p[3])) {}
  float area() const { return (bottom - top) * (right - left); }
};

float Overlap(const Box& a, const Box& b) {
  if (a.area() <= 0 || b.area() <= 0) return 0;
  const float height = std::min(a.bottom, b.bottom) - std::max(a.top, b.top), width = std::min(a.right, b.right) - std::max(a.left, b.left);
  const float common = std::max(height, 0.0f) * std::max(width, 0.0f);
  const float joined = a.area() + b.area() - common;
  return joined == 0 ? 0 : common / joined;
}

struct Suppression {
  const float* boxes;
  const float* scores;
  int32_t count, most;
  float iou_threshold, score_threshold, sigma;

  /// Compares the candidate with the boxes selected since it was last compared, and lowers its score. False if it overlaps one too much.
  bool Survives(Candidate& candidate, const std::vector<int32_t>& selected) const {
    const Box box(boxes + 4 * int64_t{candidate.index});
    for (int32_t j = static_cast<int32_t>(selected.size()) - 1; j >= candidate.compared; --j) {
      const float iou = Overlap(box, Box(boxes + 4 * int64_t{selected[static_cast<size_t>(j)]}));
      if (iou >= iou_threshold) return false;
      if (sigma > 0) candidate.score *= std::exp(-0.5f / sigma * iou * iou);
      if (candidate.score <= score_threshold) break;
    }
    candidate.compared = static_cast<int32_t>(selected.size());
    return true;
  }

  /// Indices of the selected boxes, and their scores.
  std::vector<int32_t> Run(std::vector<float>& selected_scores) const {
    std::priority_queue<Candidate> queue;
    for (int32_t i = 0; i < count; ++i) {
      if (scores[i] > score_threshold) queue.push({i, scores[i], 0});
    }
    std::vector<int32_t> selected;
    while (static_cast<int32_t>(selected.size()) < most && !queue.empty()) {
      Candidate best = queue.top();
      queue.pop();
      const float score = best.score;
      if (!Survives(best, selected)) continue;
      if (best.score == score) {
        selected.push_back(best.index);
        selected_scores.push_back(score);
      } else if (best.score > score_threshold) {
        queue.push(best);
      }
    }
    return selected;
  }
};

void CheckScalar(const Prepare& p, int i, TensorType type) {
  p.CheckType(i, {type});
  p.Check(p.elements(i) == 1, "input ", i, " has shape ", ToString(p.shape(i)), ", expected a scalar");
}

/// How many boxes are selected, where the data is known.
int32_t CountSelected(const Prepare& p, int32_t count, int32_t most, bool soft) {
  const auto real = [&](int i) { return p.known_as<float>(i); };
  std::vector<float> scores;
  const Suppression s{real(kBoxes), real(kScores), count, most, *real(kIouThreshold), *real(kScoreThreshold), soft ? *real(kSigma) : 0.0f};
  return static_cast<int32_t>(s.Run(scores).size());
}

// The outputs have room for max_output_size boxes, the rest are zeros; unless that size is only known while running: then there is no rest.
void PrepareSuppression(Prepare& p, bool soft) {
  p.CheckCounts(soft ? 6 : 5, soft ? 6 : 5, soft ? 3 : 2);
  p.CheckType(kBoxes, {TensorType::kFloat32});
  p.CheckType(kScores, {TensorType::kFloat32});
  p.Check(p.shape(kBoxes).size() == 2 && p.shape(kBoxes)[1] == 4 && p.shape(kScores) == Shape({p.shape(kBoxes)[0]}), "boxes of shape ",
          ToString(p.shape(kBoxes)), " with scores of shape ", ToString(p.shape(kScores)));
  CheckScalar(p, kMaxOutputs, TensorType::kInt32);
  for (int i = kIouThreshold; i < p.inputs(); ++i) CheckScalar(p, i, TensorType::kFloat32);
  const int32_t count = p.shape(kBoxes)[0];
  const bool fixed = p.constant(kMaxOutputs) != nullptr;
  const int64_t most = p.ConstantInts(kMaxOutputs, "max_output_size")[0];
  p.Check(most >= 0, "max_output_size is ", most);
  const int32_t room = fixed ? static_cast<int32_t>(most) : CountSelected(p, count, static_cast<int32_t>(most), soft);
  const int number = soft ? 2 : 1;
  p.CheckOutputType(0, {TensorType::kInt32});
  p.CheckOutputType(number, {TensorType::kInt32});
  if (soft) p.CheckOutputType(1, {TensorType::kFloat32});
  for (int o = 0; o < number; ++o) p.SetShape(o, {room});
  p.SetShape(number, {});
  p.Emit([=, boxes = p.in(kBoxes), scores = p.in(kScores), iou = p.in(kIouThreshold), least = p.in(kScoreThreshold),
          sigma = soft ? p.in(kSigma) : Slot{}, y = p.out(0), v = soft ? p.out(1) : Slot{}, n = p.out(number)](RunContext& run) noexcept {
    const float width = soft ? *run.get<float>(sigma) : 0.0f;
    if (width < 0) return run.Fail(Concat("sigma is ", width));
    std::vector<float> values;
    const Suppression s{run.get<float>(boxes), run.get<float>(scores), count, room, *run.get<float>(iou), *run.get<float>(least), width};
    const std::vector<int32_t> selected = s.Run(values);
    *run.get<int32_t>(n) = static_cast<int32_t>(selected.size());
    std::fill_n(run.get<int32_t>(y), room, 0);
    std::copy(selected.begin(), selected.end(), run.get<int32_t>(y));
    if (!soft) return;
    std::fill_n(run.get<float>(v), room, 0.0f);
    std::copy(values.begin(), values.end(), run.get<float>(v));
  });
}

void PrepareV4(Prepare& p) { PrepareSuppression(p, false); }
void PrepareV5(Prepare& p) { PrepareSuppression(p, true); }

constexpr OpDef kOps[] = {
    {.name = "NON_MAX_SUPPRESSION_V4", .prepare = PrepareV4},
    {.name = "NON_MAX_SUPPRESSION_V5", .prepare = PrepareV5},
};

}  // namespace

std::span<const OpDef> non_max_suppression_ops() { return kOps; }

}  // namespace sigrun::ops
