//! `quickstart`: the whole product on one's own machine in a minute, with demo partners and a demo API behind it.
//!
//! - [`partners`]: the three partners with their files.
//! - [`demo_api`]: what is behind the gateway.
//! - [`printed`]: what stands on the terminal when it is ready.

pub mod demo_api;
pub mod partners;
pub mod printed;
