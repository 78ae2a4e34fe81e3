# fulmar_tsan_absl: links tsan_absl.cc (which says why) and leads the calls that it wraps to it. Only in thread sanitizer builds.
if(NOT FULMAR_SANITIZE MATCHES "thread")
  return()
endif()

file(STRINGS ${CMAKE_SOURCE_DIR}/cmake/tsan_absl.cc wraps REGEX "^WRAP\\(")
add_library(fulmar_tsan_absl OBJECT ${CMAKE_SOURCE_DIR}/cmake/tsan_absl.cc)
target_link_libraries(fulmar_tsan_absl PUBLIC fulmar::absl)
foreach(wrap IN LISTS wraps)
  string(REGEX REPLACE "^WRAP\\([a-z]+, ([A-Za-z0-9_]+),.*$" "\\1" symbol "${wrap}")
  target_link_options(fulmar_tsan_absl INTERFACE -Wl,--wrap=${symbol})
endforeach()
