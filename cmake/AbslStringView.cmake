# Debian builds Abseil as C++14, so absl::string_view is a class of its own and does not know std::string_view: StrCat, Status,
# StrSplit and flat_hash_map::find would want a conversion by hand at each call. This makes copies of three headers, in the build
# tree, in which the two convert into each other, and puts them before the installed ones. Only inline functions are added: layout
# and symbols stay, so the installed libraries fit as they are. Nothing is done where Abseil uses std::string_view itself.
find_path(FULMAR_ABSL_INCLUDE NAMES absl/strings/string_view.h REQUIRED)
mark_as_advanced(FULMAR_ABSL_INCLUDE)

# Copies `header` with `addition` put before the first `anchor`.
function(fulmar_absl_overlay header anchor addition)
  file(READ ${FULMAR_ABSL_INCLUDE}/${header} text)
  string(FIND "${text}" "${anchor}" position)
  if(position EQUAL -1)
    message(FATAL_ERROR "cmake/AbslStringView.cmake does not know this version of ${FULMAR_ABSL_INCLUDE}/${header}")
  endif()
  string(SUBSTRING "${text}" 0 ${position} head)
  string(SUBSTRING "${text}" ${position} -1 tail)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/absl_overlay/${header} @ONLY
    CONTENT "#include <string_view>\n#include <type_traits>\n${head}${addition}\n${tail}")
endfunction()

file(READ ${FULMAR_ABSL_INCLUDE}/absl/base/options.h absl_options)
if(absl_options MATCHES "define ABSL_OPTION_USE_STD_STRING_VIEW 0")
  # Templates that take exactly std::string_view, so that braces and literals find the same constructor as before.
  fulmar_absl_overlay(absl/strings/string_view.h "  // Iterators\n\n  // string_view::begin()" [[
  template <typename T, typename std::enable_if<std::is_same<T, std::string_view>::value>::type* = nullptr>
  constexpr string_view(T view) noexcept : ptr_(view.data()), length_(view.size()) {}
  constexpr operator std::string_view() const noexcept { return {ptr_, length_}; }
]])
  fulmar_absl_overlay(absl/strings/str_cat.h "  // Use string literals \":\" instead of character literals" [[
  template <typename T, typename std::enable_if<std::is_same<T, std::string_view>::value>::type* = nullptr>
  AlphaNum(T view) : piece_(view) {}
]])
  fulmar_absl_overlay(absl/strings/internal/str_split_internal.h "  // Disable conversion from rvalue strings." [[
  template <typename T, typename std::enable_if<std::is_same<T, std::string_view>::value>::type* = nullptr>
  ConvertibleToStringView(T view) : value_(view) {}
]])
  target_include_directories(fulmar_dep_absl SYSTEM INTERFACE ${CMAKE_BINARY_DIR}/absl_overlay)
endif()
