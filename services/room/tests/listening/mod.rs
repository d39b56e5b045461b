//! Listening to a room's feed, for the tests beside this folder.

use std::time::Duration;

use futures_util::{StreamExt as _, stream::BoxStream};
use tutti_room::live::Feed;

/// What comes next; it must be there already or soon.
pub(crate) async fn next(feed: &mut BoxStream<'static, Feed>) -> Option<Feed> {
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, feed.next())
        .await
        .expect("something is heard")
}

/// The revision of the event that comes next.
pub(crate) async fn next_revision(feed: &mut BoxStream<'static, Feed>) -> u64 {
    match next(feed).await {
        Some(Feed::Event(event)) => event.revision,
        other => panic!("an event: {other:?}"),
    }
}
