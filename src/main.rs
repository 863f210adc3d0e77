//! Parse, run, exit code.

use std::{process::ExitCode, time::Instant};

use gated_deploy::{
    app::{self, process},
    config::Environment,
};

fn main() -> ExitCode {
    let began = Instant::now();
    process::keep_memory_private();
    ExitCode::from(app::run(&Environment::of_this_process(), std::env::args_os(), began))
}
