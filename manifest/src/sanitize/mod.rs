//! What goes from an object before it is written.

mod ownership;
mod rules;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::cut::{Cut, Step};
use crate::work;
use crate::yaml::MAX_DEPTH;

use ownership::Owners;
pub(crate) use ownership::only_machines;
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
        metadata: Metadata::of(top),
        owners: Owners::of(object),
        place: Vec::new(),
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

/// One step from an object down.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// Named by the table.
    Field(&'static str),
    /// Named by the object.
    Key(&'a str),
    Item(usize),
}

/// The parts of an object's metadata that most rules are for, looked up once.
struct Metadata<'a> {
    annotations: Option<&'a Map<String, Value>>,
    labels: Option<&'a Map<String, Value>>,
    finalizers: &'a [Value],
}

impl<'a> Metadata<'a> {
    fn of(top: &'a Map<String, Value>) -> Self {
        let part = |key| top.get("metadata").and_then(|metadata| metadata.get(key));
        let map = |key| part(key).and_then(Value::as_object);
        Self {
            annotations: map("annotations"),
            labels: map("labels"),
            finalizers: part("finalizers")
                .and_then(Value::as_array)
                .map_or(&[], Vec::as_slice),
        }
    }
}

/// Finds in one object what rules name.
struct Finder<'a> {
    object: &'a Value,
    metadata: Metadata<'a>,
    owners: Owners<'a>,
    /// The way to where it looks now.
    place: Vec<Place<'a>>,
    cut: &'a mut Cut,
}

impl<'a> Finder<'a> {
    fn find(&mut self, top: &'a Map<String, Value>, rule: &Rule) {
        let has =
            |map: Option<&Map<String, Value>>, key| map.is_some_and(|map| map.contains_key(key));
        match rule.target {
            Target::Field(path) => {
                let owners = match rule.when {
                    When::Allocated(_) => self.owners.clone(),
                    _ => Owners::default(),
                };
                self.follow(self.object, path, &owners, &rule.when);
            }
            Target::Annotation(key) => {
                if has(self.metadata.annotations, key) {
                    self.cut_in_metadata("annotations", Step::Key(Cow::Borrowed(key)));
                }
            }
            Target::Label(key) => {
                if has(self.metadata.labels, key) {
                    self.cut_in_metadata("labels", Step::Key(Cow::Borrowed(key)));
                }
            }
            Target::Finalizer(name) => {
                for (index, item) in self.metadata.finalizers.iter().enumerate() {
                    work::done(1);
                    if item == name {
                        self.cut_in_metadata("finalizers", Step::Item(index));
                    }
                }
            }
            Target::NullInEmbeddedMetadata(key) => {
                for (name, child) in top.iter().filter(|(name, _)| *name != "metadata") {
                    self.at(Place::Key(name), |this| this.embedded(child, key));
                }
            }
        }
    }

    /// Follows a rule's path from `value` on.
    fn follow(
        &mut self,
        value: &'a Value,
        path: &[&'static str],
        owners: &Owners<'a>,
        when: &When,
    ) {
        let Some((first, rest)) = path.split_first() else {
            if self.applies(value, owners, when) {
                self.cut_here();
            }
            return;
        };
        match (*first, value) {
            ("[]", Value::Array(list)) => {
                let items = owners.items();
                for (index, item) in list.iter().enumerate() {
                    let owners = items.item(index, item);
                    self.at(Place::Item(index), |this| {
                        this.follow(item, rest, &owners, when);
                    });
                }
            }
            ("*", Value::Object(map)) => {
                let fields = owners.fields();
                for (key, child) in map {
                    let owners = fields.field(key);
                    self.at(Place::Key(key), |this| {
                        this.follow(child, rest, &owners, when);
                    });
                }
            }
            (key, Value::Object(map)) => {
                if let Some(child) = map.get(key) {
                    let owners = owners.field(key);
                    self.at(Place::Field(key), |this| {
                        this.follow(child, rest, &owners, when);
                    });
                }
            }
            _ => {}
        }
    }

    fn applies(&self, value: &Value, owners: &Owners<'_>, when: &When) -> bool {
        let intents = match when {
            When::Always => return true,
            When::Where(path, value) => {
                let field = path.iter().try_fold(self.object, |at, key| at.get(key));
                return field.is_some_and(|field| field == value);
            }
            When::Just(text) => {
                let items = value.as_array().map_or(&[][..], Vec::as_slice);
                return items.len() == 1 && items[0] == *text;
            }
            When::Empty => {
                return value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            }
            When::With(field) => return self.object.get(field).is_some_and(|it| !it.is_null()),
            When::Named(key, values) => {
                let named = value.get(key).and_then(Value::as_str);
                return named.is_some_and(|name| values.contains(&name));
            }
            When::Allocated(intents) => intents,
        };
        let meant = |intent: &Intent| match intent {
            Intent::Text(text) => value == text,
            Intent::Beside(path) => path
                .iter()
                .fold(self.owners.clone(), |owners, key| owners.field(key))
                .may_be_meant(),
            Intent::NamedOtherThan(start) => value
                .get("name")
                .and_then(Value::as_str)
                .is_none_or(|name| !name.starts_with(start)),
        };
        !owners.may_be_meant() && !intents.iter().any(meant)
    }

    /// Finds `metadata.{key}: null` from `value` on.
    fn embedded(&mut self, value: &'a Value, key: &'static str) {
        // Deeper objects are refused by the writer.
        if self.place.len() > MAX_DEPTH {
            return;
        }
        match value {
            Value::Object(map) => {
                for (name, child) in map {
                    self.at(Place::Key(name), |this| {
                        if name == "metadata" && child.get(key).is_some_and(Value::is_null) {
                            this.at(Place::Field(key), Finder::cut_here_silently);
                        }
                        this.embedded(child, key);
                    });
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.at(Place::Item(index), |this| this.embedded(item, key));
                }
            }
            _ => {}
        }
    }

    fn at(&mut self, step: Place<'a>, look: impl FnOnce(&mut Self)) {
        work::done(1);
        self.place.push(step);
        look(self);
        self.place.pop();
    }

    fn cut_here(&mut self) {
        work::done(self.place.len());
        self.cut.add(steps(&self.place));
    }

    /// Newer servers write `metadata: {}` where older ones wrote a null in it: both are to be alike.
    fn cut_here_silently(&mut self) {
        work::done(self.place.len());
        self.cut.add_silently(steps(&self.place));
    }

    fn cut_in_metadata(&mut self, list: &'static str, last: Step) {
        self.cut.add([
            Step::Key(Cow::Borrowed("metadata")),
            Step::Key(Cow::Borrowed(list)),
            last,
        ]);
    }
}

fn steps(place: &[Place<'_>]) -> impl Iterator<Item = Step> {
    place.iter().map(|step| match step {
        Place::Field(name) => Step::Key(Cow::Borrowed(*name)),
        Place::Key(name) => Step::Key(Cow::Owned((*name).to_owned())),
        Place::Item(index) => Step::Item(*index),
    })
}
