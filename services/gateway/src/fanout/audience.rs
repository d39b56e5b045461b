//! Those who hear a room here, and what each is told of its events.

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;
use tutti_common::{clock::UnixMs, ids::ConnectionId};
use tutti_proto::{
    rooms::{
        self as pb, HostChangeReason, LeaveReason, Room, RoomEvent, State, UserJoined, UserLeft,
        room_event::Event,
    },
    unix_ms,
};

use crate::{
    json, meters,
    socket::{
        Connection, Line,
        packet::{Message, event_to_client},
    },
};

/// Events kept for a connection whose join is under way. A join takes 2 s at most: more than this is a
/// flood, and the connection is closed rather than left with a gap.
const PENDING_MAX: usize = 1_024;

/// Those who hear a room here.
#[derive(Default)]
pub(super) struct Audience {
    members: HashMap<ConnectionId, Member>,
    known: Option<Known>,
    /// The last word on the room's timing, for those who come later.
    timing: Option<Arc<RoomEvent>>,
}

struct Member {
    connection: Arc<Connection>,
    /// The connection's, here as well: a state goes to everybody a second or oftener, and each look elsewhere
    /// is memory that is not in the processor's cache.
    line: Arc<Line>,
    hears: Hears,
}

impl Member {
    fn new(connection: &Arc<Connection>, hears: Hears) -> Self {
        Self {
            connection: connection.clone(),
            line: connection.line().clone(),
            hears,
        }
    }
}

enum Hears {
    /// Its join is under way; what comes meanwhile is kept.
    Later(Vec<Arc<RoomEvent>>),
    /// What is newer than the revision it has.
    After(u64),
}

/// A room as of the last event, to notice what a gap hid.
struct Known {
    host_id: String,
    /// Names by id.
    participants: HashMap<String, String>,
    /// Whether those are all: a snapshot names the first 500.
    is_complete: bool,
}

impl Known {
    fn of(room: &Room) -> Self {
        let members = room.members.iter();
        Self {
            host_id: room.host_id.clone(),
            participants: members
                .map(|member| (member.user_id.clone(), member.username.clone()))
                .collect(),
            is_complete: room.members.len() == room.member_count as usize,
        }
    }

    /// What must have happened for a room to look like this now.
    fn missed(&self, now: &Self, room: &Room) -> Vec<Event> {
        let mut missed = Vec::new();
        let member_count = room.member_count;
        let member = |(user_id, username): (&String, &String)| {
            Some(pb::Member {
                user_id: user_id.clone(),
                username: username.clone(),
            })
        };
        if self.is_complete {
            let came = now.participants.iter();
            let came = came.filter(|(user_id, _)| !self.participants.contains_key(*user_id));
            missed.extend(came.map(|who| {
                Event::UserJoined(UserJoined {
                    member: member(who),
                    member_count,
                })
            }));
        }
        // Behind those who came and before those who went: the host is always one who is there.
        if self.host_id != now.host_id {
            missed.push(Event::HostChanged(pb::HostChanged {
                host_id: now.host_id.clone(),
                previous_host_id: self.host_id.clone(),
                reason: HostChangeReason::Disconnected.into(),
            }));
        }
        if now.is_complete {
            let went = self.participants.iter();
            let went = went.filter(|(user_id, _)| !now.participants.contains_key(*user_id));
            missed.extend(went.map(|who| {
                Event::UserLeft(UserLeft {
                    member: member(who),
                    member_count,
                    reason: LeaveReason::Disconnected.into(),
                })
            }));
        }
        missed
    }
}

impl Audience {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// A connection is about to join: what comes meanwhile is kept for it. One that hears already goes on.
    pub(super) fn expect(&mut self, connection: &Arc<Connection>) {
        self.members
            .entry(connection.id)
            .or_insert_with(|| Member::new(connection, Hears::Later(Vec::new())));
    }

    /// Whether a connection's join is done.
    pub(super) fn has(&self, id: ConnectionId) -> bool {
        let member = self.members.get(&id);
        member.is_some_and(|member| matches!(member.hears, Hears::After(_)))
    }

    /// A connection is in and has what there was at `revision`: it hears what came after that.
    pub(super) fn admit(&mut self, connection: &Arc<Connection>, revision: u64) {
        let member = Member::new(connection, Hears::After(revision));
        if let Some(before) = self.members.insert(connection.id, member)
            && let Hears::Later(kept) = before.hears
        {
            for event in kept {
                let mut telling = Telling::of(&event);
                if let Some(member) = self.members.get_mut(&connection.id) {
                    telling.tell(&connection.id, member);
                }
                self.after(telling);
            }
        }
        if let Some(timing) = &self.timing
            && let Some(happened) = &timing.event
        {
            connection.offer(&encode(timing, happened));
        }
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, id: ConnectionId) -> bool {
        self.members.remove(&id).is_some()
    }

    /// Hands an event to everybody it is for, and before it what a gap hid.
    pub(super) fn hear(&mut self, event: &Arc<RoomEvent>) {
        let Some(happened) = &event.event else { return };
        match happened {
            Event::Snapshot(room) => {
                let now = Known::of(room);
                let missed = match &self.known {
                    Some(known) => known.missed(&now, room),
                    None => Vec::new(),
                };
                self.known = Some(now);
                for happened in missed {
                    self.hand_out(&Arc::new(RoomEvent {
                        event: Some(happened),
                        ..RoomEvent::clone(event)
                    }));
                }
            }
            Event::UserJoined(UserJoined { member, .. }) => {
                if let (Some(known), Some(member)) = (&mut self.known, member) {
                    let (user_id, username) = (member.user_id.clone(), member.username.clone());
                    if known.participants.insert(user_id, username).is_some() {
                        // A gap hid that they had gone.
                        return;
                    }
                }
            }
            Event::UserLeft(UserLeft { member, .. }) => {
                if let (Some(known), Some(member)) = (&mut self.known, member) {
                    known.participants.remove(&member.user_id);
                }
            }
            Event::HostChanged(changed) => {
                if let Some(known) = &mut self.known {
                    known.host_id.clone_from(&changed.host_id);
                }
            }
            Event::RoomTiming(_) => self.timing = Some(event.clone()),
            Event::StateSynced(_) | Event::RoomClosed(_) => {}
        }
        self.hand_out(event);
    }

    fn hand_out(&mut self, event: &Arc<RoomEvent>) {
        let mut telling = Telling::of(event);
        for (id, member) in &mut self.members {
            telling.tell(id, member);
        }
        self.after(telling);
    }

    fn after(&mut self, telling: Telling<'_>) {
        if let Some(happened) = &telling.event.event {
            meters::events_out(name_of(happened), telling.count);
        }
        for id in telling.gone {
            self.members.remove(&id);
        }
    }
}

/// One event on its way to those who are here. It is encoded once, when the first one wants it.
struct Telling<'a> {
    event: &'a Arc<RoomEvent>,
    /// The connection it came by, which knows.
    from: Option<ConnectionId>,
    message: Option<Message>,
    /// How many were told.
    count: u64,
    /// Those who are out afterwards.
    gone: Vec<ConnectionId>,
}

impl<'a> Telling<'a> {
    fn of(event: &'a Arc<RoomEvent>) -> Self {
        let from = match &event.event {
            Some(Event::StateSynced(synced)) => synced.connection_id.as_deref(),
            _ => None,
        };
        Self {
            event,
            from: from.and_then(|id| id.parse().ok()),
            message: None,
            count: 0,
            gone: Vec::new(),
        }
    }

    fn message(&mut self, happened: &Event) -> &Message {
        self.count += 1;
        let event = self.event;
        self.message.get_or_insert_with(|| encode(event, happened))
    }

    /// Tells one connection, if it is for it.
    fn tell(&mut self, id: &ConnectionId, member: &mut Member) {
        if let Some(happened @ Event::RoomTiming(_)) = &self.event.event {
            member.connection.offer(self.message(happened));
            return;
        }
        match &mut member.hears {
            Hears::Later(kept) => {
                if kept.len() < PENDING_MAX {
                    kept.push(self.event.clone());
                } else {
                    self.gone.push(member.connection.id);
                    member.connection.close();
                }
                return;
            }
            Hears::After(revision) if self.event.revision <= *revision => return,
            Hears::After(_) => {}
        }
        let connection = &member.connection;
        let Some(happened) = &self.event.event else {
            return;
        };
        match happened {
            Event::Snapshot(_) => member.line.send_state(self.message(happened)),
            Event::StateSynced(_) => {
                if self.from != Some(*id) {
                    member.line.send_state(self.message(happened));
                }
            }
            Event::UserJoined(joined) => {
                if !is_own(joined.member.as_ref(), connection) {
                    connection.send(self.message(happened));
                }
            }
            Event::UserLeft(left) if is_own(left.member.as_ref(), connection) => {
                let reason = match left.reason() {
                    LeaveReason::AccessRevoked => "access_revoked",
                    LeaveReason::Left | LeaveReason::Unspecified => "left",
                    // It lives, whatever the room service thinks.
                    LeaveReason::Disconnected => {
                        return connection.rejoin(&self.event.room_id);
                    }
                };
                self.gone.push(connection.id);
                connection.leave_room(&self.event.room_id);
                let at = self.event.at.as_ref().map_or(0, unix_ms);
                let left = json::room_left(&self.event.room_id, reason, UnixMs(at));
                connection.send_event("room_left", &left);
            }
            Event::UserLeft(_) | Event::HostChanged(_) => connection.send(self.message(happened)),
            // Told above, whatever one has heard.
            Event::RoomTiming(_) => {}
            Event::RoomClosed(_) => {
                self.gone.push(connection.id);
                connection.leave_room(&self.event.room_id);
                connection.send(self.message(happened));
            }
        }
    }
}

fn is_own(member: Option<&pb::Member>, connection: &Connection) -> bool {
    member.is_some_and(|member| member.user_id == connection.user_id)
}

/// What clients know an event as.
pub(super) fn name_of(event: &Event) -> &'static str {
    match event {
        Event::Snapshot(_) | Event::StateSynced(_) => "state_synced",
        Event::UserJoined(_) => "user_joined",
        Event::UserLeft(_) => "user_left",
        Event::HostChanged(_) => "host_changed",
        Event::RoomClosed(_) => "room_closed",
        Event::RoomTiming(_) => "room_timing",
    }
}

/// An event as all but the ones it is about see it.
fn encode(event: &RoomEvent, happened: &Event) -> Message {
    event_to_client(name_of(happened), &payload_of(event, happened))
}

fn payload_of(event: &RoomEvent, happened: &Event) -> Value {
    let room_id = &event.room_id;
    let at = json::time(event.at.as_ref());
    let nobody = pb::Member::default();
    match happened {
        Event::Snapshot(room) => {
            let state = State {
                playback: room.playback,
                current_song_json: room.current_song_json.clone(),
                version: event.version,
            };
            let mut payload = json::state_synced(room_id, &state, &at);
            // In a crowd that a snapshot does not name whole, nobody is said to have come or gone whom a gap hid.
            payload["participant_count"] = room.member_count.into();
            payload
        }
        Event::StateSynced(synced) => {
            let state = synced.state.clone().unwrap_or_default();
            json::state_synced(room_id, &state, &at)
        }
        Event::UserJoined(joined) => {
            let member = joined.member.as_ref().unwrap_or(&nobody);
            json::user_came_or_went(room_id, member, joined.member_count, &at)
        }
        Event::UserLeft(left) => {
            let member = left.member.as_ref().unwrap_or(&nobody);
            json::user_came_or_went(room_id, member, left.member_count, &at)
        }
        Event::HostChanged(changed) => json::host_changed(room_id, changed, event.version, &at),
        Event::RoomClosed(closed) => json::room_closed(room_id, closed.reason(), &at),
        Event::RoomTiming(timing) => json::room_timing(room_id, timing, &at),
    }
}

#[cfg(test)]
mod tests {
    use tutti_proto::rooms::{Member, Room, RoomEvent, StateSynced, room_event::Event};

    use super::{Known, payload_of};

    fn room(host: &str, members: &[&str], member_count: u32) -> Room {
        Room {
            host_id: host.to_owned(),
            members: members
                .iter()
                .map(|id| Member {
                    user_id: (*id).to_owned(),
                    username: id.to_uppercase(),
                })
                .collect(),
            member_count,
            ..Room::default()
        }
    }

    /// `+` came, `-` went, `!` became host.
    fn missed(before: &Room, after: &Room) -> Vec<String> {
        let id = |member: Option<Member>| member.unwrap().user_id;
        let missed = Known::of(before).missed(&Known::of(after), after);
        missed
            .into_iter()
            .map(|event| match event {
                Event::UserJoined(joined) => format!("+{}", id(joined.member)),
                Event::UserLeft(left) => format!("-{}", id(left.member)),
                Event::HostChanged(changed) => {
                    format!("!{}<{}", changed.host_id, changed.previous_host_id)
                }
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_gap_that_hid_nothing_is_not_told_of() {
        let before = room("a", &["a", "b"], 2);
        assert_eq!(missed(&before, &before), [""; 0]);
    }

    #[test]
    fn what_a_gap_hid_is_told_so_that_the_host_is_always_there() {
        let before = room("a", &["a", "b"], 2);
        let after = room("c", &["b", "c"], 2);
        assert_eq!(missed(&before, &after), ["+c", "!c<a", "-a"]);
    }

    #[test]
    fn nobody_is_said_to_have_come_or_gone_who_may_only_not_be_named() {
        let crowd = room("a", &["a", "b"], 600);
        let after = room("a", &["a", "c"], 2);
        assert_eq!(missed(&crowd, &after), ["-b"]);
        assert_eq!(missed(&after, &crowd), ["+b"]);
    }

    #[test]
    fn a_gap_in_a_crowd_leaves_nobody_with_the_count_from_before() {
        let event = RoomEvent::default();
        let after = room("a", &["a", "b"], 597);
        let synced = payload_of(&event, &Event::Snapshot(after));
        assert_eq!(synced["participant_count"], 597);
        let synced = payload_of(&event, &Event::StateSynced(StateSynced::default()));
        assert_eq!(synced.get("participant_count"), None);
    }
}
