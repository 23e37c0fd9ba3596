# xgrammar as a static library, for structured output. It is compiled with the hooks of src/engine/structured/, through
# which it stops when its time is up and says what is wrong with a grammar; in few units and with little optimization,
# which takes half the time (and without UBSan, as that doubles it).
find_program(PYTHON_WITH_PIP NAMES python3 HINTS ${PROJECT_SOURCE_DIR}/.venv/bin REQUIRED)
execute_process(COMMAND ${PYTHON_WITH_PIP} ${PROJECT_SOURCE_DIR}/cmake/fetch_xgrammar.py
  OUTPUT_STRIP_TRAILING_WHITESPACE OUTPUT_VARIABLE xgrammar COMMAND_ERROR_IS_FATAL ANY)
file(GLOB_RECURSE sources ${xgrammar}/cpp/*.cc)
list(FILTER sources EXCLUDE REGEX "/tvm_ffi/")  # its Python extension
add_library(xgrammar STATIC ${sources})
set_target_properties(xgrammar PROPERTIES UNITY_BUILD ON)
set(parts ${xgrammar}/include ${xgrammar}/cpp ${xgrammar}/3rdparty/picojson ${xgrammar}/3rdparty/dlpack/include)
target_include_directories(xgrammar SYSTEM PUBLIC ${parts})
set(settings XGRAMMAR_ENABLE_CPPTRACE=0 XGRAMMAR_ENABLE_INTERNAL_CHECK=0 XGRAMMAR_LOG_CUSTOMIZE=1)
target_compile_definitions(xgrammar PUBLIC ${settings})
set(hooks ${PROJECT_SOURCE_DIR}/src/engine/structured/xgrammar_hooks.h)
target_compile_options(xgrammar PRIVATE -w $<$<CONFIG:Release>:-O1> $<$<CONFIG:Sanitize>:-fno-sanitize=undefined>
  "SHELL:-include ${hooks}")
