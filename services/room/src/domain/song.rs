//! What is chosen to play.

use std::borrow::Cow;

use serde_json::{Map, Value};
use tutti_common::{status::Violation, text};
use url::Url;

/// How large a song may be as JSON, in bytes.
const SONG_MAX: usize = 8 * 1024;

/// A song: a JSON object with a title, whose other members are kept as they came. Pages show its title and its artists, so
/// those are without what cannot be seen or turns the direction of text; older clients may send it, so it is not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Song(String);

/// What a host says of the song.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SongUpdate {
    /// It stays.
    Keep,
    /// It is taken away.
    Clear,
    /// It is another one, or the same one again.
    Set(Song),
}

impl Song {
    /// Checks a song.
    ///
    /// # Errors
    /// All rules it breaks.
    pub fn parse(json: &str) -> Result<Self, Vec<Violation>> {
        let Ok(Value::Object(mut song)) = serde_json::from_str(json) else {
            return Err(vec![Violation::new("current_song", "must be an object")]);
        };
        let broken = broken_rules(&song);
        if !broken.is_empty() {
            return Err(broken);
        }
        if let Some(title) = song.get_mut("title") {
            clean(title);
        }
        if let Some(Value::Array(artists)) = song.get_mut("artists") {
            artists.iter_mut().for_each(clean);
        }
        let json = Value::Object(song).to_string();
        if json.len() > SONG_MAX {
            return Err(vec![Violation::new(
                "current_song",
                "at most 8 KiB of JSON",
            )]);
        }
        Ok(Self(json))
    }

    /// A song that was checked before.
    #[must_use]
    pub fn from_record(json: String) -> Self {
        Self(json)
    }

    /// As JSON.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

fn clean(shown: &mut Value) {
    if let Value::String(text) = shown
        && let Cow::Owned(clean) = text::cleaned(text)
    {
        *text = clean;
    }
}

fn broken_rules(song: &Map<String, Value>) -> Vec<Violation> {
    // An optional member that is null counts as left out.
    let member = |name: &str| song.get(name).filter(|value| !value.is_null());
    let rules = [
        (
            "title",
            member("title").is_some_and(Value::is_string),
            "must be a string",
        ),
        (
            "artists",
            member("artists").is_none_or(|artists| {
                artists
                    .as_array()
                    .is_some_and(|artists| artists.iter().all(Value::is_string))
            }),
            "must be a list of strings",
        ),
        (
            "youtube_video_id",
            member("youtube_video_id").is_none_or(Value::is_string),
            "must be a string",
        ),
        (
            "duration",
            member("duration")
                .is_none_or(|duration| duration.as_f64().is_some_and(|seconds| seconds >= 0.0)),
            "must be a number of seconds",
        ),
    ];
    let broken = rules
        .into_iter()
        .filter(|(_, holds, _)| !holds)
        .map(|(field, _, message)| (field, message));
    let addresses = ["audio_url", "artwork_url"].into_iter();
    let wrong = addresses.filter_map(|field| Some((field, fault_of_url(member(field)?)?)));
    broken
        .chain(wrong)
        .map(|(field, message)| Violation::new(format!("current_song.{field}"), message))
        .collect()
}

/// What is wrong with an address. A browser must read it as `https:`, `http:` or a path on this server, by the rules that browsers
/// have: those of the WHATWG, which refuse `https://[x`. Browsers drop tabs and line ends from addresses and take `\` for `/`, so
/// that `/\evil.example` is another host: neither is let in. Everybody in the room is told the address, so a password in it would be
/// everybody's; browsers do not load files from such addresses anyway.
fn fault_of_url(value: &Value) -> Option<&'static str> {
    const OTHER: &str = "must be https:, http: or a path on this server";
    let Some(url) = value.as_str() else {
        return Some(OTHER);
    };
    if url.contains('\\') || url.chars().any(|c| c.is_control() || c == ' ') || !text::is_clean(url)
    {
        return Some(OTHER);
    }
    let scheme = |prefix: &str| {
        url.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if scheme("https://") || scheme("http://") {
        return match Url::parse(url) {
            Ok(url) if url.username().is_empty() && url.password().is_none() => None,
            Ok(_) => Some("must not contain a username or a password"),
            Err(_) => Some(OTHER),
        };
    }
    // Whatever this server is called.
    let here = Url::parse("http://localhost");
    let is_path = url.starts_with('/')
        && !url.starts_with("//")
        && here.is_ok_and(|here| here.join(url).is_ok());
    (!is_path).then_some(OTHER)
}

#[cfg(test)]
mod tests {
    use super::Song;

    #[test]
    fn a_title_is_enough_and_other_members_stay_as_they_came() {
        let json = r#"{"z":1,"title":"Song","a":[1.50,null,"\u0000"],"n":12345678901234567}"#;
        let song = Song::parse(json).unwrap();
        let again: serde_json::Value = serde_json::from_str(song.as_json()).unwrap();
        assert_eq!(
            again,
            serde_json::from_str::<serde_json::Value>(json).unwrap()
        );
        assert!(
            song.as_json().starts_with(r#"{"z":1,"title""#),
            "the order stays"
        );
    }

    #[test]
    fn titles_and_artists_lose_what_is_not_seen_and_stay_in_their_place() {
        let json = r#"{"n":"\u202e","title":"a\u202eb\n","artists":["\u200fc","d"],"z":1}"#;
        let song = Song::parse(json).unwrap();
        assert_eq!(
            song.as_json(),
            "{\"n\":\"\u{202e}\",\"title\":\"ab\\n\",\"artists\":[\"c\",\"d\"],\"z\":1}"
        );
    }

    #[test]
    fn what_is_not_a_song_is_refused_and_says_why() {
        for (json, field) in [
            ("[]", "current_song"),
            ("\"x\"", "current_song"),
            ("{", "current_song"),
            ("{}", "current_song.title"),
            (r#"{"title":1}"#, "current_song.title"),
            (r#"{"title":null}"#, "current_song.title"),
            (r#"{"title":"x","artists":"y"}"#, "current_song.artists"),
            (r#"{"title":"x","artists":[1]}"#, "current_song.artists"),
            (r#"{"title":"x","duration":-1}"#, "current_song.duration"),
            (
                r#"{"title":"x","youtube_video_id":7}"#,
                "current_song.youtube_video_id",
            ),
        ] {
            assert_eq!(Song::parse(json).unwrap_err()[0].field, field, "{json}");
        }
    }

    #[test]
    fn addresses_are_https_http_or_paths_on_this_server() {
        let with = |url: &str| {
            Song::parse(&serde_json::json!({"title": "x", "audio_url": url}).to_string())
        };
        for url in [
            "https://a.example/x.opus",
            "HTTP://a.example",
            "/tracks/x.opus",
            "/tracks/%zz?a=%#[",
            "http://127.0.0.1:8000/x",
            "https://[2001:db8::1]/x",
            "https://bücher.example/ä.opus",
            "https://xn--bcher-kva.example/x",
            "https://موسیقی.example/می\u{200c}خواهم.opus",
            "https://a.example/@b:c@d",
            "/tracks/@a:b@c",
        ] {
            assert!(with(url).is_ok(), "{url}");
        }
        for url in [
            "javascript:alert(1)",
            "data:audio/ogg;base64,AA",
            "//a.example/x",
            "/\\a.example",
            "ftp://a",
            "blob:https://a",
            "tracks/x.opus",
            "",
            "https://",
            "java\tscript:x",
            "/\t/a.example",
            "file:///etc/passwd",
            "https://[bad",
            "https://[1::2::3]/x",
            "https://a.example:99999/x",
            "https://a b.example/",
            "https://:443/",
            "https://%/",
            "http://999.1.1.1/",
            "https://xn--zn7c.example/",
            "https://a.example/\u{202e}x",
            "https://a\u{202e}b.example/",
            "https://a.example/\u{200b}",
            "wss://a.example/x",
            "HTTPS:/a.example",
        ] {
            assert!(with(url).is_err(), "{url}");
        }
    }

    #[test]
    fn addresses_have_no_password() {
        for url in [
            "https://ann:secret@a.example/x",
            "https://ann@a.example/x",
            "http://:secret@a.example",
            "https://a.example%2f@evil.example/",
        ] {
            let json = serde_json::json!({"title": "x", "artwork_url": url}).to_string();
            let broken = Song::parse(&json).unwrap_err();
            assert_eq!(broken[0].field, "current_song.artwork_url", "{url}");
            assert!(!broken[0].message.contains("secret"));
            assert!(broken[0].message.contains("password"), "{url}");
        }
    }

    #[test]
    fn a_song_has_at_most_8_kib() {
        let song = |length: usize| {
            let title = "x".repeat(length - r#"{"title":""}"#.len());
            Song::parse(&serde_json::json!({ "title": title }).to_string())
        };
        assert!(song(8 * 1024).is_ok());
        assert_eq!(song(8 * 1024 + 1).unwrap_err()[0].field, "current_song");
    }
}
