//! News as the official Rust SDK hears them: which list has changed, which resource has, and only if it asked.
#![allow(
    deprecated,
    reason = "subscriptions to single resources are deprecated in the newer era, and still served"
)]

use std::time::{Duration, Instant};

use rmcp::model::{ServerNotification, SubscribeRequestParams, SubscriptionFilter, UnsubscribeRequestParams};
use rmcp::service::Subscription;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::peer::Peer;

/// Waits until the condition is true; false if that takes too long.
pub async fn until(condition: impl Fn() -> bool) -> bool {
    let begin = Instant::now();
    while !condition() && begin.elapsed() < crate::support::LATE {
        sleep(Duration::from_millis(10)).await;
    }
    condition()
}

async fn change(peer: &Peer) {
    for tool in ["change_tools", "change_prompts", "change_resources", "change_desk", "change_board"] {
        peer.call(tool, json!({})).await;
    }
}

/// Up to 2025-11-25: lists to every stream, a resource to those who subscribed to it.
pub async fn legacy_news(able: &Peer, unable: &Peer, servers: usize) {
    let both = [able, unable];
    // Over HTTP the two share a server, over stdio each has its own.
    let changed = async |tools: &[&'static str]| {
        for tool in tools {
            for peer in &both[..servers] {
                peer.call(tool, json!({})).await;
            }
        }
    };
    let last =
        async |news: &str| until(|| both.iter().all(|p| p.news().last().is_some_and(|l| l == news))).await;
    let heard = || both.map(|peer| peer.take().news);

    // The client does not say when its stream stands.
    for _ in 0..25 {
        changed(&["change_tools"]).await;
        sleep(Duration::from_millis(100)).await;
        if both.iter().all(|peer| !peer.news().is_empty()) {
            break;
        }
    }
    changed(&["change_prompts"]).await;
    assert!(last("prompts").await);
    heard();

    able.subscribe(SubscribeRequestParams::new("note://board")).await.unwrap();
    changed(&["change_tools", "change_prompts", "change_desk", "change_board", "change_resources"]).await;
    last("resources").await;
    let others = vec!["tools", "prompts", "resources"];
    assert_eq!(heard(), [vec!["tools", "prompts", "note://board", "resources"], others]);

    able.unsubscribe(UnsubscribeRequestParams::new("note://board")).await.unwrap();
    changed(&["change_board", "change_tools"]).await;
    last("tools").await;
    assert_eq!(heard(), [["tools"], ["tools"]]);
}

async fn heard(listening: &mut Subscription) -> String {
    match timeout(crate::support::LATE, listening.next()).await.unwrap().unwrap().unwrap() {
        ServerNotification::ToolListChangedNotification(_) => "tools".to_owned(),
        ServerNotification::PromptListChangedNotification(_) => "prompts".to_owned(),
        ServerNotification::ResourceListChangedNotification(_) => "resources".to_owned(),
        ServerNotification::ResourceUpdatedNotification(updated) => updated.params.uri,
        other => panic!("{other:?}"),
    }
}

/// Since 2026-07-28: what a stream asked for. The SDK ends a stream that brings anything else.
pub async fn modern_news(able: &Peer, unable: &Peer) {
    let lists = SubscriptionFilter::builder().tools_list_changed().prompts_list_changed();
    let all = lists.resources_list_changed().resource_subscriptions(["note://board", "note://desk"]).build();
    let few =
        SubscriptionFilter::builder().prompts_list_changed().resource_subscription("note://board").build();
    for (filter, wanted) in [
        (all, vec!["tools", "prompts", "resources", "note://desk", "note://board"]),
        (few, vec!["prompts", "note://board"]),
    ] {
        let mut listening = able.listen(filter.clone()).await.unwrap();
        assert_eq!(listening.acknowledged(), &filter);
        change(able).await;
        for news in wanted {
            assert_eq!(heard(&mut listening).await, news);
        }
        listening.cancel().await.unwrap();
    }
    sleep(Duration::from_millis(100)).await;
    let _ = (able.take(), unable.take());
    for peer in [able, unable] {
        change(peer).await;
    }
    sleep(Duration::from_millis(100)).await;
    assert_eq!((able.take().news, unable.take().news), (vec![], vec![]));
}
