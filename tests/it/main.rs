//! One binary for all stories.

mod inputs;
