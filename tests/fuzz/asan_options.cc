/// For the fuzzers of devices. What AddressSanitizer does by default and is off here costs a third of the
/// speed and finds nothing; ASAN_OPTIONS brings it back to look into a crash.
extern "C" const char* __asan_default_options() {  // NOLINT(bugprone-reserved-identifier)
  return "malloc_context_size=0:detect_stack_use_after_return=0:quarantine_size_mb=1";
}
