//! What somebody could send us on purpose: an API that lies, an artifact that is a trap, a server that answers with commands. A clear
//! refusal, little memory, little time, and nothing changed.
//!
//! Parsers get their bytes from `fuzz/corpus` and from the fuzzer (docs/fuzzing.md); here is what needs a network or a whole run.

mod api;
mod dotenv;
mod ssh;
mod zip;
