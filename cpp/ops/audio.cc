#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <vector>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/fft.h"
#include "ops/support/flexbuffer.h"
#include "ops/support/worker_scratch.h"

// AudioSpectrogram and Mfcc: the front end of speech models, in double as LiteRT computes it.
namespace sigrun::ops {
namespace {

// --- AudioSpectrogram: [samples, channels] -> [channels, windows, frequencies] ---

struct Spectrogram {
  int64_t samples, channels, windows, stride;
  bool squared;
  std::vector<double> window;  // Hann
  RealFft fft;

  int64_t frequencies() const { return fft.frequencies(); }

  /// Windows that begin at first[0, rows).
  void Run(const float* const* first, int64_t rows, double* scratch, float* y) const {
    const int64_t samples_of_window = static_cast<int64_t>(window.size());
    fft.Forward(
        scratch, rows,
        [&](int64_t r, int64_t i) {
          return i < samples_of_window ? static_cast<double>(first[r][i * channels]) * window[static_cast<size_t>(i)] : 0.0;
        },
        [&](int64_t r, int64_t k, double real, double imag) {
          const float power = static_cast<float>(real * real + imag * imag);
          y[r * frequencies() + k] = squared ? power : std::sqrt(power);
        });
  }
};

void PrepareSpectrogram(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckType(0, {TensorType::kFloat32});
  p.CheckOutputType(0, {TensorType::kFloat32});
  p.Check(p.shape(0).size() == 2, "its input has shape ", ToString(p.shape(0)), ", expected samples and channels");
  const FlexMap options(p, p.custom_options());
  const int64_t size = options.Integer("window_size", 0), stride = options.Integer("stride", 0);
  p.Check(size >= 2 && size <= 1 << 24 && stride >= 1, "windows of ", size, " samples every ", stride);
  const int64_t samples = p.shape(0)[0], channels = p.shape(0)[1];
  std::vector<double> window;
  for (int64_t i = 0; i < size; ++i) {
    window.push_back(0.5 - 0.5 * std::cos(2.0 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(size)));
  }
  const Spectrogram s{.samples = samples,
                      .channels = channels,
                      .windows = samples < size ? 0 : 1 + (samples - size) / stride,
                      .stride = stride,
                      .squared = options.Bool("magnitude_squared", false),
                      .window = std::move(window),
                      .fft = RealFft(static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(size))))};
  p.SetShape(0, {static_cast<int32_t>(channels), static_cast<int32_t>(s.windows), static_cast<int32_t>(s.frequencies())});
  const WorkerScratch scratch(p, s.fft.scratch_bytes());
  p.Emit([s, scratch, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    run.Parallel(static_cast<int32_t>(s.channels * s.windows), 16 * s.fft.size, [&](kernels::Range range, int worker) {
      for (int64_t begin = range.begin; begin < range.end; begin += RealFft::kRows) {
        const int64_t rows = std::min<int64_t>(RealFft::kRows, range.end - begin);
        const float* first[RealFft::kRows];
        for (int64_t r = 0; r < rows; ++r) {
          first[r] = run.get<float>(x) + (begin + r) % s.windows * s.stride * s.channels + (begin + r) / s.windows;
        }
        s.Run(first, rows, reinterpret_cast<double*>(scratch.of(run, worker)), run.get<float>(y) + begin * s.frequencies());
      }
    });
  });
}

// --- Mfcc: squared magnitudes [channels, windows, frequencies] -> cepstral coefficients ---

/// Triangles on the mel scale: a frequency counts for the band on whose falling side it lies, and with the rest for the next.
struct MelBands {
  int64_t first = 0, last = -1;  // frequencies that count
  std::vector<int64_t> band;     // -1: before the first
  std::vector<double> weight;
};

double MelOf(double frequency) { return 1127.0 * std::log1p(frequency / 700.0); }

MelBands MakeBands(int64_t frequencies, double rate, int64_t bands, double low, double high) {
  const double mel_low = MelOf(low), spacing = (MelOf(high) - mel_low) / static_cast<double>(bands + 1);
  std::vector<double> centers;
  for (int64_t i = 0; i <= bands; ++i) centers.push_back(mel_low + spacing * static_cast<double>(i + 1));
  const double step = 0.5 * rate / static_cast<double>(frequencies - 1);
  MelBands m;
  m.first = static_cast<int64_t>(1.5 + low / step);  // never the constant
  m.last = std::min(frequencies - 1, static_cast<int64_t>(high / step));
  m.band.assign(static_cast<size_t>(frequencies), 0);
  m.weight.assign(static_cast<size_t>(frequencies), 0);
  size_t next = 0;
  for (int64_t k = m.first; k <= m.last; ++k) {
    const double mel = MelOf(static_cast<double>(k) * step);
    while (next < static_cast<size_t>(bands) && centers[next] < mel) ++next;
    const double below = next == 0 ? mel_low : centers[next - 1];
    m.band[static_cast<size_t>(k)] = static_cast<int64_t>(next) - 1;
    m.weight[static_cast<size_t>(k)] = (centers[next] - mel) / (centers[next] - below);
  }
  return m;
}

struct Mfcc {
  MelBands mel;
  int64_t windows, frequencies, bands, coefficients;
  std::vector<double> cosines;  // [coefficients, bands]

  void Run(const float* x, double* energy, float* y) const {
    std::fill_n(energy, bands, 0.0);
    for (int64_t k = mel.first; k <= mel.last; ++k) {
      const double magnitude = std::sqrt(static_cast<double>(x[k])), falling = magnitude * mel.weight[static_cast<size_t>(k)];
      const int64_t band = mel.band[static_cast<size_t>(k)];
      if (band >= 0) energy[band] += falling;
      if (band + 1 < bands) energy[band + 1] += magnitude - falling;
    }
    for (int64_t b = 0; b < bands; ++b) energy[b] = std::log(std::max(energy[b], 1e-12));
    for (int64_t c = 0; c < coefficients; ++c) {
      double sum = 0;
      for (int64_t b = 0; b < bands; ++b) sum += cosines[static_cast<size_t>(c * bands + b)] * energy[b];
      y[c] = static_cast<float>(sum);
    }
  }
};

Mfcc ReadMfcc(const Prepare& p) {
  const FlexMap options(p, p.custom_options());
  const int64_t bands = options.Integer("filterbank_channel_count", 0), coefficients = options.Integer("dct_coefficient_count", 0);
  const double high = static_cast<double>(options.Integer("upper_frequency_limit", 0)),
               low = static_cast<double>(options.Integer("lower_frequency_limit", 0));
  const int32_t rate = *p.known_as<int32_t>(1);
  const int64_t frequencies = p.shape(0)[2];
  p.Check(bands >= 1 && bands <= 1 << 16 && coefficients >= 1 && coefficients <= bands, coefficients, " coefficients of ", bands, " bands");
  p.Check(rate > 0 && frequencies >= 2, "a sample rate of ", rate, " and ", frequencies, " frequencies");
  p.Check(low >= 0 && high > low, "frequencies from ", low, " to ", high);
  Mfcc m{MakeBands(frequencies, rate, bands, low, high), int64_t{p.shape(0)[0]} * p.shape(0)[1], frequencies, bands, coefficients, {}};
  const double norm = std::sqrt(2.0 / static_cast<double>(bands)), angle = std::numbers::pi / static_cast<double>(bands);
  for (int64_t c = 0; c < coefficients; ++c) {
    for (int64_t b = 0; b < bands; ++b)
      m.cosines.push_back(norm * std::cos(static_cast<double>(c) * angle * (static_cast<double>(b) + 0.5)));
  }
  return m;
}

void PrepareMfcc(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckType(0, {TensorType::kFloat32});
  p.CheckType(1, {TensorType::kInt32});
  p.CheckOutputType(0, {TensorType::kFloat32});
  p.Check(p.shape(0).size() == 3, "its input has shape ", ToString(p.shape(0)), ", expected channels, windows and frequencies");
  p.Check(p.elements(1) == 1, "the sample rate has shape ", ToString(p.shape(1)));
  const Mfcc m = ReadMfcc(p);
  p.SetShape(0, {p.shape(0)[0], p.shape(0)[1], static_cast<int32_t>(m.coefficients)});
  const Slot energies = p.Scratch(static_cast<size_t>(m.bands * p.workers()) * sizeof(double));
  p.Emit([m, energies, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    run.Parallel(static_cast<int32_t>(m.windows), m.frequencies * 8 + m.bands * m.coefficients, [&](kernels::Range range, int worker) {
      for (int64_t i = range.begin; i < range.end; ++i) {
        m.Run(run.get<float>(x) + i * m.frequencies, run.get<double>(energies) + worker * m.bands, run.get<float>(y) + i * m.coefficients);
      }
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "AudioSpectrogram", .prepare = PrepareSpectrogram},
    {.name = "Mfcc", .prepare = PrepareMfcc},
};

}  // namespace

std::span<const OpDef> audio_ops() { return kOps; }

}  // namespace sigrun::ops
