# Writes ${OUT} only when its content changes.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
  OUTPUT_VARIABLE revision OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR NOT revision)
  set(revision unknown)
endif()
file(CONFIGURE OUTPUT ${OUT} @ONLY CONTENT [[
#include "fulmar/version.h"

namespace fulmar {

const char* Version() { return "@VERSION@"; }
const char* Revision() { return "@revision@"; }

}  // namespace fulmar
]])
