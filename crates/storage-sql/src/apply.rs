//! One write, one or two statements. The answer is what the feed has to tell.

use crate::dialect::Connection;
use crate::{audit, certificates, changes, clients, crls, keys, operators};
use countersign_model::change::Changed;
use countersign_storage::{StorageError, Write};

/// Applies a write in the transaction that is open on `connection`.
pub(crate) async fn apply(
    connection: &mut Connection,
    write: &Write,
) -> Result<Option<Changed>, StorageError> {
    let nothing = |()| None;
    match write {
        Write::InsertClient(client) => clients::insert_client(connection, client).await.map(Some),
        Write::SetClientState { client, state, at } => {
            clients::set_client_state(connection, client, *state, *at).await
        }
        Write::EditClient { client, changes, at } => {
            clients::edit_client(connection, client, changes, *at).await
        }
        Write::InsertCredential(credential) => {
            clients::insert_credential(connection, credential).await.map(Some)
        }
        Write::InsertMatcherIfAbsent(credential) => {
            clients::insert_matcher_if_absent(connection, credential).await
        }
        Write::ExpireCredential { credential, expires_at } => {
            clients::expire_credential(connection, *credential, *expires_at).await
        }
        Write::RevokeCredential { credential } => clients::revoke_credential(connection, *credential).await,
        Write::ReplaceSecrets { new, known, others_end_at } => {
            clients::replace_secrets(connection, new, known, *others_end_at).await.map(Some)
        }
        Write::KeyIsFree { key_hash, client } => {
            certificates::key_is_free(connection, key_hash, client).await.map(nothing)
        }
        Write::InsertPendingCertificate(record) => {
            certificates::insert_pending(connection, record).await.map(nothing)
        }
        Write::MarkIssued { issuer, serial, der, thumbprint } => {
            certificates::mark_issued(connection, issuer, serial, der, thumbprint).await.map(nothing)
        }
        Write::MarkAbandoned { issuer, serial, at } => {
            certificates::mark_abandoned(connection, issuer, serial, *at).await.map(Some)
        }
        Write::RevokeCertificate { issuer, serial, at, reason } => {
            certificates::revoke(connection, issuer, serial, *at, *reason).await.map(Some)
        }
        Write::NoCertificateLeft { client, valid_at } => {
            certificates::none_left(connection, client, *valid_at).await.map(nothing)
        }
        Write::InsertIssuer(issuer) => crls::insert_issuer(connection, issuer).await.map(Some),
        Write::InsertKey(key) => keys::insert_key(connection, key).await,
        Write::RetireKey { key, at } => keys::retire_key(connection, key, *at).await,
        Write::DeleteKey { key } => keys::delete_key(connection, key).await,
        Write::PutCrl(crl) => crls::put_crl(connection, crl).await.map(Some),
        Write::RaiseCrlNumber { issuer, shard, number } => {
            crls::raise_crl_number(connection, issuer, *shard, *number).await
        }
        Write::InsertOperator(operator) => operators::insert_operator(connection, operator).await.map(Some),
        Write::ReplaceOperatorToken { name, token_hmac } => {
            operators::replace_token(connection, name, *token_hmac).await.map(Some)
        }
        Write::RestateOperatorToken { name, from, to } => {
            operators::restate_token(connection, name, *from, *to).await
        }
        Write::CredentialUsed { credential, at, uses } => {
            clients::credential_used(connection, *credential, *at, *uses).await.map(nothing)
        }
        Write::CertificateUsed { issuer, serial, at, calls } => {
            certificates::used(connection, issuer, serial, *at, *calls).await.map(nothing)
        }
        Write::SettleOutbox { through } => audit::settle_outbox(connection, *through).await.map(nothing),
        Write::SaveAuditHead(head) => audit::save_audit_head(connection, head).await.map(nothing),
        // The writer counts.
        Write::NumberEventsAfter(_) => Ok(None),
        Write::ForgetChanges { through } => changes::forget_changes(connection, *through).await.map(nothing),
    }
}
