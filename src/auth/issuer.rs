//! An issuer in use: its keys, read once for all who wait for them, read again in the background when they are old, and again when
//! a token names a key that is not among them. While it is down the last good keys hold.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use serde_json::Value;
use tokio::sync::watch;
use tracing::{info, warn};
use url::Url;

use super::fetch;
use super::jwks::KeySet;
use super::jwt::{JwtPlan, KeysPlan, is_loopback};
use super::token::{Unverified, Verdict, Verified};
use crate::telemetry::one_line;

/// When keys are old enough to be read again in the background.
const OLD: Duration = Duration::from_secs(300);
/// When nothing counts any more that was not looked at again, unless the issuer is down.
const TOO_OLD: Duration = Duration::from_secs(600);
/// How long nothing is read after a reading that failed, or that did not have the key that it was for. What strangers send can
/// cause one reading in that time.
const COOL_DOWN: Duration = Duration::from_secs(30);
/// The same as long as there are no keys at all, and nobody can come in.
const WITHOUT_KEYS: Duration = Duration::from_secs(2);

/// Keys, and which reading gave them.
#[derive(Debug)]
pub(super) struct Keys {
    set: Arc<KeySet>,
    pub edition: u64,
    read: Instant,
}

/// An issuer in use.
#[derive(Debug)]
pub(super) struct Issuer {
    pub plan: JwtPlan,
    /// Absent where the keys stand in a file.
    client: Option<reqwest::Client>,
    keys: ArcSwapOption<Keys>,
    reading: Mutex<Reading>,
    /// Counts the readings that have ended.
    ended: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Reading {
    running: bool,
    /// Until then nothing is read.
    rests: Option<Instant>,
}

/// Why a token of this issuer does not count.
pub(super) enum Refused {
    /// It is bad.
    Bad(&'static str),
    /// Nobody can say: there are no keys.
    NoKeys,
}

impl Issuer {
    /// Puts a plan to use. Nothing is read yet.
    ///
    /// # Errors
    /// The TLS stack's reason if it does not start.
    pub(super) fn open(plan: &JwtPlan) -> Result<Self, String> {
        let (client, keys) = match &plan.keys {
            KeysPlan::File(set) => {
                let keys = Keys { set: set.clone(), edition: 1, read: Instant::now() };
                (None, Some(Arc::new(keys)))
            }
            KeysPlan::Discovery | KeysPlan::Url(_) => (Some(fetch::client(plan.tls.as_ref())?), None),
        };
        Ok(Self {
            plan: plan.clone(),
            client,
            keys: ArcSwapOption::new(keys),
            reading: Mutex::default(),
            ended: watch::Sender::new(0),
        })
    }

    /// Which edition of the keys is in use.
    pub(super) fn edition(&self) -> Option<u64> {
        self.keys.load().as_ref().map(|keys| keys.edition)
    }

    /// Verifies a token; the keys are read first where there are none, or none of the name that it gives.
    pub(super) async fn verify(
        self: &Arc<Self>,
        token: &Unverified<'_>,
    ) -> Result<(Box<Verified>, u64), Refused> {
        const OTHER: &str = "the signature of this token is not right";
        if !self.plan.algorithms.contains(&token.algorithm) {
            return Err(Refused::Bad("this token is not signed in a way that counts here"));
        }
        if self.keys.load().is_none() {
            self.read_again(false).await;
        }
        let Some(keys) = self.keys.load_full() else { return Err(Refused::NoKeys) };
        self.freshen();
        // After a quiet time nothing has read them in the background: a key may have been withdrawn long ago.
        let keys = if keys.read.elapsed() > TOO_OLD && self.read_again(false).await.is_some() {
            self.keys.load_full().unwrap_or(keys)
        } else {
            keys
        };
        if let Some(verified) = self.try_keys(token, &keys)? {
            return Ok((verified, keys.edition));
        }
        // A key that is known has spoken; one that is not may be new.
        if token.kid.as_deref().is_some_and(|kid| keys.set.names(kid)) {
            return Err(Refused::Bad(OTHER));
        }
        // A reading that somebody else began may be older than the key.
        for _ in 0..2 {
            let Some(own) = self.read_again(true).await else { break };
            if let Some(newer) = self.keys.load_full().filter(|newer| newer.edition != keys.edition)
                && let Some(verified) = self.try_keys(token, &newer)?
            {
                // It was not in vain.
                self.lock().rests = None;
                return Ok((verified, newer.edition));
            }
            if own {
                break;
            }
        }
        Err(Refused::Bad(OTHER))
    }

    fn try_keys(&self, token: &Unverified<'_>, keys: &Keys) -> Result<Option<Box<Verified>>, Refused> {
        for key in keys.set.candidates(token.kid.as_deref(), token.algorithm) {
            match token.verify(key, &self.plan) {
                Verdict::Good(verified) => return Ok(Some(verified)),
                Verdict::Bad(why) => return Err(Refused::Bad(why)),
                Verdict::OtherKey => {}
            }
        }
        Ok(None)
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        // Two plain members.
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is read for a while.
    fn rest(&self, time: Duration) {
        self.lock().rests = Some(Instant::now() + time);
    }

    /// Reads the keys in the background before anybody needs them.
    pub(super) fn warm(self: &Arc<Self>) {
        drop(self.begin(false));
    }

    /// Reads the keys again in the background if they are old.
    pub(super) fn freshen(self: &Arc<Self>) {
        if self.keys.load().as_ref().is_some_and(|keys| keys.read.elapsed() > OLD) {
            drop(self.begin(false));
        }
    }

    /// Whether the keys are so old that nothing that was verified with them counts without another look.
    pub(super) fn is_stale(&self) -> bool {
        let keys = self.keys.load();
        self.client.is_some() && keys.as_ref().is_some_and(|keys| keys.read.elapsed() > TOO_OLD)
    }

    /// Waits for a reading: the one that runs, or a new one unless nothing is read for a while. Whether it was a new one.
    async fn read_again(self: &Arc<Self>, for_a_key: bool) -> Option<bool> {
        let (mut ended, before, own) = self.begin(for_a_key)?;
        // The reading has time limits of its own.
        let _ = ended.wait_for(|ended| *ended > before).await;
        Some(own)
    }

    /// Joins the reading that runs, or begins one in a task of its own: whoever waits may go away. One for a key that a token names is
    /// followed by a rest, which ends early if a token was good by it.
    fn begin(self: &Arc<Self>, for_a_key: bool) -> Option<(watch::Receiver<u64>, u64, bool)> {
        let client = self.client.clone()?;
        let mut reading = self.lock();
        let ended = self.ended.subscribe();
        let before = *ended.borrow();
        let own = !reading.running;
        if own {
            if reading.rests.is_some_and(|until| Instant::now() < until) {
                return None;
            }
            reading.running = true;
            let issuer = self.clone();
            crate::tasks::spawn(async move {
                let done = Done(&issuer);
                issuer.read(&client).await;
                if for_a_key {
                    issuer.rest(COOL_DOWN);
                }
                drop(done);
            });
        }
        Some((ended, before, own))
    }

    async fn read(&self, client: &reqwest::Client) {
        match self.fetch(client).await {
            Ok(set) => {
                let known = self.keys.load_full();
                // Tokens that were verified before stay so as long as the keys do.
                let same = known.as_ref().is_some_and(|known| *known.set == set);
                let edition = known.map_or(1, |known| if same { known.edition } else { known.edition + 1 });
                info!(issuer = %one_line(&self.plan.issuer), keys = ?set, "keys of the issuer read");
                self.keys.store(Some(Arc::new(Keys { set: Arc::new(set), edition, read: Instant::now() })));
            }
            Err(why) => {
                let known = self.keys.load().is_some();
                self.rest(if known { COOL_DOWN } else { WITHOUT_KEYS });
                let detail = one_line(&why);
                warn!(issuer = %one_line(&self.plan.issuer), %detail, last_good = known, "keys of the issuer not read");
            }
        }
    }

    async fn fetch(&self, client: &reqwest::Client) -> Result<KeySet, String> {
        let url = match &self.plan.keys {
            KeysPlan::Url(url) => url.clone(),
            _ => discover(client, &self.plan.issuer).await?,
        };
        let body = fetch::get(client, &url).await.map_err(|why| format!("its keys: {why}"))?;
        KeySet::parse(&body).map_err(|why| format!("its keys: {why}"))
    }
}

/// Marks the end of a reading, also of one that panicked.
struct Done<'a>(&'a Issuer);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.lock().running = false;
        self.0.ended.send_modify(|ended| *ended += 1);
    }
}

/// Where the keys are, by OpenID Connect Discovery 1.0, section 4, else by RFC 8414, section 3.1.
async fn discover(client: &reqwest::Client, issuer: &str) -> Result<String, String> {
    let own = Url::parse(issuer).map_err(|error| error.to_string())?;
    let openid = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let mut oauth = own.clone();
    let path = format!("/.well-known/oauth-authorization-server{}", own.path().trim_end_matches('/'));
    oauth.set_path(&path);
    let document = match fetch::get(client, &openid).await {
        Ok(document) => document,
        Err(first) => fetch::get(client, oauth.as_str())
            .await
            .map_err(|second| format!("its discovery document: {first}; by RFC 8414: {second}"))?,
    };
    let document = super::json::object(&document).ok_or("its discovery document is not a JSON object")?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    if text("issuer") != Some(issuer) {
        return Err("its discovery document is of another issuer".to_owned());
    }
    let keys = text("jwks_uri").ok_or("its discovery document has no `jwks_uri`")?;
    // Nobody from outside says where on this machine something is read.
    let local = Url::parse(keys).is_ok_and(|url| is_loopback(&url));
    if local && !is_loopback(&own) {
        return Err("its `jwks_uri` leads to this machine".to_owned());
    }
    Ok(keys.to_owned())
}
