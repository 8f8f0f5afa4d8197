//! How a connection is made: names are looked up each time, and those that lead inside are none where that is wanted.

use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use crate::outgoing::chain;
use crate::source::SourceError;
use crate::source::http::{CONNECT_TIMEOUT, KEEPALIVE, NOT_PUBLIC, is_not_public};
use crate::source::public;

/// Makes connections as every other client here does.
#[derive(Clone)]
pub(super) struct Connector(HttpConnector<Names>);

impl Connector {
    pub(super) fn new(public_only: bool) -> Self {
        let mut connector = HttpConnector::new_with_resolver(Names { public_only });
        connector.set_nodelay(true);
        connector.set_keepalive(Some(KEEPALIVE));
        connector.set_keepalive_interval(Some(Duration::from_secs(15)));
        connector.set_keepalive_retries(Some(3));
        #[cfg(any(target_os = "android", target_os = "linux"))]
        connector.set_tcp_user_timeout(Some(Duration::from_secs(30)));
        Self(connector)
    }

    pub(super) async fn connect(&self, to: &Uri) -> Result<TokioIo<TcpStream>, SourceError> {
        let refused = |why: &str| {
            SourceError::Unavailable(format!("error sending request: client error (Connect): {why}"))
        };
        let connected = timeout(CONNECT_TIMEOUT, self.0.clone().call(to.clone())).await;
        connected.map_err(|_| refused("operation timed out"))?.map_err(|error| {
            if is_not_public(&error) {
                SourceError::Unfit { reason: NOT_PUBLIC, detail: chain(&error) }
            } else {
                refused(&chain(&error))
            }
        })
    }
}

/// Looks names up; those that lead to no public address are none where that is wanted.
#[derive(Clone)]
struct Names {
    public_only: bool,
}

type Found = Result<std::vec::IntoIter<SocketAddr>, Box<dyn Error + Send + Sync>>;

impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Found> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let public_only = self.public_only;
        Box::pin(async move {
            let found: Vec<_> = if public_only {
                public::addresses(name.as_str(), 0).await?
            } else {
                GaiResolver::new().call(name).await?.collect()
            };
            Ok(found.into_iter())
        })
    }
}
