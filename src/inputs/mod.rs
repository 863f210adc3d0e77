//! From the runner's environment, the command line and the policy file to typed inputs. Only this room reads the environment.

pub mod typed;
