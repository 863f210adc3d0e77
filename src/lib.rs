//! gated-deploy
