//! One list, for somebody who does not watch.

use kube::Client;
use kube::api::WatchEvent;
use manifest::{ClusterMade, Identity};

use super::listing::{Listing, Lists, Piece};
use super::object::{Seen, Unreadable, Which, WhyUnreadable};
use super::source::{Object, Source, SourceError};
use super::subscriber::identity;
use crate::rules::WatchKey;

/// What a list tells of one object. What is told later of an object takes the place of what was told before.
pub(crate) enum Listed {
    /// It is live, with this canonical manifest.
    Live {
        identity: Identity,
        text: bytes::Bytes,
    },
    /// It is on its way out, left out, or was deleted while it was listed: no file stands for it.
    NotLive(Identity),
    /// It can't be written. It lives all the same: its file stays as it is.
    Unreadable(Identity, WhyUnreadable),
    /// Not even its name can be read: nobody can tell which file it has.
    Nameless(WhyUnreadable),
}

/// Why a list can't be had.
pub(crate) type ListError = SourceError;

/// Lists everything there is at one version, as a stream where that is asked for and the server has such lists, else page by
/// page: one object, or one page, is in memory at a time. Once it returns `Ok`, what was not told of does not exist.
///
/// # Errors
/// When the list can't be had whole; [`ListError::Unfinished`] where it might be had page by page. What was told of
/// before that is good for nothing.
pub(crate) async fn list_once(
    client: Client,
    key: &WatchKey,
    cluster_made: ClusterMade,
    streamed: bool,
    mut each: impl FnMut(Listed),
) -> Result<(), ListError> {
    let source = Source::new(client, key);
    let mut lists = if streamed {
        Lists::Streamed
    } else {
        Lists::Paged
    };
    let mut listing = Listing::begin(&source, &mut lists, key).await?;
    let told = |object: &Object| tell(object, key, cluster_made);
    loop {
        match listing.next().await? {
            Piece::Object(object)
            | Piece::Event(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                each(told(&object));
            }
            Piece::Event(WatchEvent::Deleted(object)) => each(gone(told(&object))),
            Piece::Event(_) => {}
            Piece::End(_) => return Ok(()),
        }
    }
}

fn tell(object: &Object, key: &WatchKey, cluster_made: ClusterMade) -> Listed {
    match Seen::new(object, &key.served, cluster_made) {
        Ok(seen) if seen.is_live() => Listed::Live {
            identity: seen.identity,
            text: seen.text,
        },
        Ok(seen) => Listed::NotLive(seen.identity),
        Err(Unreadable { which, why }) => {
            let terminating = matches!(&which, Which::Version(meta) if meta.terminating);
            let identity = which
                .name()
                .map(|(namespace, name)| identity(&key.served, namespace, name));
            match identity {
                Some(identity) if terminating => Listed::NotLive(identity),
                Some(identity) => Listed::Unreadable(identity, why),
                None => Listed::Nameless(why),
            }
        }
    }
}

fn gone(told: Listed) -> Listed {
    match told {
        Listed::Live { identity, .. } | Listed::Unreadable(identity, _) => {
            Listed::NotLive(identity)
        }
        told => told,
    }
}
