//! What is chosen to play.

use serde_json::{Value, json};
use tutti_common::sql::Database;
use tutti_proto::rooms::{State, SyncStateRequest, sync_state_request::Song};
use tutti_tests::{Person, TestApp, on_both_engines, paused, wrong_fields};

on_both_engines! {
    a_song_is_set_kept_and_cleared,
    a_song_comes_back_as_it_was_given,
    titles_and_artists_lose_what_is_not_seen,
    what_is_no_song_is_refused_and_changes_nothing,
    a_song_has_at_most_8_kib,
}

fn choosing(song: &str) -> SyncStateRequest {
    SyncStateRequest {
        song: Some(Song::SongJson(song.to_owned())),
        ..paused(0.0)
    }
}

async fn song_of(person: &Person, room: &str) -> Option<Value> {
    let State {
        current_song_json, ..
    } = person.state(room).await.unwrap();
    current_song_json.map(|json| serde_json::from_str(&json).unwrap())
}

async fn a_song_is_set_kept_and_cleared(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let song = json!({"title": "One", "artists": ["A", "B"], "duration": 61.5});
    ann.sync(&room, choosing(&song.to_string())).await.unwrap();
    assert_eq!(song_of(&ann, &room).await, Some(song.clone()));
    ann.sync(&room, paused(1.0)).await.unwrap();
    assert_eq!(song_of(&ann, &room).await, Some(song.clone()));
    let clear = |clear| SyncStateRequest {
        song: Some(Song::ClearSong(clear)),
        ..paused(2.0)
    };
    ann.sync(&room, clear(false)).await.unwrap();
    assert_eq!(song_of(&ann, &room).await, Some(song.clone()));
    app.crash_and_restart().await;
    assert_eq!(song_of(&ann, &room).await, Some(song));
    ann.sync(&room, clear(true)).await.unwrap();
    assert_eq!(song_of(&ann, &room).await, None);
    app.crash_and_restart().await;
    assert_eq!(song_of(&ann, &room).await, None);
}

async fn a_song_comes_back_as_it_was_given(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let given = concat!(
        r#"{"zebra":1,"title":" a\tb \"c\" \\ ♪ 😀","artists":[],"apple":{"z":["\u0000\t\u202e"],"a":{}},"#,
        r#""exact":[9007199254740993,18446744073709551615,-9223372036854775808],"#,
        r#""fractions":[0.1,1.5,-0.0,1e-7,5e-324,1.7976931348623157e308],"#,
        r#""nothing":null,"audio_url":"/tracks/a.opus?x=1&y=%00","":"","yes":true}"#,
    );
    ann.sync(&room, choosing(given)).await.unwrap();
    for _ in 0..2 {
        let kept = ann.state(&room).await.unwrap().current_song_json.unwrap();
        let [one, other] =
            [given, kept.as_str()].map(|json| serde_json::from_str::<Value>(json).unwrap());
        assert_eq!(one, other);
        // Members stay in order; JSON objects that differ in order compare equal.
        assert_eq!(one.to_string(), other.to_string());
        app.crash_and_restart().await;
    }
}

async fn titles_and_artists_lose_what_is_not_seen(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let given =
        json!({"title": "One\u{202e}\n\u{3164}two", "artists": ["\u{2067}A\u{2069}", "\u{200b}"]});
    ann.sync(&room, choosing(&given.to_string())).await.unwrap();
    let kept = json!({"title": "One\ntwo", "artists": ["A", ""]});
    assert_eq!(song_of(&ann, &room).await, Some(kept.clone()));
    app.crash_and_restart().await;
    assert_eq!(song_of(&ann, &room).await, Some(kept));
}

async fn what_is_no_song_is_refused_and_changes_nothing(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    ann.sync(&room, choosing(r#"{"title":"One"}"#))
        .await
        .unwrap();
    let before = ann.state(&room).await.unwrap();
    for (song, field) in [
        ("", "current_song"),
        ("null", "current_song"),
        (r#"["title"]"#, "current_song"),
        (r#"{"title":"One""#, "current_song"),
        (r#"{"artists":[]}"#, "current_song.title"),
        (r#"{"title":["One"]}"#, "current_song.title"),
        (r#"{"title":"One","artists":"A"}"#, "current_song.artists"),
        (
            r#"{"title":"One","audio_url":"javascript:alert(1)"}"#,
            "current_song.audio_url",
        ),
        (
            r#"{"title":"One","artwork_url":"//elsewhere.example/x"}"#,
            "current_song.artwork_url",
        ),
        (
            r#"{"title":"One","audio_url":"https://ann:secret@a.example/x"}"#,
            "current_song.audio_url",
        ),
        (r#"{"title":"One","duration":"1"}"#, "current_song.duration"),
    ] {
        let answer = ann.sync(&room, choosing(song)).await;
        assert_eq!(wrong_fields(answer), [field], "{song}");
    }
    assert_eq!(ann.state(&room).await.unwrap(), before);
}

async fn a_song_has_at_most_8_kib(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let song = |bytes: usize| {
        let frame = json!({"title": ""}).to_string().len();
        json!({"title": "x".repeat(bytes - frame)}).to_string()
    };
    ann.sync(&room, choosing(&song(8_192))).await.unwrap();
    let answer = ann.sync(&room, choosing(&song(8_193))).await;
    assert_eq!(wrong_fields(answer), ["current_song"]);
}
