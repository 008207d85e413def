//! What really happened, by the apiserver's audit log.
//!
//! A request that succeeded names the uid and the version it left behind. A write that changed nothing
//! names a version as well, one that somebody else made: the witness tells them apart, since the last
//! call for a real write is on the version before it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use kube::Client;
use manifest::{Identity, SpecHash};
use serde_json::Value;

use crate::crowd::{OP, Op, Sent};
use crate::kinds::{self, Kind};
use crate::life::OneObject;
use crate::unlogged;
use crate::witness::Attempt;

/// What a file is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Is(SpecHash),
    Gone,
    /// Written in another version, or through a subresource, and not to be read any more.
    Unknown,
}

/// Why a version may have no author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Excuse {
    /// It was there before the rules.
    Initial,
    /// No webhook was called: an eviction, or a type that went.
    NotAdmitted,
    /// Another user asked for the same on the same version.
    Rivals,
}

/// A state of an object, from a writer on.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Otherwise it may have been or not, or may have left the file as it was: Git may have it and may lack it.
    pub(crate) certain: bool,
    pub(crate) text: Text,
    /// Several only where the log can't tell, which counts as a failure of the corpus unless there were faults.
    pub(crate) users: BTreeSet<String>,
    pub(crate) act: &'static str,
    pub(crate) excuse: Option<Excuse>,
    /// One that is not in the log has the version that it was to replace.
    pub(crate) version: u64,
}

/// What came of reading the log.
pub(crate) struct Truth {
    /// By object, in order; states that Git can't tell from the one before are left out.
    pub(crate) chains: BTreeMap<Identity, Vec<State>>,
    /// Accepted requests of the crowd, dry runs and what changed nothing included.
    pub(crate) accepted: usize,
    /// Versions that were written, status and the like included.
    pub(crate) versions: usize,
    /// Versions whose writer the log does not tell.
    pub(crate) undecided: Vec<String>,
}

/// A request that names a version as what it left behind.
pub(crate) struct Claim {
    pub(crate) op: Option<Op>,
    pub(crate) user: String,
}

/// A version of an object that the log names.
pub(crate) struct Version {
    identity: Identity,
    pub(crate) text: Text,
    pub(crate) terminating: bool,
    pub(crate) claims: Vec<Claim>,
    pub(crate) initial: bool,
}

/// Of one object, by number.
pub(crate) type Versions = BTreeMap<u64, Version>;

/// What the audit log alone says.
#[derive(Default)]
pub(crate) struct Log {
    objects: HashMap<String, Versions>,
    pub(crate) accepted: HashSet<Op>,
    /// Requests that are about many objects.
    pub(crate) collections: HashSet<Op>,
}

/// Everything that is known besides the log.
pub(crate) struct Evidence<'a> {
    pub(crate) log: &'a Path,
    pub(crate) attempts: &'a [Attempt],
    pub(crate) journal: &'a [Sent],
    /// What was there before the rules.
    pub(crate) initial: &'a [(Kind, Value)],
    /// What is there now.
    pub(crate) live: &'a HashSet<String>,
    /// The log may lack writes: an apiserver answers first, and was killed before it wrote the line.
    pub(crate) faulty: bool,
}

impl Truth {
    /// Reads the log, and asks the apiserver for texts that it does not hold.
    pub(crate) async fn of(evidence: &Evidence<'_>, client: &Client) -> Self {
        let mut log = Log::default();
        for (kind, object) in evidence.initial {
            log.add(*kind, object, None, true);
        }
        let file = BufReader::new(std::fs::File::open(evidence.log).unwrap());
        for line in file.split(b'\n') {
            // An apiserver that was killed may have left half a line, even half a character.
            if let Ok(event) = serde_json::from_slice(&line.unwrap()) {
                log.event(&event);
            }
        }
        for versions in log.objects.values_mut() {
            for (number, version) in versions.iter_mut() {
                if version.text == Text::Unknown && !version.terminating {
                    version.text = fetch(client, &version.identity, *number).await;
                }
            }
        }
        log.judge(evidence)
    }
}

impl Log {
    /// Takes in one line.
    pub(crate) fn event(&mut self, event: &Value) {
        let verb = event["verb"].as_str().unwrap_or_default();
        let code = event["responseStatus"]["code"].as_u64().unwrap_or(0);
        if event["stage"] != "ResponseComplete"
            || !["create", "update", "patch", "delete", "deletecollection"].contains(&verb)
            || !(200..300).contains(&code)
        {
            return;
        }
        let who = event.get("impersonatedUser").unwrap_or(&event["user"]);
        let op = who["extra"][OP][0].as_str().and_then(|op| op.parse().ok());
        self.accepted.extend(op);
        self.collections
            .extend(op.filter(|_| verb == "deletecollection"));
        let uri = event["requestURI"].as_str().unwrap_or_default();
        let about = &event["objectRef"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let Some(kind) = Kind::find(&text(&about["apiGroup"]), &text(&about["resource"])) else {
            return;
        };
        let subresource = text(&about["subresource"]);
        if uri.contains("dryRun=All")
            || !["", "scale", "status", "finalize"].contains(&&*subresource)
        {
            return;
        }
        let claim = (!verb.starts_with("delete")).then(|| Claim {
            op,
            user: text(&who["username"]),
        });
        let object = &event["responseObject"];
        // A delete shows the object, or a Status; only one that waits for its finalizers has another version.
        let metadata = &object["metadata"];
        let written = claim.is_some() || metadata["deletionTimestamp"].is_string();
        if written && metadata["resourceVersion"].is_string() {
            self.add(kind, object, claim, false);
        }
    }

    fn add(&mut self, kind: Kind, object: &Value, claim: Option<Claim>, initial: bool) {
        let metadata = &object["metadata"];
        let (Some(uid), Some(number)) = (
            metadata["uid"].as_str(),
            metadata["resourceVersion"]
                .as_str()
                .and_then(|v| v.parse().ok()),
        ) else {
            return;
        };
        let identity = kind.identity(metadata);
        let version = self.objects.entry(uid.to_owned()).or_default();
        // A delete that found nothing to change shows an older version with a new mark.
        if claim.is_none() && !initial && version.contains_key(&number) {
            return;
        }
        let version = version.entry(number).or_insert_with(|| Version {
            text: text_of(kind, &identity, object, false),
            identity,
            terminating: metadata["deletionTimestamp"].is_string(),
            claims: Vec::new(),
            initial,
        });
        version.claims.extend(claim);
    }

    /// With everything else that is known.
    pub(crate) fn judge(mut self, evidence: &Evidence<'_>) -> Truth {
        if evidence.faulty {
            self.collections
                .extend(unlogged::collections(evidence.attempts));
        }
        let born = unlogged::born(evidence.attempts);
        let mut by_uid: HashMap<&str, Vec<&Attempt>> = HashMap::new();
        let mut last: HashMap<Op, &Attempt> = HashMap::new();
        for attempt in evidence.attempts {
            by_uid.entry(&attempt.uid).or_default().push(attempt);
            last.extend(attempt.op.map(|op| (op, attempt)));
        }
        let mut truth = Truth {
            chains: BTreeMap::new(),
            accepted: self.accepted.len(),
            versions: 0,
            undecided: Vec::new(),
        };
        let mut chains: BTreeMap<Identity, Vec<Vec<State>>> = BTreeMap::new();
        let no_versions = Versions::new();
        let logged = self
            .objects
            .iter()
            .map(|(uid, versions)| (&**uid, versions));
        // Only its attempts tell of an object that came and went while nothing was written down.
        let unknown = by_uid
            .keys()
            .filter(|uid| evidence.faulty && !uid.is_empty() && !self.objects.contains_key(**uid))
            .map(|uid| (*uid, &no_versions));
        for (uid, versions) in logged.chain(unknown) {
            truth.versions += versions.len();
            let attempts = by_uid.get(uid).map_or(&[][..], Vec::as_slice);
            let object = OneObject {
                evidence,
                log: &self,
                last: &last,
                attempts,
                uid,
                born: born.get(uid).copied().unwrap_or(0),
            };
            let named = versions.values().map(|version| &version.identity).next();
            let asked = || attempts.iter().find_map(|a| Some(&a.file.as_ref()?.0));
            let Some(identity) = named.or_else(asked) else {
                continue;
            };
            let states = object.states(versions);
            let undecided = |s: &&State| s.certain && s.users.len() > 1 && s.excuse.is_none();
            for state in states.iter().filter(undecided) {
                truth.undecided.push(format!("{identity}: {state:?}"));
            }
            chains.entry(identity.clone()).or_default().push(states);
        }
        for (identity, mut lives) in chains {
            lives.sort_by_key(|states| states.first().map(|state| state.version));
            truth
                .chains
                .insert(identity, visible(lives.into_iter().flatten()));
        }
        truth
    }
}

/// Without what leaves the file as it was.
fn visible(states: impl Iterator<Item = State>) -> Vec<State> {
    let mut kept: Vec<State> = Vec::new();
    // What the file holds for certain, unless something came since that may have been or not.
    let (mut certain, mut in_doubt) = (Text::Gone, false);
    for mut state in states {
        let same = state.text == certain && state.text != Text::Unknown;
        if same && !in_doubt {
            continue;
        }
        if state.certain {
            (certain, in_doubt) = (state.text, false);
            // Git has it only if it has what came between.
            state.certain = !same;
        } else {
            in_doubt = true;
        }
        kept.push(state);
    }
    kept
}

/// What the file of such an object holds.
pub(crate) fn text_of(kind: Kind, identity: &Identity, object: &Value, fetched: bool) -> Text {
    if object["apiVersion"] != kind.api_version() || object["kind"] != kind.kind {
        return Text::Unknown;
    }
    // The answer to the write still has the internalTrafficPolicy that is dropped on read.
    if object["spec"]["type"] == "ExternalName" && !fetched {
        return Text::Unknown;
    }
    if manifest::left_out(identity, object).is_some() {
        return Text::Gone;
    }
    Text::Is(manifest::canonicalize(object).unwrap().hash)
}

/// The object as it was at a version, as long as the apiserver knows.
async fn fetch(client: &Client, identity: &Identity, version: u64) -> Text {
    let Some(kind) = Kind::find(&identity.group, &identity.resource) else {
        return Text::Unknown;
    };
    let url = format!(
        "{}?fieldSelector=metadata.name%3D{}&resourceVersion={version}&resourceVersionMatch=Exact",
        kind.collection(&identity.namespace),
        identity.name
    );
    let request = http::Request::get(url).body(Vec::new()).unwrap();
    let Ok(mut list) = client.request::<Value>(request).await else {
        return Text::Unknown;
    };
    let mut object = list["items"][0].take();
    if !object.is_object() {
        return Text::Unknown;
    }
    object["apiVersion"] = kinds::api_version(kind.group, kind.version).into();
    object["kind"] = kind.kind.into();
    text_of(kind, identity, &object, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of states of such texts; after a `?` they may not have been.
    fn left(states: &str) -> String {
        let state = |word: &str| State {
            certain: !word.starts_with('?'),
            text: match word.trim_start_matches('?') {
                "gone" => Text::Gone,
                "unknown" => Text::Unknown,
                word => Text::Is(SpecHash::of(word.as_bytes())),
            },
            users: BTreeSet::new(),
            act: "test",
            excuse: None,
            version: 0,
        };
        let names: HashMap<String, &str> = states
            .split(' ')
            .map(|word| word.trim_start_matches('?'))
            .map(|word| (format!("{:?}", state(word).text), word))
            .collect();
        let left = visible(states.split(' ').map(state)).into_iter();
        let mark = |certain: bool| if certain { "" } else { "?" };
        left.map(|s| format!("{}{}", mark(s.certain), names[&format!("{:?}", s.text)]))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn what_leaves_the_file_as_it_was_is_left_out() {
        assert_eq!(
            left("gone a a b unknown unknown b gone gone"),
            "a b unknown unknown b gone"
        );
        assert_eq!(left("?gone a ?a b"), "a b");
    }

    #[test]
    fn a_return_from_what_may_not_have_been_may_be_seen_or_not() {
        assert_eq!(left("a ?b a a c"), "a ?b ?a c");
        assert_eq!(left("a ?b ?a ?b a"), "a ?b ?a ?b ?a");
        // This one is seen whatever came between.
        assert_eq!(left("a ?b b"), "a ?b b");
    }
}
