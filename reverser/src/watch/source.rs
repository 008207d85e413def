//! The apiserver's side of a watch: pages of a list, events from a version on.

use futures::{Stream, StreamExt};
use kube::Client;
use kube::api::{ListParams, Request, WatchEvent, WatchParams};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::rules::WatchKey;

/// Objects in one answer; what client-go uses. At 1 MiB an object, the worst case, a page is 500 MiB;
/// at 10 KiB, the usual one, 5 MiB.
const PAGE: u32 = 500;

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
pub(super) enum SourceError {
    /// 410: the version, or the continue token, is older than what etcd still holds.
    #[error("expired: {0}")]
    Expired(String),
    /// 404: the type is not served (any more).
    #[error("not served")]
    NotServed,
    /// 403.
    #[error("forbidden: {0}")]
    Forbidden(String),
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

    /// The next page. Without a resourceVersion the list is consistent: it is read at the newest
    /// version (API concepts, "Semantics for get and list"), and its continue tokens go on at that
    /// same version or answer 410.
    pub(super) fn page(
        &self,
        token: Option<String>,
    ) -> impl Future<Output = Result<Page, SourceError>> + Send + use<> {
        let parameters = ListParams {
            limit: Some(PAGE),
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
        let parameters = WatchParams {
            bookmarks: true,
            timeout: Some(WATCH_SECONDS),
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
}
