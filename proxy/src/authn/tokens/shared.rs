//! The families of several replicas, in the Redis that keeps their sessions.
//!
//! A family is a hash under the name of its id, which goes by itself at its end; a list names those of a session. What a
//! family carries of its login is sealed (AES-256-GCM) under a key that is derived from the secret of local tokens, and
//! bound to the id, the session, the certificate and the end: whoever writes to that Redis can make no token say anything,
//! nor give a family to another client. He can end one, or make its newest token an older one.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use redis::{Cmd, FromRedisValue, Script};

use super::families::{Family, FamilyId, FamilyStore, NotKept};
use super::memory::FAMILIES_PER_SESSION_MAX;
use super::seal::{self, SealingKeys};
use crate::authn::Authenticator;
use crate::redis::{Redis, Unavailable};

/// Keeps a family and names it in its session's list; answers with the ids that make room for it.
const PUT: &str = r"
redis.call('HSET', KEYS[1], 'session', ARGV[1], 'carried', ARGV[2], 'certificate', ARGV[3], 'current', ARGV[4], 'turned_at', ARGV[5], 'ends_at', ARGV[6])
redis.call('EXPIREAT', KEYS[1], ARGV[6])
redis.call('RPUSH', KEYS[2], ARGV[7])
if redis.call('EXPIRETIME', KEYS[2]) < tonumber(ARGV[6]) then redis.call('EXPIREAT', KEYS[2], ARGV[6]) end
local surplus = {}
while redis.call('LLEN', KEYS[2]) > tonumber(ARGV[8]) do table.insert(surplus, redis.call('LPOP', KEYS[2])) end
return surplus";
/// Turns a family, if its newest token still is the one that is named.
const TURN: &str = r"
if redis.call('HGET', KEYS[1], 'current') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'previous', ARGV[1], 'current', ARGV[2], 'turned_at', ARGV[3])
return 1";

/// The store.
pub struct RedisStore {
    redis: Redis,
    /// Before each name: which sidecars share it.
    prefix: String,
    put: Script,
    turn: Script,
    /// Knows the secret of local tokens, through its rotations.
    authenticator: Arc<Authenticator>,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisStore")
    }
}

type Fields = HashMap<String, Vec<u8>>;

impl RedisStore {
    /// A store in `redis`, whose names begin with `prefix`.
    pub fn new(redis: Redis, prefix: &str, authenticator: Arc<Authenticator>) -> Self {
        Self {
            redis,
            prefix: prefix.to_owned(),
            put: Script::new(PUT),
            turn: Script::new(TURN),
            authenticator,
        }
    }

    fn family(&self, id: &FamilyId) -> String {
        format!("{}family:{}", self.prefix, hex(id))
    }

    fn session(&self, session: &str) -> String {
        format!("{}families:{session}", self.prefix)
    }

    fn keys(&self) -> Result<SealingKeys, NotKept> {
        self.authenticator
            .sealing_keys()
            .ok_or(NotKept::Unreachable)
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, NotKept> {
        let answer = self.redis.command(command).await;
        answer.map_err(|why| out_of_reach(&why))
    }

    async fn forget(&self, names: &[String]) -> Result<(), NotKept> {
        let mut command = redis::cmd("DEL");
        self.ask(command.arg(names)).await
    }

    /// A family as its fields say; none where one of them is not what was written.
    fn read(&self, id: &FamilyId, mut fields: Fields) -> Result<Option<Family>, NotKept> {
        let mut text = |name: &str| String::from_utf8(fields.remove(name)?).ok();
        let (session, turned_at, ends_at) = (text("session"), text("turned_at"), text("ends_at"));
        let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
        let hash = |name: &str| <[u8; 32]>::try_from(fields.get(name)?.as_slice()).ok();
        let family = || {
            Some(Family {
                session: session?.into(),
                carried: fields.get("carried")?.as_slice().into(),
                certificate: hash("certificate"),
                current: hash("current")?,
                previous: hash("previous"),
                turned_at: number(turned_at)?,
                ends_at: number(ends_at)?,
            })
        };
        let Some(mut family) = family() else {
            return Ok(None);
        };
        match seal::open(&self.keys()?, id, &family) {
            Some(carried) => family.carried = carried.into(),
            None => return Ok(None),
        }
        Ok(Some(family))
    }
}

#[async_trait]
impl FamilyStore for RedisStore {
    async fn put(&self, id: FamilyId, family: Family, _now: i64) -> Result<(), NotKept> {
        let sealed = seal::seal(&self.keys()?, &id, &family).ok_or(NotKept::Unreachable)?;
        let mut script = self.put.key(self.family(&id));
        script
            .key(self.session(&family.session))
            .arg(&*family.session)
            .arg(sealed)
            .arg(family.certificate.as_ref().map_or(&[][..], |hash| hash))
            .arg(&family.current[..])
            .arg(family.turned_at)
            .arg(family.ends_at)
            .arg(&id[..])
            .arg(FAMILIES_PER_SESSION_MAX);
        let surplus = self.redis.script::<Vec<Vec<u8>>>(&script).await;
        let surplus = surplus.map_err(|why| out_of_reach(&why))?;
        let named = surplus.iter();
        let named = named.filter_map(|id| FamilyId::try_from(id.as_slice()).ok());
        let names: Vec<_> = named.map(|id| self.family(&id)).collect();
        match names.is_empty() {
            true => Ok(()),
            false => self.forget(&names).await,
        }
    }

    async fn get(&self, id: &FamilyId) -> Result<Option<Family>, NotKept> {
        let mut command = redis::cmd("HGETALL");
        let fields = self.ask(command.arg(self.family(id))).await?;
        self.read(id, fields)
    }

    async fn turn(
        &self,
        id: &FamilyId,
        newest: &[u8; 32],
        next: [u8; 32],
        now: i64,
    ) -> Result<bool, NotKept> {
        let mut script = self.turn.key(self.family(id));
        script.arg(&newest[..]).arg(&next[..]).arg(now);
        let turned = self.redis.script::<bool>(&script).await;
        turned.map_err(|why| out_of_reach(&why))
    }

    async fn remove(&self, id: &FamilyId) -> Result<(), NotKept> {
        self.forget(&[self.family(id)]).await
    }

    async fn remove_session(&self, session: &str) -> Result<(), NotKept> {
        let list = self.session(session);
        let mut command = redis::cmd("LRANGE");
        let ids: Vec<Vec<u8>> = self.ask(command.arg(&list).arg(0).arg(-1)).await?;
        let named = ids.iter();
        let named = named.filter_map(|id| FamilyId::try_from(id.as_slice()).ok());
        let mut names: Vec<_> = named.map(|id| self.family(&id)).collect();
        names.push(list);
        self.forget(&names).await
    }

    /// Redis forgets by itself.
    fn sweep(&self, _now: i64) {}
}

fn out_of_reach(why: &Unavailable) -> NotKept {
    log::warn!("the families of refresh tokens: {why}");
    NotKept::Unreachable
}

fn hex(id: &FamilyId) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
