//! Parse, run, exit code.

use std::{process::ExitCode, time::Instant};

use gated_deploy::{inputs::Environment, ports::process, run};

fn main() -> ExitCode {
    let began = Instant::now();
    process::keep_memory_private();
    ExitCode::from(run::run(&Environment::of_this_process(), std::env::args_os(), began))
}
