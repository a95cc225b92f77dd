//! One token key follows another (rule K9; design, decision 25).

use super::published::{PUBLISHED_BEFORE_S, is_forgotten};
use super::{Keys, TokenKeyError, TokenKeyRing};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::key::{KeyPurpose, KeyRecord};
use countersign_model::time::BACKDATE_S;
use countersign_model::{KeyId, Reference, Timestamp};
use countersign_storage::{Receipt, StorageError, Store, Transaction, Write};

/// When the new key begins to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// When every cache of the JWKS has had the time to see it.
    AfterPublication,
    /// At once, for a key in other hands: the keys before are deleted, and every token that they signed ends with them,
    /// stolen or not. Who verifies with a cached JWKS refuses new tokens until the cache is renewed.
    Now,
}

/// A rotation that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The new key.
    pub key: KeyId,
    /// From when on it signs.
    pub signs_from: Timestamp,
    /// The keys that sign nothing from then on; in an emergency all that there were, and they verify nothing either.
    pub retired: Vec<KeyId>,
    /// Where the change feed stands now.
    pub receipt: Receipt,
}

impl TokenKeyRing {
    /// Makes a new token key, publishes it, and ends the ones before when it begins to sign, in an emergency also for
    /// verifying. The first key of all signs at once. The audit event is in the same transaction.
    ///
    /// # Errors
    /// [`TokenKeyError::Pending`] when a published key has not begun to sign yet and `rotation` can wait;
    /// [`TokenKeyError::Overtaken`] when another rotation came between the order and its turn: its key would be deleted
    /// before its caller has read of it; [`TokenKeyError::NotInForce`] when it is committed and the keys cannot be read;
    /// [`TokenKeyError::Withdrawn`] when an emergency cannot be stored.
    pub async fn rotate(
        &self,
        store: &dyn Store,
        rotation: Rotation,
        actor: Actor,
        reference: Reference,
        now: Timestamp,
    ) -> Result<Rotated, TokenKeyError> {
        let ordered_among = store.keys(KeyPurpose::Token).await?;
        let _alone = self.changing.lock().await;
        let records = store.keys(KeyPurpose::Token).await?;
        let is_new = |record: &KeyRecord| !ordered_among.iter().any(|known| known.id == record.id);
        if records.iter().any(is_new) {
            return Err(TokenKeyError::Overtaken);
        }
        // Of those that sign no more, a key in other hands may be one as well.
        let emergency = rotation == Rotation::Now;
        let before: Vec<&KeyRecord> = records
            .iter()
            .filter(|record| emergency || record.retired_at.is_none_or(|retired_at| now < retired_at))
            .collect();
        let signs_from = match rotation {
            Rotation::AfterPublication if !before.is_empty() => now.plus_s(PUBLISHED_BEFORE_S),
            _ => now,
        };
        if let Some(next) = before.iter().find(|record| record.signs_from > now && signs_from > now) {
            return Err(TokenKeyError::Pending { key: next.id.clone(), signs_from: next.signs_from });
        }
        // One that signs at once is dated back: a clock that is set back a little, or another node's that runs late, would have
        // no key otherwise. One that waits for its publication waits that long in any case.
        let dated = if signs_from == now { now.plus_s(-BACKDATE_S) } else { signs_from };
        let new = KeyRecord { signs_from: dated, ..self.custody.generate(KeyPurpose::Token, now)? };
        let key = new.id.clone();
        let retired: Vec<KeyId> = before.iter().map(|record| record.id.clone()).collect();

        let facts = Facts {
            object: Some(key.0.clone()),
            detail: Some(match retired.len() {
                ended @ 1.. if emergency => format!("signs at once; keys ended with their tokens: {ended}"),
                _ => format!("signs from {signs_from} on"),
            }),
            ..Facts::default()
        };
        let event = AuditEvent::done(reference, now, AuditAction::TokenKeyRotated, actor, facts);
        let mut transaction = Transaction::new().write(Write::InsertKey(new)).record(event);
        for key in &retired {
            transaction = transaction.write(if emergency {
                Write::DeleteKey { key: key.clone() }
            } else {
                Write::RetireKey { key: key.clone(), at: signs_from }
            });
        }
        let receipt = match store.commit(transaction).await {
            // The key in other hands ends at once, whether or not there is another one to sign with (rule G20).
            Err(StorageError::NotStored(why)) if emergency => {
                self.take_over(Keys::of(Vec::new(), &self.custody, now)?, now);
                return Err(TokenKeyError::Withdrawn { ended: retired.len(), why });
            }
            committed => committed?,
        };
        let read = self.read_anew(store, now).await;
        read.map_err(|error| TokenKeyError::NotInForce(Box::new(error)))?;
        Ok(Rotated { key, signs_from, retired, receipt })
    }

    /// Deletes the keys whose last token has expired, and returns them. For a timer.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn forget_expired(
        &self,
        store: &dyn Store,
        now: Timestamp,
    ) -> Result<Vec<KeyId>, TokenKeyError> {
        let _alone = self.changing.lock().await;
        let records = store.keys(KeyPurpose::Token).await?;
        let forgotten: Vec<KeyId> =
            records.into_iter().filter(|record| is_forgotten(record, now)).map(|record| record.id).collect();
        if forgotten.is_empty() {
            return Ok(forgotten);
        }
        let delete =
            |transaction: Transaction, key: &KeyId| transaction.write(Write::DeleteKey { key: key.clone() });
        store.commit(forgotten.iter().fold(Transaction::new(), delete)).await?;
        self.read_anew(store, now).await?;
        Ok(forgotten)
    }
}
