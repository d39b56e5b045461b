//! Hearing from the auth service what happens to accounts.

use std::{convert::Infallible, error::Error, pin::pin, time::Duration};

use tokio::time::{sleep, timeout};
use tonic::{Status, Streaming};
use tutti_proto::{
    auth::{
        WatchAccountsRequest, WatchAccountsResponse, auth_service_client::AuthServiceClient,
        watch_accounts_response::Event,
    },
    timestamp,
};

use crate::{clock::UnixMs, rpc::Transport};

/// How long to wait before what failed is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// After how long a silent stream is given up: an auth process says twice a second that it has told everything.
const SILENCE: Duration = Duration::from_millis(1_200);

/// After how long another auth process is asked as well for a stream: the first one may be frozen, and a session that ends
/// meanwhile must be heard of within 2 s.
const HEDGE: Duration = Duration::from_millis(300);

/// What is heard.
#[derive(Clone, Debug)]
pub enum News {
    /// This happened.
    Happened(Event),
    /// All was told that had happened a moment ago. Comes again and again.
    CaughtUp,
}

/// Calls `act` for all that happened since then and for all that happens, in order. What broke, fell silent or could not
/// be acted on is tried again from where it was: nothing is missed, though something may come twice.
pub async fn hear<F, E>(
    accounts: Transport,
    since: UnixMs,
    mut act: impl FnMut(News) -> F,
) -> Infallible
where
    F: Future<Output = Result<(), E>>,
    E: Error + 'static,
{
    let client = AuthServiceClient::new(accounts);
    let mut request = WatchAccountsRequest {
        after: None,
        since: Some(timestamp(since.0)),
    };
    loop {
        let broken = match open(&client, &request).await {
            Ok(stream) => follow(stream, &mut request, &mut act).await,
            Err(status) => Broken::Failed(status),
        };
        match broken {
            // Another process is asked at once.
            Broken::Silent => {
                tracing::warn!("what happens to accounts is not told any more; asking again");
            }
            Broken::Ended => sleep(AGAIN).await,
            Broken::Failed(status) => {
                tracing::warn!(%status, "cannot hear what happens to accounts; trying again");
                sleep(AGAIN).await;
            }
            Broken::Act(error) => {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "cannot do what an account's event asks for; trying again"
                );
                sleep(AGAIN).await;
            }
        }
    }
}

/// Why a stream is not followed any further.
enum Broken<E> {
    /// Nothing came, not even that nothing happens.
    Silent,
    /// The auth process ends.
    Ended,
    /// It could not be opened, or broke.
    Failed(Status),
    /// An event could not be acted on.
    Act(E),
}

async fn open(
    client: &AuthServiceClient<Transport>,
    request: &WatchAccountsRequest,
) -> Result<Streaming<WatchAccountsResponse>, Status> {
    let ask = async || client.clone().watch_accounts(request.clone()).await;
    let mut first = pin!(ask());
    let second = async {
        sleep(HEDGE).await;
        ask().await
    };
    let opened = tokio::select! {
        opened = &mut first => opened,
        Ok(opened) = second => Ok(opened),
    };
    opened.map(tonic::Response::into_inner)
}

async fn follow<F, E>(
    mut stream: Streaming<WatchAccountsResponse>,
    request: &mut WatchAccountsRequest,
    act: &mut impl FnMut(News) -> F,
) -> Broken<E>
where
    F: Future<Output = Result<(), E>>,
{
    // An older auth process does not say whether it has told everything.
    let mut says_so = false;
    loop {
        let answer = match timeout(SILENCE, stream.message()).await {
            Ok(Ok(Some(answer))) => answer,
            Ok(Ok(None)) => return Broken::Ended,
            Ok(Err(status)) => return Broken::Failed(status),
            Err(_) if says_so => return Broken::Silent,
            Err(_) => {
                if let Err(error) = act(News::CaughtUp).await {
                    return Broken::Act(error);
                }
                continue;
            }
        };
        says_so |= answer.caught_up.is_some();
        let news = match answer.event {
            Some(event) => Some(News::Happened(event)),
            None => (answer.caught_up == Some(true)).then_some(News::CaughtUp),
        };
        if let Some(news) = news
            && let Err(error) = act(news).await
        {
            return Broken::Act(error);
        }
        request.after = Some(answer.cursor);
    }
}
