#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/flexbuffer.h"
#include "ops/support/gemm.h"

// The custom operators of MediaPipe's models: MaxPoolingWithArgmax2D, MaxUnpooling2D, Convolution2DTransposeBias, Resampler,
// TransformTensorBilinear, TransformLandmarks and Landmarks2TransformMatrix.
namespace sigrun::ops {
namespace {

using kernels::ConvShape;
using kernels::Range;

/// Options that are a C struct of int32.
int32_t Word(const Prepare& p, size_t index) {
  p.Check(p.custom_options().size() >= (index + 1) * sizeof(int32_t), "its custom options have ", p.custom_options().size(), " bytes");
  int32_t value;
  std::memcpy(&value, p.custom_options().data() + index * sizeof(int32_t), sizeof(value));
  return value;
}

enum PoolWord : size_t { kPadding, kStrideW, kStrideH, kFilterW, kFilterH, kActivation };

schema::Padding ReadPadding(const Prepare& p) {
  const int32_t padding = Word(p, kPadding);
  p.Check(padding == 1 || padding == 2, "padding ", padding);
  return padding == 1 ? schema::Padding::kSame : schema::Padding::kValid;
}

void CheckFloats(const Prepare& p, int inputs, int outputs) {
  p.CheckCounts(inputs, inputs, outputs);
  for (int i = 0; i < inputs; ++i) p.CheckType(i, {TensorType::kFloat32});
  for (int o = 0; o < outputs; ++o) p.CheckOutputType(o, {TensorType::kFloat32});
}

Window ReadPoolWindow(const Prepare& p) {
  Window window;
  window.padding = ReadPadding(p);
  window.stride_w = Word(p, kStrideW);
  window.stride_h = Word(p, kStrideH);
  window.kernel_w = Word(p, kFilterW);
  window.kernel_h = Word(p, kFilterH);
  p.Check(window.stride_h >= 1 && window.stride_w >= 1 && window.kernel_h >= 1 && window.kernel_w >= 1, "a window of ", window.kernel_h,
          " x ", window.kernel_w, " in steps of ", window.stride_h, " and ", window.stride_w);
  p.Check(int64_t{window.kernel_h} * window.kernel_w <= INT32_MAX, "a window of ", window.kernel_h, " x ", window.kernel_w);
  if (Word(p, kActivation) != 0) p.Refuse(StatusCode::kUnimplemented, Concat("the activation ", Word(p, kActivation)));
  return window;
}

// The place of the maximum under the window is told as a float, a little above the integer.
void PrepareMaxPool(Prepare& p) {
  CheckFloats(p, 1, 2);
  CheckRank(p, 0, 4, "input");
  ConvShape s = PlaceWindow(p, ReadPoolWindow(p), p.shape(0));
  s.in_channels = s.out_channels = p.shape(0)[3];
  for (int o = 0; o < 2; ++o) p.SetShape(o, OutputShape(s));
  p.Emit([s, x = p.in(0), y = p.out(0), at = p.out(1)](RunContext& run) noexcept {
    run.Parallel(s.batch * s.out_height, int64_t{2} * s.taps() * s.out_width * s.out_channels, [&](Range lines, int) {
      for (int64_t e = int64_t{lines.begin} * s.out_width * s.out_channels; e < int64_t{lines.end} * s.out_width * s.out_channels; ++e) {
        const int64_t c = e % s.out_channels, ox = e / s.out_channels % s.out_width, line = e / s.out_channels / s.out_width;
        const int64_t top = line % s.out_height * s.stride_h - s.pad_top, left = ox * s.stride_w - s.pad_left;
        const float* image = run.get<float>(x) + line / s.out_height * s.in_height * s.in_width * s.in_channels + c;
        float most = std::numeric_limits<float>::lowest();
        int64_t place = 0;
        for (int64_t ky = std::max<int64_t>(0, -top); ky < std::min<int64_t>(s.kernel_height, s.in_height - top); ++ky) {
          for (int64_t kx = std::max<int64_t>(0, -left); kx < std::min<int64_t>(s.kernel_width, s.in_width - left); ++kx) {
            const float value = image[((top + ky) * s.in_width + left + kx) * s.in_channels];
            if (value <= most) continue;
            most = value;
            place = ky * s.kernel_width + kx;
          }
        }
        run.get<float>(y)[e] = most;
        run.get<float>(at)[e] = static_cast<float>(place) + 0.1f;
      }
    });
  });
}

void PrepareMaxUnpooling(Prepare& p) {
  CheckFloats(p, 2, 1);
  CheckRank(p, 0, 4, "input");
  p.Check(p.shape(0) == p.shape(1), "values ", ToString(p.shape(0)), " and places ", ToString(p.shape(1)));
  const Window window = ReadPoolWindow(p);
  const Shape& input = p.shape(0);
  const int64_t height = int64_t{input[1]} * window.kernel_h, width = int64_t{input[2]} * window.kernel_w;
  p.Check(height <= INT32_MAX && width <= INT32_MAX, "an output of ", height, " x ", width);
  p.SetShape(0, {input[0], static_cast<int32_t>(height), static_cast<int32_t>(width), input[3]});
  const auto before = [](int64_t in, int64_t out, int64_t kernel, int64_t stride) {
    return std::max<int64_t>(0, ((out - 1) * stride + kernel - in) / 2);
  };
  const int64_t top = before(height, input[1], window.kernel_h, window.stride_h),
                left = before(width, input[2], window.kernel_w, window.stride_w);
  p.Emit([=, shape = input, total = p.output_elements(0), n = p.elements(0), x = p.in(0), at = p.in(1),
          y = p.out(0)](RunContext& run) noexcept {
    std::fill_n(run.get<float>(y), total, 0.0f);
    for (int64_t e = 0; e < n; ++e) {
      const float told = run.get<float>(at)[e];
      if (!(told >= 0 && told < 0x1p31f)) continue;
      const int64_t place = static_cast<int64_t>(told), c = e % shape[3], pixel = e / shape[3];
      const int64_t ix = pixel % shape[2], iy = pixel / shape[2] % shape[1], batch = pixel / shape[2] / shape[1];
      const int64_t ox = ix * window.stride_w - left + place % window.kernel_w, oy = iy * window.stride_h - top + place / window.kernel_w;
      if (ox < 0 || ox >= width || oy < 0 || oy >= height) continue;
      run.get<float>(y)[((batch * height + oy) * width + ox) * shape[3] + c] = run.get<float>(x)[e];
    }
  });
}

// --- Convolution2DTransposeBias: weights [out, height, width, in] ---

struct TransposeConv {
  Shape input, weights, output;
  int32_t stride_h, stride_w, top, left;

  /// One line of the output.
  void Run(const float* x, const float* w, const float* bias, float* y, int64_t line) const {
    const int64_t batch = line / output[1], oy = line % output[1], depth = input[3], out_depth = weights[0];
    for (int64_t ox = 0; ox < output[2]; ++ox) std::copy_n(bias, out_depth, y + ox * out_depth);
    for (int64_t ky = 0; ky < weights[1]; ++ky) {
      const int64_t from_y = oy + top - ky;
      if (from_y < 0 || from_y % stride_h != 0 || from_y / stride_h >= input[1]) continue;
      for (int64_t ix = 0; ix < input[2]; ++ix) {
        const float* pixel = x + ((batch * input[1] + from_y / stride_h) * input[2] + ix) * depth;
        for (int64_t kx = 0; kx < weights[2]; ++kx) {
          const int64_t ox = ix * stride_w - left + kx;
          if (ox < 0 || ox >= output[2]) continue;
          for (int64_t o = 0; o < out_depth; ++o) {
            const float* row = w + ((o * weights[1] + ky) * weights[2] + kx) * depth;
            float sum = 0;
            for (int64_t c = 0; c < depth; ++c) sum += pixel[c] * row[c];
            y[ox * out_depth + o] += sum;
          }
        }
      }
    }
  }
};

void PrepareTransposeConv(Prepare& p) {
  CheckFloats(p, 3, 1);
  CheckRank(p, 0, 4, "input");
  CheckRank(p, 1, 4, "weights");
  const Shape &input = p.shape(0), &weights = p.shape(1);
  p.Check(weights[3] == input[3] && weights[1] >= 1 && weights[2] >= 1 && input[1] >= 1 && input[2] >= 1, "an input ", ToString(input),
          " and weights ", ToString(weights));
  CheckBias(p, 2, weights[0], TensorType::kFloat32);
  const int32_t stride_w = Word(p, kStrideW), stride_h = Word(p, kStrideH);
  p.Check(stride_h >= 1 && stride_w >= 1, "strides ", stride_h, " and ", stride_w);
  const bool same = ReadPadding(p) == schema::Padding::kSame;
  const auto cut = [same](int32_t kernel, int32_t in, int32_t stride) { return same ? std::max(0, kernel - (in - 1) % stride - 1) : 0; };
  const int32_t cut_y = cut(weights[1], input[1], stride_h), cut_x = cut(weights[2], input[2], stride_w);
  const int64_t height = int64_t{stride_h} * (input[1] - 1) + weights[1] - cut_y,
                width = int64_t{stride_w} * (input[2] - 1) + weights[2] - cut_x;
  p.Check(height <= INT32_MAX && width <= INT32_MAX && input[0] * height <= INT32_MAX, "an output of ", height, " x ", width);
  const Shape output = {input[0], static_cast<int32_t>(height), static_cast<int32_t>(width), weights[0]};
  p.SetShape(0, output);
  const TransposeConv conv{input, weights, output, stride_h, stride_w, cut_y / 2, cut_x / 2};
  p.Emit([conv, x = p.in(0), w = p.in(1), b = p.in(2), y = p.out(0)](RunContext& run) noexcept {
    const int64_t line_floats = int64_t{conv.output[2]} * conv.output[3],
                  cost = line_floats * conv.input[3] * conv.weights[1] * conv.weights[2];
    run.Parallel(conv.output[0] * conv.output[1], cost / (conv.stride_h * int64_t{conv.stride_w}), [&](Range lines, int) {
      for (int64_t line = lines.begin; line < lines.end; ++line) {
        conv.Run(run.get<float>(x), run.get<float>(w), run.get<float>(b), run.get<float>(y) + line * line_floats, line);
      }
    });
  });
}

// --- sampling between pixels ---

struct Image {
  const float* data;
  int64_t height, width, depth;

  float At(int64_t y, int64_t x, int64_t c) const {
    return y < 0 || x < 0 || y >= height || x >= width ? 0.0f : data[(y * width + x) * depth + c];
  }
};

// Every place of the output says where in the source it comes from; beside the source there are zeros.
void PrepareResampler(Prepare& p) {
  CheckFloats(p, 2, 1);
  CheckRank(p, 0, 4, "source");
  const Shape &source = p.shape(0), &warp = p.shape(1);
  p.Check(warp.size() >= 2 && warp[0] == source[0] && warp.back() == 2, "a source ", ToString(source), " and a warp ", ToString(warp));
  Shape output = warp;
  output.back() = source[3];
  p.SetShape(0, output);
  const int64_t places = Product(warp, 1, warp.size() - 1);
  p.Emit([s = source, places, x = p.in(0), w = p.in(1), y = p.out(0)](RunContext& run) noexcept {
    const int64_t depth = s[3];
    for (int64_t i = 0; i < s[0] * places; ++i) {
      const Image image{run.get<float>(x) + i / places * s[1] * s[2] * depth, s[1], s[2], depth};
      const float at_x = run.get<float>(w)[2 * i], at_y = run.get<float>(w)[2 * i + 1];
      float* to = run.get<float>(y) + i * depth;
      if (!(at_x > -1 && at_y > -1 && at_x < static_cast<float>(s[2]) && at_y < static_cast<float>(s[1]))) {
        std::fill_n(to, depth, 0.0f);
        continue;
      }
      const int64_t x0 = static_cast<int64_t>(std::floor(at_x)), y0 = static_cast<int64_t>(std::floor(at_y));
      const float dx = static_cast<float>(x0 + 1) - at_x, dy = static_cast<float>(y0 + 1) - at_y;
      for (int64_t c = 0; c < depth; ++c) {
        to[c] = dx * dy * image.At(y0, x0, c) + (1.0f - dx) * (1.0f - dy) * image.At(y0 + 1, x0 + 1, c) +
                dx * (1.0f - dy) * image.At(y0 + 1, x0, c) + (1.0f - dx) * dy * image.At(y0, x0 + 1, c);
      }
    }
  });
}

/// The first two rows of a 4 x 4 matrix, applied to (x, y, 0, 1).
struct Affine2D {
  float xx, xy, x1, yx, yy, y1;

  static Affine2D Read(const float* m) { return {m[0], m[1], m[3], m[4], m[5], m[7]}; }
  float X(float x, float y) const { return xx * x + xy * y + x1; }
  float Y(float x, float y) const { return yx * x + yy * y + y1; }
};

void CheckMatrix(const Prepare& p) { p.Check(p.elements(1) == 16, "a matrix of shape ", ToString(p.shape(1)), ", expected 16 elements"); }

// In the second version pixels are squares around their centers.
void PrepareTransformTensor(Prepare& p) {
  CheckFloats(p, 2, 1);
  CheckRank(p, 0, 4, "input");
  CheckMatrix(p);
  const Shape input = p.shape(0), output = p.model_shape(0);
  p.Check(output.size() == 4 && input[0] == 1 && output[0] == 1 && output[1] >= 0 && output[2] >= 0 && output[3] == input[3], "an input ",
          ToString(input), " and an output ", ToString(output));
  p.SetShape(0, output);
  p.Emit([input, output, centers = p.node().version >= 2, x = p.in(0), m = p.in(1), y = p.out(0)](RunContext& run) noexcept {
    Affine2D t = Affine2D::Read(run.get<float>(m));
    if (centers) {
      t.x1 += t.xx * 0.5f + t.xy * 0.5f - 0.5f;
      t.y1 += t.yx * 0.5f + t.yy * 0.5f - 0.5f;
    }
    const Image image{run.get<float>(x), input[1], input[2], input[3]};
    run.Parallel(output[1], int64_t{16} * output[2] * output[3], [&](Range lines, int) {
      for (int64_t i = int64_t{lines.begin} * output[2]; i < int64_t{lines.end} * output[2]; ++i) {
        const float ox = static_cast<float>(i % output[2]), oy = static_cast<float>(i / output[2]);
        const float at_x = t.X(ox, oy), at_y = t.Y(ox, oy);
        float* to = run.get<float>(y) + i * output[3];
        if (!(at_x >= 0 && at_y >= 0 && at_x <= static_cast<float>(input[2] - 1) && at_y <= static_cast<float>(input[1] - 1))) {
          std::fill_n(to, output[3], 0.0f);
          continue;
        }
        const int64_t x0 = static_cast<int64_t>(at_x), y0 = static_cast<int64_t>(at_y);
        const float right = at_x - static_cast<float>(x0), lower = at_y - static_cast<float>(y0);
        for (int64_t c = 0; c < output[3]; ++c) {
          const float top = (1.0f - right) * image.At(y0, x0, c) + right * image.At(y0, x0 + 1, c);
          const float bottom = (1.0f - right) * image.At(y0 + 1, x0, c) + right * image.At(y0 + 1, x0 + 1, c);
          to[c] = lower * bottom + (1.0f - lower) * top;
        }
      }
    });
  });
}

// --- landmarks ---

void PrepareTransformLandmarks(Prepare& p) {
  CheckFloats(p, 2, 1);
  CheckMatrix(p);
  const FlexMap options(p, p.custom_options());
  const bool second = p.node().version >= 2;
  const Shape& input = p.shape(0);
  p.Check(input.size() == (second ? 3u : 4u), "landmarks of shape ", ToString(input));
  const int64_t dimensions = second ? options.Integer("dimensions", input.back()) : options.Integer("dimensions", 0);
  const float scale = second ? 1.0f : static_cast<float>(options.Real("scale", 1.0));
  p.Check((dimensions == 2 || dimensions == 3) && input.back() % dimensions == 0, dimensions, " dimensions of landmarks of shape ",
          ToString(input));
  p.Check(scale != 0, "a scale of 0");
  p.SetShape(0, input);
  p.Emit([dimensions, scale, n = p.elements(0), x = p.in(0), m = p.in(1), y = p.out(0)](RunContext& run) noexcept {
    Affine2D t = Affine2D::Read(run.get<float>(m));
    t.x1 *= scale;
    t.y1 *= scale;
    const float* from = run.get<float>(x);
    float* to = run.get<float>(y);
    for (int64_t i = 0; i < n; i += dimensions) {
      const float px = from[i], py = from[i + 1];
      if (dimensions == 3) to[i + 2] = from[i + 2];
      to[i] = t.X(px, py);
      to[i + 1] = t.Y(px, py);
    }
  });
}

using Matrix = std::array<float, 16>;

Matrix Times(const Matrix& a, const Matrix& b) {
  Matrix result{};
  for (size_t r = 0; r < 4; ++r) {
    for (size_t c = 0; c < 4; ++c) {
      for (size_t k = 0; k < 4; ++k) result[4 * r + c] += a[4 * r + k] * b[4 * k + c];
    }
  }
  return result;
}
Matrix Shift(float x, float y) { return {1, 0, 0, x, 0, 1, 0, y, 0, 0, 1, 0, 0, 0, 0, 1}; }
Matrix Scale(float x, float y) { return {x, 0, 0, 0, 0, y, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}; }
Matrix Rotation(float r) { return {std::cos(r), -std::sin(r), 0, 0, std::sin(r), std::cos(r), 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}; }

/// A box around some landmarks, turned so that two of them lie level.
struct Crop {
  std::vector<int64_t> subset;
  int64_t left = 0, right = 0;
  bool second = false;
  float target = 0, scale_x = 1, scale_y = 1, out_width = 1, out_height = 1;  // of the second version
  float range = 1, multiplier = 1, in_width = 1, in_height = 1;               // of the first

  Matrix Of(const float* landmarks) const {
    const float dx = landmarks[3 * right] - landmarks[3 * left], dy = landmarks[3 * right + 1] - landmarks[3 * left + 1];
    const float angle = second ? target - std::atan2(dy, dx) : -std::atan(dy / dx);
    const float cosine = std::cos(angle), sine = std::sin(angle);
    constexpr float kFar = 100000;
    float low_x = kFar, low_y = kFar, high_x = -kFar, high_y = -kFar;
    for (const int64_t i : subset) {
      const float x = landmarks[3 * i] * cosine - landmarks[3 * i + 1] * sine, y = landmarks[3 * i] * sine + landmarks[3 * i + 1] * cosine;
      low_x = std::min(low_x, x);
      low_y = std::min(low_y, y);
      high_x = std::max(high_x, x);
      high_y = std::max(high_y, y);
    }
    const float mid_x = (high_x + low_x) / 2, mid_y = (high_y + low_y) / 2;
    const float center_x = mid_x * cosine + mid_y * sine, center_y = mid_y * cosine - mid_x * sine;
    if (second) {
      return Times(Times(Times(Shift(center_x, center_y), Rotation(-angle)),
                         Scale(scale_x * (high_x - low_x) / out_width, scale_y * (high_y - low_y) / out_height)),
                   Shift(-out_width / 2, -out_height / 2));
    }
    // Both images are mapped to [-1, 1] in between.
    const Matrix from_relative = Times(Shift((in_width - 1) / 2, (in_height - 1) / 2), Scale((in_width - 1) / 2, (in_height - 1) / 2));
    const Matrix to_relative = Times(Shift(-1, -1), Scale(2 / (out_width - 1), 2 / (out_height - 1)));
    const Matrix turn = Times(Shift(center_x / range * 2 - 1, center_y / range * 2 - 1), Rotation(-angle));
    const Matrix size = Scale((high_x - low_x) * multiplier / range, (high_y - low_y) * multiplier / range);
    return Times(Times(Times(from_relative, turn), size), to_relative);
  }
};

Crop ReadCrop(const Prepare& p) {
  const FlexMap o(p, p.custom_options());
  Crop crop;
  crop.second = p.node().version >= 2;
  crop.left = o.Integer("left_rotation_idx", -1);
  crop.right = o.Integer("right_rotation_idx", -1);
  crop.subset = o.Integers(crop.second ? "subset_idxs" : "subset");
  const auto size = [&](const char* name) {
    const std::vector<int64_t> hw = o.Integers(name);
    p.Check(hw.size() == 2 && hw[0] >= 1 && hw[1] >= 1, "its option ", name);
    return hw;
  };
  if (crop.second) {
    crop.target = static_cast<float>(o.Real("target_rotation_radians", 0));
    crop.scale_x = static_cast<float>(o.Real("scale_x", 0));
    crop.scale_y = static_cast<float>(o.Real("scale_y", 0));
    crop.out_width = static_cast<float>(o.Integer("output_width", 0));
    crop.out_height = static_cast<float>(o.Integer("output_height", 0));
    p.Check(crop.out_width > 0 && crop.out_height > 0 && crop.scale_x > 0 && crop.scale_y > 0, "an output of ", crop.out_height, " x ",
            crop.out_width, ", scaled by ", crop.scale_y, " and ", crop.scale_x);
  } else {
    const std::vector<int64_t> in = size("input_hw"), out = size("output_hw");
    crop.in_height = static_cast<float>(in[0]);
    crop.in_width = static_cast<float>(in[1]);
    crop.out_height = static_cast<float>(out[0]);
    crop.out_width = static_cast<float>(out[1]);
    crop.range = static_cast<float>(o.Integer("landmarks_range", 0));
    crop.multiplier = static_cast<float>(o.Real("bbox_size_multiplier", 0));
    p.Check(o.Integer("dimensions", 0) == 3 && crop.range > 0 && crop.multiplier != 0, "landmarks of ", o.Integer("dimensions", 0),
            " dimensions in ", crop.range, ", a box ", crop.multiplier, " times as large");
  }
  return crop;
}

void PrepareLandmarksToMatrix(Prepare& p) {
  CheckFloats(p, 1, 1);
  const Crop crop = ReadCrop(p);
  const int64_t landmarks = p.elements(0) / 3;
  p.Check(crop.left >= 0 && crop.left < landmarks && crop.right >= 0 && crop.right < landmarks && !crop.subset.empty(), "landmarks ",
          crop.left, " and ", crop.right, " of ", landmarks);
  for (const int64_t i : crop.subset) p.Check(i >= 0 && i < landmarks, "landmark ", i, " of ", landmarks);
  p.SetShape(0, {1, 4, 4});
  p.Emit([crop, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const Matrix matrix = crop.Of(run.get<float>(x));
    std::copy(matrix.begin(), matrix.end(), run.get<float>(y));
  });
}

constexpr OpDef kOps[] = {
    {.name = "Convolution2DTransposeBias", .prepare = PrepareTransposeConv, .traits = kFlushesDenormals},
    {.name = "Landmarks2TransformMatrix", .prepare = PrepareLandmarksToMatrix},
    {.name = "MaxPoolingWithArgmax2D", .prepare = PrepareMaxPool},
    {.name = "MaxUnpooling2D", .prepare = PrepareMaxUnpooling},
    {.name = "Resampler", .prepare = PrepareResampler},
    {.name = "TransformLandmarks", .prepare = PrepareTransformLandmarks},
    {.name = "TransformTensor", .prepare = PrepareTransformTensor},
    {.name = "TransformTensorBilinear", .prepare = PrepareTransformTensor},
};

}  // namespace

std::span<const OpDef> mediapipe_ops() { return kOps; }

}  // namespace sigrun::ops
