//! Scripts that Redis runs in one step.

use redis::{Cmd, ToRedisArgs};

/// A script, sent by its hash where Redis has it already.
pub struct Script {
    name: &'static str,
    code: &'static str,
    hash: String,
}

impl Script {
    /// A script, and its name in metrics and traces.
    #[must_use]
    pub fn new(name: &'static str, code: &'static str) -> Self {
        Self {
            name,
            code,
            hash: redis::Script::new(code).get_hash().to_owned(),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn by_hash(&self, keys: &[impl AsRef<str>], args: &impl ToRedisArgs) -> Cmd {
        call("EVALSHA", &self.hash, keys, args)
    }

    pub(super) fn in_full(&self, keys: &[impl AsRef<str>], args: &impl ToRedisArgs) -> Cmd {
        call("EVAL", self.code, keys, args)
    }
}

fn call(command: &str, script: &str, keys: &[impl AsRef<str>], args: &impl ToRedisArgs) -> Cmd {
    let mut call = redis::cmd(command);
    call.arg(script).arg(keys.len());
    for key in keys {
        call.arg(key.as_ref());
    }
    call.arg(args);
    call
}
