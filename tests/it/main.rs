//! Stories: what people do with the action, and what they would see. Real servers, real PHP, real OpenSSH; only GitHub is played.

mod audit;
mod build;
mod cancel;
mod deploy;
mod evidence;
mod examples;
mod failures;
mod github;
mod handbook;
mod image;
mod inputs;
mod outline;
mod plan;
mod preflight;
mod probe;
mod production;
mod receipt;
mod refusals;
mod reports;
mod rows;
mod secrets;
mod smoke;
mod ssh;
mod sshd;
mod support;
mod workers;
