//! A list on its way, however the server sends it.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::api::WatchEvent;
use tokio::time::timeout;
use tracing::debug;

use super::source::{Object, PageLimit, Source, SourceError, ends_list};
use crate::rules::WatchKey;

/// A stream in which nothing comes for so long won't come to its end. The server answers at once, or has to fill its cache.
const STREAM_PATIENCE: Duration = Duration::from_secs(30);

/// What comes next in a list.
#[derive(Debug)]
pub(super) enum Piece {
    /// One of its objects.
    Object(Object),
    /// What became of one since the list was begun.
    Event(WatchEvent<Object>),
    /// That was everything, as it is at this version.
    End(String),
}

/// How everything is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lists {
    Streamed,
    /// The server has no others of this type.
    Paged,
}

/// A consistent list.
pub(super) enum Listing {
    /// Object by object: in memory there is one at a time.
    Stream(BoxStream<'static, Result<WatchEvent<Object>, SourceError>>),
    /// Page by page.
    Pages(Box<Pages>),
}

/// A page at hand, and where the next one is.
pub(super) struct Pages {
    source: Source,
    objects: std::vec::IntoIter<Object>,
    next: Next,
    limit: PageLimit,
}

#[derive(Debug)]
enum Next {
    Page(Option<String>),
    End(String),
}

impl Listing {
    /// Begins a list of this type. `lists` tells how, and afterwards whether the server has streaming lists.
    ///
    /// # Errors
    /// When it can't be begun either way.
    pub(super) async fn begin(
        source: &Source,
        lists: &mut Lists,
        watch: &WatchKey,
    ) -> Result<Self, SourceError> {
        if *lists == Lists::Streamed {
            match source.everything().await {
                Err(SourceError::Refused(why)) => {
                    debug!(%watch, why, "there are no streaming lists");
                    *lists = Lists::Paged;
                }
                stream => return Ok(Self::Stream(stream?.boxed())),
            }
        }
        Ok(Self::paged(source))
    }

    fn paged(source: &Source) -> Self {
        Self::Pages(Box::new(Pages {
            source: source.clone(),
            objects: Vec::new().into_iter(),
            next: Next::Page(None),
            limit: PageLimit::default(),
        }))
    }

    /// # Errors
    /// When the list can't be had whole; [`SourceError::Unfinished`] where it might be had page by page.
    pub(super) async fn next(&mut self) -> Result<Piece, SourceError> {
        match self {
            Self::Stream(events) => loop {
                match timeout(STREAM_PATIENCE, events.next()).await {
                    Err(_) | Ok(None) => return Err(SourceError::Unfinished),
                    Ok(Some(event)) => match event? {
                        WatchEvent::Added(object) => return Ok(Piece::Object(object)),
                        WatchEvent::Bookmark(bookmark) if ends_list(&bookmark) => {
                            return Ok(Piece::End(bookmark.metadata.resource_version));
                        }
                        WatchEvent::Bookmark(_) => {}
                        event => return Ok(Piece::Event(event)),
                    },
                }
            },
            Self::Pages(pages) => pages.next().await,
        }
    }
}

impl Pages {
    async fn next(&mut self) -> Result<Piece, SourceError> {
        loop {
            if let Some(object) = self.objects.next() {
                return Ok(Piece::Object(object));
            }
            let token = match &mut self.next {
                Next::Page(token) => token.take(),
                Next::End(version) => return Ok(Piece::End(std::mem::take(version))),
            };
            let page = self.source.page(token, self.limit).await?;
            let objects = page.items.unwrap_or_default();
            self.limit = self.limit.after(&objects);
            self.objects = objects.into_iter();
            self.next = match page.metadata.token {
                token if token.is_empty() => Next::End(page.metadata.resource_version),
                token => Next::Page(Some(token)),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    fn event(kind: &str, object: &serde_json::Value) -> Result<WatchEvent<Object>, SourceError> {
        // In the server's order.
        let event = format!(r#"{{"type":"{kind}","object":{object}}}"#);
        Ok(serde_json::from_str(&event).unwrap())
    }

    fn bookmark(annotations: &serde_json::Value) -> Result<WatchEvent<Object>, SourceError> {
        let metadata = json!({"resourceVersion": "9", "annotations": annotations});
        event(
            "BOOKMARK",
            &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_a_list_up_to_the_bookmark_that_says_so() {
        let events = [
            event("ADDED", &json!(1)),
            bookmark(&json!({})),
            event("MODIFIED", &json!(2)),
            bookmark(&json!({"k8s.io/initial-events-end": "true"})),
            event("ADDED", &json!(3)),
        ];
        let mut listing = Listing::Stream(stream::iter(events).boxed());
        let one = to_raw_value(&1).unwrap();
        assert!(
            matches!(listing.next().await, Ok(Piece::Object(object)) if object.get() == one.get())
        );
        assert!(matches!(
            listing.next().await,
            Ok(Piece::Event(WatchEvent::Modified(_)))
        ));
        assert!(matches!(listing.next().await, Ok(Piece::End(version)) if version == "9"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_without_such_a_bookmark_is_no_list() {
        let silent = stream::iter([event("ADDED", &json!(1))]).chain(stream::pending());
        for events in [
            silent.boxed(),
            stream::iter([event("ADDED", &json!(1)), bookmark(&json!({}))]).boxed(),
        ] {
            let mut listing = Listing::Stream(events);
            assert!(matches!(listing.next().await, Ok(Piece::Object(_))));
            assert!(matches!(listing.next().await, Err(SourceError::Unfinished)));
        }
    }
}
