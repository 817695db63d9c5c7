# What tests/bench/run measures against. Not part of the test run.
add_executable(bench_sink EXCLUDE_FROM_ALL bench/sink.c)
target_link_libraries(bench_sink PRIVATE slipway_flags PkgConfig::MHD PkgConfig::CRYPTO
                                         Threads::Threads)
