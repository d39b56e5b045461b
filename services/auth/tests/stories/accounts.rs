//! Accounts: making them, logging in, renaming.

use std::time::Duration;

use tonic::{Code, Status};
use tutti_common::{clock::Clock as _, status::Reason};
use tutti_proto::auth::{
    Account, GetAccountRequest, GetUsersRequest, RegisterRequest, SetUsernameRequest,
};

use crate::common::{
    PASSWORD, World, assert_refused, id_of, on_both_engines, registration, wrong_fields,
};

on_both_engines!(
    a_newcomer_gets_an_account_and_a_session,
    all_broken_rules_are_told_together,
    names_and_addresses_are_seen,
    an_account_with_an_unseen_name_or_address_goes_on,
    names_and_emails_are_unique_without_regard_to_case,
    one_logs_in_by_email_or_username_in_any_case,
    a_wrong_login_and_a_wrong_password_look_the_same,
    a_username_can_be_changed,
    a_username_cannot_be_changed_to_a_bad_or_taken_one,
    everybody_sees_of_users_what_they_may,
    nobody_is_not_found,
    a_database_that_is_gone_is_said_to_be_unavailable,
);

async fn a_newcomer_gets_an_account_and_a_session(world: World) {
    let session = world
        .register(RegisterRequest {
            email: "Ann@Example.org".to_owned(),
            username: "Ann".to_owned(),
            name: Some(" Ann Example ".to_owned()),
            ..registration("ann")
        })
        .await
        .unwrap();
    let account = session.account.clone().unwrap();
    let user = account.user.clone().unwrap();
    assert!(user.user_id.starts_with("user_"));
    assert_eq!(user.username, "Ann");
    assert_eq!(user.name.as_deref(), Some("Ann Example"));
    assert_eq!(account.email, "Ann@Example.org");
    assert_eq!(account.profile_json, "{}");
    assert_eq!(account.created_at, Some(world.now()));
    assert_eq!(account.last_login, Some(world.now()));
    assert_eq!(session.expires_in_s, 900);

    let claims = world
        .verifier()
        .await
        .verify(&session.access_token, world.clock.now())
        .unwrap();
    assert_eq!(claims.sub.to_string(), user.user_id);
    assert_eq!(claims.exp.since(claims.iat), Duration::from_mins(15));
    assert_eq!(get_account(&world, &user.user_id).await.unwrap(), account);
}

async fn get_account(world: &World, user_id: &str) -> Result<Account, Status> {
    let request = GetAccountRequest {
        user_id: user_id.to_owned(),
    };
    let answer = world.auth.clone().get_account(request).await?;
    Ok(answer.into_inner().account.unwrap())
}

async fn all_broken_rules_are_told_together(world: World) {
    let answer = world
        .register(RegisterRequest {
            email: "ann".to_owned(),
            username: "admin".to_owned(),
            password: "1234567890".to_owned(),
            name: Some("a\nb".to_owned()),
            client_address: None,
        })
        .await;
    assert_eq!(
        wrong_fields(answer),
        ["email", "username", "password", "name"]
    );
    let answer = world
        .register(RegisterRequest {
            password: "Ann.Example".to_owned(),
            ..registration("ann.example")
        })
        .await;
    assert_eq!(wrong_fields(answer), ["password"]);
    assert_eq!(world.count("SELECT count(*) FROM users").await, 0);
}

async fn names_and_addresses_are_seen(world: World) {
    for name in ["\u{202e}Ann", "\u{200b}", "\u{2800}", "Ann\u{ad}"] {
        let answer = world.register(RegisterRequest {
            name: Some(name.to_owned()),
            ..registration("ann")
        });
        assert_eq!(wrong_fields(answer.await), ["name"], "{name:?}");
    }
    let answer = world.register(RegisterRequest {
        email: "ann\u{202e}@example.org".to_owned(),
        ..registration("ann")
    });
    assert_eq!(wrong_fields(answer.await), ["email"]);
    let session = world.register(RegisterRequest {
        name: Some("A\u{308}nne".to_owned()),
        ..registration("ann")
    });
    let user = session.await.unwrap().account.unwrap().user.unwrap();
    assert_eq!(user.name.as_deref(), Some("Änne"));
}

async fn an_account_with_an_unseen_name_or_address_goes_on(world: World) {
    let session = world.register(registration("ann")).await.unwrap();
    world
        .execute("UPDATE users SET name = '\u{202e}Ann', email = 'ann\u{ad}@example.org', email_key = 'ann\u{ad}@example.org'")
        .await;
    let again = world
        .login("ann\u{ad}@example.org", PASSWORD)
        .await
        .unwrap();
    let user = again.account.unwrap().user.unwrap();
    assert_eq!(user.user_id, id_of(&session));
    assert_eq!(user.name.as_deref(), Some("Ann"));
}

async fn names_and_emails_are_unique_without_regard_to_case(world: World) {
    world.user("ann").await;
    let same_name = RegisterRequest {
        username: "ANN".to_owned(),
        ..registration("bob")
    };
    let status = assert_refused(
        world.register(same_name).await,
        Code::AlreadyExists,
        Reason::Conflict,
    );
    assert_eq!(status.message(), "the username is taken");
    let same_email = RegisterRequest {
        email: "ANN@EXAMPLE.ORG".to_owned(),
        ..registration("bob")
    };
    let status = assert_refused(
        world.register(same_email).await,
        Code::AlreadyExists,
        Reason::Conflict,
    );
    assert_eq!(status.message(), "the e-mail address is taken");
    world.user("bob").await;
}

async fn one_logs_in_by_email_or_username_in_any_case(world: World) {
    let ann = world.user("Ann").await;
    for login in ["ann", "ANN", "Ann", "ann@example.org", "ANN@EXAMPLE.ORG"] {
        world.clock.advance(Duration::from_secs(1));
        let session = world.login(login, PASSWORD).await.unwrap();
        assert_eq!(id_of(&session), ann.id, "{login}");
        let account = session.account.unwrap();
        assert_eq!(account.last_login, Some(world.now()));
        assert_eq!(get_account(&world, &ann.id).await.unwrap(), account);
    }
}

async fn a_wrong_login_and_a_wrong_password_look_the_same(world: World) {
    world.user("ann").await;
    let wrong_password = world.login("ann", "correct house").await;
    let expected = assert_refused(wrong_password, Code::Unauthenticated, Reason::AuthRequired);
    for (login, password) in [
        ("bob", PASSWORD),
        ("ann", ""),
        ("ann", "Correct horse"),
        ("ann@example.com", PASSWORD),
        ("", PASSWORD),
        ("ann\0", PASSWORD),
        ("änn", PASSWORD),
        ("ann%", PASSWORD),
        (&"ann".repeat(10_000), PASSWORD),
        ("ann", &"x".repeat(10_000)),
    ] {
        let answer = world.login(login, password).await;
        let status = assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
        assert_eq!(status.message(), expected.message());
        assert_eq!(status.details(), expected.details());
    }
}

async fn set_username(world: &World, user_id: &str, username: &str) -> Result<Account, Status> {
    let request = SetUsernameRequest {
        user_id: user_id.to_owned(),
        username: username.to_owned(),
    };
    let answer = world.auth.clone().set_username(request).await?;
    Ok(answer.into_inner().account.unwrap())
}

async fn a_username_can_be_changed(world: World) {
    let ann = world.user("ann").await;
    for username in ["Ann", "anna", "anna"] {
        let account = set_username(&world, &ann.id, username).await.unwrap();
        assert_eq!(account.user.as_ref().unwrap().username, username);
        assert_eq!(get_account(&world, &ann.id).await.unwrap(), account);
    }
    world.login("ANNA", PASSWORD).await.unwrap();
    let gone = world.login("ann", PASSWORD).await;
    assert_refused(gone, Code::Unauthenticated, Reason::AuthRequired);
    let again = RegisterRequest {
        email: "other@example.org".to_owned(),
        ..registration("ann")
    };
    world.register(again).await.unwrap();
}

async fn a_username_cannot_be_changed_to_a_bad_or_taken_one(world: World) {
    let ann = world.user("ann").await;
    world.user("bob").await;
    let taken = set_username(&world, &ann.id, "BOB").await;
    assert_refused(taken, Code::AlreadyExists, Reason::Conflict);
    for username in ["", "a", "_ann", "Admin"] {
        let answer = set_username(&world, &ann.id, username).await;
        assert_eq!(wrong_fields(answer), ["username"]);
    }
    let account = get_account(&world, &ann.id).await.unwrap();
    assert_eq!(account.user.unwrap().username, "ann");
}

async fn everybody_sees_of_users_what_they_may(world: World) {
    let ann = world.user("ann").await;
    let bob = world.user("bob").await;
    let ask = |user_ids: Vec<String>| async {
        let request = GetUsersRequest { user_ids };
        let answer = world.auth.clone().get_users(request).await?;
        let mut names = answer.into_inner().users.into_iter();
        let mut names = names.by_ref().map(|user| user.username).collect::<Vec<_>>();
        names.sort();
        Ok::<_, Status>(names)
    };
    let nobody = "user_00000000000000000000000000".to_owned();
    let ids = vec![
        bob.id.clone(),
        nobody,
        "nonsense\0\"".to_owned(),
        ann.id.clone(),
        bob.id,
    ];
    assert_eq!(ask(ids).await.unwrap(), ["ann", "bob"]);
    assert!(ask(Vec::new()).await.unwrap().is_empty());
    assert_eq!(ask(vec![ann.id.clone(); 500]).await.unwrap(), ["ann"]);
    assert_eq!(wrong_fields(ask(vec![ann.id; 501]).await), ["user_ids"]);
}

async fn nobody_is_not_found(world: World) {
    for id in [
        "user_00000000000000000000000000",
        "room_00000000000000000000000000",
        "nonsense",
        "",
        "user_\0",
    ] {
        let answer = get_account(&world, id).await;
        assert_refused(answer, Code::NotFound, Reason::NotFound);
        let answer = set_username(&world, id, "somebody").await;
        assert_refused(answer, Code::NotFound, Reason::NotFound);
    }
}

async fn a_database_that_is_gone_is_said_to_be_unavailable(world: World) {
    let ann = world.user("ann").await;
    world.database.close().await;
    let answer = get_account(&world, &ann.id).await;
    let status = assert_refused(answer, Code::Unavailable, Reason::Unavailable);
    assert_eq!(status.message(), "the database is unavailable");
    let answer = world.login("ann", PASSWORD).await;
    assert_refused(answer, Code::Unavailable, Reason::Unavailable);
    assert_refused(
        ann.ask_by_name("bob").await,
        Code::Unavailable,
        Reason::Unavailable,
    );
}
