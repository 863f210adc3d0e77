//! `build-gate`: from a built tree to a bundle, and everything that stops on the way.

mod app;
mod foreign;
mod gate;
mod pack;
