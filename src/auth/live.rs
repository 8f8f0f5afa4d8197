//! Who sends a key or a token, or shows a certificate: the live part, with the issuers and what was verified a moment ago.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;

use super::certificates::Shown;
use super::issuer::{Issuer, Refused};
use super::keys::{self, Slow};
use super::plan::{AuthPlan, KnownPlan};
use super::token::{self, Unverified};
use crate::caller::Identity;
use crate::policy::store::Store;
use crate::secret::Secret;

/// The most memory for identities that were verified, by the length of their tokens.
const REMEMBERED: u64 = 8 << 20;

/// Says who sends a key or a token.
#[derive(Debug)]
pub struct Authentication {
    plan: AuthPlan,
    issuers: Vec<Arc<Issuer>>,
    slow: Slow,
    /// By the SHA-256 of their tokens, which are not kept.
    verified: Store<Remembered>,
}

#[derive(Debug)]
struct Remembered {
    identity: Identity,
    expires: Duration,
    issuer: Arc<Issuer>,
    /// Of the issuer's keys: with others it has to be verified again.
    edition: u64,
    length: usize,
}

/// Why nobody is let in by a key or a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not good; the sentence says why and quotes nothing of it.
    Bad(&'static str),
    /// Nobody can say right now.
    Unavailable,
}

impl Authentication {
    /// Puts a plan to use. Issuers that are equal to those of `previous` go on with their keys, and an equal plan with all of it.
    ///
    /// # Errors
    /// The TLS stack's reason if it does not start.
    pub fn open(plan: &AuthPlan, previous: Option<&Arc<Self>>) -> Result<Arc<Self>, String> {
        if let Some(previous) = previous.filter(|previous| previous.plan == *plan) {
            return Ok(previous.clone());
        }
        let plans = plan.known().map(|known| known.issuers.as_slice()).unwrap_or_default();
        let issuers = plans.iter().map(|plan| {
            let kept = previous.and_then(|p| p.issuers.iter().find(|issuer| issuer.plan == *plan));
            kept.map_or_else(|| Issuer::open(plan).map(Arc::new), |issuer| Ok(issuer.clone()))
        });
        let issuers = issuers.collect::<Result<_, String>>()?;
        let verified = Store::new(REMEMBERED, |_, value: &Remembered| value.length, None);
        let slow = Slow::new(plan.known().map(|known| known.keys.as_slice()).unwrap_or_default());
        Ok(Arc::new(Self { plan: plan.clone(), issuers, slow, verified }))
    }

    /// Reads the keys of the issuers before anybody needs them.
    pub fn warm(&self) {
        self.issuers.iter().for_each(Issuer::warm);
    }

    /// The ways to prove who one is, if callers have to.
    #[must_use]
    pub fn known(&self) -> Option<&KnownPlan> {
        self.plan.known()
    }

    /// Who holds this key.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn key(&self, key: &str) -> Result<Arc<Identity>, Refusal> {
        self.holder(key, sha256(key)?).await
    }

    async fn holder(&self, key: &str, digest: [u8; 32]) -> Result<Arc<Identity>, Refusal> {
        if let Some(identity) = self.plain(&digest) {
            return Ok(identity);
        }
        if !self.slow.is_used() {
            return Err(Refusal::Bad("this key is not known here"));
        }
        // Apart, so that calls with other keys carry none of it.
        let holder = Box::pin(self.slow.holder(key, digest)).await.map_err(|()| Refusal::Unavailable)?;
        holder.ok_or(Refusal::Bad("this key is not known here"))
    }

    /// Who holds the key with this digest, if it is known.
    fn plain(&self, digest: &[u8; 32]) -> Option<Arc<Identity>> {
        keys::holder(&self.known()?.keys, digest).cloned()
    }

    /// Who holds this key or this token.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn bearer(&self, text: &str) -> Result<Arc<Identity>, Refusal> {
        if self.issuers.is_empty() || !token::looks_like(text) {
            return self.key(text).await;
        }
        let digest = sha256(text)?;
        match self.plain(&digest) {
            Some(identity) => Ok(identity),
            // A key that a person chose may have dots too.
            None if self.slow.is_used() && !Unverified::is_one(text) => self.holder(text, digest).await,
            None => self.token(text, digest).await,
        }
    }

    /// Who holds the certificate that says this. That its authority is believed was looked at before.
    #[must_use]
    pub fn certificate(&self, shown: &Shown) -> Option<&Arc<Identity>> {
        let certificates = &self.known()?.certificates;
        certificates.iter().find(|known| shown.bears(&known.by)).map(|known| &known.identity)
    }

    async fn token(&self, text: &str, digest: [u8; 32]) -> Result<Arc<Identity>, Refusal> {
        if let Some(known) = self.verified.get(&digest) {
            known.issuer.freshen();
            let same = known.issuer.edition() == Some(known.edition) && !known.issuer.is_stale();
            if known.expires > now() && same {
                return Ok(with_token(&known.identity, text));
            }
        }
        // Apart, so that calls with tokens that are remembered carry none of it.
        Box::pin(self.verify(text, digest)).await
    }

    async fn verify(&self, text: &str, digest: [u8; 32]) -> Result<Arc<Identity>, Refusal> {
        // What was remembered of it does not hold any more.
        self.verified.remove(&digest);
        let token = Unverified::read(text).map_err(Refusal::Bad)?;
        let said = token.issuer().ok_or(Refusal::Bad("this token does not say who issued it"))?;
        let issuer = self.issuers.iter().find(|issuer| issuer.plan.issuer == said);
        let issuer = issuer.ok_or(Refusal::Bad("this token is of another issuer"))?;
        let (verified, edition) = issuer.verify(&token).await.map_err(|refused| match refused {
            Refused::Bad(why) => Refusal::Bad(why),
            Refused::NoKeys => Refusal::Unavailable,
        })?;
        // As values its claims take more room than as text.
        let length = text.len() * 4;
        let identity = with_token(&verified.identity, text);
        let (expires, issuer) = (verified.expires, issuer.clone());
        let known = Remembered { identity: verified.identity, expires, issuer, edition, length };
        self.verified.insert(digest.into(), Arc::new(known));
        Ok(identity)
    }
}

fn with_token(identity: &Identity, text: &str) -> Arc<Identity> {
    Arc::new(identity.with(Secret::new(text.to_owned())))
}

fn sha256(text: &str) -> Result<[u8; 32], Refusal> {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().try_into().map_err(|_| Refusal::Unavailable)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
