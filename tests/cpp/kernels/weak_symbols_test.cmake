# cmake -D NM=<nm> -D OBJECTS=<file with one object a line> -P weak_symbols_test.cmake
# Fails if an object of a kernel tier defines a weak symbol: the linker keeps one copy of it for the whole program, and that copy may hold
# instructions which the machine lacks. Data that cannot hold instructions (type names for sanitizers, the reference to the personality
# routine) and the probes, which have baseline flags, may stay.
file(STRINGS ${OBJECTS} objects)
list(FILTER objects INCLUDE REGEX "/kernels/[^/]+/[^/]+$")
list(FILTER objects EXCLUDE REGEX "/probe\\.cc")
if(NOT objects)
  message(FATAL_ERROR "no object of a kernel tier in ${OBJECTS}")
endif()

set(found "")
foreach(object ${objects})
  execute_process(COMMAND ${NM} --defined-only ${object} OUTPUT_VARIABLE symbols RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${NM} cannot read ${object}")
  endif()
  string(REGEX MATCHALL "[^\n]* [WVu] [^\n]*" weak "${symbols}")
  list(FILTER weak EXCLUDE REGEX " V (DW\\.ref\\.|_ZT[IS])")
  foreach(symbol ${weak})
    string(APPEND found "  ${object}: ${symbol}\n")
  endforeach()
endforeach()

if(found)
  message(FATAL_ERROR "weak symbols in kernel tiers:\n${found}")
endif()
