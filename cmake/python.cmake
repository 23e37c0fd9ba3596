# The Python package: the extension packhorse._packhorse beside the modules of src/app/python/packhorse, laid out in
# build/python so that one .pth line makes it importable, and installed into wheels. From Python 3.12 on the extension uses
# the stable interface, so that one wheel serves every later Python.
file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/app/python/*.cpp)
find_package(Python 3.11 REQUIRED COMPONENTS Interpreter Development.Module OPTIONAL_COMPONENTS Development.SABIModule)
if(SKBUILD_SABI_VERSION AND NOT TARGET Python::SABIModule)
  message(FATAL_ERROR "A wheel for Python ${Python_VERSION} needs CMake 3.26 (got ${CMAKE_VERSION})")
endif()
execute_process(COMMAND ${Python_EXECUTABLE} -m nanobind --cmake_dir
  OUTPUT_STRIP_TRAILING_WHITESPACE OUTPUT_VARIABLE nanobind_ROOT COMMAND_ERROR_IS_FATAL ANY)
find_package(nanobind CONFIG REQUIRED)

nanobind_add_module(_packhorse NB_STATIC STABLE_ABI ${sources} ${PROJECT_SOURCE_DIR}/src/app/vllm_flags.cpp)
target_link_libraries(_packhorse PRIVATE packhorse_engine)
target_link_options(_packhorse PRIVATE LINKER:--exclude-libs,ALL)
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

nanobind_add_stub(python_stub MODULE packhorse._packhorse OUTPUT ${package}/_packhorse.pyi PYTHON_PATH ${PROJECT_BINARY_DIR}/python
  DEPENDS _packhorse)

# Parts of a wheel, not of an installation.
install(TARGETS _packhorse LIBRARY DESTINATION packhorse COMPONENT python EXCLUDE_FROM_ALL)
install(FILES ${package}/_packhorse.pyi DESTINATION packhorse COMPONENT python EXCLUDE_FROM_ALL)
if(SKBUILD)  # a wheel also brings the command line
  install(TARGETS packhorse RUNTIME DESTINATION ${SKBUILD_SCRIPTS_DIR} COMPONENT python)
endif()
