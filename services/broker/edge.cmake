# The broker's gRPC edge, included by CMakeLists.txt here.
