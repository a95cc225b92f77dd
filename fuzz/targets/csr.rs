//! A certificate request, PEM or DER: what a partner sends to `cert sign`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(csr) = countersign_pki::Csr::parse(data) {
        // What passed is a key that we would certify.
        csr.public_key().check_strength().expect("a key that the parser let pass is strong");
        let _ = csr.requested_names();
        let _ = (csr.clients_named(), csr.not_granted(&Default::default(), &[]));
    }
});
