//! What holds whatever people do: a long random story, and those who check it.

use std::{collections::HashSet, time::Duration};

use futures_util::future::join;
use tonic::Code;
use tutti_common::sql::Database;
use tutti_proto::rooms::{Room, RoomEvent, room_event::Event};
use tutti_tests::{Device, Person, TestApp, Watch, on_both_engines, paused, playing};

on_both_engines! {
    whatever_people_do_the_room_stays_sound,
}

const COMMANDS: usize = 500;
const PEOPLE: usize = 6;
const DEVICES: usize = 2;

/// `SplitMix64` (Steele, Lea & Flood 2014): the same numbers from the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }
}

async fn whatever_people_do_the_room_stays_sound(database: Database) {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let app = TestApp::on(&database)
        .room_empty_grace(Duration::from_hours(24))
        .start()
        .await;
    let people = app.crowd(PEOPLE).await;
    let room = people[0].create_room_for(4).await;
    let watch = app.watch(&room).await;
    let story = async {
        let mut world = World {
            dice: Dice(seed),
            devices: people
                .iter()
                .map(|person| std::array::from_fn(|_| person.device()))
                .collect(),
            app: &app,
            people: &people,
            room: &room,
        };
        let mut last = app.room(&room).await;
        for step in 0..COMMANDS {
            let what = world.do_something().await;
            let now = app.room(&room).await;
            check_room(&last, &now, &format!("step {step}: {what}"));
            last = now;
        }
        app.close(&room).await.unwrap();
        last
    };
    let (last, ()) = join(story, check_events(watch)).await;
    let in_record = app.count("SELECT count(*) FROM room_participants").await;
    assert_eq!(in_record, 0, "{last:?}");
}

struct World<'a> {
    dice: Dice,
    app: &'a TestApp,
    people: &'a [Person],
    devices: Vec<[Device; DEVICES]>,
    room: &'a str,
}

impl World<'_> {
    /// Anybody does anything. What is refused is refused in the contract's words.
    async fn do_something(&mut self) -> String {
        let who = self.dice.below(PEOPLE);
        let which = self.dice.below(DEVICES);
        let person = &self.people[who];
        let device = &self.devices[who][which];
        let room = self.room;
        let position = f64::from(u32::try_from(self.dice.below(600)).unwrap());
        let (what, answer) = match self.dice.below(12) {
            0 => ("visits", person.join(room).await.map(drop)),
            1..=3 => ("joins", device.join(room).await.map(drop)),
            4 => ("leaves", person.leave(room).await),
            5 => ("leaves with a device", device.leave(room).await),
            6 => (
                "plays",
                device.sync(room, playing(position)).await.map(drop),
            ),
            7 => (
                "pauses",
                person.sync(room, paused(position)).await.map(drop),
            ),
            8 => {
                let to = &self.people[self.dice.below(PEOPLE)];
                ("hands over", person.hand_over(room, to).await.map(drop))
            }
            9 => {
                device.lose(room).await;
                self.devices[who][which] = person.device();
                ("loses a device", Ok(()))
            }
            10 => {
                device.vanish();
                self.devices[who][which] = person.device();
                ("loses a device unnoticed", Ok(()))
            }
            _ => {
                let seconds = u64::try_from(self.dice.below(30)).unwrap();
                self.app.let_pass(Duration::from_secs(seconds)).await;
                ("waits", Ok(()))
            }
        };
        if let Err(status) = &answer {
            let expected = [
                Code::FailedPrecondition,
                Code::PermissionDenied,
                Code::NotFound,
            ];
            assert!(expected.contains(&status.code()), "{what}: {status}");
        }
        format!("{} {what}: {}", person.name, answer.is_ok())
    }
}

/// What holds after every step.
fn check_room(before: &Room, after: &Room, step: &str) {
    let members = after.members.iter().map(|member| &member.user_id);
    let distinct = members.clone().collect::<HashSet<_>>();
    assert_eq!(distinct.len(), after.members.len(), "{step}");
    assert_eq!(after.member_count as usize, after.members.len(), "{step}");
    assert!(after.member_count <= after.max_participants, "{step}");
    assert!(
        after.members.is_empty() || distinct.contains(&after.host_id),
        "the host is in the room: {step}"
    );
    assert!(after.version >= before.version, "{step}");
    assert!(after.revision >= before.revision, "{step}");
    let is_news = after.host_id != before.host_id || after.playback != before.playback;
    assert!(!is_news || after.version > before.version, "{step}");
    if after.revision == before.revision {
        assert_eq!(after, before, "{step}");
    }
}

/// What holds of what those are told who watch.
async fn check_events(mut watch: Watch) {
    let members = watch.snapshot.members.iter();
    let mut there = members
        .map(|member| member.user_id.clone())
        .collect::<HashSet<_>>();
    let mut host = watch.snapshot.host_id.clone();
    let mut last = (watch.snapshot.revision, watch.snapshot.version);
    let mut told = 0;
    while let Some(event) = watch.next().await {
        told += 1;
        let RoomEvent {
            revision, version, ..
        } = event;
        assert!((revision, version) >= last, "in order: {event:?}");
        match event.event.as_ref().unwrap() {
            Event::UserJoined(joined) => {
                let user = joined.member.clone().unwrap().user_id;
                assert!(there.insert(user), "who is there does not join: {event:?}");
                assert_eq!(joined.member_count as usize, there.len());
            }
            Event::UserLeft(left) => {
                let user = left.member.clone().unwrap().user_id;
                assert!(there.remove(&user), "who is not there leaves: {event:?}");
                assert_eq!(left.member_count as usize, there.len());
            }
            Event::StateSynced(synced) => {
                assert!(version > last.1, "{event:?}");
                assert_eq!(synced.state.as_ref().unwrap().version, version);
            }
            Event::HostChanged(changed) => {
                assert_eq!(changed.previous_host_id, host, "{event:?}");
                assert_ne!(changed.host_id, host, "{event:?}");
                host.clone_from(&changed.host_id);
            }
            Event::RoomClosed(_) => break,
            Event::Snapshot(_) | Event::RoomTiming(_) => panic!("nobody was slow: {event:?}"),
        }
        last = (revision, version);
    }
    assert!(told > 50, "much happened: {told}");
    assert_eq!(watch.next().await, None);
}
