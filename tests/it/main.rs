//! Stories: what people do with the action, and what they would see.

mod build;
