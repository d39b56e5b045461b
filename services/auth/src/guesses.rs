//! How often an account's password may be guessed.

use std::{sync::Arc, time::Duration};

use futures_util::future::join3;
use tutti_common::{
    clock::SharedClock,
    limits::{Limiter, Rule, Wait},
};

use crate::{
    domain::network::Network,
    turns::{Turn, Turns},
};

const QUARTER: Duration = Duration::from_mins(15);

/// For how long wrong passwords from networks that an account does not know count together.
const TOGETHER: Duration = Duration::from_hours(1);

/// How many wrong passwords of one network are remembered at most.
const REMEMBERED: u32 = 1_000;

/// Counts wrong passwords.
#[derive(Clone)]
pub(crate) struct Guesses {
    limiter: Arc<dyn Limiter>,
    clock: SharedClock,
    turns: Turns,
    /// How many there may be of an account from one network in 15 minutes; 0 for no limit.
    max: u32,
}

/// From where an account's password is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin<'a> {
    /// A network where somebody logged in to the account before; or the caller does not say which.
    Known(Option<&'a Network>),
    /// Any other network.
    Unknown(&'a Network),
}

/// A password that is about to be checked. Those that count together are checked one after the other: else a hundred at once
/// would all be checked before the first of them is counted.
pub(crate) struct Guess<'a> {
    guesses: &'a Guesses,
    account: &'a str,
    origin: Origin<'a>,
    _turn: Option<Turn>,
}

/// Whether a password may be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// It may, and a wrong one is called wrong.
    Yes,
    /// It may. But a wrong one is refused as if it might not: this network has tried many, of whichever accounts.
    RightOnesOnly(Wait),
    /// It may not. Who asks shall not see whether that is because of the account or of the network, so it is to take as long as
    /// if it might.
    NoAndSlowly(Wait),
    /// It may not.
    No(Wait),
}

impl Guesses {
    pub(crate) fn new(limiter: Arc<dyn Limiter>, clock: SharedClock, max: u32) -> Self {
        Self {
            limiter,
            clock,
            turns: Turns::default(),
            max,
        }
    }

    /// Waits until those before are counted. `account` is the same for all that an account is called by.
    pub(crate) async fn begin<'a>(&'a self, account: &'a str, origin: Origin<'a>) -> Guess<'a> {
        let key = match origin {
            Origin::Known(network) => own_key(account, network),
            Origin::Unknown(network) => group_key(account, network),
        };
        let turn = match self.max {
            0 => None,
            _ => Some(self.turns.wait(&key).await),
        };
        Guess {
            guesses: self,
            account,
            origin,
            _turn: turn,
        }
    }

    /// Of one account, from one network.
    fn own(&self) -> Rule {
        Rule {
            name: "login_failures",
            max: self.max,
            window: QUARTER,
        }
    }

    /// Of one account, from all networks of a group that it does not know: as many as two of them may try.
    fn group(&self) -> Rule {
        Rule {
            name: "login_failures_group",
            max: self.max.saturating_mul(2),
            window: TOGETHER,
        }
    }

    /// Of all accounts together that do not know the network.
    fn network(&self) -> Rule {
        Rule {
            name: "login_failures_network",
            max: self.max,
            window: QUARTER,
        }
    }

    async fn check(&self, key: &str, rule: Rule) -> Result<(), Wait> {
        self.limiter.check(key, rule, self.clock.now()).await
    }

    async fn take(&self, key: &str, rule: Rule) -> Result<(), Wait> {
        self.limiter.take(key, rule, self.clock.now()).await
    }
}

impl Guess<'_> {
    /// Whether the password may be checked.
    pub(crate) async fn allowed(&self) -> Allowed {
        let guesses = self.guesses;
        let network = match self.origin {
            Origin::Known(network) => {
                return match guesses
                    .check(&own_key(self.account, network), guesses.own())
                    .await
                {
                    Ok(()) => Allowed::Yes,
                    Err(wait) => Allowed::No(wait),
                };
            }
            Origin::Unknown(network) => network,
        };
        let (own_key, group_key) = (
            own_key(self.account, Some(network)),
            group_key(self.account, network),
        );
        let network_key = network_key(network);
        let (own, group, all) = join3(
            guesses.check(&own_key, guesses.own()),
            guesses.check(&group_key, guesses.group()),
            guesses.check(&network_key, guesses.network()),
        )
        .await;
        match (own.and(group), all) {
            (Ok(()), Ok(())) => Allowed::Yes,
            (Ok(()), Err(wait)) => Allowed::RightOnesOnly(wait),
            (Err(_), Err(wait)) => Allowed::NoAndSlowly(wait),
            (Err(wait), Ok(())) => Allowed::No(wait),
        }
    }

    /// Counts that the password was wrong.
    pub(crate) async fn was_wrong(&self) -> Result<(), Wait> {
        let guesses = self.guesses;
        if guesses.max == 0 {
            return Ok(());
        }
        match self.origin {
            Origin::Known(network) => {
                guesses
                    .take(&own_key(self.account, network), guesses.own())
                    .await
            }
            Origin::Unknown(network) => {
                // All of them count, also those above the limit: whatever limits an account from here limits the network as
                // well, so that a limit tells nothing of the account.
                let all = Rule {
                    max: guesses.max.max(REMEMBERED),
                    ..guesses.network()
                };
                let (network_key, group_key) =
                    (network_key(network), group_key(self.account, network));
                let own_key = own_key(self.account, Some(network));
                let (all, own, group) = join3(
                    guesses.take(&network_key, all),
                    guesses.take(&own_key, guesses.own()),
                    guesses.take(&group_key, guesses.group()),
                )
                .await;
                all.and(own).and(group)
            }
        }
    }
}

fn own_key(account: &str, network: Option<&Network>) -> String {
    let network = network.map_or("", Network::as_str);
    format!("login:{account}:{network}")
}

fn group_key(account: &str, network: &Network) -> String {
    format!("login-group:{account}:{}", network.group(account))
}

fn network_key(network: &Network) -> String {
    format!("login-network:{}", network.as_str())
}
