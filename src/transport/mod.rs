//! The server's shell: one connection, one script a phase, answers as data. Only here sockets are opened.

pub mod shell;
pub mod ssh;
