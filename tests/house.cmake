# What is checked beside the behaviour: other builds of the same tests, and the house style.
# Registered in the address-sanitizer build only, which is the one that scripts/test runs; the other
# builds are made here as fixtures, so that one ctest run is everything.

if(NOT SLIPWAY_TESTS OR NOT SLIPWAY_SANITIZE MATCHES "address")
  return()
endif()

# house_build(PRESET TARGETS...): without targets all of it.
function(house_build preset)
  add_test(NAME house.build-${preset}
           COMMAND ${PROJECT_SOURCE_DIR}/tests/house/build ${preset} ${ARGN})
  set_tests_properties(house.build-${preset} PROPERTIES
    FIXTURES_SETUP build_${preset} PROCESSORS 2 TIMEOUT 1800 LABELS house
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
endfunction()

# house_check(NAME TIMEOUT ARGS...): tests/house/NAME run from the source folder.
function(house_check name timeout)
  add_test(NAME house.${name} COMMAND ${PROJECT_SOURCE_DIR}/tests/house/${name} ${ARGN})
  set_tests_properties(house.${name} PROPERTIES
    TIMEOUT ${timeout} LABELS house WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
endfunction()

house_build(tsan)
house_build(release slipway bench_sink bench_pushes counts)
house_build(fuzz)

add_test(NAME tsan.unit
         COMMAND ${CMAKE_CTEST_COMMAND} --test-dir ${PROJECT_SOURCE_DIR}/build/tsan
                 --no-tests=error --output-on-failure -L unit)
set_tests_properties(tsan.unit PROPERTIES
  FIXTURES_REQUIRED build_tsan TIMEOUT 1500 COST 240 LABELS "house;tsan"
  ENVIRONMENT "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1")

# The integration tests in which threads meet: uploads, pushes, clients and registries that go away.
add_test(NAME tsan.integration
         COMMAND ${SLIPWAY_PYTHON} -m pytest -q -p no:cacheprovider
                 tests/integration/test_server.py tests/integration/test_registries.py
                 tests/integration/test_front_chunks.py tests/integration/test_front_resume.py
                 tests/integration/test_kills.py tests/integration/test_mirrors.py)
set_tests_properties(tsan.integration PROPERTIES
  FIXTURES_REQUIRED build_tsan TIMEOUT 1500 COST 140 LABELS "house;tsan"
  WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
  ENVIRONMENT "SLIPWAY=${PROJECT_SOURCE_DIR}/build/tsan/slipway;TSAN_OPTIONS=halt_on_error=1:exitcode=66;SLIPWAY_ROUNDS=3;PYTHONDONTWRITEBYTECODE=1;PYTHONHASHSEED=0")

add_test(NAME valgrind.push
         COMMAND ${PROJECT_SOURCE_DIR}/tests/house/valgrind-push
                 ${PROJECT_SOURCE_DIR}/build/release/slipway)
set_tests_properties(valgrind.push PROPERTIES
  FIXTURES_REQUIRED build_release TIMEOUT 300 LABELS "house;valgrind"
  WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})

add_test(NAME fuzz.search
         COMMAND ${PROJECT_SOURCE_DIR}/tests/house/fuzz ${PROJECT_SOURCE_DIR}/build/fuzz)
set_tests_properties(fuzz.search PROPERTIES
  FIXTURES_REQUIRED build_fuzz TIMEOUT 600 COST 75 LABELS "house;fuzz"
  WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})

house_check(format 60)
house_check(shell 60)
house_check(documents 60)
house_check(cppcheck 300)
house_check(clang-tidy 900 ${CMAKE_BINARY_DIR})
set_tests_properties(house.clang-tidy PROPERTIES PROCESSORS 2)
