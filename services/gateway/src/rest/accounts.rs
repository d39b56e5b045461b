//! Accounts and sessions.

use axum::extract::State;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use tutti_proto::auth::{
    GetAccountRequest, LoginRequest, LogoutRequest, RefreshRequest, RegisterRequest,
    SetUsernameRequest,
};

use super::{
    Answer, created, no_content, ok,
    request::{Caller, ClientAddress, JsonObject},
};
use crate::{Gateway, json};

pub(super) async fn register(
    State(gateway): State<Gateway>,
    ClientAddress(client_address): ClientAddress,
    body: JsonObject,
) -> Answer {
    let mut fields = body.fields();
    let request = RegisterRequest {
        email: fields.text("email"),
        username: fields.text("username"),
        password: fields.text("password"),
        name: fields.optional_text("name"),
        client_address: Some(client_address),
    };
    fields.finish()?;
    let answer = gateway.auth().register(request).await?.into_inner();
    created(json::session(&answer.session.unwrap_or_default()))
}

pub(super) async fn login(
    State(gateway): State<Gateway>,
    ClientAddress(client_address): ClientAddress,
    body: JsonObject,
) -> Answer {
    let mut fields = body.fields();
    let request = LoginRequest {
        login: fields.text("login"),
        password: fields.text("password"),
        client_address: Some(client_address),
    };
    fields.finish()?;
    let answer = gateway.auth().login(request).await?.into_inner();
    ok(json::session(&answer.session.unwrap_or_default()))
}

pub(super) async fn refresh(
    State(gateway): State<Gateway>,
    ClientAddress(client_address): ClientAddress,
    body: JsonObject,
) -> Answer {
    let mut fields = body.fields();
    let request = RefreshRequest {
        refresh_token: fields.text("refresh_token"),
        client_address: Some(client_address),
    };
    fields.finish()?;
    let answer = gateway.auth().refresh(request).await?.into_inner();
    ok(json::session(&answer.session.unwrap_or_default()))
}

pub(super) async fn logout(State(gateway): State<Gateway>, body: JsonObject) -> Answer {
    let mut fields = body.fields();
    let refresh_token = fields.text("refresh_token");
    fields.finish()?;
    gateway
        .auth()
        .logout(LogoutRequest { refresh_token })
        .await?;
    no_content()
}

pub(super) async fn me(State(gateway): State<Gateway>, Caller(user_id): Caller) -> Answer {
    let answer = gateway
        .auth()
        .get_account(GetAccountRequest { user_id })
        .await?
        .into_inner();
    ok(json::account(&answer.account.unwrap_or_default()))
}

pub(super) async fn set_username(
    State(gateway): State<Gateway>,
    Caller(user_id): Caller,
    body: JsonObject,
) -> Answer {
    let mut fields = body.fields();
    let username = fields.text("username");
    fields.finish()?;
    let request = SetUsernameRequest { user_id, username };
    let answer = gateway.auth().set_username(request).await?.into_inner();
    ok(json::account(&answer.account.unwrap_or_default()))
}

/// RFC 7517, with the Ed25519 keys of RFC 8037.
pub(super) async fn jwks(State(gateway): State<Gateway>) -> Answer {
    let keys = gateway.identity.keys().await?;
    let keys = keys
        .iter()
        .map(|(key_id, public_key)| {
            json!({
                "kty": "OKP",
                "crv": "Ed25519",
                "x": URL_SAFE_NO_PAD.encode(public_key),
                "kid": key_id,
                "use": "sig",
                "alg": "EdDSA",
            })
        })
        .collect::<Vec<_>>();
    ok(json!({ "keys": keys }))
}
