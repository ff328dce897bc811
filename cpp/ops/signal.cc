#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/fft.h"
#include "ops/support/fixed_fft.h"
#include "ops/support/flexbuffer.h"
#include "ops/support/numbers.h"
#include "run/state.h"

// The front end of tflite-micro's audio models: windows, spectra, filter banks, noise and gain control on integers, frames and delays that
// reach over calls; and CIRCULAR_BUFFER of its streaming models.
namespace sigrun::ops {
namespace {

void CheckTypes(const Prepare& p, std::initializer_list<TensorType> inputs, std::initializer_list<TensorType> outputs) {
  p.CheckCounts(static_cast<int>(inputs.size()), static_cast<int>(inputs.size()), static_cast<int>(outputs.size()));
  int i = 0, o = 0;
  for (const TensorType type : inputs) p.CheckType(i++, {type});
  for (const TensorType type : outputs) p.CheckOutputType(o++, {type});
}

FlexMap Options(const Prepare& p) { return {p, p.custom_options()}; }

/// The rows along the last dimension.
struct Rows {
  int64_t count, length;
};
Rows RowsOf(const Prepare& p, int i) {
  const Shape& shape = p.shape(i);
  p.Check(!shape.empty(), "its input ", i, " is a scalar");
  return {Product(shape, 0, shape.size() - 1), shape.back()};
}

Shape WithLast(Shape shape, int64_t last) {
  shape.back() = static_cast<int32_t>(last);
  return shape;
}

/// Memory that keeps its content from call to call, zero at first: one for each of a node's outputs.
class Memory {
 public:
  Memory(Prepare& p, int o, size_t bytes) : subgraph_(p.subgraph()), value_(p.node().outputs[static_cast<size_t>(o)]), bytes_(bytes) {
    p.UseState();
  }

  template <class T>
  T* Get(const RunContext& run) const {
    return reinterpret_cast<T*>(run.state().VariableTensor(subgraph_, value_, bytes_, std::byte{0}));
  }

 private:
  uint32_t subgraph_;
  int32_t value_;
  size_t bytes_;
};

/// Calls f(memory...), which may throw where memory is first taken.
template <class F>
void Guarded(RunContext& run, const F& f) noexcept {
  if (Status status = Guard(f); !status.ok()) run.Fail(status.message());
}

int16_t Saturate16(int32_t x) { return static_cast<int16_t>(std::clamp(x, -32768, 32767)); }

// --- spectra ---

void PrepareWindow(Prepare& p) {
  CheckTypes(p, {TensorType::kInt16, TensorType::kInt16}, {TensorType::kInt16});
  const Rows rows = RowsOf(p, 0);
  const int64_t shift = Options(p).Integer("shift", 0);
  p.Check(p.elements(1) == rows.length, "rows of ", rows.length, " samples and ", p.elements(1), " weights");
  p.Check(shift >= 0 && shift < 32, "a shift of ", shift);
  p.SetShape(0, p.shape(0));
  p.MayOverwrite(0, 0);
  p.Emit([=, n = p.elements(0), x = p.in(0), w = p.in(1), y = p.out(0)](RunContext& run) noexcept {
    for (int64_t i = 0; i < n; ++i) {
      run.get<int16_t>(y)[i] = Saturate16((run.get<int16_t>(x)[i] * int32_t{run.get<int16_t>(w)[i % rows.length]}) >> shift);
    }
  });
}

int32_t ReadLength(const Prepare& p) {
  const int32_t length = Options(p).Int32("fft_length", 0);
  p.Check(length >= 2 && std::has_single_bit(static_cast<uint32_t>(length)), "a transform of ", length, " samples, expected a power of 2");
  return length;
}

template <class S>
void EmitFixedRfft(Prepare& p, Rows rows, int32_t length) {
  using Complex = typename FixedFft<S>::Complex;
  auto fft = std::make_shared<FixedFft<S>>(length, false);
  const Slot padded = p.Scratch(static_cast<size_t>(length) * sizeof(S)), packed = p.Scratch(static_cast<size_t>(length) * sizeof(S));
  p.Emit([=, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    for (int64_t r = 0; r < rows.count; ++r) {
      S* samples = run.get<S>(padded);
      std::fill(std::copy_n(run.get<S>(x) + r * rows.length, rows.length, samples), samples + length, S{0});
      fft->Forward(samples, run.get<Complex>(y) + r * (length / 2 + 1), run.get<Complex>(packed));
    }
  });
}

template <class S>
void EmitFixedIrfft(Prepare& p, int64_t rows, int32_t length) {
  using Complex = typename FixedFft<S>::Complex;
  auto fft = std::make_shared<FixedFft<S>>(length, true);
  const Slot packed = p.Scratch(static_cast<size_t>(length) * sizeof(S));
  p.Emit([=, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    for (int64_t r = 0; r < rows; ++r) {
      fft->Inverse(run.get<Complex>(x) + r * (length / 2 + 1), run.get<S>(y) + r * length, run.get<Complex>(packed));
    }
  });
}

void EmitFloatRfft(Prepare& p, Rows rows, int32_t length) {
  auto fft = std::make_shared<RealFft>(length);
  p.Emit([=, work = p.Scratch(fft->scratch_bytes()), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    fft->Forward(run.get<double>(work), rows.count, run.get<float>(x), rows.length, rows.length, run.get<float>(y));
  });
}

void EmitFloatIrfft(Prepare& p, int64_t rows, int32_t length) {
  auto fft = std::make_shared<RealFft>(length);
  p.Emit([=, work = p.Scratch(fft->scratch_bytes()), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const float* from = run.get<float>(x);
    float* to = run.get<float>(y);
    fft->Inverse(
        run.get<double>(work), rows,
        [&](int64_t r, int64_t k) {
          const float* number = from + r * (length + 2) + 2 * k;
          return Turn{static_cast<double>(number[0]), static_cast<double>(number[1])};
        },
        [&](int64_t r, int64_t i, double sample) { to[r * length + i] = static_cast<float>(sample); });
  });
}

void PrepareRfft(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {p.type(0)});
  const Rows rows = RowsOf(p, 0);
  const int32_t length = ReadLength(p);
  p.Check(rows.length <= length, "rows of ", rows.length, " samples for a transform of ", length);
  p.SetShape(0, WithLast(p.shape(0), int64_t{length} + 2));
  switch (p.type(0)) {
    case TensorType::kInt16: return EmitFixedRfft<int16_t>(p, rows, length);
    case TensorType::kInt32: return EmitFixedRfft<int32_t>(p, rows, length);
    default: p.CheckType(0, {TensorType::kFloat32, TensorType::kInt16, TensorType::kInt32});
  }
  EmitFloatRfft(p, rows, length);
}

void PrepareIrfft(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {p.type(0)});
  const Rows rows = RowsOf(p, 0);
  const int32_t length = ReadLength(p);
  p.Check(rows.length == int64_t{length} + 2, "rows of ", rows.length, " numbers for a transform of ", length);
  p.SetShape(0, WithLast(p.shape(0), length));
  switch (p.type(0)) {
    case TensorType::kInt16: return EmitFixedIrfft<int16_t>(p, rows.count, length);
    case TensorType::kInt32: return EmitFixedIrfft<int32_t>(p, rows.count, length);
    default: p.CheckType(0, {TensorType::kFloat32, TensorType::kInt16, TensorType::kInt32});
  }
  EmitFloatIrfft(p, rows.count, length);
}

// As far to the left as the largest sample allows.
void PrepareAutoScale(Prepare& p) {
  CheckTypes(p, {TensorType::kInt16}, {TensorType::kInt16, TensorType::kInt32});
  p.SetShape(0, p.shape(0));
  p.SetShape(1, {});
  p.Emit([n = p.elements(0), x = p.in(0), y = p.out(0), s = p.out(1)](RunContext& run) noexcept {
    int16_t most = 0;
    for (int64_t i = 0; i < n; ++i) {
      const int value = run.get<int16_t>(x)[i];
      if (value > most || -value > most) most = static_cast<int16_t>(value > most ? value : -value);  // -32768 counts as itself
    }
    const int shift = most <= 0 ? 0 : std::max(0, 15 - static_cast<int>(std::bit_width(static_cast<uint32_t>(most))));
    for (int64_t i = 0; i < n; ++i) run.get<int16_t>(y)[i] = static_cast<int16_t>(run.get<int16_t>(x)[i] * (1 << shift));
    *run.get<int32_t>(s) = shift;
  });
}

void PrepareEnergy(Prepare& p) {
  CheckTypes(p, {TensorType::kInt16}, {TensorType::kUInt32});
  const int64_t n = p.elements(0) / 2, begin = Options(p).Integer("start_index", 0), end = Options(p).Integer("end_index", 0);
  p.Check(p.shape(0).size() == 1 && begin >= 0 && begin <= end && end <= n, "frequencies from ", begin, " to ", end, " of ", n);
  p.SetShape(0, {static_cast<int32_t>(n)});
  p.Emit([=, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    std::fill_n(run.get<uint32_t>(y), n, 0u);
    for (int64_t i = begin; i < end; ++i) {
      const int32_t real = run.get<int16_t>(x)[2 * i], imaginary = run.get<int16_t>(x)[2 * i + 1];
      run.get<uint32_t>(y)[i] = static_cast<uint32_t>(real * real) + static_cast<uint32_t>(imaginary * imaginary);
    }
  });
}

// --- filter banks ---

enum BankInput : int { kEnergies, kWeights, kUnweights, kFrequencyStarts, kWeightStarts, kWidths };

// Triangles that overlap: what a frequency does not give to its channel it gives to the next. The first is only half a triangle.
void PrepareFilterBank(Prepare& p) {
  CheckTypes(p, {TensorType::kUInt32, TensorType::kInt16, TensorType::kInt16, TensorType::kInt16, TensorType::kInt16, TensorType::kInt16},
             {TensorType::kUInt64});
  const int32_t channels = Options(p).Int32("num_channels", 0);
  p.Check(channels >= 0, channels, " channels");
  for (int i = kFrequencyStarts; i <= kWidths; ++i)
    p.Check(p.elements(i) > channels, "its input ", i, " is for ", p.elements(i), " channels");
  p.SetShape(0, {channels});
  const int64_t energies = p.elements(kEnergies), weights = std::min(p.elements(kWeights), p.elements(kUnweights));
  Slot in[kWidths + 1];
  for (int i = 0; i <= kWidths; ++i) in[i] = p.in(i);
  p.Emit([=, y = p.out(0)](RunContext& run) noexcept {
    const auto at = [&](BankInput i) { return run.get<const int16_t>(in[i]); };
    uint64_t sum = 0, rest = 0;
    for (int32_t c = 0; c <= channels; ++c) {
      const int64_t frequency = at(kFrequencyStarts)[c], weight = at(kWeightStarts)[c], width = at(kWidths)[c];
      if (frequency < 0 || weight < 0 || frequency + width > energies || weight + width > weights) {
        return run.Fail(Concat("channel ", c, " has ", width, " frequencies from ", frequency, " and weights from ", weight));
      }
      for (int64_t k = 0; k < width; ++k) {
        const uint64_t energy = run.get<const uint32_t>(in[kEnergies])[frequency + k];
        sum += static_cast<uint64_t>(int64_t{at(kWeights)[weight + k]}) * energy;
        rest += static_cast<uint64_t>(int64_t{at(kUnweights)[weight + k]}) * energy;
      }
      if (c > 0) run.get<uint64_t>(y)[c - 1] = sum;
      sum = rest;
      rest = 0;
    }
  });
}

/// Rounded to the nearest, as many bits as half of the number's.
uint32_t RoundedRoot(uint64_t x) {
  uint64_t root = static_cast<uint64_t>(std::sqrt(static_cast<double>(x)));
  while (root > 0xffffffffu || root * root > x) --root;
  while (root < 0xffffffffu && (root + 1) * (root + 1) <= x) ++root;
  const uint64_t most = x >> 32 == 0 ? 0xffff : 0xffffffff;
  return static_cast<uint32_t>(x - root * root > root && root != most ? root + 1 : root);
}

void PrepareSquareRoot(Prepare& p) {
  CheckTypes(p, {TensorType::kUInt64, TensorType::kInt32}, {TensorType::kUInt32});
  p.Check(p.elements(1) == 1, "a shift of shape ", ToString(p.shape(1)));
  p.SetShape(0, p.shape(0));
  p.Emit([n = p.elements(0), x = p.in(0), s = p.in(1), y = p.out(0)](RunContext& run) noexcept {
    const int32_t shift = *run.get<int32_t>(s);
    if (shift < 0 || shift > 31) return run.Fail(Concat("a shift of ", shift));
    for (int64_t i = 0; i < n; ++i) run.get<uint32_t>(y)[i] = RoundedRoot(run.get<uint64_t>(x)[i]) >> shift;
  });
}

// What the noise is said to be follows the signal slowly, even and odd channels each in their own time.
struct Subtraction {
  uint32_t smoothing[2], rest[2], least;
  int32_t smoothing_bits, bits;
  bool clamps;

  uint32_t operator()(uint32_t signal, uint32_t& noise, int64_t channel) const {
    const uint32_t scaled = signal << smoothing_bits;
    noise = static_cast<uint32_t>((uint64_t{scaled} * smoothing[channel & 1] + uint64_t{noise} * rest[channel & 1]) >> bits);
    const uint32_t estimate = std::min(noise, scaled);
    if (clamps) noise = estimate;
    return std::max((scaled - estimate) >> smoothing_bits, static_cast<uint32_t>((uint64_t{signal} * least) >> bits));
  }
};

void PrepareSubtraction(Prepare& p) {
  CheckTypes(p, {TensorType::kUInt32}, {TensorType::kUInt32, TensorType::kUInt32});
  const FlexMap o = Options(p);
  const auto word = [&](const char* name) { return static_cast<uint32_t>(o.Int32(name, 0)); };
  const Subtraction s{{word("smoothing"), word("alternate_smoothing")},
                      {word("one_minus_smoothing"), word("alternate_one_minus_smoothing")},
                      word("min_signal_remaining"),
                      o.Int32("smoothing_bits", 0),
                      o.Int32("spectral_subtraction_bits", 0),
                      o.Bool("clamping", false)};
  p.Check(s.smoothing_bits >= 0 && s.smoothing_bits < 32 && s.bits >= 0 && s.bits < 64, s.smoothing_bits, " and ", s.bits, " bits");
  const int64_t n = p.elements(0);
  p.Check(p.shape(0).size() == 1 && o.Integer("num_channels", n) == n, o.Integer("num_channels", n), " channels of an input ",
          ToString(p.shape(0)));
  for (int i = 0; i < 2; ++i) p.SetShape(i, p.shape(0));
  const Memory memory(p, 0, static_cast<size_t>(n) * sizeof(uint32_t));
  p.Emit([=, x = p.in(0), y = p.out(0), e = p.out(1)](RunContext& run) noexcept {
    Guarded(run, [&] {
      uint32_t* noise = memory.Get<uint32_t>(run);
      for (int64_t i = 0; i < n; ++i) run.get<uint32_t>(y)[i] = s(run.get<uint32_t>(x)[i], noise[i], i);
      std::copy_n(noise, n, run.get<uint32_t>(e));
    });
  });
}

// A piecewise quadratic gain over the logarithm of the noise, from a table; then a function that is flat for small signals.
struct GainControl {
  static constexpr int64_t kTableSize = 125;
  static constexpr int kSignalBits = 12, kOutputBits = 6;

  static uint32_t Gain(uint32_t noise, const int16_t* table) {
    if (noise <= 2) return static_cast<uint32_t>(int32_t{table[noise]});
    const int bits = std::bit_width(noise);
    const int16_t* piece = table + 4 * bits - 6;
    const int32_t fraction = static_cast<int32_t>((bits < 11 ? noise << (11 - bits) : noise >> (bits - 11)) & 0x3ff);
    int32_t gain = (piece[2] * fraction) >> 5;
    gain = static_cast<int32_t>(static_cast<uint32_t>(gain) + (static_cast<uint32_t>(int32_t{piece[1]}) << 5));
    gain = static_cast<int32_t>(static_cast<uint32_t>(gain) * static_cast<uint32_t>(fraction) + (1u << 14)) >> 15;
    return static_cast<uint32_t>(int32_t{static_cast<int16_t>(gain + piece[0])});
  }
  static uint32_t Shrink(uint32_t x) {
    if (x < 2u << kSignalBits) return (x * x) >> (2 + 2 * kSignalBits - kOutputBits);
    return (x >> (kSignalBits - kOutputBits)) - (1u << kOutputBits);
  }
};

void PrepareGainControl(Prepare& p) {
  CheckTypes(p, {TensorType::kUInt32, TensorType::kUInt32, TensorType::kInt16}, {TensorType::kUInt32});
  const int64_t shift = Options(p).Integer("snr_shift", 0);
  p.Check(shift >= 0 && shift < 64, "a shift of ", shift);
  p.Check(p.shape(1) == p.shape(0), "signals ", ToString(p.shape(0)), " and noises ", ToString(p.shape(1)));
  p.Check(p.elements(2) >= GainControl::kTableSize, "a table of ", p.elements(2), " numbers");
  p.SetShape(0, p.shape(0));
  p.Emit([=, n = p.elements(0), x = p.in(0), e = p.in(1), t = p.in(2), y = p.out(0)](RunContext& run) noexcept {
    for (int64_t i = 0; i < n; ++i) {
      const uint64_t gain = GainControl::Gain(run.get<uint32_t>(e)[i], run.get<int16_t>(t));
      run.get<uint32_t>(y)[i] = GainControl::Shrink(static_cast<uint32_t>((run.get<uint32_t>(x)[i] * gain) >> shift));
    }
  });
}

// A logarithm in fixed point, 16 bits of fraction: between powers of two from a table of 128 pieces.
class FixedLog {
 public:
  FixedLog() {
    for (int i = 0; i <= kPieces; ++i) {
      const double x = i / static_cast<double>(kPieces);
      table_[i] = static_cast<int32_t>(std::lround((std::log2(1 + x) - x) * kOne));
    }
  }

  /// Natural, times scale / 2^16; x is not 0.
  uint32_t operator()(uint32_t x, uint32_t scale) const {
    const int whole = static_cast<int>(std::bit_width(x)) - 1;
    const uint32_t above = x - (1u << whole);
    const int32_t fraction = static_cast<int32_t>(whole < 16 ? above << (16 - whole) : above >> (whole - 16));
    const int32_t piece = fraction / (kOne / kPieces), within = fraction % (kOne / kPieces);
    const int32_t bent = table_[piece] + (((table_[piece + 1] - table_[piece]) * within) >> 16);
    const uint32_t log2 = (static_cast<uint32_t>(whole) << 16) + static_cast<uint32_t>(fraction + bent);
    const uint32_t natural = static_cast<uint32_t>((uint64_t{kLogOf2} * log2 + kOne / 2) >> 16);
    return (scale * natural + kOne / 2) >> 16;
  }

 private:
  static constexpr int kPieces = 128;
  static constexpr int32_t kOne = 1 << 16;
  static constexpr uint32_t kLogOf2 = 45426;
  int32_t table_[kPieces + 1];
};

void PrepareLog(Prepare& p) {
  CheckTypes(p, {TensorType::kUInt32}, {TensorType::kInt16});
  const uint32_t scale = static_cast<uint32_t>(Options(p).Int32("output_scale", 0));
  const int32_t shift = Options(p).Int32("input_correction_bits", 0);
  p.Check(shift >= 0 && shift < 32, "a shift of ", shift);
  p.SetShape(0, p.shape(0));
  p.Emit([=, log = FixedLog(), n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t scaled = run.get<uint32_t>(x)[i] << shift;
      run.get<int16_t>(y)[i] = scaled <= 1 ? int16_t{0} : static_cast<int16_t>(std::min(log(scaled, scale), 32767u));
    }
  });
}

// --- over calls ---

// Frames that overlap: a row's samples stand behind those that it has kept.
void PrepareFramer(Prepare& p) {
  CheckTypes(p, {TensorType::kInt16}, {TensorType::kInt16, TensorType::kBool});
  const Rows rows = RowsOf(p, 0);
  const int64_t size = Options(p).Int32("frame_size", 0), step = Options(p).Int32("frame_step", 0);
  p.Check(step >= 1 && size >= step && rows.length % step == 0, "frames of ", size, " samples every ", step, " for rows of ", rows.length);
  const int64_t before = Options(p).Bool("prefill", false) ? size - step : 0, frames = rows.length / step;
  Shape shape = WithLast(p.shape(0), frames);
  shape.push_back(static_cast<int32_t>(size));
  p.SetShape(0, shape);
  p.SetShape(1, {});
  // A row's samples; and how many more there are than at first.
  const int64_t most = size + step;
  const Memory kept(p, 0, static_cast<size_t>(rows.count * most) * sizeof(int16_t)),
      counts(p, 1, static_cast<size_t>(rows.count) * sizeof(int64_t));
  p.Emit([=, x = p.in(0), y = p.out(0), v = p.out(1)](RunContext& run) noexcept {
    Guarded(run, [&] {
      *run.get<bool>(v) = true;
      for (int64_t r = 0; r < rows.count; ++r) {
        int16_t* samples = kept.Get<int16_t>(run) + r * most;
        int64_t& count = counts.Get<int64_t>(run)[r];
        for (int64_t f = 0; f < frames; ++f) {
          int16_t* to = run.get<int16_t>(y) + (r * frames + f) * size;
          std::copy_n(run.get<int16_t>(x) + r * rows.length + f * step, step, samples + before + count);
          count += step;
          if (before + count < size) {
            std::fill_n(to, size, int16_t{0});
            *run.get<bool>(v) = false;
            continue;
          }
          std::copy_n(samples, size, to);
          count -= step;
          std::copy(samples + step, samples + step + before + count, samples);
        }
      }
    });
  });
}

// Some frames before and behind each side by side; the first frame stands for those before it.
void PrepareStacker(Prepare& p) {
  CheckTypes(p, {TensorType::kInt16}, {TensorType::kInt16, TensorType::kBool});
  const FlexMap o = Options(p);
  const int64_t channels = o.Int32("num_channels", 0), left = o.Int32("stacker_left_context", 0),
                right = o.Int32("stacker_right_context", 0);
  const int64_t step = o.Int32("stacker_step", 0), frames = left + right + 1, size = channels * frames;
  p.Check(p.elements(0) == channels && left >= 0 && right >= 0 && step >= 1 && step <= frames && size <= INT32_MAX, channels,
          " channels of ", p.elements(0), ", ", left, " and ", right, " frames around every ", step);
  p.SetShape(0, {static_cast<int32_t>(size)});
  p.SetShape(1, {});
  // How many frames there are; -1 stands for none any more, so that 0 is before the first.
  const Memory kept(p, 0, static_cast<size_t>(size) * sizeof(int16_t)), counts(p, 1, sizeof(int64_t));
  p.Emit([=, x = p.in(0), y = p.out(0), v = p.out(1)](RunContext& run) noexcept {
    Guarded(run, [&] {
      int16_t* samples = kept.Get<int16_t>(run);
      int64_t& stored = *counts.Get<int64_t>(run);
      int64_t count = std::max<int64_t>(stored, 0);
      for (int64_t copies = stored == 0 ? left + 1 : 1; copies > 0; --copies) {
        std::copy_n(run.get<int16_t>(x), channels, samples + channels * count++);
      }
      *run.get<bool>(v) = count == frames;
      if (count == frames) {
        std::copy_n(samples, size, run.get<int16_t>(y));
        std::copy(samples + step * channels, samples + size, samples);
        count -= step;
      } else {
        std::fill_n(run.get<int16_t>(y), size, int16_t{0});
      }
      stored = count == 0 ? -1 : count;
    });
  });
}

void PrepareDelay(Prepare& p) {
  CheckTypes(p, {TensorType::kInt16}, {TensorType::kInt16});
  const Rows rows = RowsOf(p, 0);
  const int64_t delay = Options(p).Int32("delay_length", 0);
  p.Check(delay >= 0, "a delay of ", delay);
  p.SetShape(0, p.shape(0));
  const int64_t most = delay + rows.length;
  const Memory kept(p, 0, static_cast<size_t>(rows.count * most) * sizeof(int16_t));
  p.Emit([=, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    Guarded(run, [&] {
      for (int64_t r = 0; r < rows.count; ++r) {
        int16_t* samples = kept.Get<int16_t>(run) + r * most;
        std::copy_n(run.get<int16_t>(x) + r * rows.length, rows.length, samples + delay);
        std::copy_n(samples, rows.length, run.get<int16_t>(y) + r * rows.length);
        std::copy_n(samples + rows.length, delay, samples);
      }
    });
  });
}

template <class T>
void EmitOverlapAdd(Prepare& p, int64_t rows, int64_t frames, int64_t size, int64_t step) {
  const Memory kept(p, 0, static_cast<size_t>(rows * size) * sizeof(T));
  p.Emit([=, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    Guarded(run, [&] {
      for (int64_t f = 0; f < rows * frames; ++f) {
        T* sums = kept.Get<T>(run) + f / frames * size;
        const T* frame = run.get<T>(x) + f * size;
        for (int64_t i = 0; i < size; ++i) {
          if constexpr (std::is_same_v<T, float>) {
            sums[i] += frame[i];
          } else {
            sums[i] = Saturate16(sums[i] + frame[i]);
          }
        }
        std::copy_n(sums, step, run.get<T>(y) + f * step);
        std::fill(std::copy(sums + step, sums + size, sums), sums + size, T{0});
      }
    });
  });
}

void PrepareOverlapAdd(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckType(0, {TensorType::kInt16, TensorType::kFloat32});
  p.CheckOutputType(0, {p.type(0)});
  Shape shape = p.shape(0);
  const int64_t step = Options(p).Int32("frame_step", 0);
  p.Check(shape.size() >= 2 && step >= 1 && step <= shape.back(), "frames ", ToString(shape), " every ", step, " samples");
  const int64_t size = shape.back(), frames = shape[shape.size() - 2], rows = Product(shape, 0, shape.size() - 2);
  p.Check(frames * step <= INT32_MAX, frames, " frames every ", step, " samples");
  shape.pop_back();
  p.SetShape(0, WithLast(shape, frames * step));
  if (p.type(0) == TensorType::kFloat32) return EmitOverlapAdd<float>(p, rows, frames, size, step);
  EmitOverlapAdd<int16_t>(p, rows, frames, size, step);
}

// The last inputs along dimension 1. Only every cycles_max-th call goes on behind it; the others end here, and leave the outputs as they
// are.
void PrepareCircularBuffer(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckType(0, {TensorType::kInt8});
  p.CheckOutputType(0, {TensorType::kInt8});
  const Shape &input = p.shape(0), &output = p.model_shape(0);
  p.Check(input.size() == 4 && output.size() == 4 && input[1] == 1 && output[1] >= 1 &&
              output == Shape({input[0], output[1], input[2], input[3]}) && input[0] == 1,
          "an input ", ToString(input), " and an output ", ToString(output));
  const int64_t slots = output[1], depth = p.elements(0);
  int32_t cycles = Options(p).Int32("cycles_max", 0);
  if (cycles <= 0) cycles = slots == 5 || slots == 13 || slots == 25 ? 1 : 2;  // of models that are older than the option
  p.SetShape(0, output);
  const size_t bytes = static_cast<size_t>(slots * depth);
  const Memory memory(p, 0, bytes + sizeof(int32_t));
  p.Emit([=, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    Guarded(run, [&] {
      std::byte* kept = memory.Get<std::byte>(run);
      std::memmove(kept, kept + depth, bytes - static_cast<size_t>(depth));
      std::memcpy(kept + bytes - depth, run.get<std::byte>(x), static_cast<size_t>(depth));
      int32_t done;
      std::memcpy(&done, kept + bytes, sizeof(done));
      done = done + 1 == cycles ? 0 : done + 1;
      std::memcpy(kept + bytes, &done, sizeof(done));
      if (done != 0) return run.Stop();
      std::memcpy(run.get<std::byte>(y), kept, bytes);
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "CIRCULAR_BUFFER", .prepare = PrepareCircularBuffer, .traits = kImpure},
    {.name = "SignalDelay", .prepare = PrepareDelay, .traits = kImpure},
    {.name = "SignalEnergy", .prepare = PrepareEnergy},
    {.name = "SignalFftAutoScale", .prepare = PrepareAutoScale},
    {.name = "SignalFilterBank", .prepare = PrepareFilterBank},
    {.name = "SignalFilterBankLog", .prepare = PrepareLog},
    {.name = "SignalFilterBankSpectralSubtraction", .prepare = PrepareSubtraction, .traits = kImpure},
    {.name = "SignalFilterBankSquareRoot", .prepare = PrepareSquareRoot},
    {.name = "SignalFramer", .prepare = PrepareFramer, .traits = kImpure},
    {.name = "SignalIrfft", .prepare = PrepareIrfft},
    {.name = "SignalOverlapAdd", .prepare = PrepareOverlapAdd, .traits = kImpure},
    {.name = "SignalPCAN", .prepare = PrepareGainControl},
    {.name = "SignalRfft", .prepare = PrepareRfft},
    {.name = "SignalStacker", .prepare = PrepareStacker, .traits = kImpure},
    {.name = "SignalWindow", .prepare = PrepareWindow},
};

}  // namespace

std::span<const OpDef> signal_ops() { return kOps; }

}  // namespace sigrun::ops
