//! Events on the custom resources: one for each change of what is said of them.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tracing::warn;

use super::derive::IN_THE_CLEAR;
use super::writer::NAME;
use crate::api::{Condition, Conditions, READY};
use crate::rules::ObjectKey;

/// The apiserver refuses notes of more than 1,024 bytes.
const MAX_NOTE: usize = 1024;

/// Publishes Events.
pub(super) struct Events {
    client: Client,
    told: HashMap<ObjectKey, Told>,
}

/// One object's Events. A [`Recorder`] counts an Event of the same reason as a repetition of the first, whose note it
/// keeps: where the note is another, a fresh one is needed.
struct Told {
    recorder: Recorder,
    notes: HashMap<&'static str, String>,
}

impl Events {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            told: HashMap::new(),
        }
    }

    /// Forgets objects that are gone.
    pub(super) fn retain(&mut self, keep: impl Fn(&ObjectKey) -> bool) {
        self.told.retain(|key, _| keep(key));
    }

    /// What is to be told of what changed from `before`; counts alone are not told. An object that was edited and is still
    /// wrong is told again: what is wrong may be something else.
    pub(super) fn news(
        &mut self,
        key: &ObjectKey,
        conditions: &Conditions,
        before: &[Condition],
        generation: Option<i64>,
    ) -> Option<News> {
        let reason = conditions.reason();
        let stalled = matches!(conditions, Conditions::Stalled { .. });
        let said = before.iter().any(|condition| {
            condition.type_ == READY
                && condition.reason == reason
                && (!stalled || condition.observed_generation == generation)
        });
        if said {
            return None;
        }
        let note = cut(conditions.message());
        let told = self.told.entry(key.clone()).or_insert_with(|| Told {
            recorder: recorder(&self.client),
            notes: HashMap::new(),
        });
        if told.notes.get(reason).is_some_and(|known| *known != note) {
            told.recorder = recorder(&self.client);
            told.notes.clear();
        }
        told.notes.insert(reason, note.clone());
        let event = Event {
            type_: if stalled || reason == IN_THE_CLEAR {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: reason.to_owned(),
            note: Some(note).filter(|note| !note.is_empty()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        Some(News {
            recorder: told.recorder.clone(),
            event,
        })
    }
}

/// One Event that is to be written.
pub(super) struct News {
    recorder: Recorder,
    event: Event,
}

// === impl News ===

impl News {
    pub(super) async fn publish(self, key: &ObjectKey, object: &ObjectReference) {
        if let Err(error) = self.recorder.publish(&self.event, object).await {
            warn!(%key, %error, "an Event was not written");
        }
    }
}

fn recorder(client: &Client) -> Recorder {
    let reporter = Reporter {
        controller: NAME.to_owned(),
        instance: None,
    };
    Recorder::new(client.clone(), reporter)
}

fn cut(message: &str) -> String {
    if message.len() <= MAX_NOTE {
        return message.to_owned();
    }
    let mark = "…";
    let end = (0..=MAX_NOTE - mark.len())
        .rev()
        .find(|at| message.is_char_boundary(*at))
        .unwrap_or(0);
    format!("{}{mark}", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_fits_and_ends_between_characters() {
        assert_eq!(cut("short"), "short");
        for text in ["x".repeat(5000), "ü".repeat(5000), "漢".repeat(5000)] {
            let cut = cut(&text);
            assert!(cut.len() <= MAX_NOTE && cut.len() > MAX_NOTE - 4);
            assert!(cut.ends_with('…'));
        }
    }
}
