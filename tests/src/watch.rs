//! Listening to a room.

use std::time::Duration;

use tonic::{Status, Streaming};
use tutti_proto::rooms::{
    HostChangeReason, LeaveReason, Room, RoomCloseReason, RoomEvent, WatchRoomResponse,
    room_event::Event,
};

use crate::TestApp;

/// How long a story waits for an event before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A room's events, one after the other.
pub struct Watch {
    /// How the room was when the watch began.
    pub snapshot: Room,
    stream: Streaming<WatchRoomResponse>,
    app: TestApp,
}

impl Watch {
    pub(crate) async fn begin(
        stream: Streaming<WatchRoomResponse>,
        app: TestApp,
    ) -> Result<Self, Status> {
        let mut watch = Self {
            snapshot: Room::default(),
            stream,
            app,
        };
        let first = watch.try_next().await?.unwrap();
        let Some(Event::Snapshot(snapshot)) = first.event else {
            panic!("a watch begins with a snapshot, not with {first:?}");
        };
        assert_eq!(
            (first.revision, first.version),
            (snapshot.revision, snapshot.version)
        );
        watch.snapshot = snapshot;
        Ok(watch)
    }

    async fn try_next(&mut self) -> Result<Option<RoomEvent>, Status> {
        let heard = tokio::time::timeout(PATIENCE, self.stream.message()).await;
        let heard = heard.expect("something happens in the room")?;
        Ok(heard.map(|heard| heard.event.unwrap()))
    }

    /// The next event; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<RoomEvent> {
        self.try_next().await.unwrap()
    }

    /// The next event, in words.
    pub async fn hear(&mut self) -> String {
        let event = self.next().await.expect("another event");
        in_words(&self.app, &event)
    }

    /// All events until the room is closed, as they came.
    pub async fn events(mut self) -> Vec<RoomEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// All events until the room is closed, in words.
    pub async fn rest(self) -> Vec<String> {
        let app = self.app.clone();
        let events = self.events().await;
        events.iter().map(|event| in_words(&app, event)).collect()
    }
}

fn in_words(app: &TestApp, event: &RoomEvent) -> String {
    match event.event.as_ref().expect("an event says what it is") {
        Event::Snapshot(_) => "snapshot".to_owned(),
        Event::UserJoined(joined) => {
            let name = &joined.member.as_ref().unwrap().username;
            format!("{name} joined: {}", joined.member_count)
        }
        Event::UserLeft(left) => {
            let name = &left.member.as_ref().unwrap().username;
            let reason = match left.reason() {
                LeaveReason::Unspecified => panic!("a reason is given: {event:?}"),
                LeaveReason::Left => "left",
                LeaveReason::Disconnected => "was disconnected",
                LeaveReason::AccessRevoked => "may stay no longer",
            };
            format!("{name} {reason}: {}", left.member_count)
        }
        Event::StateSynced(synced) => {
            let playback = synced.state.as_ref().unwrap().playback.unwrap();
            let what = if playback.playing { "plays" } else { "paused" };
            format!("{what} at {}", playback.position)
        }
        Event::HostChanged(changed) => {
            let host = app.name_of(&changed.host_id);
            let previous = app.name_of(&changed.previous_host_id);
            match changed.reason() {
                HostChangeReason::Unspecified => panic!("a reason is given: {event:?}"),
                HostChangeReason::Left => format!("{host} is host after {previous} left"),
                HostChangeReason::Disconnected => {
                    format!("{host} is host after {previous} was disconnected")
                }
                HostChangeReason::Transferred => {
                    format!("{host} is host as {previous} wished")
                }
            }
        }
        Event::RoomTiming(timing) => format!("{} listen", timing.listeners),
        Event::RoomClosed(closed) => match closed.reason() {
            RoomCloseReason::Unspecified => panic!("a reason is given: {event:?}"),
            RoomCloseReason::ClosedByHost => "closed by its host".to_owned(),
            RoomCloseReason::ClosedByOperator => "closed by an operator".to_owned(),
            RoomCloseReason::Empty => "closed, since nobody was there".to_owned(),
        },
    }
}
