//! What one ES256 signature costs on this core: the yardstick for the cost of a token.

use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde::Serialize;

use crate::measure::cpu_time;

const LENGTH: Duration = Duration::from_secs(1);
/// About the signing input of an access token.
const MESSAGE: [u8; 700] = [b'x'; 700];

#[derive(Serialize)]
pub(crate) struct Calibration {
    es256_signature_us: f64,
}

/// Signs for a second and takes the mean of the CPU time: the clock on the wall also counts what others take of the core.
pub(crate) fn run() -> Result<Calibration, Box<dyn std::error::Error>> {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let random = SystemRandom::new();
    let this_process = [std::process::id()];
    let before = cpu_time(&this_process)?.unwrap_or_default();
    let started = Instant::now();
    let mut signatures = 0_u32;
    while started.elapsed() < LENGTH {
        key.sign(&random, &MESSAGE)?;
        signatures += 1;
    }
    let used = cpu_time(&this_process)?.unwrap_or_default().saturating_sub(before);
    Ok(Calibration { es256_signature_us: used.as_secs_f64() * 1e6 / f64::from(signatures) })
}
