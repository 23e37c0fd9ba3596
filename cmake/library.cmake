# packhorse_library(FOLDER DEPENDENCY...): static library packhorse_<folder> from src/<folder> and its subfolders.
# A folder without sources becomes a header-only target, so that layers can be built one after another.
function(packhorse_library folder)
  set(name packhorse_${folder})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${folder}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/python/|/main\\.cpp$")  # these become the extension and the executable
  if(sources)
    add_library(${name} STATIC ${sources})
    set(scope PUBLIC)
    target_compile_options(${name} PRIVATE ${PACKHORSE_WARNINGS})
  else()
    add_library(${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(${name} ${scope} ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(${name} ${scope} ${ARGN})
endfunction()

# add_isa(NAME FLAG...): the instructions of src/kernels/cpu/NAME.cpp. No other file may use them, nor share inline code
# with it (scripts/check_isa_objects looks at the objects); without exceptions the objects need no shared symbol for
# unwinding. GCC's own AVX-512 header sets off its warning about uninitialized values (GCC bug 105593).
function(add_isa name)
  set_source_files_properties(${PROJECT_SOURCE_DIR}/src/kernels/cpu/${name}.cpp PROPERTIES
    COMPILE_OPTIONS "${ARGN};-fno-exceptions;-Wno-uninitialized")
endfunction()
