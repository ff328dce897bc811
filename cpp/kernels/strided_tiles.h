#pragma once

#include <cstdint>

namespace sigrun::kernels {

/// Tiles along an axis, each of `pixels` pixels that lie `step` apart. All pixels that can be reached so from one another have tiles of
/// their own, as many as the others.
struct StridedTiles {
  int32_t pixels, step;

  /// How many an axis takes.
  [[gnu::always_inline]] constexpr int32_t Count(int32_t length) const {
    return step * (((length + step - 1) / step + pixels - 1) / pixels);
  }
  /// The first pixel of a tile. There may be none left for it: it is behind the axis then.
  [[gnu::always_inline]] constexpr int32_t First(int32_t tile) const { return tile % step + tile / step * pixels * step; }
};

}  // namespace sigrun::kernels
