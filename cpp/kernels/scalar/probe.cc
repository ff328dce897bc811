#include "kernels/kernels.h"

namespace sigrun::kernels::scalar {

void OverlayF32(Kernels& table);
void OverlayI8(Kernels& table);
void OverlayElements(Kernels& table);

bool Supported() { return true; }

void Overlay(Kernels& table) {
  OverlayF32(table);
  OverlayI8(table);
  OverlayElements(table);
}

}  // namespace sigrun::kernels::scalar
