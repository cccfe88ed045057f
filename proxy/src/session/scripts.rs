//! What Redis does for the table, each as one script: nothing comes between its looking and its doing.
//!
//! All times are Unix seconds of the replica that asks, whose clock never goes back; Redis's own clock only lets names go
//! that no replica took away, [`MARGIN`] later than they must last. The names are made of the prefix `KEYS[1]`, so one
//! server keeps them all (no Redis Cluster):
//!
//! - `s:ID` a session, live or ended, `live` and `ended` their ids by when they are looked at next or may be forgotten;
//! - `u:USER`, `i:SID` the ids of a user's and of a provider's live sessions, oldest login first;
//! - `b:KEY` a barrier (decision 22), `barriers` the keys by when they may be forgotten.
//!
//! ID, USER, SID and KEY are hashes. `who` of a live session is sealed.

/// How much longer than it must last a name is kept, in seconds: so far ahead Redis's clock may jump.
pub(super) const MARGIN: i64 = 86_400;
/// Sessions that a script ends, or forgets, at once.
pub(super) const BATCH_MAX: usize = 1_000;

/// What every script begins with. `ARGV`: now, the monotonic now, absolute limit, idle limit, `MARGIN`, `BATCH_MAX`.
const COMMON: &str = r"
local p = KEYS[1]
local now, steady, absolute, idle, margin, batch = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local live, ended, out = p .. 'live', p .. 'ended', {}
local function slot(id) return p .. 's:' .. id end
local function over(id)
  local h = redis.call('HMGET', slot(id), 'state', 'last', 'abs', 'tend', 'sid')
  if h[1] ~= 'live' then return nil end
  if now >= tonumber(h[3]) then return 'absolute_limit' end
  if now >= tonumber(h[2]) + idle then return 'idle' end
  if h[5] == '' and now >= tonumber(h[4]) then return 'token_expired' end
  return nil
end
local function close(id, reason)
  local h = redis.call('HMGET', slot(id), 'state', 'user', 'last', 'abs', 'tend', 'login', 'who', 'sid')
  redis.call('ZREM', live, id)
  if h[1] ~= 'live' then return end
  local after = now
  if reason == 'idle' then after = tonumber(h[3]) end
  if reason == 'absolute_limit' then after = tonumber(h[4]) - absolute end
  after = math.max(after, tonumber(h[6]))
  local keep = math.max(tonumber(h[5]), now + absolute)
  redis.call('DEL', slot(id))
  redis.call('HSET', slot(id), 'state', 'ended', 'reason', reason, 'after', after, 'keep', keep)
  redis.call('EXPIRE', slot(id), math.max(keep - now, 0) + margin)
  redis.call('ZADD', ended, keep, id)
  redis.call('ZREM', p .. 'u:' .. h[2], id)
  if h[8] ~= '' then redis.call('ZREM', p .. 'i:' .. h[8], id) end
  table.insert(out, { id, reason, h[7] })
end
local function end_over(id)
  local reason = over(id)
  if reason then close(id, reason) end
end
local function forget()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', ended, '-inf', steady, 'LIMIT', 0, batch)) do
    redis.call('ZREM', ended, id)
    if redis.call('HGET', slot(id), 'state') == 'ended' then redis.call('DEL', slot(id)) end
  end
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', p .. 'barriers', '-inf', steady, 'LIMIT', 0, batch)) do
    redis.call('ZREM', p .. 'barriers', key)
    redis.call('DEL', p .. 'b:' .. key)
  end
end
local function room(max) return redis.call('ZCARD', live) + redis.call('ZCARD', ended) < max end
";

/// `ARGV` from 7: id, user, sid or empty, `auth_time` or -1, since, `exp`, sessions of a user or 0, slots, sealed principal, 1 where
/// a login above them is refused. Answers: `live` or `begun`, last, absolute end; or `ended` with the reason, `full` or `many`; and what ended.
const ADMIT: &str = r"
local id, user, sid = ARGV[7], ARGV[8], ARGV[9]
local auth, since, exp = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local per_user, max = tonumber(ARGV[13]), tonumber(ARGV[14])
local function keep_live(last, abs, tend)
  local at = math.min(last + idle, abs)
  if sid == '' then at = math.min(at, tend) end
  redis.call('ZADD', live, at, id)
  local ttl = math.max(math.max(abs, tend) - now, absolute) + margin
  redis.call('EXPIRE', slot(id), ttl)
  redis.call('EXPIRE', p .. 'u:' .. user, ttl)
  if sid ~= '' then redis.call('EXPIRE', p .. 'i:' .. sid, ttl) end
end
end_over(id)
local h = redis.call('HMGET', slot(id), 'state', 'reason', 'after', 'keep', 'last', 'abs', 'tend', 'login')
if h[1] == 'live' then
  local last, abs, tend = math.max(tonumber(h[5]), now), tonumber(h[6]), math.max(tonumber(h[7]), exp)
  if auth >= 0 then
    abs = math.max(abs, math.min(auth, now) + absolute)
    redis.call('HSET', slot(id), 'login', math.max(tonumber(h[8]), auth))
  end
  redis.call('HSET', slot(id), 'last', last, 'abs', abs, 'tend', tend)
  keep_live(last, abs, tend)
  return { 'live', '', last, abs, out }
end
if h[1] == 'ended' and not (auth >= 0 and auth > tonumber(h[3])) then
  if exp > tonumber(h[4]) then
    redis.call('HSET', slot(id), 'keep', exp)
    redis.call('EXPIRE', slot(id), exp - now + margin)
    redis.call('ZADD', ended, exp, id)
  end
  return { 'ended', h[2], 0, 0, out }
end
local abs = math.min(since, now) + absolute
if now >= abs then return { 'ended', 'absolute_limit', 0, 0, out } end
if not h[1] and not room(max) then
  forget()
  if not room(max) then return { 'full', '', 0, 0, out } end
end
local bars = { p .. 'b:' .. user, p .. 'b:all' }
if sid ~= '' then table.insert(bars, 1, p .. 'b:' .. sid) end
for _, key in ipairs(bars) do
  local bar = redis.call('HMGET', key, 'upto', 'reason')
  if bar[1] and since <= tonumber(bar[1]) then return { 'ended', bar[2], 0, 0, out } end
end
if per_user > 0 then
  for _, other in ipairs(redis.call('ZRANGE', p .. 'u:' .. user, 0, -1)) do end_over(other) end
  local surplus = redis.call('ZCARD', p .. 'u:' .. user) + 1 - per_user
  if surplus > 0 and ARGV[16] == '1' then return { 'many', '', 0, 0, out } end
  if surplus > 0 then
    for _, other in ipairs(redis.call('ZRANGE', p .. 'u:' .. user, 0, surplus - 1)) do
      close(other, 'displaced')
      redis.call('ZREM', p .. 'u:' .. user, other)
    end
  end
end
local order = redis.call('INCR', p .. 'order')
redis.call('DEL', slot(id))
redis.call('ZREM', ended, id)
redis.call('HSET', slot(id), 'state', 'live', 'user', user, 'sid', sid, 'last', now, 'abs', abs, 'tend', exp, 'login', auth, 'who', ARGV[15])
redis.call('ZADD', p .. 'u:' .. user, order, id)
if sid ~= '' then redis.call('ZADD', p .. 'i:' .. sid, order, id) end
keep_live(now, abs, exp)
for _, name in ipairs({ live, ended, p .. 'barriers', p .. 'order' }) do redis.call('EXPIRE', name, absolute + 2 * margin) end
return { 'begun', '', now, abs, out }";

/// Answers how many sessions live, and what ended.
const SWEEP: &str = r"
for _, id in ipairs(redis.call('ZRANGEBYSCORE', live, '-inf', now, 'LIMIT', 0, batch)) do
  local reason = over(id)
  if reason then close(id, reason) elseif redis.call('HGET', slot(id), 'state') ~= 'live' then redis.call('ZREM', live, id) end
end
forget()
return { redis.call('ZCARD', live), out }";

/// `ARGV` from 7: the reason, what (`user`, `sid`, `id`, `all`), its key, up to which login, barriers at most.
/// Answers what ended.
const END: &str = r"
local reason, what, key, upto, max = ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])
local ids
if what == 'id' then ids = { key }
elseif what == 'all' then ids = redis.call('ZRANGE', live, 0, -1)
else ids = redis.call('ZRANGE', p .. (what == 'user' and 'u:' or 'i:') .. key, 0, -1) end
for _, id in ipairs(ids) do
  local login = redis.call('HGET', slot(id), 'login')
  if login and tonumber(login) <= upto then close(id, reason) end
end
if what == 'id' then return out end
forget()
local name = key
if what == 'all' or (redis.call('ZCARD', p .. 'barriers') >= max and redis.call('EXISTS', p .. 'b:' .. key) == 0) then name = 'all' end
local bar = math.min(upto, now)
local known = redis.call('HGET', p .. 'b:' .. name, 'upto')
if not known or tonumber(known) <= bar then redis.call('HSET', p .. 'b:' .. name, 'upto', bar, 'reason', reason) end
redis.call('EXPIRE', p .. 'b:' .. name, absolute + margin)
if name ~= 'all' then
  redis.call('ZADD', p .. 'barriers', now + absolute, name)
  redis.call('EXPIRE', p .. 'barriers', absolute + 2 * margin)
end
return out";

/// `ARGV` from 7: ids. Answers for each its state, the reason of its end, its last request and absolute end.
const LOOK: &str = r"
for i = 7, #ARGV do
  local h = redis.call('HMGET', slot(ARGV[i]), 'state', 'reason', 'last', 'abs')
  table.insert(out, { h[1] or 'gone', h[2] or '', tonumber(h[3] or '0'), tonumber(h[4] or '0') })
end
return out";

/// `ARGV[7]`: how many at most. Answers id, last request, absolute end and principal of the live ones, the longest silent first.
const LIST: &str = r"
for _, id in ipairs(redis.call('ZRANGE', live, 0, tonumber(ARGV[7]) - 1)) do
  local h = redis.call('HMGET', slot(id), 'state', 'last', 'abs', 'who')
  if h[1] == 'live' then table.insert(out, { id, tonumber(h[2]), tonumber(h[3]), h[4] }) end
end
return out";

/// The scripts, each with its hash.
pub(super) struct Scripts {
    pub(super) admit: redis::Script,
    pub(super) sweep: redis::Script,
    pub(super) end: redis::Script,
    pub(super) look: redis::Script,
    pub(super) list: redis::Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let script = |body: &str| redis::Script::new(&[COMMON, body].concat());
        Self {
            admit: script(ADMIT),
            sweep: script(SWEEP),
            end: script(END),
            look: script(LOOK),
            list: script(LIST),
        }
    }
}
