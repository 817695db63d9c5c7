# What tests/bench/run measures against; integration.bench runs it with tiny images.
if(SLIPWAY_TESTS)
  add_executable(bench_sink bench/sink.c)
  target_link_libraries(bench_sink PRIVATE slipway_flags PkgConfig::MHD PkgConfig::CRYPTO
                                           Threads::Threads)
  add_executable(bench_pushes bench/pushes.c)
  target_link_libraries(bench_pushes PRIVATE slipway_gateway)
endif()
