#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "ops/op.h"
#include "ops/support/flexbuffer.h"

// TFLite_Detection_PostProcess: box encodings and class scores of anchors become the detections that overlap little. Either each class is
// searched by itself (regular), or each box counts once with its best class and then lists several (fast).
namespace sigrun::ops {
namespace {

struct Corners {
  float ymin, xmin, ymax, xmax;
};

struct CenterSize {
  float y, x, h, w;
};

struct Detection {
  int32_t boxes = 0, coordinates = 4, classes = 0, columns = 0;  // columns: of the scores, one more than classes if there is a background
  int32_t most = 0, classes_per_box = 0, per_class = 0;
  bool regular = false;
  float least_score = 0, most_overlap = 0;
  CenterSize scale{};
  bool quantized = false;
  Prepare::Affine box_affine{}, anchor_affine{}, score_affine{};

  int32_t background() const { return columns - classes; }
};

/// Scratch of one run.
struct Work {
  Corners* corners;   // [boxes]
  float* scores;      // [boxes, columns], if they have to be dequantised
  float* candidates;  // [boxes]
  int32_t* order;     // [boxes]: candidates from the best on, then what was chosen
  int32_t* classes;   // [boxes, classes]: of the fast search
  uint8_t* active;    // [boxes]
  int32_t* kept;      // [boxes + most], of the regular search: entries of the scores
};

float Dequantize(uint8_t x, const Prepare::Affine& affine) {
  return (static_cast<float>(x) - static_cast<float>(affine.zero_point)) * affine.scale;
}

template <class T>
CenterSize ReadBox(const T* from, const Prepare::Affine& affine) {
  float value[4];
  for (int i = 0; i < 4; ++i) {
    if constexpr (std::is_same_v<T, uint8_t>) {
      value[i] = Dequantize(from[i], affine);
    } else {
      value[i] = from[i];
    }
  }
  return {value[0], value[1], value[2], value[3]};
}

Corners Decode(const CenterSize& box, const CenterSize& anchor, const CenterSize& scale) {
  const auto center = [](float at, float unit, float size, float origin) {
    return static_cast<float>(static_cast<double>(at) / static_cast<double>(unit) * static_cast<double>(size) +
                              static_cast<double>(origin));
  };
  const auto half = [](float log, float unit, float size) {
    return static_cast<float>(0.5 * std::exp(static_cast<double>(log) / static_cast<double>(unit)) * static_cast<double>(size));
  };
  const float y = center(box.y, scale.y, anchor.h, anchor.y), x = center(box.x, scale.x, anchor.w, anchor.x);
  const float h = half(box.h, scale.h, anchor.h), w = half(box.w, scale.w, anchor.w);
  return {y - h, x - w, y + h, x + w};
}

float Overlap(const Corners& a, const Corners& b) {
  const float area_a = (a.ymax - a.ymin) * (a.xmax - a.xmin), area_b = (b.ymax - b.ymin) * (b.xmax - b.xmin);
  if (area_a <= 0 || area_b <= 0) return 0.0f;
  const float height = std::max(std::min(a.ymax, b.ymax) - std::max(a.ymin, b.ymin), 0.0f);
  const float width = std::max(std::min(a.xmax, b.xmax) - std::max(a.xmin, b.xmin), 0.0f);
  return height * width / (area_a + area_b - height * width);
}

/// The first `n` of w.order are boxes from the best candidate on; equal ones keep their order. Those of boxes that overlap less than
/// allowed with all better ones come to stand in front; returns how many, at most `most`.
int32_t Suppress(const Detection& d, const Work& w, int32_t most) {
  int32_t n = 0;
  for (int32_t b = 0; b < d.boxes; ++b) {
    if (w.candidates[b] >= d.least_score) w.order[n++] = b;
  }
  std::sort(w.order, w.order + n,
            [&](int32_t i, int32_t j) { return w.candidates[i] > w.candidates[j] || (w.candidates[i] == w.candidates[j] && i < j); });
  std::fill_n(w.active, n, 1);
  int32_t chosen = 0;
  for (int32_t i = 0; i < n && chosen < most; ++i) {
    if (!w.active[i]) continue;
    const Corners& box = w.corners[w.order[i]];
    for (int32_t j = i + 1; j < n; ++j) {
      if (w.active[j] && Overlap(box, w.corners[w.order[j]]) > d.most_overlap) w.active[j] = 0;
    }
    w.order[chosen++] = w.order[i];
  }
  return chosen;
}

struct Outputs {
  Corners* boxes;
  float *classes, *scores, *count;
};

void RunRegular(const Detection& d, const Work& w, const float* scores, const Outputs& out) {
  int32_t kept = 0;
  const auto better = [&](int32_t i, int32_t j) {
    if (scores[i] != scores[j]) return scores[i] > scores[j];
    return i % d.columns != j % d.columns ? i % d.columns < j % d.columns : i < j;
  };
  for (int32_t c = 0; c < d.classes; ++c) {
    const int32_t column = c + d.background();
    for (int32_t b = 0; b < d.boxes; ++b) w.candidates[b] = scores[int64_t{b} * d.columns + column];
    const int32_t chosen = Suppress(d, w, d.per_class);
    for (int32_t i = 0; i < chosen; ++i) w.kept[kept + i] = w.order[i] * d.columns + column;
    std::sort(w.kept, w.kept + kept + chosen, better);
    kept = std::min(kept + chosen, d.most);
  }
  for (int32_t i = 0; i < d.most; ++i) {
    const bool some = i < kept;
    out.boxes[i] = some ? w.corners[w.kept[i] / d.columns] : Corners{};
    out.classes[i] = some ? static_cast<float>(w.kept[i] % d.columns - d.background()) : 0.0f;
    out.scores[i] = some ? scores[w.kept[i]] : 0.0f;
  }
  *out.count = static_cast<float>(kept);
}

void RunFast(const Detection& d, const Work& w, const float* scores, const Outputs& out) {
  const int32_t listed = std::min(d.classes_per_box, d.classes);
  for (int32_t b = 0; b < d.boxes; ++b) {
    const float* row = scores + int64_t{b} * d.columns + d.background();
    int32_t* classes = w.classes + int64_t{b} * d.classes;
    std::iota(classes, classes + d.classes, 0);
    std::partial_sort(classes, classes + listed, classes + d.classes,
                      [&](int32_t i, int32_t j) { return row[i] > row[j] || (row[i] == row[j] && i < j); });
    w.candidates[b] = row[classes[0]];
  }
  const int32_t chosen = Suppress(d, w, d.most);
  std::fill_n(out.boxes, int64_t{d.most} * d.classes_per_box, Corners{});
  std::fill_n(out.classes, int64_t{d.most} * d.classes_per_box, 0.0f);
  std::fill_n(out.scores, int64_t{d.most} * d.classes_per_box, 0.0f);
  for (int32_t i = 0; i < chosen; ++i) {
    for (int32_t c = 0; c < listed; ++c) {
      const int32_t b = w.order[i], at = i * d.classes_per_box + c, which = w.classes[int64_t{b} * d.classes + c];
      out.boxes[at] = w.corners[b];
      out.classes[at] = static_cast<float>(which);
      out.scores[at] = scores[int64_t{b} * d.columns + d.background() + which];
    }
  }
  *out.count = static_cast<float>(chosen);
}

Detection ReadDetection(const Prepare& p) {
  const FlexMap o(p, p.custom_options());
  Detection d;
  d.most = o.Int32("max_detections", 0);
  d.classes_per_box = o.Int32("max_classes_per_detection", 0);
  d.per_class = o.Int32("detections_per_class", 100);
  d.regular = o.Bool("use_regular_nms", false);
  d.least_score = static_cast<float>(o.Real("nms_score_threshold", 0));
  d.most_overlap = static_cast<float>(o.Real("nms_iou_threshold", 0));
  d.classes = o.Int32("num_classes", 0);
  d.scale = {static_cast<float>(o.Real("y_scale", 0)), static_cast<float>(o.Real("x_scale", 0)), static_cast<float>(o.Real("h_scale", 0)),
             static_cast<float>(o.Real("w_scale", 0))};
  p.Check(d.most >= 0 && d.most <= 1 << 20 && d.classes_per_box >= 1 && d.classes_per_box <= 1 << 20, d.most, " detections of ",
          d.classes_per_box, " classes");
  p.Check(d.classes >= 1 && (!d.regular || d.per_class >= 1), d.classes, " classes with ", d.per_class, " detections each");
  p.Check(d.most_overlap > 0 && d.most_overlap <= 1, "nms_iou_threshold ", d.most_overlap);
  const Shape &boxes = p.shape(0), &scores = p.shape(1), &anchors = p.shape(2);
  p.Check(boxes.size() == 3 && scores.size() == 3 && anchors.size() == 2 && boxes[0] == 1 && scores[0] == 1 && boxes[2] >= 4 &&
              anchors[1] == 4 && scores[1] == boxes[1] && anchors[0] >= boxes[1],
          "boxes ", ToString(boxes), ", scores ", ToString(scores), " and anchors ", ToString(anchors));
  d.boxes = boxes[1];
  d.coordinates = boxes[2];
  d.columns = scores[2];
  p.Check(d.columns == d.classes || d.columns == d.classes + 1, d.columns, " scores a box for ", d.classes, " classes");
  p.Check(p.elements(1) <= INT32_MAX, "scores ", ToString(scores));
  p.CheckType(0, {TensorType::kFloat32, TensorType::kUInt8});
  p.CheckType(1, {p.type(0)});
  p.CheckType(2, {p.type(0)});
  d.quantized = p.type(0) == TensorType::kUInt8;
  if (d.quantized) {
    d.box_affine = p.affine(0);
    d.score_affine = p.affine(1);
    d.anchor_affine = p.affine(2);
  }
  return d;
}

template <class T>
bool DecodeAll(const Detection& d, const T* boxes, const T* anchors, Corners* corners) {
  for (int32_t b = 0; b < d.boxes; ++b) {
    corners[b] =
        Decode(ReadBox(boxes + int64_t{b} * d.coordinates, d.box_affine), ReadBox(anchors + int64_t{b} * 4, d.anchor_affine), d.scale);
    if (corners[b].ymin > corners[b].ymax || corners[b].xmin > corners[b].xmax) return false;
  }
  return true;
}

void PrepareDetection(Prepare& p) {
  p.CheckCounts(3, 3, 4);
  const Detection d = ReadDetection(p);
  for (int o = 0; o < 4; ++o) p.CheckOutputType(o, {TensorType::kFloat32});
  const int64_t listed = int64_t{d.most} * d.classes_per_box;
  p.Check(listed <= INT32_MAX, listed, " detections");
  const int32_t n = static_cast<int32_t>(listed);
  p.SetShape(0, {1, n, 4});
  p.SetShape(1, {1, n});
  p.SetShape(2, {1, n});
  p.SetShape(3, {1});
  const size_t boxes = static_cast<size_t>(d.boxes), most = static_cast<size_t>(d.most);
  const Slot corners = p.Scratch(boxes * sizeof(Corners)),
             dequantized = p.Scratch(d.quantized ? boxes * static_cast<size_t>(d.columns) * 4 : 4), candidates = p.Scratch(boxes * 4),
             order = p.Scratch(boxes * 4), active = p.Scratch(boxes),
             classes = p.Scratch(d.regular ? 4 : boxes * static_cast<size_t>(d.classes) * 4),
             kept = p.Scratch(d.regular ? (boxes + most) * 4 : 4);
  p.Emit([=, x = p.in(0), s = p.in(1), a = p.in(2), y0 = p.out(0), y1 = p.out(1), y2 = p.out(2), y3 = p.out(3)](RunContext& run) noexcept {
    const Work w{run.get<Corners>(corners), run.get<float>(dequantized), run.get<float>(candidates), run.get<int32_t>(order),
                 run.get<int32_t>(classes), run.get<uint8_t>(active),    run.get<int32_t>(kept)};
    const float* scores = run.get<float>(s);
    const bool good = d.quantized ? DecodeAll(d, run.get<uint8_t>(x), run.get<uint8_t>(a), w.corners)
                                  : DecodeAll(d, run.get<float>(x), run.get<float>(a), w.corners);
    if (!good) return run.Fail("a box whose corners are the wrong way round");
    if (d.quantized) {
      for (int64_t i = 0; i < int64_t{d.boxes} * d.columns; ++i) w.scores[i] = Dequantize(run.get<uint8_t>(s)[i], d.score_affine);
      scores = w.scores;
    }
    const Outputs out{run.get<Corners>(y0), run.get<float>(y1), run.get<float>(y2), run.get<float>(y3)};
    d.regular ? RunRegular(d, w, scores, out) : RunFast(d, w, scores, out);
  });
}

constexpr OpDef kOps[] = {{.name = "TFLite_Detection_PostProcess", .prepare = PrepareDetection}};

}  // namespace

std::span<const OpDef> detection_postprocess_ops() { return kOps; }

}  // namespace sigrun::ops
