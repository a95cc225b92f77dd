//! `countersign token-key`: the keys that sign access tokens.

use super::admin_client::{AdminClient, AdminTarget};
use super::console::Console;
use super::human::relative;
use crate::failure::Failure;
use crate::system::SystemClock;
use crate::words::printable;
use clap::Subcommand;
use countersign_api::admin::shapes::{RotateTokenKey, TokenKeyRotated};
use countersign_model::Clock;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish a new key now, and sign with it once everybody can have fetched it
    Rotate {
        /// For a key in other hands: sign with the new one at once, and end the former keys with every token they signed;
        /// verifiers that cache keys refuse new tokens for some minutes
        #[arg(long)]
        now: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        target: AdminTarget,
    },
}

impl Command {
    pub(crate) fn run(self, console: Console) -> Result<(), Failure> {
        let Self::Rotate { now, yes, target } = self;
        let admin = AdminClient::new(&target)?;
        if now {
            console.confirm(
                yes,
                "Sign with a new key at once, and end all tokens that were issued so far? Clients need new ones, and \
                 verifiers that cache keys refuse those for some minutes.",
            )?;
        }
        let rotated: TokenKeyRotated = admin.post("/token-keys/rotate", &RotateTokenKey { now })?;
        console.answer(&rotated, || {
            let present = SystemClock.now();
            let when = if rotated.signs_from <= present {
                "signs now".to_owned()
            } else {
                format!("signs {} ({})", relative(rotated.signs_from, present), rotated.signs_from)
            };
            format!("token key {} is published; it {when}\n", printable(&rotated.key_id.0))
        })
    }
}
