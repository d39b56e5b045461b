//! Hearing from the auth service what happens to accounts.

use std::{convert::Infallible, time::Duration};

use futures_util::StreamExt as _;
use tutti_proto::{
    auth::{
        WatchAccountsRequest, auth_service_client::AuthServiceClient,
        watch_accounts_response::Event,
    },
    timestamp,
};

use crate::{clock::UnixMs, rpc::Transport};

/// How long to wait before what failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Calls `act` for all that happened since then and for all that happens, in order. What broke or could not
/// be acted on is tried again from where it was: nothing is missed, though something may come twice.
pub async fn hear<F, E>(
    accounts: Transport,
    since: UnixMs,
    mut act: impl FnMut(Event) -> F,
) -> Infallible
where
    F: Future<Output = Result<(), E>>,
    E: std::error::Error + 'static,
{
    let mut client = AuthServiceClient::new(accounts);
    let mut request = WatchAccountsRequest {
        after: None,
        since: Some(timestamp(since.0)),
    };
    loop {
        match client.watch_accounts(request.clone()).await {
            Ok(stream) => {
                let mut stream = stream.into_inner();
                while let Some(Ok(heard)) = stream.next().await {
                    if let Some(event) = heard.event
                        && let Err(error) = act(event).await
                    {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "cannot do what an account's event asks for; trying again"
                        );
                        break;
                    }
                    request.after = Some(heard.cursor);
                }
            }
            Err(status) => tracing::warn!(%status, "cannot hear what happens to accounts"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
