//! Signing keys: several processes, each with a folder of its own, one after the other started with a new key.

use std::{fs, path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tempfile::TempDir;
use tutti_auth::keys::SigningKeys;
use tutti_proto::auth::{GetSigningKeysRequest, GetSigningKeysResponse, Session};

use crate::common::{PASSWORD, World, on_both_engines, registration};

on_both_engines!(
    a_new_key_is_known_everywhere_before_it_signs,
    where_there_is_one_key_it_signs_at_once,
    the_longest_lifetime_is_told,
);

const OLD: &str = "2025.pem";
const NEW: &str = "2026.pem";

/// Between two times that a process publishes its keys.
const STEP: Duration = Duration::from_secs(10);

/// Key files, to be copied into the folders of processes.
struct Files(TempDir);

impl Files {
    fn make() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        for name in [OLD, NEW] {
            fs::write(files.path(name), SigningKeys::generate_pem().unwrap()).unwrap();
        }
        files
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// What a process has that is started with these.
    fn load(&self, names: &[&str]) -> SigningKeys {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::copy(self.path(name), folder.path().join(name)).unwrap();
        }
        SigningKeys::load(folder.path()).unwrap()
    }

    fn key_id(&self, name: &str) -> String {
        id_in(&self.path(name))
    }
}

fn id_in(file: &Path) -> String {
    let keys = SigningKeys::load(file).unwrap();
    keys.public().next().unwrap().key_id.clone()
}

/// A process with these keys, ready to serve.
async fn process(world: &World, keys: SigningKeys) -> World {
    let process = world.beside_with(keys, Duration::from_mins(15));
    process.service.publish_keys().await.unwrap();
    process
}

/// Time passes, and those who run publish their keys.
async fn passes(time: Duration, world: &World, running: &[&World]) {
    let mut left = time;
    while !left.is_zero() {
        let step = left.min(STEP);
        world.clock.advance(step);
        left -= step;
        for process in running {
            process.service.publish_keys().await.unwrap();
        }
    }
}

async fn told(process: &World) -> GetSigningKeysResponse {
    let request = GetSigningKeysRequest {};
    let answer = process.auth.clone().get_signing_keys(request).await;
    answer.unwrap().into_inner()
}

async fn told_keys(process: &World) -> Vec<String> {
    let keys = told(process).await.keys.into_iter();
    let mut ids = keys.map(|key| key.key_id).collect::<Vec<_>>();
    ids.sort();
    ids
}

/// Which key signs there, seen from a login; the keys that the others tell verify it.
async fn signs(process: &World, others: &[&World]) -> String {
    let Session { access_token, .. } = process.login("ann", PASSWORD).await.unwrap();
    for other in others {
        let verifier = other.verifier().await;
        verifier.verify(&access_token, process.time()).unwrap();
    }
    key_id(&access_token)
}

fn key_id(token: &str) -> String {
    let header = token.split('.').next().unwrap();
    let header = URL_SAFE_NO_PAD.decode(header).unwrap();
    let header = serde_json::from_slice::<serde_json::Value>(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

async fn a_new_key_is_known_everywhere_before_it_signs(world: World) {
    world.register(registration("ann")).await.unwrap();
    let files = Files::make();
    let (old, new) = (files.key_id(OLD), files.key_id(NEW));
    let mut both = [old.clone(), new.clone()];
    both.sort();
    let first = process(&world, files.load(&[OLD])).await;
    let second = process(&world, files.load(&[OLD])).await;
    passes(Duration::from_mins(5), &world, &[&first, &second]).await;
    assert_eq!(told_keys(&first).await, [old.as_str()]);

    // One after the other is started anew with a second key.
    let first = process(&world, files.load(&[OLD, NEW])).await;
    assert_eq!(told_keys(&first).await, both);
    assert_eq!(
        told_keys(&second).await,
        both,
        "by one that does not have it"
    );
    assert_eq!(
        signs(&first, &[&second]).await,
        old,
        "nobody knows the new one yet"
    );
    passes(Duration::from_secs(20), &world, &[&first, &second]).await;
    let second = process(&world, files.load(&[OLD, NEW])).await;
    assert_eq!(signs(&first, &[&second]).await, old);
    passes(Duration::from_secs(10), &world, &[&first, &second]).await;
    assert_eq!(signs(&first, &[&second]).await, new, "everybody does");
    assert_eq!(signs(&second, &[&first]).await, new);

    // And then without the old one.
    passes(Duration::from_mins(20), &world, &[&first, &second]).await;
    let first = process(&world, files.load(&[NEW])).await;
    assert_eq!(signs(&first, &[&second]).await, new);
    passes(Duration::from_mins(2), &world, &[&first, &second]).await;
    assert_eq!(told_keys(&first).await, both, "somebody has it still");
    let second = process(&world, files.load(&[NEW])).await;
    passes(Duration::from_secs(46), &world, &[&first, &second]).await;
    for process in [&first, &second] {
        assert_eq!(
            told_keys(process).await,
            [new.as_str()],
            "soon nobody trusts it"
        );
    }
}

async fn where_there_is_one_key_it_signs_at_once(world: World) {
    world.register(registration("ann")).await.unwrap();
    let files = Files::make();
    let (old, new) = (files.key_id(OLD), files.key_id(NEW));
    let first = process(&world, files.load(&[OLD])).await;
    assert_eq!(signs(&first, &[]).await, old);
    // Another process has never heard of the older one.
    let second = process(&world, files.load(&[NEW])).await;
    assert_eq!(signs(&second, &[&first]).await, new);
    assert_eq!(signs(&first, &[&second]).await, old);
    // A process whose keys are all new signs with the newest.
    let other = Files::make();
    let third = process(&world, other.load(&[OLD, NEW])).await;
    assert_eq!(signs(&third, &[&first, &second]).await, other.key_id(NEW));
}

async fn the_longest_lifetime_is_told(world: World) {
    let keys = Files::make();
    let start = async |minutes| {
        let ttl = Duration::from_mins(minutes);
        let process = world.beside_with(keys.load(&[OLD]), ttl);
        process.service.publish_keys().await.unwrap();
        process
    };
    let minutes = async |process: &World| told(process).await.access_token_ttl_ms.unwrap() / 60_000;
    let long = start(15).await;
    // An operator lowers it: one process after the other.
    let short = start(5).await;
    assert_eq!((minutes(&long).await, minutes(&short).await), (15, 15));
    passes(Duration::from_mins(1), &world, &[&short]).await;
    assert_eq!(minutes(&short).await, 5, "who gave longer ones is gone");
}
