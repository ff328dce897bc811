#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <queue>
#include <vector>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/flexbuffer.h"

// Coral's PosenetDecoderOp: from maps of scores, and of offsets within and between keypoints, to poses.
namespace sigrun::ops {
namespace {

constexpr int kKeypoints = 17, kEdges = 16, kRefinements = 5, kLocalRadius = 1;

// The tree of the keypoints: from the nose along both sides of the body.
constexpr std::array<std::array<int, 2>, kEdges> kTree = {{{0, 1},
                                                           {1, 3},
                                                           {0, 2},
                                                           {2, 4},
                                                           {0, 5},
                                                           {5, 7},
                                                           {7, 9},
                                                           {5, 11},
                                                           {11, 13},
                                                           {13, 15},
                                                           {0, 6},
                                                           {6, 8},
                                                           {8, 10},
                                                           {6, 12},
                                                           {12, 14},
                                                           {14, 16}}};

struct Point {
  float y = -1, x = -1;
};
float SquaredDistance(Point a, Point b) { return (b.y - a.y) * (b.y - a.y) + (b.x - a.x) * (b.x - a.x); }

struct Pose {
  std::array<Point, kKeypoints> points;
  std::array<float, kKeypoints> scores;
};

struct Candidate {
  Point point;
  int keypoint;
  float score;
  bool operator<(const Candidate& other) const { return score < other.score; }
};
using Candidates = std::priority_queue<Candidate>;

float Sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

/// An image [height, width, depth], sampled between its pixels.
struct Map {
  const float* data;
  int height, width, depth;

  Point Clamped(float y, float x) const {
    return {std::clamp(y, 0.0f, static_cast<float>(height) - 1.0f), std::clamp(x, 0.0f, static_cast<float>(width) - 1.0f)};
  }
  float At(int y, int x, int c) const { return data[(static_cast<int64_t>(y) * width + x) * depth + c]; }
  float Sample(Point p, int c) const {
    const Point inside = Clamped(p.y, p.x);
    const int top = static_cast<int>(std::floor(inside.y)), bottom = static_cast<int>(std::ceil(inside.y));
    const int left = static_cast<int>(std::floor(inside.x)), right = static_cast<int>(std::ceil(inside.x));
    const float dy = p.y - static_cast<float>(top), dx = p.x - static_cast<float>(left);
    return (1 - dy) * ((1 - dx) * At(top, left, c) + dx * At(top, right, c)) +
           dy * ((1 - dx) * At(bottom, left, c) + dx * At(bottom, right, c));
  }
  /// The vector of which y stands in channel c and x in channel c + apart.
  Point Follow(Point p, int c, int apart) const { return Clamped(p.y + Sample(p, c), p.x + Sample(p, c + apart)); }
};

std::vector<int> Decreasing(const float* values, size_t n) {
  std::vector<int> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return values[a] > values[b]; });
  return order;
}

float Mean(const std::array<float, kKeypoints>& scores, const std::array<bool, kKeypoints>& hidden) {
  float sum = 0;
  for (const int k : Decreasing(scores.data(), scores.size()))
    sum += hidden[static_cast<size_t>(k)] ? 0.0f : scores[static_cast<size_t>(k)];
  return sum / kKeypoints;
}

struct Decoder {
  Map scores, shorts, mids;
  int64_t most;
  float threshold, squared_radius;

  Candidates Roots() const {
    const float least = -std::log(static_cast<float>(1.0 / (static_cast<double>(threshold) + 1e-6)) - 1.0f);
    Candidates roots;
    for (int y = 0; y < scores.height; ++y) {
      for (int x = 0; x < scores.width; ++x) {
        for (int k = 0; k < kKeypoints; ++k) {
          const float score = scores.At(y, x, k);
          if (!(score >= least) || !IsLocalMaximum(y, x, k)) continue;
          roots.push({shorts.Clamped(static_cast<float>(y) + shorts.At(y, x, k), static_cast<float>(x) + shorts.At(y, x, k + kKeypoints)),
                      k, score});
        }
      }
    }
    return roots;
  }

  bool IsLocalMaximum(int y, int x, int k) const {
    for (int v = std::max(y - kLocalRadius, 0); v < std::min(y + kLocalRadius + 1, scores.height); ++v) {
      for (int u = std::max(x - kLocalRadius, 0); u < std::min(x + kLocalRadius + 1, scores.width); ++u) {
        if (scores.At(v, u, k) > scores.At(y, x, k)) return false;
      }
    }
    return true;
  }

  // Along edge e of the tree, forward or backward; then to where the neighbours say that the keypoint is.
  Candidate Step(const Candidate& from, int edge, bool forward) const {
    const int to = kTree[static_cast<size_t>(edge)][forward ? 1 : 0];
    // Blocks of the forward edges' y and x, then of the backward ones'. The decoder that models were made for takes the first backward edge
    // for a forward one.
    const int channel = forward ? edge : edge == 0 ? kEdges : 2 * kEdges + edge;
    Point p = mids.Follow(from.point, channel, kEdges);
    for (int i = 0; i < kRefinements; ++i) p = shorts.Follow(p, to, kKeypoints);
    return {p, to, scores.Sample(p, to)};
  }

  // The keypoints from one on along the tree, those that are surest first.
  Pose Grow(const Candidate& root) const {
    Pose pose;
    std::array<bool, kKeypoints> found{};
    Candidates next;
    next.push({root.point, root.keypoint, scores.Sample(root.point, root.keypoint)});
    while (!next.empty()) {
      const Candidate c = next.top();
      next.pop();
      const size_t k = static_cast<size_t>(c.keypoint);
      if (found[k]) continue;
      found[k] = true;
      pose.points[k] = c.point;
      pose.scores[k] = Sigmoid(c.score);
      for (int e = 0; e < kEdges; ++e) {
        for (const bool forward : {true, false}) {
          const auto& ends = kTree[static_cast<size_t>(e)];
          if (ends[forward ? 0 : 1] == c.keypoint && !found[static_cast<size_t>(ends[forward ? 1 : 0])]) next.push(Step(c, e, forward));
        }
      }
    }
    return pose;
  }

  bool IsNew(const Candidate& root, const std::vector<Pose>& poses) const {
    const size_t k = static_cast<size_t>(root.keypoint);
    return std::none_of(poses.begin(), poses.end(),
                        [&](const Pose& p) { return SquaredDistance(root.point, p.points[k]) <= squared_radius; });
  }

  std::vector<Pose> Poses(std::vector<float>& means) const {
    std::vector<Pose> poses;
    for (Candidates roots = Roots(); static_cast<int64_t>(poses.size()) < most && !roots.empty(); roots.pop()) {
      if (!IsNew(roots.top(), poses)) continue;
      const Pose pose = Grow(roots.top());
      const float mean = Mean(pose.scores, {});
      if (!(mean >= threshold)) continue;
      poses.push_back(pose);
      means.push_back(mean);
    }
    return poses;
  }

  // A keypoint where a better pose has the same one does not count.
  void Rescore(const std::vector<Pose>& poses, std::vector<float>& means) const {
    const std::vector<int> order = Decreasing(means.data(), means.size());
    for (size_t i = 0; i < order.size(); ++i) {
      const Pose& pose = poses[static_cast<size_t>(order[i])];
      std::array<bool, kKeypoints> hidden{};
      for (size_t j = 0; j < i; ++j) {
        const Pose& better = poses[static_cast<size_t>(order[j])];
        for (size_t k = 0; k < kKeypoints; ++k)
          hidden[k] = hidden[k] || SquaredDistance(pose.points[k], better.points[k]) <= squared_radius;
      }
      means[static_cast<size_t>(order[i])] = Mean(pose.scores, hidden);
    }
  }
};

// An input as floats, in strides: as it is, or out of 8 bits.
struct MapInput {
  Slot from, to;
  int64_t elements;
  bool is_float;
  float scale, zero;
  int height, width, depth;

  Map Read(RunContext& run) const {
    float* values = run.get<float>(to);
    for (int64_t i = 0; i < elements; ++i) {
      values[i] = (is_float ? run.get<float>(from)[i] : static_cast<float>(run.get<uint8_t>(from)[i]) - zero) * scale;
    }
    return {values, height, width, depth};
  }
};

MapInput MakeInput(Prepare& p, int i, int depth, float scale) {
  p.CheckType(i, {TensorType::kFloat32, TensorType::kUInt8});
  const Shape& shape = p.shape(i);
  p.Check(shape.size() == 4 && shape[0] == 1 && shape[3] == depth && shape[1] >= 1 && shape[2] >= 1, "its input ", i, " has shape ",
          ToString(shape), ", expected [1, height, width, ", depth, "]");
  p.Check(i == 0 || (shape[1] == p.shape(0)[1] && shape[2] == p.shape(0)[2]), "maps ", ToString(p.shape(0)), " and ", ToString(shape));
  MapInput input{p.in(i),       p.Scratch(static_cast<size_t>(p.elements(i)) * sizeof(float)),
                 p.elements(i), p.type(i) == TensorType::kFloat32,
                 scale,         0,
                 shape[1],      shape[2],
                 depth};
  if (!input.is_float) {
    const Prepare::Affine affine = p.affine(i);
    input.scale = affine.scale * scale;
    input.zero = static_cast<float>(affine.zero_point);
  }
  return input;
}

void PrepareDecoder(Prepare& p) {
  p.CheckCounts(3, 3, 4);
  for (int o = 0; o < 4; ++o) p.CheckOutputType(o, {TensorType::kFloat32});
  const FlexMap options(p, p.custom_options());
  const int32_t most = options.Int32("max_detections", 0), stride = options.Int32("stride", 0);
  const float threshold = static_cast<float>(options.Real("score_threshold", 0)),
              radius = static_cast<float>(options.Real("nms_radius", 0));
  p.Check(stride >= 1 && most >= 0 && most <= 1 << 16, "at most ", most, " poses in strides of ", stride);
  const float per_stride = static_cast<float>(1.0 / stride);
  const MapInput maps[] = {MakeInput(p, 0, kKeypoints, 1.0f), MakeInput(p, 1, 2 * kKeypoints, per_stride),
                           MakeInput(p, 2, 4 * kEdges, per_stride)};
  p.SetShape(0, {1, most, kKeypoints, 2});
  p.SetShape(1, {1, most, kKeypoints});
  p.SetShape(2, {1, most});
  p.SetShape(3, {1});
  const float strides = radius / static_cast<float>(stride);
  p.Emit([=, scores = maps[0], shorts = maps[1], mids = maps[2], points = p.out(0), of_points = p.out(1), of_poses = p.out(2),
          count = p.out(3)](RunContext& run) noexcept {
    const Status status = Guard([&] {
      const Decoder decoder{scores.Read(run), shorts.Read(run), mids.Read(run), most, threshold, strides * strides};
      std::vector<float> means;
      const std::vector<Pose> poses = decoder.Poses(means);
      decoder.Rescore(poses, means);
      std::fill_n(run.get<float>(points), int64_t{most} * kKeypoints * 2, 0.0f);
      std::fill_n(run.get<float>(of_points), int64_t{most} * kKeypoints, 0.0f);
      std::fill_n(run.get<float>(of_poses), most, 0.0f);
      int64_t n = 0;
      for (const int index : Decreasing(means.data(), means.size())) {
        const size_t i = static_cast<size_t>(index);
        if (means[i] < threshold) break;
        for (int k = 0; k < kKeypoints; ++k) {
          const Point point = poses[i].points[static_cast<size_t>(k)];
          run.get<float>(points)[(n * kKeypoints + k) * 2] = point.y * static_cast<float>(stride);
          run.get<float>(points)[(n * kKeypoints + k) * 2 + 1] = point.x * static_cast<float>(stride);
        }
        std::copy(poses[i].scores.begin(), poses[i].scores.end(), run.get<float>(of_points) + n * kKeypoints);
        run.get<float>(of_poses)[n++] = means[i];
      }
      *run.get<float>(count) = static_cast<float>(n);
    });
    if (!status.ok()) run.Fail(status.message());
  });
}

constexpr OpDef kOps[] = {{.name = "PosenetDecoderOp", .prepare = PrepareDecoder}};

}  // namespace

std::span<const OpDef> posenet_decoder_ops() { return kOps; }

}  // namespace sigrun::ops
