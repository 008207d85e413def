//! The apiserver's side of a watch: pages of a list, events from a version on.

use futures::{Stream, StreamExt};
use kube::Client;
use kube::api::{ListParams, Request, WatchEvent, WatchParams};
use kube::core::watch::Bookmark;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::rules::WatchKey;

/// Objects in the first page of a list: at 1 MiB an object, the most that etcd takes, it is 100 MiB.
const FIRST_PAGE: u32 = 100;

/// Objects in any other page. 500 is what client-go asks for.
const PAGE: std::ops::RangeInclusive<u32> = 10..=500;

/// Bytes that a page is meant to have, going by the one before it.
const PAGE_BYTES: usize = 4 << 20;

/// The apiserver ends a watch after this many seconds, so that a dead connection is noticed.
const WATCH_SECONDS: u32 = 290;

/// An object as it came. Not parsed yet: one that can't be must not take a page or a watch along.
pub(super) type Object = Box<RawValue>;

/// One page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) metadata: PageMetadata,
    /// Go writes a list that was never made as null, and some aggregated APIs do.
    #[serde(default)]
    pub(super) items: Option<Vec<Object>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PageMetadata {
    pub(super) resource_version: String,
    #[serde(rename = "continue")]
    pub(super) token: String,
}

/// Why a list or a watch did not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// 410: the version, or the continue token, is older than what etcd still holds.
    #[error("expired: {0}")]
    Expired(String),
    /// 404: the type is not served (any more).
    #[error("not served")]
    NotServed,
    /// 403.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// 400 or 422: the server does not do what it was asked for.
    #[error("refused: {0}")]
    Refused(String),
    /// A streaming list that does not come to its end.
    #[error("the streaming list does not come to its end")]
    Unfinished,
    /// Everything else; worth another try.
    #[error("{0}")]
    Unavailable(String),
}

impl From<kube::Error> for SourceError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::from_status(status.code, status.message),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl SourceError {
    fn from_status(code: u16, message: String) -> Self {
        match code {
            410 => Self::Expired(message),
            404 => Self::NotServed,
            403 => Self::Forbidden(message),
            400 | 422 => Self::Refused(message),
            _ => Self::Unavailable(message),
        }
    }
}

/// One collection of the API.
#[derive(Clone)]
pub(super) struct Source {
    client: Client,
    url_path: String,
}

impl Source {
    pub(super) fn new(client: Client, key: &WatchKey) -> Self {
        Self {
            client,
            url_path: key.served.url_path(key.namespace.as_deref()),
        }
    }

    /// The next page, of so many objects at most. Without a resourceVersion the list is consistent: it is read at the newest
    /// version (API concepts, "Semantics for get and list"), and its continue tokens go on at that
    /// same version or answer 410.
    pub(super) fn page(
        &self,
        token: Option<String>,
        limit: PageLimit,
    ) -> impl Future<Output = Result<Page, SourceError>> + Send + use<> {
        let parameters = ListParams {
            limit: Some(limit.0),
            continue_token: token,
            ..ListParams::default()
        };
        let request = Request::new(&self.url_path).list(&parameters);
        let client = self.client.clone();
        async move {
            let request = request.map_err(|error| SourceError::Unavailable(error.to_string()))?;
            Ok(client.request(request).await?)
        }
    }

    /// Events after this version, until the server ends the stream.
    pub(super) async fn events(
        &self,
        resource_version: &str,
    ) -> Result<impl Stream<Item = Result<WatchEvent<Object>, SourceError>> + use<>, SourceError>
    {
        self.watch(resource_version, false).await
    }

    /// A streaming list (KEP-3157): everything that there is as ADDED, at the newest version; a bookmark that [says
    /// so](ends_list); and then the events after it.
    ///
    /// # Errors
    /// [`SourceError::Refused`] by a server that has no such lists. One that has never heard of them answers all the same,
    /// with whatever version it likes and without such a bookmark.
    pub(super) async fn everything(
        &self,
    ) -> Result<impl Stream<Item = Result<WatchEvent<Object>, SourceError>> + use<>, SourceError>
    {
        self.watch("", true).await
    }

    async fn watch(
        &self,
        resource_version: &str,
        send_initial_events: bool,
    ) -> Result<impl Stream<Item = Result<WatchEvent<Object>, SourceError>> + use<>, SourceError>
    {
        let parameters = WatchParams {
            bookmarks: true,
            timeout: Some(WATCH_SECONDS),
            send_initial_events,
            ..WatchParams::default()
        };
        let request = Request::new(&self.url_path)
            .watch(&parameters, resource_version)
            .map_err(|error| SourceError::Unavailable(error.to_string()))?;
        let events = self.client.request_events::<Object>(request).await?;
        Ok(events.map(|event| match event? {
            WatchEvent::Error(status) => Err(SourceError::from_status(status.code, status.message)),
            other => Ok(other),
        }))
    }
}

/// Whether everything that a streaming list held was sent before this bookmark.
pub(super) fn ends_list(bookmark: &Bookmark) -> bool {
    let end = bookmark
        .metadata
        .annotations
        .get("k8s.io/initial-events-end");
    end.is_some_and(|value| value == "true")
}

// === impl PageLimit ===

/// How many objects to ask for, so that a page has about as many bytes as it is meant to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageLimit(u32);

impl Default for PageLimit {
    fn default() -> Self {
        Self(FIRST_PAGE)
    }
}

impl PageLimit {
    /// For the page after these objects.
    pub(super) fn after(self, objects: &[Object]) -> Self {
        let bytes: usize = objects.iter().map(|object| object.get().len()).sum();
        if bytes == 0 {
            return self;
        }
        let fitting = PAGE_BYTES.saturating_mul(objects.len()) / bytes;
        let fitting = u32::try_from(fitting).unwrap_or(u32::MAX);
        Self(fitting.clamp(*PAGE.start(), *PAGE.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_any_depth_leaves_page_and_event_readable() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        let page = format!(
            r#"{{"kind": "List", "metadata": {{"resourceVersion": "7"}}, "items": [{{"spec": {deep}}}, {{"spec": 1}}]}}"#
        );
        let page: Page = serde_json::from_str(&page).unwrap();
        assert_eq!(page.metadata.resource_version, "7");
        let items = page.items.unwrap();
        assert_eq!(items[1].get(), r#"{"spec": 1}"#);

        let event = format!(r#"{{"type":"MODIFIED","object":{{"spec":{deep}}}}}"#);
        let event: WatchEvent<Object> = serde_json::from_str(&event).unwrap();
        let WatchEvent::Modified(object) = event else {
            panic!("{event:?}");
        };
        assert_eq!(object.get(), format!(r#"{{"spec":{deep}}}"#));
    }

    #[test]
    fn a_page_is_as_long_as_the_objects_before_it_suggest() {
        let objects = |count: usize, bytes: usize| -> Vec<Object> {
            let text = format!("\"{}\"", "x".repeat(bytes - 2));
            let object = RawValue::from_string(text).unwrap();
            vec![object; count]
        };
        let first = PageLimit::default();
        assert_eq!(first.after(&[]), first);
        assert_eq!(first.after(&objects(100, 1000)), PageLimit(500));
        assert_eq!(first.after(&objects(3, 40_000)), PageLimit(104));
        assert_eq!(first.after(&objects(2, 1 << 20)), PageLimit(10));
    }
}
