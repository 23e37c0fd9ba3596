# The Python package: the extension packhorse._packhorse beside the modules of src/app/python/packhorse, laid out in
# build/python so that one .pth line makes it importable, and installed into wheels.
file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/app/python/*.cpp)
if(NOT sources)
  return()
endif()
find_package(Python 3.11 REQUIRED COMPONENTS Interpreter Development.Module)
execute_process(COMMAND ${Python_EXECUTABLE} -m nanobind --cmake_dir
  OUTPUT_STRIP_TRAILING_WHITESPACE OUTPUT_VARIABLE nanobind_ROOT COMMAND_ERROR_IS_FATAL ANY)
find_package(nanobind CONFIG REQUIRED)

nanobind_add_module(_packhorse NB_STATIC ${sources})
target_link_libraries(_packhorse PRIVATE packhorse_engine)
target_include_directories(_packhorse SYSTEM PRIVATE ${NB_DIR}/include)  # no warnings from there
target_compile_options(_packhorse PRIVATE ${PACKHORSE_WARNINGS})

set(package ${PROJECT_BINARY_DIR}/python/packhorse)
set_target_properties(_packhorse PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${package})
file(GLOB_RECURSE modules CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/src/app/python/packhorse
  ${PROJECT_SOURCE_DIR}/src/app/python/packhorse/*.py ${PROJECT_SOURCE_DIR}/src/app/python/packhorse/py.typed)
foreach(module ${modules})
  cmake_path(GET module PARENT_PATH subfolder)
  file(MAKE_DIRECTORY ${package}/${subfolder})
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/src/app/python/packhorse/${module} ${package}/${module} SYMBOLIC)
endforeach()

install(TARGETS _packhorse LIBRARY DESTINATION packhorse COMPONENT python)
if(SKBUILD)  # a wheel also brings the command line
  install(TARGETS packhorse RUNTIME DESTINATION ${SKBUILD_SCRIPTS_DIR} COMPONENT python)
endif()
