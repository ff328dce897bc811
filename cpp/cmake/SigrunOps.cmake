# Every file of cpp/ops is one operator family and defines `std::span<const OpDef> sigrun::ops::<file>_ops()`; this writes the table of them,
# so that adding a family touches one file.
function(sigrun_write_op_list output)
  set(declarations "")
  set(rows "")
  foreach(source ${ARGN})
    get_filename_component(name ${source} NAME_WE)
    string(APPEND declarations "std::span<const OpDef> ${name}_ops();\n")
    string(APPEND rows "    ${name}_ops,\n")
    set_property(SOURCE ${source} APPEND PROPERTY COMPILE_DEFINITIONS SIGRUN_OP_FAMILY=${name}_ops)
  endforeach()
  file(CONFIGURE OUTPUT ${output} CONTENT
"#include \"ops/op.h\"

namespace sigrun::ops {
@declarations@
namespace {
constexpr OpFamily kFamilies[] = {
@rows@};
}
std::span<const OpFamily> OpFamilies() { return kFamilies; }
}  // namespace sigrun::ops
" @ONLY)
endfunction()
