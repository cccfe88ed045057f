//! Benchmarks: criterion benches of each stage and the side-by-side load bench.
