#include "kernels/avx512/dot_i8.h"
#include "kernels/avx512/low_bits.h"
#include "kernels/common/plain_tiles_i8.h"
// The vocabulary above comes first.
#include "kernels/avx512/lookup.h"
#include "kernels/common/conv_i8.h"
#include "kernels/common/depthwise_i8.h"
#include "kernels/common/elementwise_i8.h"
#include "kernels/common/elementwise_16.h"
#include "kernels/common/lines_i8.h"
#include "kernels/common/low_bits_i8.h"
#include "kernels/common/pool_i8.h"
#include "kernels/common/rows_i8.h"

namespace sigrun::kernels::avx512 {

void OverlayI8(Kernels& table) {
  OverlayConvI8(table);
  OverlayLowBits(table);
  OverlayDepthwiseI8(table);
  OverlayPoolI8(table);
  OverlayElementwiseI8(table);
  OverlayRowsI8(table);
  OverlayElementwise16(table);
  table.lookup_8 = Lookup;
  table.sum_lookups_8 = SumLookups;
  OverlayLinesI8(table);
}

}  // namespace sigrun::kernels::avx512
