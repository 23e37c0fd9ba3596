# packhorse_library(FOLDER DEPENDENCY...): static library packhorse_<folder> from src/<folder> and its subfolders.
function(packhorse_library folder)
  set(name packhorse_${folder})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${folder}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/python/|/main\\.cpp$")  # these become the extension and the executable
  add_library(${name} STATIC ${sources})
  target_compile_options(${name} PRIVATE ${PACKHORSE_WARNINGS})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(${name} PUBLIC ${ARGN})
endfunction()

# add_isa(NAME FLAG...): the instructions of src/kernels/cpu/NAME.cpp. No other file may use them, nor share inline code
# with it (scripts/check_isa_objects looks at the objects); without exceptions the objects need no shared symbol for
# unwinding. GCC's own AVX-512 header sets off its warning about uninitialized values (GCC bug 105593). For fuzz targets,
# which never run them, they are compiled without checks: minutes less.
function(add_isa name)
  set_source_files_properties(${PROJECT_SOURCE_DIR}/src/kernels/cpu/${name}.cpp PROPERTIES
    COMPILE_OPTIONS "${ARGN};-fno-exceptions;-Wno-uninitialized;$<$<BOOL:${PACKHORSE_FUZZ}>:-fno-sanitize=all>")
endfunction()
