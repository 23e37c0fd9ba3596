# How everything is compiled. The baseline is plain x86-64: only the files named in add_isa() get more instructions.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)  # the libraries also end up in the Python extension
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_CXX_FLAGS_SANITIZE "-O1 -g1 -fno-omit-frame-pointer -fno-sanitize-recover=all")
if(NOT CMAKE_BUILD_TYPE)
  if(PACKHORSE_SANITIZE)
    set(CMAKE_BUILD_TYPE Sanitize)
  else()
    set(CMAKE_BUILD_TYPE Release)
  endif()
endif()
if(PACKHORSE_SANITIZE)
  add_compile_options(-fsanitize=${PACKHORSE_SANITIZE})
  add_link_options(-fsanitize=${PACKHORSE_SANITIZE})
endif()

# Contraction into fused multiply-adds would make results depend on the compiler and the file.
add_compile_options(-ffp-contract=off -ffunction-sections -fdata-sections)
add_link_options(-Wl,--gc-sections)
# GCC 12 takes strings that it inlined for uninitialized ones.
set(PACKHORSE_WARNINGS -Wall -Wextra -Wpedantic -Wshadow $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
if(PACKHORSE_WERROR)
  set(CMAKE_COMPILE_WARNING_AS_ERROR ON)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Precompiled headers need these settings, or every file that uses one misses the cache.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE_PROGRAM})
endif()
