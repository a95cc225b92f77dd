//! Makes the authorities of a new installation: a root, and one issuing CA each for clients and for servers.
//!
//! Separate intermediates, so that none carries a purpose that its leaves contradict (rule P2).

use crate::signing_issuer::SigningIssuer;
use crate::{CertificateAuthority, Refusal, Settings};
use countersign_keys::Custody;
use countersign_model::audit::{Actor, AuditAction, AuditEvent, CertificateRef, Facts};
use countersign_model::certificate::{CertificateRecord, CertificateState, Issuer, IssuerRole, Profile};
use countersign_model::key::{KeyPurpose, KeyRecord};
use countersign_model::{Clock, IssuerId, Reference, Rng, Timestamp};
use countersign_pki::{
    CertificatePolicy, CertificateTemplate, IssuerIdentity, PublicKey, Subject, profile, serial, thumbprint,
};
use countersign_storage::{Store, Transaction, Write};
use std::sync::Arc;

impl CertificateAuthority {
    /// Makes what is missing of the three authorities; does nothing on an installation that has them. A start that was
    /// cut short is completed by the next one: each authority is one transaction.
    ///
    /// # Errors
    /// What storage or custody suffer from; [`Refusal::DocumentsMoved`] when there are authorities with another address.
    pub async fn initialize(
        settings: &Settings,
        store: &Arc<dyn Store>,
        custody: &Arc<Custody>,
        clock: &Arc<dyn Clock>,
        rng: &Arc<dyn Rng>,
    ) -> Result<(), Refusal> {
        let mut root = None;
        for (role, common_name) in [
            (IssuerRole::Root, "Root CA"),
            (IssuerRole::Clients, "Client CA"),
            (IssuerRole::Servers, "Server CA"),
        ] {
            let existing = store.issuers().await?.into_iter().find(|issuer| issuer.role == role);
            let signing = match existing {
                Some(issuer) => SigningIssuer::open(&issuer, settings, store.as_ref(), custody).await?,
                None => {
                    let maker = Maker { settings, store, custody, clock, rng };
                    maker.make(role, common_name, root.as_ref()).await?
                }
            };
            if role == IssuerRole::Root {
                root = Some(signing);
            }
        }
        Ok(())
    }
}

/// What making an authority takes.
struct Maker<'a> {
    settings: &'a Settings,
    store: &'a Arc<dyn Store>,
    custody: &'a Arc<Custody>,
    clock: &'a Arc<dyn Clock>,
    rng: &'a Arc<dyn Rng>,
}

impl Maker<'_> {
    async fn make(
        &self,
        role: IssuerRole,
        common_name: &str,
        root: Option<&SigningIssuer>,
    ) -> Result<SigningIssuer, Refusal> {
        let now = self.clock.now();
        let key = self.custody.generate(KeyPurpose::CertificateAuthority, now)?;
        let signer = self.custody.signer(&key)?;
        let id: IssuerId = role.as_str().parse().map_err(|_| Refusal::NotFound("issuer"))?;
        let (record, template) = self.prepare(&id, role, common_name, root, &key, now)?;
        let linted = template.to_be_signed()?.lint(&CertificatePolicy {
            profile: template.profile,
            issuer: &template.issuer,
            subject: &template.subject,
            names: &template.names,
            public_key: &template.public_key,
            crl_url: template.crl_url.as_deref(),
            issuer_url: template.issuer_url.as_deref(),
            now,
        })?;

        // Rule P7 holds for CAs too: the key and the row are on disk before the signature. Both belong to one attempt: a
        // crash in between leaves a pending row that the next start gives up, and a key without an issuer.
        let pending = Transaction::new().write(Write::InsertKey(key.clone()));
        self.store.commit(pending.write(Write::InsertPendingCertificate(record.clone()))).await?;

        let signed_by = root.map_or(&signer, |root| &root.signer);
        let signature = signed_by.sign(linted.message()).await?;
        let der = linted.assemble(&signature)?;
        let thumbprint = thumbprint(&der);
        let issuer = Issuer { id: id.clone(), role, certificate: der.clone(), key: key.id, created_at: now };
        let facts = Facts {
            certificate: Some(CertificateRef {
                issuer: Some(record.issuer.clone()),
                serial: Some(record.serial),
                thumbprint: Some(thumbprint),
            }),
            object: Some(record.profile.to_string()),
            ..Facts::default()
        };
        let reference = Reference::generate(now, self.rng.as_ref());
        let event = AuditEvent::done(reference, now, AuditAction::CertificateIssued, Actor::System, facts);
        let issued = Write::MarkIssued { issuer: record.issuer, serial: record.serial, der, thumbprint };
        let insert = Write::InsertIssuer(issuer.clone());
        self.store.commit(Transaction::new().write(issued).write(insert).record(event)).await?;
        SigningIssuer::new(&issuer, signer)
    }

    fn prepare(
        &self,
        id: &IssuerId,
        role: IssuerRole,
        common_name: &str,
        root: Option<&SigningIssuer>,
        key: &KeyRecord,
        now: Timestamp,
    ) -> Result<(CertificateRecord, CertificateTemplate), Refusal> {
        let profile = if role == IssuerRole::Root { Profile::RootCa } else { Profile::IssuingCa };
        let public_key =
            PublicKey::from_spki_der(&key.public_key).map_err(|_| Refusal::NotFound("public key"))?;
        let serial = serial::generate(self.rng.as_ref());
        let organization = &self.settings.organization;
        let subject = Subject::authority(organization, &format!("{organization} {common_name}"));
        let validity = profile::validity(profile, now, root.map(|root| root.identity.not_after()))
            .ok_or(Refusal::Conflict("the root has expired"))?;
        // The root signs its own ledger: its CRL speaks of the issuing CAs.
        let signed_by = root.map_or(id, |root| &root.id);
        let record = CertificateRecord {
            issuer: signed_by.clone(),
            serial,
            state: CertificateState::Pending,
            profile,
            environment: None,
            client: None,
            subject: subject.to_string(),
            names: Vec::new(),
            key_hash: public_key.key_hash(),
            not_before: validity.not_before,
            not_after: validity.not_after,
            crl_shard: 0,
            renews: None,
            thumbprint: None,
            der: None,
            created_at: now,
            last_seen_at: None,
            calls: 0,
        };
        let template = CertificateTemplate {
            profile,
            issuer: match root {
                Some(root) => root.identity.clone(),
                None => IssuerIdentity::root(&subject, &public_key, validity.not_after)?,
            },
            serial,
            subject,
            names: Vec::new(),
            public_key,
            not_before: validity.not_before,
            not_after: validity.not_after,
            crl_url: root.map(|root| self.settings.crl_url(&root.id, 0)),
            issuer_url: root.map(|root| self.settings.issuer_url(&root.id)),
        };
        Ok((record, template))
    }
}
