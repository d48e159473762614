//! What is done to Redis, each a script that runs in one step.
//!
//! A hash of ours is a hash there: the field `v` has its version, a field of ours lies under `f` and its name. Beside the
//! hashes of a kind there is one sorted set of their ids, by when they run out, so that listing looks at nothing else. A
//! window is a counter that runs out, a row of turns a key that does; nobody lists those.
//! Each script first writes what Redis refuses when it is full, so that a refusal leaves everything as it was.

/// A function that notes when an id runs out. The set itself lives as long as the last of its ids.
macro_rules! keep {
    () => {
        r"
local function keep(ttl, id)
  local now = redis.call('TIME')
  redis.call('ZADD', KEYS[2], now[1] * 1000 + math.floor(now[2] / 1000) + ttl, id)
  if redis.call('PTTL', KEYS[2]) < tonumber(ttl) then redis.call('PEXPIRE', KEYS[2], ttl) end
end
"
    };
}

/// KEYS: the hash, the set of ids. ARGV: new version, ttl in ms, id, then fields and values.
pub(super) const REPLACE: &str = concat!(
    keep!(),
    r"
keep(ARGV[2], ARGV[3])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'v', ARGV[1])
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[1], 'f' .. ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"
);

/// KEYS: the hash, the set of ids. ARGV: new version, ttl in ms, id, known version, then `+`, field, value or `-`, field,
/// nothing. Answers whether the known version was there.
pub(super) const CHANGE: &str = concat!(
    keep!(),
    r"
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[4] then return 0 end
keep(ARGV[2], ARGV[3])
for i = 5, #ARGV, 3 do
  if ARGV[i] == '+' then redis.call('HSET', KEYS[1], 'f' .. ARGV[i + 1], ARGV[i + 2])
  else redis.call('HDEL', KEYS[1], 'f' .. ARGV[i + 1]) end
end
redis.call('HSET', KEYS[1], 'v', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"
);

/// KEYS: the hash, the set of ids. ARGV: known version, ttl in ms, id. Answers whether the known version was there.
pub(super) const RENEW: &str = concat!(
    keep!(),
    r"
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
keep(ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"
);

/// KEYS: the hash, the set of ids. ARGV: id.
pub(super) const FORGET: &str = r"
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
";

/// KEYS: counters. ARGV: of each its limit and its length in ms. Answers of each that was looked at whether it counted, how
/// many it has, and how long it lasts; the first that is full is the last.
pub(super) const COUNT: &str = r"
local answer = {}
for i = 1, #KEYS do
  local limit, left = tonumber(ARGV[2 * i - 1]), redis.call('PTTL', KEYS[i])
  local used = 0
  if left > 0 then used = tonumber(redis.call('GET', KEYS[i])) else left = tonumber(ARGV[2 * i]) end
  local counted = 0
  if used < limit then
    counted = 1
    if used == 0 then redis.call('SET', KEYS[i], 1, 'PX', left) else redis.call('INCR', KEYS[i]) end
    used = used + 1
  end
  table.insert(answer, counted)
  table.insert(answer, used)
  table.insert(answer, left)
  if counted == 0 then break end
end
return answer
";

/// KEYS: a counter, a row, which lives until it is as if nobody had come. ARGV: limit and length of the counter; of the row
/// how long a turn takes, how much of it lies ahead of those who need not wait, and the longest wait; times in ms. Answers
/// whether it counted, how many the counter has, how long it lasts, how long the wait is, and how long the row lives.
pub(super) const TURN: &str = r"
local limit, left = tonumber(ARGV[1]), redis.call('PTTL', KEYS[1])
local used = 0
if left > 0 then used = tonumber(redis.call('GET', KEYS[1])) else left = tonumber(ARGV[2]) end
local clear = math.max(redis.call('PTTL', KEYS[2]), 0)
local wait = math.max(clear - tonumber(ARGV[4]), 0)
if used >= limit or wait > tonumber(ARGV[5]) then return {0, used, left, wait, clear} end
clear = clear + tonumber(ARGV[3])
redis.call('SET', KEYS[2], 1, 'PX', clear)
if used == 0 then redis.call('SET', KEYS[1], 1, 'PX', left) else redis.call('INCR', KEYS[1]) end
return {1, used + 1, left, wait, clear}
";

/// KEYS: the set of ids.
pub(super) const LIST: &str = r"
local now = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now[1] * 1000 + math.floor(now[2] / 1000))
return redis.call('ZRANGE', KEYS[1], 0, -1)
";
