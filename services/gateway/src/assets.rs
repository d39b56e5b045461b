//! The web app and the client library, inside the binary.

use std::{borrow::Cow, path::Path};

use axum::{
    Router,
    body::Bytes,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
        header::{
            ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_RANGE,
            CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RANGE, REFERRER_POLICY,
        },
    },
    response::{IntoResponse, Response},
    routing::get,
};
use http_range_header::parse_range_header;
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::{Gateway, rest};

#[derive(RustEmbed)]
#[folder = "../../static/"]
#[exclude = "*.md"]
#[exclude = "package.json"]
struct Static;

/// What a page of ours may load: its own scripts, YouTube's player, songs from anywhere, and pictures from this server alone: it fetches
/// those of other hosts for the page, which shows them as `blob:`.
const CONTENT_SECURITY: &str = "default-src 'self'; \
    script-src 'self' https://www.youtube.com; \
    frame-src https://www.youtube.com https://www.youtube-nocookie.com; \
    img-src 'self' data: blob:; \
    media-src 'self' https: http: blob:; \
    style-src 'self'; \
    connect-src 'self' https: http: ws: wss:; \
    object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'";

/// The page at `/` and at every room's link.
pub(crate) fn routes() -> Router<Gateway> {
    let page = || get(|headers: HeaderMap| async move { serve("index.html", &headers) });
    Router::new()
        .route("/", page())
        .route("/room/{room_id}", page())
}

/// All that the page loads, and what is not there. The library is known by its path in the repository too.
pub(crate) async fn file(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let path = path.strip_prefix("static/").unwrap_or(path);
    if method == Method::GET || method == Method::HEAD {
        serve(path, &headers)
    } else {
        rest::not_found().into_response()
    }
}

fn serve(path: &str, headers: &HeaderMap) -> Response {
    let Some(file) = Static::get(path) else {
        return rest::not_found().into_response();
    };
    let tag = entity_tag(&file);
    let type_of = media_type(path, &file);
    let same = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if same {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let data = match file.data {
            Cow::Borrowed(data) => Bytes::from_static(data),
            Cow::Owned(data) => Bytes::from(data),
        };
        body(data, headers)
    };
    let fixed = [
        (CONTENT_TYPE, type_of.as_str()),
        (ETAG, tag.as_str()),
        // Asked for again each time, so that a new version is there at once; the tag makes it cheap.
        (CACHE_CONTROL, "no-cache"),
        (ACCEPT_RANGES, "bytes"),
        // Nothing here is secret: pages elsewhere may import the library and play the tracks.
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (CONTENT_SECURITY_POLICY, CONTENT_SECURITY),
        // Hosts of songs need not know on which server they are heard. `<audio>` knows no other way to say so.
        (REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), payment=()",
        ),
    ];
    for (name, value) in fixed {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn entity_tag(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    let hex = hash.iter().take(12).fold(String::new(), |mut hex, byte| {
        use std::fmt::Write as _;
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    format!("\"{hex}\"")
}

fn media_type(path: &str, file: &EmbeddedFile) -> String {
    if Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "opus")
    {
        return "audio/ogg".to_owned();
    }
    let known = file.metadata.mimetype();
    if known.starts_with("text/") {
        format!("{known}; charset=utf-8")
    } else {
        known.to_owned()
    }
}

/// The file, or the one part of it that was asked for; without parts, `<audio>` cannot seek.
fn body(data: Bytes, headers: &HeaderMap) -> Response {
    let length = data.len() as u64;
    let Some(range) = headers.get(RANGE).and_then(|range| range.to_str().ok()) else {
        return data.into_response();
    };
    // RFC 9110, 14.2: a range that cannot be read is as if it were not there.
    let Ok(range) = parse_range_header(range) else {
        return data.into_response();
    };
    match range.validate(length).as_deref() {
        Ok([one]) => {
            let (start, end) = (*one.start(), *one.end());
            // Within the file, whose length is a usize.
            let part =
                usize::try_from(start).unwrap_or(0)..usize::try_from(end + 1).unwrap_or(data.len());
            let range = format!("bytes {start}-{end}/{length}");
            (
                StatusCode::PARTIAL_CONTENT,
                [(CONTENT_RANGE, range)],
                data.slice(part),
            )
                .into_response()
        }
        // Several parts at once nobody needs here: RFC 9110 allows the whole instead.
        Ok(_) => data.into_response(),
        Err(_) => {
            let range = format!("bytes */{length}");
            (StatusCode::RANGE_NOT_SATISFIABLE, [(CONTENT_RANGE, range)]).into_response()
        }
    }
}
