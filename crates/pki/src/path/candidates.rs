//! Which of the certificates that a peer sends beside its own may be part of a path (rule T13).
//!
//! A path builder works on all that it is given: nine CAs with one name can be put in order in a million ways, and each
//! step of each way reads all certificates again. So the choice is made here, from names alone, before the builder sees
//! anything. A certificate is chosen if its subject is the issuer of the end entity or of one that is chosen already.
//! Every other certificate costs a look at two names, and beyond [`MAX_LOOKED_AT`] nothing.

use der::asn1::AnyRef;
use der::{Decode, SliceReader, Tag};

/// Most certificates that are chosen. No authority in use needs a longer path.
pub(super) const MAX_CHOSEN: usize = 4;
/// Most bytes of the chosen certificates together: the path builder reads them again at each step.
pub(super) const MAX_CHOSEN_BYTES: usize = 32 * 1024;
/// Most certificates whose names are read, in the order in which they were sent.
pub(super) const MAX_LOOKED_AT: usize = 32;

/// The distinct certificates of `offered` that are on the name path from `end_entity`, nearest first.
pub(super) fn on_name_path<'a>(end_entity: &[u8], offered: &[&'a [u8]]) -> Vec<&'a [u8]> {
    if offered.is_empty() {
        return Vec::new();
    }
    let Some(names) = Names::read(end_entity) else { return Vec::new() };
    let mut wanted = vec![names.issuer];
    let mut off_path: Vec<(&'a [u8], Names<'a>)> =
        offered.iter().take(MAX_LOOKED_AT).filter_map(|der| Some((*der, Names::read(der)?))).collect();
    let mut chosen: Vec<&'a [u8]> = Vec::new();
    let mut room = MAX_CHOSEN_BYTES;
    let mut next = 0;
    // Breadth first, and each wanted name is looked for once.
    while let Some(&name) = wanted.get(next) {
        next += 1;
        off_path.retain(|(der, names)| {
            if names.subject != name {
                return true;
            }
            if chosen.len() < MAX_CHOSEN && der.len() <= room && !chosen.contains(der) {
                room -= der.len();
                chosen.push(der);
                if !wanted.contains(&names.issuer) {
                    wanted.push(names.issuer);
                }
            }
            false
        });
    }
    chosen
}

/// The names of a certificate, as they are written in it.
struct Names<'a> {
    issuer: &'a [u8],
    subject: &'a [u8],
}

impl<'a> Names<'a> {
    /// Reads as far as the subject (RFC 5280 section 4.1), and of each field only its length and its content as a whole.
    /// `None` if the input does not begin like a certificate.
    fn read(certificate: &'a [u8]) -> Option<Self> {
        let mut certificate = SliceReader::new(field(&mut SliceReader::new(certificate).ok()?)?).ok()?;
        let mut to_be_signed = SliceReader::new(field(&mut certificate)?).ok()?;
        if matches!(Tag::peek(&to_be_signed), Ok(Tag::ContextSpecific { .. })) {
            field(&mut to_be_signed)?; // version; version 1 leaves it out
        }
        let _serial = field(&mut to_be_signed)?;
        let _signature_algorithm = field(&mut to_be_signed)?;
        let issuer = field(&mut to_be_signed)?;
        let _validity = field(&mut to_be_signed)?;
        let subject = field(&mut to_be_signed)?;
        Some(Self { issuer, subject })
    }
}

fn field<'a>(reader: &mut SliceReader<'a>) -> Option<&'a [u8]> {
    AnyRef::decode(reader).ok().map(|field| field.value())
}
