# Integration tests: tests/integration/test_NAME.py, each file one test integration.NAME that runs
# the slipway of this build against real registries and clients. Two house checks that need no
# slipway stand here too, as they share the language.

find_program(SLIPWAY_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)

file(GLOB integration_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/integration/test_*.py)
foreach(source IN LISTS integration_tests)
  get_filename_component(stem ${source} NAME_WE)
  string(REPLACE "test_" "" name ${stem})
  add_test(NAME integration.${name}
           COMMAND ${SLIPWAY_PYTHON} -m pytest -q -p no:cacheprovider ${source})
  set_tests_properties(integration.${name} PROPERTIES
    TIMEOUT 600 LABELS integration
    ENVIRONMENT "SLIPWAY=$<TARGET_FILE:slipway>;PYTHONDONTWRITEBYTECODE=1;PYTHONHASHSEED=0")
endforeach()

# These compare times, count what a second brings, or need all cores: nothing else may run beside them.
foreach(name fanout front_crowd mixed_attack overlap sharing)
  if(TEST integration.${name})
    set_tests_properties(integration.${name} PROPERTIES RUN_SERIAL ON)
  endif()
endforeach()
# This counts threads, which a test beside it does not change, but needs room to make them.
if(TEST integration.threads)
  set_tests_properties(integration.threads PROPERTIES PROCESSORS 2 COST 100)
endif()
# The release build that these measure; registered in tests/house.cmake where it is.
foreach(name bench fanout front_crowd memory mixed_attack overlap secrets threads years)
  if(TEST integration.${name} AND SLIPWAY_SANITIZE MATCHES "address")
    set_tests_properties(integration.${name} PROPERTIES FIXTURES_REQUIRED build_release)
  endif()
endforeach()
# One Docker engine and one podman storage at a time.
foreach(name docker_engine front_clients identity matrix)
  if(TEST integration.${name})
    set_tests_properties(integration.${name} PROPERTIES RESOURCE_LOCK containers)
  endif()
endforeach()

# Seconds: the longest begin first, so that none is left alone at the end.
foreach(cost memory=90 matrix=70 compression=60 mirrors=45 layers=42 bad_archives=39)
  string(REGEX MATCH "(.*)=(.*)" cost ${cost})
  if(TEST integration.${CMAKE_MATCH_1})
    set_tests_properties(integration.${CMAKE_MATCH_1} PROPERTIES COST ${CMAKE_MATCH_2})
  endif()
endforeach()

add_test(NAME house.includes
         COMMAND ${SLIPWAY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/support/check_includes.py
                 ${PROJECT_SOURCE_DIR})
add_test(NAME house.headers
         COMMAND ${SLIPWAY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/support/check_headers.py
                 ${PROJECT_SOURCE_DIR} ${CMAKE_BINARY_DIR})
set_tests_properties(house.includes house.headers PROPERTIES TIMEOUT 120 LABELS house)
