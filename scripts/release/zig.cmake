# CMake with zig as its compiler, for every platform alike: clang with the headers and libraries of all of them.
# ZIG is the program, TARGET what it should compile for, ARCH the processor.
set(CMAKE_SYSTEM_NAME Linux) # even for the others: zig takes the options of a Linux linker and knows the rest itself
set(CMAKE_SYSTEM_PROCESSOR ${ARCH})
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ZIG TARGET ARCH)
set(CMAKE_CXX_COMPILER ${ZIG} c++)
set(CMAKE_CXX_COMPILER_TARGET ${TARGET})
set(CMAKE_CXX_ARCHIVE_CREATE "${ZIG} ar qcD <TARGET> <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_APPEND "${ZIG} ar qD <TARGET> <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_FINISH "")
