//! What goes from an object before it is written.

mod ownership;
mod rules;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::cut::{Cut, Step};
use crate::yaml::MAX_DEPTH;

pub(crate) use ownership::only_machines;
use ownership::{Owners, Place};
pub use rules::Rule;
use rules::{Intent, Of, RULES, Target, When};

/// Removes what no person meant: status, server-side metadata, what machines annotate, values that
/// the cluster allocates (see [`rules`]).
///
/// Idempotent. What no rule names stays; a map or list that a rule emptied goes with its content.
/// [`crate::canonicalize`] leaves out the same without changing the object.
pub fn sanitize(object: &mut Value) {
    cut_of(object).apply(object);
}

/// The deny-list, row by row.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    RULES.iter()
}

/// What all rules together leave out of an object.
pub(crate) fn cut_of(object: &Value) -> Cut {
    let mut cut = Cut::default();
    let Some(top) = object.as_object() else {
        return cut;
    };
    let text = |key| top.get(key).and_then(Value::as_str).unwrap_or_default();
    let group = text("apiVersion")
        .split_once('/')
        .map_or("", |(group, _)| group);
    let kind = text("kind");
    let mut finder = Finder {
        object,
        owners: Owners::of(object),
        cut: &mut cut,
    };
    for rule in RULES {
        if let Of::Kind(of_group, of_kind) = rule.of
            && (of_kind, of_group) != (kind, group)
        {
            continue;
        }
        finder.find(top, rule);
    }
    cut.drop_emptied(object);
    cut
}

/// Finds in one object what rules name.
struct Finder<'a> {
    object: &'a Value,
    owners: Owners<'a>,
    cut: &'a mut Cut,
}

impl<'a> Finder<'a> {
    fn find(&mut self, top: &'a Map<String, Value>, rule: &Rule) {
        let metadata = |key| top.get("metadata").and_then(|metadata| metadata.get(key));
        let mut under_metadata = |list: &'static str, last| {
            self.cut.add([
                Step::Key(Cow::Borrowed("metadata")),
                Step::Key(Cow::Borrowed(list)),
                last,
            ]);
        };
        match rule.target {
            Target::Field(path) => {
                let mut place = Vec::with_capacity(path.len());
                self.follow(self.object, path, &mut place, &rule.when);
            }
            Target::Annotation(key) => {
                if metadata("annotations").is_some_and(|map| map.get(key).is_some()) {
                    under_metadata("annotations", Step::Key(Cow::Borrowed(key)));
                }
            }
            Target::Label(key) => {
                if metadata("labels").is_some_and(|map| map.get(key).is_some()) {
                    under_metadata("labels", Step::Key(Cow::Borrowed(key)));
                }
            }
            Target::Finalizer(name) => {
                let list = metadata("finalizers").and_then(Value::as_array);
                for (index, item) in list.into_iter().flatten().enumerate() {
                    if item == name {
                        under_metadata("finalizers", Step::Item(index));
                    }
                }
            }
            Target::NullInEmbeddedMetadata(key) => {
                let mut place = Vec::new();
                for (name, child) in top.iter().filter(|(name, _)| *name != "metadata") {
                    place.push(Place::Field(name));
                    self.embedded(child, key, &mut place);
                    place.pop();
                }
            }
        }
    }

    /// Follows a rule's path from `value` on; `place` is the way there.
    fn follow(
        &mut self,
        value: &'a Value,
        path: &[&'static str],
        place: &mut Vec<Place<'a>>,
        when: &When,
    ) {
        let Some((first, rest)) = path.split_first() else {
            if self.applies(value, place, when) {
                self.cut_at(place);
            }
            return;
        };
        match (*first, value) {
            ("[]", Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    place.push(Place::Item(index, item));
                    self.follow(item, rest, place, when);
                    place.pop();
                }
            }
            ("*", Value::Object(map)) => {
                for (key, child) in map {
                    place.push(Place::Field(key));
                    self.follow(child, rest, place, when);
                    place.pop();
                }
            }
            (key, Value::Object(map)) => {
                if let Some(child) = map.get(key) {
                    place.push(Place::Field(key));
                    self.follow(child, rest, place, when);
                    place.pop();
                }
            }
            _ => {}
        }
    }

    fn applies(&self, value: &Value, place: &[Place<'_>], when: &When) -> bool {
        let When::Allocated(intents) = when else {
            return true;
        };
        let meant = |intent: &Intent| match intent {
            Intent::Text(text) => value == text,
            Intent::Beside(path) => {
                let path: Vec<_> = path.iter().map(|key| Place::Field(key)).collect();
                self.owners.may_be_meant(&path)
            }
            Intent::Without(field) => self.object.get(field).is_none_or(Value::is_null),
        };
        !self.owners.may_be_meant(place) && !intents.iter().any(meant)
    }

    /// Finds `metadata.{key}: null` below `value`.
    fn embedded(&mut self, value: &'a Value, key: &'static str, place: &mut Vec<Place<'a>>) {
        // Deeper objects are refused by the writer.
        if place.len() > MAX_DEPTH {
            return;
        }
        match value {
            Value::Object(map) => {
                for (name, child) in map {
                    place.push(Place::Field(name));
                    if name == "metadata" && child.get(key).is_some_and(Value::is_null) {
                        place.push(Place::Field(key));
                        self.cut_at(place);
                        place.pop();
                    }
                    self.embedded(child, key, place);
                    place.pop();
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    place.push(Place::Item(index, item));
                    self.embedded(item, key, place);
                    place.pop();
                }
            }
            _ => {}
        }
    }

    fn cut_at(&mut self, place: &[Place<'_>]) {
        self.cut.add(place.iter().map(|step| match step {
            Place::Field(name) => Step::Key(Cow::Owned((*name).to_owned())),
            Place::Item(index, _) => Step::Item(*index),
        }));
    }
}
