//! PHP-FPM, nginx and the queue workers: whether they can be reloaded, and reloading them.

pub mod ready;
pub mod reload;
pub mod workers;
