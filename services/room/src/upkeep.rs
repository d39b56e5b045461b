//! What happens to rooms by itself: seats that nothing keeps, rooms that nobody is in, positions that are
//! not in the record yet, friendships that end, leftovers in the record.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tutti_common::{
    accounts::{self, News},
    clock::UnixMs,
    ids::{RoomId, UserId},
    rpc::Transport,
    shutdown::Shutdown,
};
use tutti_proto::auth::{FriendshipEnded, watch_accounts_response::Event};

use crate::{
    domain::{CloseReason, Command, LeaveReason, Room, View},
    error::RoomError,
    live::{CLAIM, Due},
    service::Rooms,
    store::StoreError,
};

/// How often is looked for what is due.
const DUE_EVERY: Duration = Duration::from_millis(200);

/// How often is looked whether live state was emptied.
const REFILL_EVERY: Duration = Duration::from_secs(1);

/// How often running positions go to the record; the contract allows 5 s.
const RECORD_EVERY: Duration = Duration::from_secs(2);

/// How often is looked for rooms that were to end and have not.
const FINISH_EVERY: Duration = Duration::from_secs(2);

/// How long whoever ends a room has for it before others do.
const CLOSING_FOR: Duration = Duration::from_secs(3);

/// How many such rooms are ended at a time.
const CLOSING_MAX: u32 = 100;

/// How much is taken at once.
const BATCH: usize = 256;

/// How much of it is done at the same time: one room that has to wait holds up few others.
const AT_ONCE: usize = 16;

/// How long to wait before what failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long before the start of a room service friendships may have ended that it hears of.
const MISSED: Duration = Duration::from_hours(1);

/// For how much longer than the grace nothing happened to a room before the sweep looks at it.
const SWEEP_MARGIN: Duration = Duration::from_mins(1);

impl Rooms {
    /// Brings all rooms back from the record, then calls `ready`, then keeps them up until the end. `accounts`
    /// is where ended friendships are heard of.
    pub async fn run(self, accounts: Transport, shutdown: Shutdown, ready: impl FnOnce() + Send) {
        while let Err(error) = self.refill().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot bring rooms back"
            );
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = shutdown.ending() => return,
            }
        }
        ready();
        tokio::join!(
            until_the_end(&shutdown, DUE_EVERY, || self.look_after_what_is_due()),
            until_the_end(&shutdown, REFILL_EVERY, || self.refill()),
            until_the_end(&shutdown, RECORD_EVERY, || self.record_positions()),
            until_the_end(&shutdown, FINISH_EVERY, || self.finish_closing()),
            until_the_end(&shutdown, self.settings.cleanup_interval, || self.sweep()),
            self.hear_of_friendships(accounts, &shutdown),
        );
    }

    /// Brings all rooms back from the record if live state is new or was emptied.
    ///
    /// # Errors
    /// When a part does not answer.
    pub async fn refill(&self) -> Result<(), RoomError> {
        if !self.live.is_filled().await? {
            self.restore_all().await?;
            self.live.set_filled().await?;
        }
        Ok(())
    }

    /// Brings all rooms back from the record that live state does not have.
    ///
    /// # Errors
    /// When a part does not answer.
    pub async fn restore_all(&self) -> Result<(), RoomError> {
        let mut last = None;
        loop {
            let rooms = self.store.list(last, 500).await?;
            let Some(&end) = rooms.last() else {
                return Ok(());
            };
            self.restore_each(rooms).await?;
            last = Some(end);
        }
    }

    /// Brings rooms back from the record. One that cannot be read keeps none of the others away.
    async fn restore_each(&self, rooms: Vec<RoomId>) -> Result<(), RoomError> {
        for room in rooms {
            let restored = async {
                let turn = self.turn(room).await?;
                self.restore(room, Some(&turn)).await
            };
            match restored.await {
                Ok(()) => {}
                Err(error) if error.is_passing() => return Err(error),
                Err(error) => tracing::error!(
                    %room,
                    error = &error as &dyn std::error::Error,
                    "a room cannot be brought back from the record"
                ),
            }
        }
        Ok(())
    }

    /// Ends seats and rooms whose time is up.
    ///
    /// # Errors
    /// When something could not be done, the first of it: it is due again soon. Everything else was done.
    pub async fn look_after_what_is_due(&self) -> Result<(), RoomError> {
        let mut outcome = Ok(());
        loop {
            let due = self.live.due(self.clock.now(), BATCH).await?;
            let last = due.len() < BATCH;
            let mut ends =
                stream::iter(due.into_iter().map(|due| self.end(due))).buffer_unordered(AT_ONCE);
            while let Some(ended) = ends.next().await {
                match ended {
                    Ok(()) | Err(RoomError::NotFound) => {}
                    Err(error) => outcome = outcome.and(Err(error)),
                }
            }
            if last {
                return outcome;
            }
        }
    }

    async fn end(&self, due: Due) -> Result<(), RoomError> {
        // Each looks again: somebody may have come back since it was due.
        match due {
            Due::Seat(room, user) => {
                let grace = self.settings.presence_grace;
                let decide = |view: &View, now| {
                    let expired = view
                        .seat(user)
                        .is_some_and(|seat| seat.expires_at(grace) <= now);
                    expired.then_some(Command::Leave {
                        user,
                        reason: LeaveReason::Disconnected,
                    })
                };
                if self.change(room, &[user], decide).await?.is_some() {
                    metrics::counter!("tutti_room_leases_expired_total").increment(1);
                }
            }
            Due::Room(room) => {
                let grace = self.settings.room_empty_grace;
                self.change(room, &[], |view, now| {
                    let over = view
                        .room
                        .empty_since
                        .is_some_and(|since| since + grace <= now);
                    over.then_some(Command::Close(CloseReason::Empty))
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Puts running positions into the record.
    ///
    /// # Errors
    /// When the record does not answer or does not take one of them; what is not there yet will be tried again.
    pub async fn record_positions(&self) -> Result<(), RoomError> {
        self.record_positions_as_of(self.clock.now()).await
    }

    /// The same at the end of this process: what it has claimed already is claimed once more.
    ///
    /// # Errors
    /// When the record does not answer.
    pub async fn record_last_positions(&self) -> Result<(), RoomError> {
        self.record_positions_as_of(self.clock.now() + CLAIM).await
    }

    async fn record_positions_as_of(&self, now: UnixMs) -> Result<(), RoomError> {
        let rooms = self.live.unrecorded(now).await?;
        let mut outcome = Ok(());
        for batch in rooms.chunks(BATCH) {
            match self.store.save_positions(batch).await {
                Ok(()) => self.live.recorded(batch, now).await?,
                // One that cannot be written keeps none of the others away.
                Err(StoreError::Broken(_)) => {
                    outcome = outcome.and(self.record_each(batch, now).await);
                }
                Err(error @ StoreError::Unavailable(_)) => return Err(error.into()),
            }
        }
        outcome
    }

    async fn record_each(&self, rooms: &[Room], now: UnixMs) -> Result<(), RoomError> {
        let mut outcome = Ok(());
        for room in rooms {
            let one = std::slice::from_ref(room);
            match self.store.save_positions(one).await {
                Ok(()) => self.live.recorded(one, now).await?,
                Err(error @ StoreError::Broken(_)) => {
                    tracing::error!(room = %room.id, "a room's position cannot be recorded");
                    outcome = outcome.and(Err(error.into()));
                }
                Err(error @ StoreError::Unavailable(_)) => return Err(error.into()),
            }
        }
        outcome
    }

    /// Ends the rooms that were to end and have not, since whoever did it died or could not go on.
    ///
    /// # Errors
    /// When something could not be done, the first of it; it will be tried again.
    pub async fn finish_closing(&self) -> Result<(), RoomError> {
        let before = self.clock.now() - CLOSING_FOR;
        let mut outcome = Ok(());
        for (room, reason) in self.store.closing(before, CLOSING_MAX).await? {
            outcome = outcome.and(self.end_leftover(room, reason).await);
        }
        outcome
    }

    /// Brings rooms back from the record that live state has lost or never had, though the others are there: as those of
    /// somebody who died before they were told of it. In live state they end when their time is up, as all do.
    ///
    /// # Errors
    /// When a part does not answer.
    pub async fn sweep(&self) -> Result<(), RoomError> {
        let since = self.clock.now() - self.settings.room_empty_grace - SWEEP_MARGIN;
        let mut last = None;
        loop {
            let rooms = self.store.quiet(since, last, 500).await?;
            let Some(&end) = rooms.last() else {
                return Ok(());
            };
            let mut missing = Vec::new();
            for room in rooms {
                if self.live.view(room, &[]).await?.is_none() {
                    missing.push(room);
                }
            }
            self.restore_each(missing).await?;
            last = Some(end);
        }
    }

    /// Takes former friends out, also those who were unfriended while no room service was there.
    async fn hear_of_friendships(&self, transport: Transport, shutdown: &Shutdown) {
        let since = self.clock.now() - MISSED;
        let listen = accounts::hear(transport, since, async |news| match news {
            News::Happened(Event::FriendshipEnded(ended)) => self.end_friendship(&ended).await,
            News::Happened(Event::SessionEnded(_)) | News::CaughtUp => Ok(()),
        });
        tokio::select! {
            never = listen => match never {},
            () = shutdown.ending() => {}
        }
    }

    /// An error is one that passes; the same friendship comes again.
    async fn end_friendship(&self, ended: &FriendshipEnded) -> Result<(), RoomError> {
        let (Ok(one), Ok(other)) = (ended.user_id.parse(), ended.other_user_id.parse()) else {
            tracing::error!("a friendship of unreadable users ended");
            return Ok(());
        };
        match self.part(one, other).await {
            Err(error) if !error.is_passing() => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot take a former friend out"
                );
                Ok(())
            }
            done => done,
        }
    }

    async fn part(&self, one: UserId, other: UserId) -> Result<(), RoomError> {
        // It may be old news: by now they may be friends again.
        if !self.are_friends(one, other).await? {
            self.friendship_ended(one, other).await?;
        }
        Ok(())
    }
}

/// Does something every so often until the end; what fails is logged and done again in its time.
async fn until_the_end<F>(shutdown: &Shutdown, every: Duration, mut what: impl FnMut() -> F)
where
    F: Future<Output = Result<(), RoomError>>,
{
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = shutdown.ending() => return,
        }
        if let Err(error) = what().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "upkeep of rooms failed"
            );
        }
    }
}
