//! Stories about the whole and its parts, one module each, in one binary.

mod github;
mod probe;
mod rows;
