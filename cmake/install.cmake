# Installing: the command line and the engine as a shared library. The library shows the names of packhorse.h alone, so a
# program needs none of the libraries inside it, and the exported targets serve as the whole package configuration.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# The layers that define the facade go in whole; the others, and archives, as far as they are needed. Before version 1.0 a
# minor version may change the facade.
add_library(libpackhorse SHARED $<TARGET_OBJECTS:packhorse_engine> $<TARGET_OBJECTS:packhorse_base>)
add_library(packhorse::packhorse ALIAS libpackhorse)
target_link_libraries(libpackhorse PRIVATE packhorse_engine)
target_link_options(libpackhorse PRIVATE LINKER:--version-script=${PROJECT_SOURCE_DIR}/cmake/packhorse.map)
target_include_directories(libpackhorse INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
target_compile_features(libpackhorse INTERFACE cxx_std_17)
set_target_properties(libpackhorse PROPERTIES OUTPUT_NAME packhorse EXPORT_NAME packhorse VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR} LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/packhorse.map)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/packhorse)
file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/packhorse.pc.in packhorse.pc @ONLY)
write_basic_package_version_file(packhorseConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(TARGETS packhorse RUNTIME)
install(TARGETS libpackhorse EXPORT packhorse INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY include/packhorse TYPE INCLUDE)
install(FILES LICENSE NOTICES TYPE DOC)
install(EXPORT packhorse NAMESPACE packhorse:: FILE packhorseConfig.cmake DESTINATION ${package})
install(FILES ${PROJECT_BINARY_DIR}/packhorseConfigVersion.cmake DESTINATION ${package})
install(FILES ${PROJECT_BINARY_DIR}/packhorse.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
