//! Listening to channels while others come and go. Told where `TEST_REDIS_URL` is set, on servers of its own.

mod servers;

use std::time::Duration;

use futures_util::{StreamExt as _, stream::BoxStream};
use servers::{Server, eventually, redis_and_bus_at};
use tutti_common::redis::Heard;

/// How often listeners change places: the fault that this is about was there nearly every time.
const ROUNDS: u32 = 200;

const CHANNEL: &str = "t:{room}:events";

async fn next(feed: &mut BoxStream<'static, Heard>) -> Option<Heard> {
    let patience = Duration::from_secs(10);
    tokio::time::timeout(patience, feed.next()).await.ok()?
}

/// How many clients Redis has that listen to the channel.
async fn subscribers(server: &Server) -> u64 {
    let (_, count) = server
        .say::<(String, u64)>(&["PUBSUB", "NUMSUB", CHANNEL])
        .await;
    count
}

/// On one thread the order is always the same: the second one asks to listen, then the first one is gone, and only then
/// does the connection to Redis get to either of it.
#[tokio::test]
async fn who_comes_while_the_last_one_goes_hears_what_follows() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (_redis, bus) = redis_and_bus_at(&server.url());
    let mut deaf = 0;
    let mut listener = bus.listen(CHANNEL).await.unwrap();
    for round in 0..ROUNDS {
        let coming = bus.listen(CHANNEL);
        tokio::pin!(coming);
        assert!(futures_util::poll!(&mut coming).is_pending());
        drop(listener);
        listener = coming.await.unwrap();
        // What is said is heard, or nobody is subscribed; the order in which Redis answers is that of the questions.
        let said = round.to_string();
        eventually(async || {
            // The connection has done what it was told before.
            bus.listen("t:{room}:other").await.is_ok()
        })
        .await;
        if server.say::<u64>(&["PUBLISH", CHANNEL, &said]).await == 0 {
            deaf += 1;
            // As after a loss of the connection: the next round begins anew.
            drop(listener);
            eventually(async || subscribers(&server).await == 0).await;
            listener = bus.listen(CHANNEL).await.unwrap();
        } else {
            assert_eq!(next(&mut listener).await, Some(Heard::Message(said.into())));
        }
    }
    assert_eq!(deaf, 0, "of {ROUNDS} rounds so many ended in silence");
}

#[tokio::test]
async fn when_the_last_one_goes_nobody_is_subscribed() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (_redis, bus) = redis_and_bus_at(&server.url());
    let listener = bus.listen(CHANNEL).await.unwrap();
    let second = bus.listen(CHANNEL).await.unwrap();
    drop(listener);
    // Who gives up while it waits leaves nothing behind either.
    let waiting = bus.listen(CHANNEL);
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert_eq!(subscribers(&server).await, 1);
    drop(second);
    drop(waiting.await);
    eventually(async || subscribers(&server).await == 0).await;
}

#[tokio::test]
async fn a_subscription_that_is_not_there_is_made_again_and_its_listeners_hear_of_a_gap() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (_redis, bus) = redis_and_bus_at(&server.url());
    let mut listener = bus.listen(CHANNEL).await.unwrap();
    bus.mend(CHANNEL).await.unwrap();
    assert_eq!(next(&mut listener).await, Some(Heard::Gap));
    assert_eq!(server.say::<u64>(&["PUBLISH", CHANNEL, "a"]).await, 1);
    assert_eq!(next(&mut listener).await, Some(Heard::Message("a".into())));
    // Where nobody listens there is nothing to mend.
    bus.mend("t:{room}:other").await.unwrap();
    drop(listener);
    eventually(async || subscribers(&server).await == 0).await;
}
