//! One suite for every backend: what the ports promise, held by tests.
//!
//! A backend's test target writes `conformance_tests!(with_store)` and gets one test for each case below; `with_store`
//! is an async function that opens an empty store, runs the case it is given, and clears up.

#![expect(clippy::unwrap_used, reason = "a panic is a test's verdict")]

pub mod atomicity;
pub mod audit;
pub mod certificates;
pub mod clients;
pub mod crls;
pub mod feed;
pub mod fixtures;
pub mod interleaved;
pub mod keys;

use crate::{StorageError, Store, Transaction, Write};

/// Makes a `#[tokio::test]` of every case, run by `$with_store(case)`.
#[macro_export]
macro_rules! conformance_tests {
    ($with_store:path) => {
        $crate::conformance_tests!($with_store =>
            clients::a_client_is_read_as_it_was_written
            clients::a_client_id_is_taken_once
            clients::clients_are_paged_in_the_order_of_their_ids
            clients::a_change_of_state_ends_the_tokens_once
            clients::an_edit_ends_the_tokens_if_it_takes_something_away
            clients::edits_of_different_members_do_not_undo_each_other
            clients::credentials_are_read_as_they_were_written_oldest_first
            clients::a_credential_needs_its_client_and_an_id_of_its_own
            clients::rule_c4_a_certificate_matcher_belongs_to_one_client
            clients::a_matcher_is_added_only_if_absent
            clients::an_expiry_is_only_brought_forward
            clients::a_credential_is_revoked_once
            clients::uses_of_a_credential_add_up
            clients::rule_c12_a_secret_replaces_all_others_of_its_client
            clients::rule_c12_of_two_replacements_at_once_one_wins
            certificates::rule_p1_a_serial_is_used_once_by_its_issuer
            certificates::rule_p7_a_row_is_pending_before_it_is_issued
            certificates::rule_p10_a_key_belongs_to_one_client
            certificates::rule_p10_of_many_clients_with_one_key_one_wins
            certificates::certificates_are_listed_by_their_expiry
            certificates::a_row_begins_as_pending_and_of_a_known_client
            certificates::only_a_pending_row_is_issued_or_abandoned
            certificates::rule_r5_the_first_revocation_stays
            certificates::what_was_revoked_or_abandoned_is_not_issued
            certificates::only_an_active_client_is_issued_a_certificate
            certificates::what_is_left_to_revoke_is_found
            certificates::uses_of_a_certificate_add_up
            certificates::a_listing_is_paged_newest_first
            certificates::a_listing_is_filtered
            certificates::a_listing_is_filtered_by_profile_and_expiry
            crls::rule_r1_an_entry_stays_until_it_was_on_one_crl_after_its_expiry
            crls::revoked_and_abandoned_certificates_are_listed_by_issuer_and_shard
            crls::rule_r1_the_crl_number_strictly_increases
            crls::rule_r7_a_number_that_was_published_elsewhere_is_not_used_again
            crls::issuers_are_listed_in_the_order_of_their_making
            keys::keys_are_listed_by_purpose_oldest_first
            keys::rule_k9_a_token_key_retires_and_is_forgotten
            keys::operators_are_listed_by_name
            keys::an_operator_gets_another_token
            keys::the_value_of_an_operators_token_is_restated
            feed::every_write_that_a_view_must_know_of_adds_one_change
            feed::writes_that_no_view_needs_add_no_change
            feed::what_changes_nothing_adds_no_change
            feed::the_feed_is_read_in_pages_and_in_order
            feed::forgotten_changes_do_not_come_back
            feed::a_follower_is_woken_with_the_last_sequence
            atomicity::a_failed_transaction_leaves_nothing
            atomicity::a_write_sees_the_ones_before_it
            atomicity::a_failed_transaction_does_not_disturb_the_others
            atomicity::rule_p1_of_many_writers_of_one_serial_one_wins
            atomicity::an_empty_transaction_is_committed
            audit::events_wait_in_the_outbox_in_order_until_settled
            audit::outbox_rows_are_not_used_twice
            audit::rule_r7_events_are_counted_and_never_numbered_twice
            audit::the_head_of_each_chain_is_kept
        );
    };
    ($with_store:path => $($group:ident::$case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                $with_store($crate::conformance::$group::$case).await;
            }
        )*
    };
}

/// Commits one write. The sequence of the feed after it.
async fn commit(store: &dyn Store, write: Write) -> Result<u64, StorageError> {
    store.commit(Transaction::new().write(write)).await.map(|receipt| receipt.sequence)
}

/// Commits all of `writes`, each on its own; every one must succeed.
async fn commit_each(store: &dyn Store, writes: impl IntoIterator<Item = Write>) {
    for write in writes {
        commit(store, write).await.unwrap();
    }
}
