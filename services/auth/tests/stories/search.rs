//! Searching for users.

use sqlx::AssertSqlSafe;
use tonic::Status;
use tutti_common::sql::Database;
use tutti_proto::friends::{Relationship, SearchUsersRequest};

use crate::common::{Person, World, on_both_engines, on_postgres, wrong_fields};

on_both_engines!(
    beginnings_come_before_middles,
    relationships_are_told,
    wildcards_mean_themselves,
    a_search_has_its_bounds,
);

async fn search(
    world: &World,
    user: &Person,
    query: &str,
    limit: Option<i32>,
) -> Result<Vec<(String, Relationship)>, Status> {
    let request = SearchUsersRequest {
        user_id: user.id.clone(),
        query: query.to_owned(),
        limit,
    };
    let answer = world.friends.clone().search_users(request).await?;
    Ok(answer
        .into_inner()
        .users
        .into_iter()
        .map(|found| {
            let relationship = found.relationship();
            (found.user.unwrap().username, relationship)
        })
        .collect())
}

async fn names(world: &World, user: &Person, query: &str, limit: Option<i32>) -> Vec<String> {
    let found = search(world, user, query, limit).await.unwrap();
    found.into_iter().map(|(name, _)| name).collect()
}

async fn beginnings_come_before_middles(world: World) {
    let me = world.user("anna.me").await;
    for name in ["Zann", "anna", "Annika", "joanna", "ANN", "bob", "hann-ann"] {
        world.user(name).await;
    }
    let found = names(&world, &me, "aNN", None).await;
    assert_eq!(
        found,
        ["ANN", "anna", "Annika", "hann-ann", "joanna", "Zann"]
    );
    assert_eq!(names(&world, &me, "ann", Some(2)).await, ["ANN", "anna"]);
    let four = names(&world, &me, "ann", Some(4)).await;
    assert_eq!(four, ["ANN", "anna", "Annika", "hann-ann"]);
    assert_eq!(names(&world, &me, "b", None).await, ["bob"]);
    assert_eq!(names(&world, &me, "o", None).await, ["bob", "joanna"]);
    assert!(names(&world, &me, "anna.me", None).await.is_empty());
    assert!(names(&world, &me, "nobody", None).await.is_empty());
}

async fn relationships_are_told(world: World) {
    let me = world.user("me-myself").await;
    let friend = world.user("x-friend").await;
    let befriended = world.user("x-friend2").await;
    let asked = world.user("x-asked").await;
    let asking = world.user("x-asking").await;
    world.user("x-stranger").await;
    let rejected = world.user("x-rejected").await;
    me.befriend(&friend).await;
    befriended.befriend(&me).await;
    me.ask(&asked).await.unwrap();
    asking.ask(&me).await.unwrap();
    let request = me.ask(&rejected).await.unwrap().request.unwrap();
    rejected.reject(&request.request_id).await.unwrap();
    // What is between others is nobody's business.
    asked.befriend(&asking).await;
    let expected = [
        ("x-asked", Relationship::RequestSent),
        ("x-asking", Relationship::RequestReceived),
        ("x-friend", Relationship::Friend),
        ("x-friend2", Relationship::Friend),
        ("x-rejected", Relationship::None),
        ("x-stranger", Relationship::None),
    ];
    for query in ["x", "-"] {
        let found = search(&world, &me, query, None).await.unwrap();
        let found = found
            .iter()
            .map(|(name, relationship)| (name.as_str(), *relationship))
            .collect::<Vec<_>>();
        assert_eq!(found, expected, "{query}");
    }
}

async fn wildcards_mean_themselves(world: World) {
    let me = world.user("somebody").await;
    for name in ["a_b", "axb", "za_b", "zaxb", "a.b", "a-b"] {
        world.user(name).await;
    }
    assert_eq!(names(&world, &me, "a_b", None).await, ["a_b", "za_b"]);
    assert_eq!(names(&world, &me, "_", None).await, ["a_b", "za_b"]);
    assert_eq!(names(&world, &me, ".", None).await, ["a.b"]);
    for query in [
        "%", "a%", "a%b", "\\", "\\_", "a\0b", "\0", "é", "Å", "a b", "'", "😀", "\u{7f}", "*", "?",
    ] {
        assert!(
            names(&world, &me, query, None).await.is_empty(),
            "{query:?}"
        );
    }
}

async fn a_search_has_its_bounds(world: World) {
    let me = world.user("somebody").await;
    for at in 10..35 {
        world.user(&format!("user{at}")).await;
    }
    assert_eq!(names(&world, &me, "user", None).await.len(), 20);
    assert_eq!(names(&world, &me, "user", Some(50)).await.len(), 25);
    assert_eq!(names(&world, &me, "ser", Some(1)).await, ["user10"]);
    for (query, limit, fields) in [
        ("", None, vec!["q"]),
        (&"x".repeat(65), None, vec!["q"]),
        ("x", Some(0), vec!["limit"]),
        ("x", Some(51), vec!["limit"]),
        ("", Some(-1), vec!["q", "limit"]),
    ] {
        let answer = search(&world, &me, query, limit).await;
        assert_eq!(wrong_fields(answer), fields);
    }
    assert!(names(&world, &me, &"é".repeat(64), None).await.is_empty());
}

/// `scripts/bench-search` measures it on a million users.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_finds_beginnings_and_middles_by_index() {
    on_postgres(|world: World| async move {
        world
            .execute(
                "INSERT INTO users
                    (user_id, email, email_key, username, username_key, password_hash, created_at)
                SELECT id, id, id, id, id, '', now()
                FROM (SELECT md5(number::text) AS id FROM generate_series(1, 20000) AS number) AS ids;
                ANALYZE users;",
            )
            .await;
        let prefix = plans(&world, include_str!("../../src/store/search_prefix.sql"), "").await;
        for plan in prefix {
            assert!(plan.contains("users_username_key_key"), "{plan}");
            assert!(!plan.contains("Seq Scan on users"), "{plan}");
        }
        let middle = include_str!("../../src/store/search_middle.sql");
        let [plan, _] = plans(&world, middle, ", '%abc12%'").await;
        assert!(plan.contains("users_username_middle"), "{plan}");
        assert!(!plan.contains("Seq Scan on users"), "{plan}");
    })
    .await;
}

/// The plan made for these values, and the one made for any.
async fn plans(world: &World, statement: &str, more: &str) -> [String; 2] {
    let Database::Postgres(pool) = &world.database else {
        panic!("PostgreSQL only");
    };
    let mut connection = pool.acquire().await.unwrap();
    let types = if more.is_empty() { "" } else { ", text" };
    let prepare = format!("PREPARE search (text, text, text, bigint{types}) AS {statement}");
    sqlx::raw_sql(AssertSqlSafe(prepare))
        .execute(&mut *connection)
        .await
        .unwrap();
    let mut plans = [String::new(), String::new()];
    for (plan, mode) in plans
        .iter_mut()
        .zip(["force_custom_plan", "force_generic_plan"])
    {
        let set = format!("SET plan_cache_mode = {mode}");
        sqlx::raw_sql(AssertSqlSafe(set))
            .execute(&mut *connection)
            .await
            .unwrap();
        let explain =
            format!("EXPLAIN EXECUTE search ('user_x', 'abc12', E'abc12\\x7f', 20{more})");
        let lines = sqlx::query_scalar::<_, String>(AssertSqlSafe(explain))
            .persistent(false)
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        *plan = lines.join("\n");
    }
    sqlx::raw_sql("DEALLOCATE search")
        .execute(&mut *connection)
        .await
        .unwrap();
    plans
}
