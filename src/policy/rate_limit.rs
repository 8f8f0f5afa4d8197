//! Rate limits: how often somebody may call (GCRA). How many callers are remembered has a bound, whatever they do.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::units::Rate;

/// How many keys a limit remembers. Beyond, keys share places.
const MAX_KEYS: usize = 500_000;
/// The places they share then.
const SHARED: u64 = 1 << 16;
/// After so many calls it is looked at how many keys there are.
const LOOK_EVERY: u64 = 1024;
/// The longest that a limit may take to be whole again, in seconds.
const LONGEST: u64 = 366 * 86400;
/// With fewer keys nothing is forgotten early.
const FEW_KEYS: usize = 10_000;

/// How often a route may be called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RateLimit")]
pub struct RateLimitConfig {
    /// Calls in a time: `10/s`, `120/m`, `1000/h`. What was not used comes back evenly: at `120/m` one call every half second.
    pub rate: Spanned<Rate>,
    /// How many calls may come at once. Default: the number in `rate`.
    #[schemars(range(min = 1))]
    pub burst: Option<Spanned<u32>>,
    /// Who shares one limit. Default `caller`.
    #[serde(default)]
    pub per: Per,
}

/// Who shares one limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Per")]
pub enum Per {
    /// Each caller has its own on each route. Callers without an identity are told apart by address.
    #[default]
    Caller,
    /// Each address has its own on each route; an IPv6 network of 64 bits counts as one.
    ClientIp,
    /// All who call this route.
    Route,
    /// All who call any of the routes whose limit is `per: global` and the same.
    Global,
}

/// A limit after compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RateLimitPlan {
    /// Calls in a time.
    pub rate: Rate,
    /// Calls at once.
    pub burst: NonZeroU32,
    /// Who shares it.
    pub per: Per,
}

impl RateLimitConfig {
    /// Compiles; nothing if it is wrong.
    pub fn compile(&self, diagnostics: &mut Diagnostics) -> Option<RateLimitPlan> {
        let burst = self.burst.map_or(self.rate.value.count, |b| b.value);
        let zero = match (self.rate.value.count, burst) {
            (0, _) => Some(self.rate.span),
            (_, 0) => self.burst.map(|b| b.span),
            _ => None,
        };
        if let Some(at) = zero {
            let message = "a limit of zero lets nobody call";
            diagnostics.push(Diagnostic::error("too-small", message).at(at, ""));
        }
        let whole = self.rate.value.per.as_secs().saturating_mul(u64::from(burst))
            / u64::from(self.rate.value.count.max(1));
        if whole > LONGEST {
            let message = "it would take longer than a year until such a burst has come back";
            let at = self.burst.map_or(self.rate.span, |b| b.span);
            diagnostics.push(Diagnostic::error("bad-burst", message).at(at, ""));
            return None;
        }
        Some(RateLimitPlan { rate: self.rate.value, burst: NonZeroU32::new(burst)?, per: self.per })
    }
}

impl RateLimitPlan {
    fn quota(&self) -> Quota {
        let count = self.rate.count.max(1);
        let period = (self.rate.per / count).max(Duration::from_nanos(1));
        let quota = Quota::with_period(period).unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN));
        quota.allow_burst(self.burst)
    }
}

/// Who is counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    /// What tells the caller from every other one, if it has an identity.
    pub caller: Option<&'a str>,
    /// Where it calls from; nowhere over stdio.
    pub ip: Option<IpAddr>,
}

type Keyed<C> = RateLimiter<u64, DashMapStateStore<u64>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// A limit in use.
pub struct RateLimit<C: Clock = DefaultClock> {
    plan: RateLimitPlan,
    /// Keyed by a hash with a secret of this process, so that nobody can choose whose place to share.
    limiter: Arc<Keyed<C>>,
    hasher: RandomState,
    clock: C,
    calls: AtomicU64,
    crowded: Arc<AtomicBool>,
    sweeping: Arc<AtomicBool>,
    max_keys: usize,
}

impl<C: Clock> std::fmt::Debug for RateLimit<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.plan.fmt(f)
    }
}

impl RateLimit {
    /// A limit that nobody has used.
    #[must_use]
    pub fn new(plan: RateLimitPlan) -> Self {
        Self::with(plan, DefaultClock::default(), MAX_KEYS)
    }
}

impl<C: Clock + Clone + Send + Sync + 'static> RateLimit<C>
where
    C::Instant: Send + Sync,
{
    fn with(plan: RateLimitPlan, clock: C, max_keys: usize) -> Self {
        let store = DashMapStateStore::default();
        Self {
            plan,
            limiter: Arc::new(RateLimiter::new(plan.quota(), store, clock.clone())),
            hasher: RandomState::new(),
            clock,
            calls: AtomicU64::new(0),
            crowded: Arc::default(),
            sweeping: Arc::default(),
            max_keys,
        }
    }

    /// What it is made from.
    #[must_use]
    pub const fn plan(&self) -> &RateLimitPlan {
        &self.plan
    }

    /// Counts one call.
    ///
    /// # Errors
    /// How long until the next one passes, if nobody else comes in between.
    pub fn take(&self, who: Counted<'_>) -> Result<(), Duration> {
        let mut key = self.key(who);
        if self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK_EVERY) {
            self.look();
        }
        if self.crowded.load(Ordering::Relaxed) {
            key %= SHARED;
        }
        self.limiter.check_key(&key).map_err(|until| until.wait_time_from(self.clock.now()))
    }

    fn key(&self, who: Counted<'_>) -> u64 {
        match (self.plan.per, who) {
            (Per::Caller, Counted { caller: Some(caller), .. }) => self.hasher.hash_one((0, caller)),
            (Per::Caller | Per::ClientIp, Counted { ip: Some(ip), .. }) => {
                self.hasher.hash_one((1, network(ip)))
            }
            (Per::ClientIp, Counted { caller: Some(caller), .. }) => self.hasher.hash_one((0, caller)),
            // Of a route or of all; or nothing is known of whoever calls.
            _ => 0,
        }
    }

    /// Forgets those whose limit is whole again, apart from the calls that come in.
    fn look(&self) {
        let keys = self.limiter.len();
        if keys > self.max_keys {
            self.crowded.store(true, Ordering::Relaxed);
        }
        if keys < FEW_KEYS.min(self.max_keys) || self.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let (limiter, crowded, sweeping) =
            (self.limiter.clone(), self.crowded.clone(), self.sweeping.clone());
        let enough = self.max_keys / 2;
        let sweep = move || {
            limiter.retain_recent();
            limiter.shrink_to_fit();
            if limiter.len() <= enough {
                crowded.store(false, Ordering::Relaxed);
            }
            sweeping.store(false, Ordering::Release);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(sweep)),
            Err(_) => sweep(),
        }
    }
}

/// One address, or the network that one customer of IPv6 has.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limit(
        rate: &str,
        burst: u32,
        per: Per,
        max_keys: usize,
    ) -> (RateLimit<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let rate = Rate::parse(rate).unwrap();
        let plan = RateLimitPlan { rate, burst: NonZeroU32::new(burst).unwrap(), per };
        (RateLimit::with(plan, clock.clone(), max_keys), clock)
    }

    fn named(name: &str) -> Counted<'_> {
        Counted { caller: Some(name), ip: None }
    }

    #[test]
    fn what_passes_is_the_burst_and_then_the_rate_and_the_wait_is_true() {
        let (limit, clock) = limit("120/m", 30, Per::Caller, 100);
        assert_eq!((0..100).filter(|_| limit.take(named("a")).is_ok()).count(), 30);
        let wait = limit.take(named("a")).unwrap_err();
        assert!(wait <= Duration::from_millis(500) && wait > Duration::ZERO, "{wait:?}");
        clock.advance(wait.saturating_sub(Duration::from_millis(1)));
        assert!(limit.take(named("a")).is_err());
        clock.advance(Duration::from_millis(1));
        assert!(limit.take(named("a")).is_ok());
        clock.advance(Duration::from_secs(3600));
        assert_eq!((0..100).filter(|_| limit.take(named("a")).is_ok()).count(), 30);
    }

    #[test]
    fn those_who_share_a_limit_are_the_ones_it_is_per() {
        let v4 = |last| Counted { caller: None, ip: Some(IpAddr::from([10, 0, 0, last])) };
        let v6 = |text: &str| Counted { caller: None, ip: Some(text.parse().unwrap()) };
        let both = |name, last| Counted { caller: Some(name), ip: v4(last).ip };
        for (per, first, second, shared) in [
            (Per::Caller, named("a"), named("b"), false),
            (Per::Caller, named("a"), named("a"), true),
            (Per::Caller, both("a", 1), both("a", 2), true),
            (Per::Caller, v4(1), v4(2), false),
            (Per::ClientIp, both("a", 1), both("b", 1), true),
            (Per::ClientIp, both("a", 1), both("a", 2), false),
            (Per::ClientIp, v6("2001:db8::1"), v6("2001:db8::ffff"), true),
            (Per::ClientIp, v6("2001:db8::1"), v6("2001:db8:0:1::1"), false),
            (Per::ClientIp, v6("::ffff:10.0.0.1"), v4(1), true),
            (Per::ClientIp, v6("::ffff:10.0.0.1"), v6("::ffff:10.0.0.2"), false),
            (Per::Route, named("a"), named("b"), true),
        ] {
            let (limit, _) = limit("1/h", 1, per, 100);
            assert!(limit.take(first).is_ok());
            assert_eq!(limit.take(second).is_err(), shared, "{per:?} {first:?} {second:?}");
        }
    }

    #[test]
    fn a_million_callers_are_not_all_remembered_and_each_still_has_a_limit() {
        let (limit, clock) = limit("1/h", 1, Per::Caller, 20_000);
        for n in 0..200_000 {
            let _ = limit.take(named(&n.to_string()));
        }
        let most = 20_000 + usize::try_from(SHARED).unwrap() + usize::try_from(LOOK_EVERY).unwrap();
        assert!(limit.limiter.len() <= most, "{}", limit.limiter.len());
        assert!(limit.take(named("7")).is_err() || limit.take(named("7")).is_err());
        // When they have their limit whole again they are forgotten, and each has its own again.
        clock.advance(Duration::from_secs(7200));
        for _ in 0..=LOOK_EVERY {
            let _ = limit.take(named("x"));
        }
        assert!(limit.limiter.len() <= 10, "{}", limit.limiter.len());
        assert!(limit.take(named("y")).is_ok() && limit.take(named("z")).is_ok());
    }
}
