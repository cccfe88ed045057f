//! The product from outside, a module a topic; the names of the tests are its promises. `tests/run` starts what they need.

mod attacks;
mod audit;
mod bounds;
mod canary;
mod cli;
mod clients;
mod decision;
mod demo;
mod drain;
mod framing;
mod http2;
mod integrity;
mod keysources;
mod kills;
mod lies;
mod metrics;
mod patients;
mod phi;
mod python;
mod reload;
mod sessions;
mod streams;
mod tokens;
mod transport;
mod views;
mod workspace;
