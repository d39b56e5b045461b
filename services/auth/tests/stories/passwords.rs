//! Passwords: how they are written, which are refused, and what becomes of old hashes.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use futures_util::future::join_all;
use tonic::Code;
use tutti_common::{
    shutdown::Shutdown,
    sql::Database,
    status::{Reason, violations},
};
use tutti_proto::auth::RegisterRequest;

use crate::common::{PASSWORD, World, assert_refused, on_both_engines, registration};

on_both_engines!(
    blanks_around_a_password_belong_to_it,
    a_password_is_the_same_in_whatever_form_it_is_written,
    a_refused_password_is_told_why,
    a_log_in_replaces_an_outdated_hash,
    a_hash_that_cannot_be_replaced_fails_no_log_in,
    a_hash_that_has_changed_meanwhile_is_not_replaced,
);

/// With é and ố, each as one character and as letters with marks.
const COMPOSED: &str = "caf\u{e9} \u{1ed1} und Tee";
const DECOMPOSED: &str = "cafe\u{301} o\u{302}\u{301} und Tee";
/// As some keyboards write it: in neither of Unicode's forms.
const MIXED: &str = "caf\u{e9} \u{f4}\u{301} und Tee";

/// Megabytes and passes of a hash of today.
const TODAY: &str = "$argon2id$v=19$m=19456,t=2,p=1$";

fn with(password: &str, username: &str) -> RegisterRequest {
    RegisterRequest {
        password: password.to_owned(),
        ..registration(username)
    }
}

/// A hash as a former version made it: of the password as it came.
fn former_hash(password: &str, memory_kib: u32, passes: u32) -> String {
    let params = Params::new(memory_kib, passes, 1, None).unwrap();
    let salt = Salt::generate();
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into(password.as_bytes(), &salt, &mut output)
        .unwrap();
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).unwrap(),
        salt: Some(salt),
        hash: Some(Output::new(&output).unwrap()),
    };
    hash.to_string()
}

impl World {
    async fn set_hash(&self, username: &str, hash: &str) {
        let statement = "UPDATE users SET password_hash = $2 WHERE username = $1";
        let changed = match &self.database {
            Database::Postgres(pool) => {
                let query = sqlx::query(statement).bind(username).bind(hash);
                query.execute(pool).await.unwrap().rows_affected()
            }
            Database::Sqlite(pool) => {
                let query = sqlx::query(statement).bind(username).bind(hash);
                query.execute(pool).await.unwrap().rows_affected()
            }
        };
        assert_eq!(changed, 1);
    }

    async fn hash_of(&self, username: &str) -> String {
        let statement = "SELECT password_hash FROM users WHERE username = $1";
        let hash = match &self.database {
            Database::Postgres(pool) => {
                let query = sqlx::query_scalar(statement).bind(username.to_owned());
                query.fetch_one(pool).await
            }
            Database::Sqlite(pool) => {
                let query = sqlx::query_scalar(statement).bind(username.to_owned());
                query.fetch_one(pool).await
            }
        };
        hash.unwrap()
    }

    /// What log-ins have left to be done is done.
    async fn settle(&self) {
        let shutdown = Shutdown::new();
        shutdown.begin();
        self.service.clone().run(shutdown).await;
    }
}

async fn blanks_around_a_password_belong_to_it(world: World) {
    let password = " \tcorrect horse\n ";
    world.register(with(password, "ann")).await.unwrap();
    world.login("ann", password).await.unwrap();
    for other in [password.trim(), password.trim_start(), password.trim_end()] {
        let answer = world.login("ann", other).await;
        assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
    }
}

async fn a_password_is_the_same_in_whatever_form_it_is_written(world: World) {
    let forms = [COMPOSED, DECOMPOSED, MIXED];
    for (username, password) in ["ann", "bob", "cat"].into_iter().zip(forms) {
        world.register(with(password, username)).await.unwrap();
        for form in forms {
            world.login(username, form).await.unwrap();
        }
        let answer = world.login(username, "cafe o und Tee").await;
        assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
    }
}

async fn a_refused_password_is_told_why(world: World) {
    for (password, why) in [
        (
            "e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}",
            "10 to 256 characters",
        ),
        ("password123", "too common"),
        ("Password123!", "too close to a common password"),
        ("P@ssw0rd!2026", "too close to a common password"),
        ("aaaaabbbbbccccc", "too simple a pattern"),
        ("ｐａｓｓｗｏｒｄ１２３", "too common"),
        ("pássword!2026", "too close to a common password"),
        (
            "ann.lee1999",
            "too close to your username, name or e-mail address",
        ),
        (
            "annlee2026",
            "too close to your username, name or e-mail address",
        ),
    ] {
        let answer = world.register(with(password, "ann.lee")).await;
        let status = assert_refused(answer, Code::InvalidArgument, Reason::InvalidRequest);
        let wrong = violations(&status);
        assert_eq!(wrong.len(), 1, "{password:?}");
        assert_eq!(wrong[0].field, "password");
        assert!(
            wrong[0].message.starts_with(why),
            "{password:?}: {}",
            wrong[0].message
        );
    }
}

async fn a_log_in_replaces_an_outdated_hash(world: World) {
    world.user("ann").await;
    for (password, kept) in [
        (PASSWORD, former_hash(PASSWORD, 4096, 3)),
        (PASSWORD, former_hash(PASSWORD, 19_456, 1)),
        (DECOMPOSED, former_hash(DECOMPOSED, 19_456, 2)),
        (MIXED, former_hash(MIXED, 4096, 1)),
    ] {
        world.set_hash("ann", &kept).await;
        let wrong = world.login("ann", "correct house").await;
        assert_refused(wrong, Code::Unauthenticated, Reason::AuthRequired);
        world.settle().await;
        assert_eq!(world.hash_of("ann").await, kept);

        let attempts = join_all((0..3).map(|_| world.login("ann", password))).await;
        assert!(attempts.iter().all(Result::is_ok), "{password:?}");
        world.settle().await;
        let replaced = world.hash_of("ann").await;
        assert_ne!(replaced, kept);
        assert!(replaced.starts_with(TODAY), "{replaced}");
        world.login("ann", password).await.unwrap();
        if password != PASSWORD {
            world.login("ann", COMPOSED).await.unwrap();
        }
        // What is of today stays.
        world.settle().await;
        assert_eq!(world.hash_of("ann").await, replaced);
    }
}

async fn a_hash_that_cannot_be_replaced_fails_no_log_in(world: World) {
    world.user("ann").await;
    let kept = former_hash(PASSWORD, 4096, 3);
    world.set_hash("ann", &kept).await;
    match &world.database {
        Database::Postgres(_) => {
            world
                .execute(
                    "ALTER TABLE users ADD CONSTRAINT no_new_hash
                    CHECK (password_hash NOT LIKE '%m=19456%')",
                )
                .await;
        }
        Database::Sqlite(_) => {
            world
                .execute(
                    "CREATE TRIGGER no_new_hash BEFORE UPDATE OF password_hash ON users
                    BEGIN SELECT RAISE(ABORT, 'no new hash'); END",
                )
                .await;
        }
    }
    world.login("ann", PASSWORD).await.unwrap();
    world.settle().await;
    assert_eq!(world.hash_of("ann").await, kept);

    match &world.database {
        Database::Postgres(_) => {
            world
                .execute("ALTER TABLE users DROP CONSTRAINT no_new_hash")
                .await;
        }
        Database::Sqlite(_) => world.execute("DROP TRIGGER no_new_hash").await,
    }
    world.login("ann", PASSWORD).await.unwrap();
    world.settle().await;
    assert!(world.hash_of("ann").await.starts_with(TODAY));
}

async fn a_hash_that_has_changed_meanwhile_is_not_replaced(world: World) {
    world.user("ann").await;
    let newer = former_hash("another horse", 19_456, 2);
    for _ in 0..3 {
        world.set_hash("ann", &former_hash(PASSWORD, 4096, 3)).await;
        world.login("ann", PASSWORD).await.unwrap();
        // Sooner than the old password is hashed again.
        world.set_hash("ann", &newer).await;
        world.settle().await;
        assert_eq!(world.hash_of("ann").await, newer);
    }
    world.login("ann", "another horse").await.unwrap();
}
