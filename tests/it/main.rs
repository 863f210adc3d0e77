//! Stories: what people do with the action, and what they would see. Real servers, real PHP, real OpenSSH; only GitHub is played.

mod build;
mod deploy;
mod github;
mod inputs;
mod probe;
mod refusals;
mod rows;
mod ssh;
mod support;
