//! Accounts and sessions.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Transaction, query, query_as, query_scalar};
use tutti_common::{
    clock::UnixMs,
    ids::{SessionId, UserId},
    sql::Statement as _,
};

use super::{
    super::{Db, LOCK_USER, USERS_BY_IDS},
    Connection, Queries,
    events::insert_event,
    json,
};
use crate::{
    domain::{
        account::{Account, DisplayName, Login, User, Username},
        event::AccountEvent,
        network::Network,
        session::{KnownToken, NewToken, Session, TokenHash, Trade},
    },
    store::{
        AccountStore, Credentials, Naming, NewAccount, Renewed, Rotation, StoreError,
        rows::{AccountRow, TokenRow, UserRow, all, id},
    },
};

/// The generation of a session's first token.
const FIRST: i32 = 1;

/// How often it is noted that somebody is still in a network.
const NOTE_NETWORK_EVERY: Duration = Duration::from_hours(24);

#[async_trait]
impl AccountStore for Queries {
    async fn create_account(
        &self,
        account: &NewAccount,
        session: SessionId,
        token: &NewToken,
    ) -> Result<Naming, StoreError> {
        let mut tx = self.begin().await?;
        if !insert_account(&mut tx, account).await? {
            let username = find_username(&mut tx, &account.username.key()).await?;
            return Ok(username.map_or(Naming::EmailTaken, |_| Naming::UsernameTaken));
        }
        let session = Session {
            id: session,
            user_id: account.id,
        };
        insert_token(&mut tx, session, token, FIRST).await?;
        let made = find_account(&mut tx, account.id).await?;
        tx.commit().named("commit").await?;
        Ok(made.map_or(Naming::NoSuchUser, Naming::Done))
    }

    async fn credentials(&self, login: &Login) -> Result<Option<Credentials>, StoreError> {
        let (statement, key) = match login {
            Login::Email(key) => (
                "SELECT user_id, password_hash
                FROM users
                WHERE email_key = $1",
                key,
            ),
            Login::Username(key) => (
                "SELECT user_id, password_hash
                FROM users
                WHERE username_key = $1",
                key,
            ),
        };
        let row = query_as::<Db, (String, String)>(statement)
            .bind(key)
            .fetch_optional(&self.pool)
            .named("find_credentials")
            .await?;
        let Some((user_id, password_hash)) = row else {
            return Ok(None);
        };
        Ok(Some(Credentials {
            user_id: id(&user_id)?,
            password_hash,
        }))
    }

    async fn replace_password_hash(
        &self,
        known: &Credentials,
        hash: &str,
    ) -> Result<(), StoreError> {
        query(
            "UPDATE users
            SET password_hash = $3
            WHERE user_id = $1
                AND password_hash = $2",
        )
        .bind(known.user_id.to_string())
        .bind(&known.password_hash)
        .bind(hash)
        .execute(&self.pool)
        .named("replace_password_hash")
        .await?;
        Ok(())
    }

    async fn open_session(
        &self,
        session: Session,
        token: &NewToken,
    ) -> Result<Option<Account>, StoreError> {
        let mut tx = self.begin().await?;
        let noted = query(
            "UPDATE users
            SET last_login = $2
            WHERE user_id = $1",
        )
        .bind(session.user_id.to_string())
        .bind(token.created_at.to_datetime())
        .execute(&mut *tx)
        .named("note_login")
        .await?;
        if noted.rows_affected() == 0 {
            return Ok(None);
        }
        insert_token(&mut tx, session, token, FIRST).await?;
        let account = find_account(&mut tx, session.user_id).await?;
        tx.commit().named("commit").await?;
        Ok(account)
    }

    async fn rotate(&self, old: TokenHash, new: &NewToken) -> Result<Rotation, StoreError> {
        let mut tx = self.begin().await?;
        let Some(session) = lock_session(&mut tx, old).await? else {
            return Ok(Rotation::Dead);
        };
        let Some(known) = find_token(&mut tx, old).await? else {
            return Ok(Rotation::Dead);
        };
        match known.trade(new.created_at) {
            Trade::Refuse => Ok(Rotation::Dead),
            Trade::EndSession => {
                if delete_session(&mut tx, session.id).await? {
                    let ended = AccountEvent::SessionEnded(session);
                    insert_event(&mut tx, ended, new.created_at).await?;
                }
                tx.commit().named("commit").await?;
                Ok(Rotation::Reused(session))
            }
            Trade::Renew => self.renew(tx, session, old, new).await,
            Trade::RenewAgain(unused) => {
                replace_token(&mut tx, unused, new.created_at).await?;
                self.renew(tx, session, old, new).await
            }
        }
    }

    async fn end_session(&self, token: TokenHash, now: UnixMs) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let Some(session) = lock_session(&mut tx, token).await? else {
            return Ok(false);
        };
        let ended = delete_session(&mut tx, session.id).await?;
        if ended {
            insert_event(&mut tx, AccountEvent::SessionEnded(session), now).await?;
        }
        tx.commit().named("commit").await?;
        Ok(ended)
    }

    async fn forget_dead_tokens(&self, now: UnixMs) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let forgotten = query(
            "DELETE FROM refresh_tokens
            WHERE token_hash IN (
                SELECT token_hash
                FROM refresh_tokens
                WHERE expires_at <= $1
                LIMIT 1000
            )",
        )
        .bind(now.to_datetime())
        .execute(&mut *tx)
        .named("forget_dead_tokens")
        .await?;
        tx.commit().named("commit").await?;
        Ok(forgotten.rows_affected())
    }

    async fn knows_network(
        &self,
        user: UserId,
        network: &Network,
        since: UnixMs,
    ) -> Result<bool, StoreError> {
        let found = query_scalar::<Db, i32>(
            "SELECT 1
            FROM known_networks
            WHERE user_id = $1
                AND network_hash = $2
                AND seen_at > $3",
        )
        .bind(user.to_string())
        .bind(&network.hash(user).0[..])
        .bind(since.to_datetime())
        .fetch_optional(&self.pool)
        .named("find_network")
        .await?;
        Ok(found.is_some())
    }

    async fn forget_networks(&self, since: UnixMs) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let forgotten = query(
            "DELETE FROM known_networks
            WHERE (user_id, network_hash) IN (
                SELECT user_id, network_hash
                FROM known_networks
                WHERE seen_at <= $1
                LIMIT 1000
            )",
        )
        .bind(since.to_datetime())
        .execute(&mut *tx)
        .named("forget_networks")
        .await?;
        tx.commit().named("commit").await?;
        Ok(forgotten.rows_affected())
    }

    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        Ok(find_account(&mut connection, id).await?)
    }

    async fn set_username(&self, id: UserId, username: &Username) -> Result<Naming, StoreError> {
        let mut tx = self.begin().await?;
        let renamed = query(
            "UPDATE users
            SET username = $2,
                username_key = $3
            WHERE user_id = $1",
        )
        .bind(id.to_string())
        .bind(username.as_str())
        .bind(username.key())
        .execute(&mut *tx)
        .named("set_username")
        .await;
        match renamed {
            Err(sqlx::Error::Database(refusal)) if refusal.is_unique_violation() => {
                return Ok(Naming::UsernameTaken);
            }
            renamed => renamed?,
        };
        let account = find_account(&mut tx, id).await?;
        tx.commit().named("commit").await?;
        Ok(account.map_or(Naming::NoSuchUser, Naming::Done))
    }

    async fn users(&self, ids: &[UserId]) -> Result<Vec<User>, StoreError> {
        let rows = query_as::<Db, UserRow>(USERS_BY_IDS)
            .bind(json(ids))
            .fetch_all(&self.pool)
            .named("find_users")
            .await?;
        Ok(all(rows)?)
    }

    async fn user_by_key(&self, username_key: &str) -> Result<Option<UserId>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        Ok(find_username(&mut connection, username_key).await?)
    }
}

impl Queries {
    /// Trades a token for a new one.
    async fn renew(
        &self,
        mut tx: Transaction<'_, Db>,
        session: Session,
        old: TokenHash,
        new: &NewToken,
    ) -> Result<Rotation, StoreError> {
        let generation = last_generation(&mut tx, session.id).await? + 1;
        use_token(&mut tx, old, new).await?;
        insert_token(&mut tx, session, new, generation).await?;
        let account = find_account(&mut tx, session.user_id).await?;
        tx.commit().named("commit").await?;
        Ok(account.map_or(Rotation::Dead, |account| {
            Rotation::Renewed(Box::new(Renewed {
                session: session.id,
                account,
                generation: generation.unsigned_abs(),
            }))
        }))
    }
}

/// False where the username or the e-mail is taken.
async fn insert_account(
    connection: &mut Connection,
    account: &NewAccount,
) -> Result<bool, sqlx::Error> {
    let inserted = query(
        "INSERT INTO users
            (user_id, email, email_key, username, username_key, name, password_hash,
             created_at, last_login)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
        ON CONFLICT DO NOTHING",
    )
    .bind(account.id.to_string())
    .bind(account.email.as_str())
    .bind(account.email.key())
    .bind(account.username.as_str())
    .bind(account.username.key())
    .bind(account.name.as_ref().map(DisplayName::as_str))
    .bind(&account.password_hash)
    .bind(account.created_at.to_datetime())
    .execute(connection)
    .named("insert_account")
    .await?;
    Ok(inserted.rows_affected() > 0)
}

async fn find_username(
    connection: &mut Connection,
    username_key: &str,
) -> Result<Option<UserId>, sqlx::Error> {
    query_scalar::<Db, String>(
        "SELECT user_id
        FROM users
        WHERE username_key = $1",
    )
    .bind(username_key)
    .fetch_optional(connection)
    .named("find_username")
    .await?
    .as_deref()
    .map(id)
    .transpose()
}

async fn find_account(
    connection: &mut Connection,
    id: UserId,
) -> Result<Option<Account>, sqlx::Error> {
    query_as::<Db, AccountRow>(
        "SELECT user_id, username, name, email, CAST(profile AS text) AS profile,
            created_at, last_login
        FROM users
        WHERE user_id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(connection)
    .named("find_account")
    .await?
    .map(Account::try_from)
    .transpose()
}

/// The session a token belongs to. What changes the sessions of its user comes one after the other from
/// here on: a token that is being traded cannot slip through the end of its session.
async fn lock_session(
    connection: &mut Connection,
    token: TokenHash,
) -> Result<Option<Session>, sqlx::Error> {
    let row = query_as::<Db, (String, String)>(
        "SELECT session_id, user_id
        FROM refresh_tokens
        WHERE token_hash = $1",
    )
    .bind(&token.0[..])
    .fetch_optional(&mut *connection)
    .named("find_session")
    .await?;
    let Some((session_id, user_id)) = row else {
        return Ok(None);
    };
    query(LOCK_USER)
        .bind(&user_id)
        .execute(&mut *connection)
        .named("lock_user")
        .await?;
    Ok(Some(Session {
        id: id(&session_id)?,
        user_id: id(&user_id)?,
    }))
}

async fn find_token(
    connection: &mut Connection,
    token: TokenHash,
) -> Result<Option<KnownToken>, sqlx::Error> {
    let row = query_as::<Db, TokenRow>(
        "SELECT token.expires_at, token.used_at, token.replaced_at, successor.token_hash AS unused_successor
        FROM refresh_tokens AS token
        LEFT JOIN refresh_tokens AS successor
            ON successor.token_hash = token.successor AND successor.used_at IS NULL
        WHERE token.token_hash = $1",
    )
    .bind(&token.0[..])
    .fetch_optional(connection)
    .named("find_token")
    .await?;
    row.map(KnownToken::try_from).transpose()
}

/// Notes a token's successor, and when it had the first one.
async fn use_token(
    connection: &mut Connection,
    token: TokenHash,
    successor: &NewToken,
) -> Result<(), sqlx::Error> {
    query(
        "UPDATE refresh_tokens
        SET used_at = COALESCE(used_at, $2),
            successor = $3
        WHERE token_hash = $1",
    )
    .bind(&token.0[..])
    .bind(successor.created_at.to_datetime())
    .bind(&successor.hash.0[..])
    .execute(connection)
    .named("use_token")
    .await?;
    Ok(())
}

/// A token that nobody has used gives way to another one. A process of an earlier version takes it for used.
async fn replace_token(
    connection: &mut Connection,
    token: TokenHash,
    now: UnixMs,
) -> Result<(), sqlx::Error> {
    query(
        "UPDATE refresh_tokens
        SET used_at = $2,
            replaced_at = $2
        WHERE token_hash = $1",
    )
    .bind(&token.0[..])
    .bind(now.to_datetime())
    .execute(connection)
    .named("replace_token")
    .await?;
    Ok(())
}

/// How many tokens a session has had.
async fn last_generation(
    connection: &mut Connection,
    session: SessionId,
) -> Result<i32, sqlx::Error> {
    query_scalar::<Db, i32>(
        "SELECT COALESCE(max(generation), 0)
        FROM refresh_tokens
        WHERE session_id = $1",
    )
    .bind(session.to_string())
    .fetch_one(connection)
    .named("last_generation")
    .await
}

async fn insert_token(
    connection: &mut Connection,
    session: Session,
    token: &NewToken,
    generation: i32,
) -> Result<(), sqlx::Error> {
    query(
        "INSERT INTO refresh_tokens
            (token_hash, session_id, user_id, created_at, expires_at, generation)
        VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&token.hash.0[..])
    .bind(session.id.to_string())
    .bind(session.user_id.to_string())
    .bind(token.created_at.to_datetime())
    .bind(token.expires_at.to_datetime())
    .bind(generation)
    .execute(&mut *connection)
    .named("insert_token")
    .await?;
    match &token.network {
        Some(network) => note_network(connection, session.user_id, network, token.created_at).await,
        None => Ok(()),
    }
}

/// Notes that a user is in a network.
async fn note_network(
    connection: &mut Connection,
    user: UserId,
    network: &Network,
    now: UnixMs,
) -> Result<(), sqlx::Error> {
    query(
        "INSERT INTO known_networks
            (user_id, network_hash, seen_at)
        VALUES ($1, $2, $3)
        ON CONFLICT (user_id, network_hash) DO UPDATE
            SET seen_at = excluded.seen_at
            WHERE known_networks.seen_at < $4",
    )
    .bind(user.to_string())
    .bind(&network.hash(user).0[..])
    .bind(now.to_datetime())
    .bind((now - NOTE_NETWORK_EVERY).to_datetime())
    .execute(connection)
    .named("note_network")
    .await?;
    Ok(())
}

/// Deletes all tokens of a session; whether there were any.
async fn delete_session(
    connection: &mut Connection,
    session: SessionId,
) -> Result<bool, sqlx::Error> {
    let deleted = query(
        "DELETE FROM refresh_tokens
        WHERE session_id = $1",
    )
    .bind(session.to_string())
    .execute(connection)
    .named("delete_session")
    .await?;
    Ok(deleted.rows_affected() > 0)
}
