//! What those in a room must bear of others: how often a host says something, and how often somebody comes and goes.

use std::{sync::Arc, time::Duration};

use tutti_common::{
    clock::UnixMs,
    config::Rates,
    ids::{RoomId, UserId},
    limits::{Rate, TokenBuckets, Wait},
};

/// How often hosts may say something at once, the default setting's a third.
const SYNCS_BURST: u32 = 40;

/// How many rooms a user may enter at once.
const JOINS_BURST: u32 = 20;

/// How many may come back to a room at once.
const RETURNS_BURST: u32 = 60;

/// Whether somebody has left a room in the last ten minutes: an empty bucket.
const LEFT: Rate = Rate {
    name: "room_left",
    max: 1,
    window: Duration::from_mins(10),
    burst: 1,
};

/// What those in rooms must bear of others.
#[derive(Clone)]
pub(crate) struct Budgets {
    rates: Rates,
    shared: Arc<TokenBuckets>,
    /// Who left which room is known by the process that took them out: otherwise each leave would be a call.
    left: Arc<TokenBuckets>,
}

impl Budgets {
    pub(crate) fn new(shared: Arc<TokenBuckets>, rates: Rates) -> Self {
        Self {
            rates,
            shared,
            left: Arc::default(),
        }
    }

    fn syncs(&self) -> Rate {
        Rate::per_minute("room_syncs", self.rates.room_syncs_per_minute, SYNCS_BURST)
    }

    /// Whether the host may say something.
    pub(crate) fn may_speak(&self, room: RoomId, now: UnixMs) -> Result<(), Wait> {
        self.shared.check(&room.to_string(), self.syncs(), now)
    }

    /// The host has said something. Counted afterwards: what was refused for another reason is no burden to the room, and whoever
    /// is not its host cannot use up what the host may say.
    pub(crate) fn has_spoken(&self, room: RoomId, now: UnixMs) {
        self.shared.spend(&room.to_string(), self.syncs(), now);
    }

    /// Somebody enters a room they are not in. Those who come for the first time are as many as there are users. Those who left
    /// and come back again and again share what the room may bear, so that they keep out nobody but themselves.
    pub(crate) fn enter(&self, user: UserId, room: RoomId, now: UnixMs) -> Result<(), Wait> {
        let joins = Rate::per_minute("user_joins", self.rates.user_joins_per_minute, JOINS_BURST);
        let returns = Rate::per_minute(
            "room_returns",
            self.rates.room_returns_per_minute,
            RETURNS_BURST,
        );
        self.shared.take(&user.to_string(), joins, now)?;
        if self.left.is_full(&left_key(user, room), LEFT, now) {
            return Ok(());
        }
        self.shared.take(&room.to_string(), returns, now)
    }

    /// Somebody has left by their own wish. Who was lost with a connection, and with all others perhaps, may come back.
    pub(crate) fn has_left(&self, user: UserId, room: RoomId, now: UnixMs) {
        let key = left_key(user, room);
        if self.rates.room_returns_per_minute > 0 && self.left.is_full(&key, LEFT, now) {
            self.left.spend(&key, LEFT, now);
        }
    }
}

fn left_key(user: UserId, room: RoomId) -> String {
    format!("{room}/{user}")
}
