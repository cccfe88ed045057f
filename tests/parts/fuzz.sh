# Fuzzes what reads hostile bytes, sourced by tests/run and tests/soak.
# shellcheck shell=bash

readonly FUZZED=(proxy/wire proxy/vault)

# fuzz SECONDS: each target of each package for so long, as many beside each other as there are cores, beginning with the seeds
# that the repository keeps. libFuzzer needs unstable flags of the compiler; the pinned one takes them when told to. Sanitizers
# would need its sources. What a run finds new is kept in fuzz/corpus, which is in no commit; an input that fails is kept in
# fuzz/artifacts, and its path is printed.
fuzz() {
  local package
  for package in "${FUZZED[@]}"; do
    (cd "$package" && RUSTC_BOOTSTRAP=1 "$python/bin/cargo-fuzz" build --sanitizer none)
  done
  export -f fuzz_one
  export python
  for package in "${FUZZED[@]}"; do
    (cd "$package/fuzz/fuzz_targets" && printf "$package %s\n" *.rs)
  done | sed 's/\.rs$//' | xargs -P "$(nproc)" -L 1 bash -c 'fuzz_one "$@"' fuzz "$1"
}

# fuzz_one SECONDS PACKAGE TARGET
fuzz_one() {
  local seconds="$1" package="$2" target="$3" seeds=() log code=0
  cd "$package"
  log="$(mktemp)"
  mkdir -p "fuzz/corpus/$target"
  [ ! -d "fuzz/seeds/$target" ] || seeds=("fuzz/seeds/$target")
  RUSTC_BOOTSTRAP=1 "$python/bin/cargo-fuzz" run --sanitizer none "$target" "fuzz/corpus/$target" "${seeds[@]}" -- \
    "-max_total_time=$seconds" -verbosity=0 -print_final_stats=1 >"$log" 2>&1 || code=$?
  if [ "$code" -eq 0 ]; then
    printf 'fuzz %s of %s: %s inputs in %d s\n' "$target" "$package" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$seconds"
  else
    printf 'fuzz %s of %s failed:\n' "$target" "$package"
    tail -n 60 "$log"
    code=255 # xargs stops: what is found is looked at first
  fi
  rm -f "$log"
  return "$code"
}
