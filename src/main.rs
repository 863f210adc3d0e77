//! Parse, run, exit code.

use std::{process::ExitCode, time::Instant};

use gated_deploy::{inputs::Environment, run};

fn main() -> ExitCode {
    let began = Instant::now();
    ExitCode::from(run::run(&Environment::of_this_process(), std::env::args_os(), began))
}
