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
    pub(crate) text: Text,
    /// Several only where the log can't tell, which counts as a failure of the corpus.
    pub(crate) users: BTreeSet<String>,
    pub(crate) act: &'static str,
    pub(crate) excuse: Option<Excuse>,
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

struct Claim {
    op: Option<Op>,
    user: String,
}

struct Version {
    identity: Identity,
    text: Text,
    terminating: bool,
    claims: Vec<Claim>,
    initial: bool,
}

type Versions = BTreeMap<u64, Version>;

/// What the audit log alone says.
#[derive(Default)]
struct Log {
    objects: HashMap<String, Versions>,
    accepted: HashSet<Op>,
    /// Those of them that are about many objects.
    collections: HashSet<Op>,
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
}

impl Truth {
    /// Reads the log, and asks the apiserver for texts that it does not hold.
    pub(crate) async fn of(evidence: &Evidence<'_>, client: &Client) -> Self {
        let mut log = Log::default();
        for (kind, object) in evidence.initial {
            log.add(*kind, object, None, true);
        }
        let file = BufReader::new(std::fs::File::open(evidence.log).unwrap());
        for line in file.lines() {
            // The last one may be half written by an apiserver that was killed.
            if let Ok(event) = serde_json::from_str(&line.unwrap()) {
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
    fn event(&mut self, event: &Value) {
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

    fn judge(self, evidence: &Evidence<'_>) -> Truth {
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
        for (uid, versions) in &self.objects {
            truth.versions += versions.len();
            let attempts = by_uid.get(uid.as_str()).map_or(&[][..], Vec::as_slice);
            let judge = OneObject {
                evidence,
                log: &self,
                last: &last,
                attempts,
            };
            let Some(first) = versions.values().next() else {
                continue;
            };
            let states = judge.states(uid, versions);
            let undecided = |state: &&State| state.users.len() > 1 && state.excuse.is_none();
            for state in states.iter().filter(undecided) {
                truth
                    .undecided
                    .push(format!("{}: {state:?}", first.identity));
            }
            chains
                .entry(first.identity.clone())
                .or_default()
                .push(states);
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
    for state in states {
        let before = kept.last().map_or(Text::Gone, |state| state.text);
        if state.text != before || state.text == Text::Unknown {
            kept.push(state);
        }
    }
    kept
}

struct OneObject<'a> {
    evidence: &'a Evidence<'a>,
    log: &'a Log,
    /// The last call of each request.
    last: &'a HashMap<Op, &'a Attempt>,
    /// All calls about this object.
    attempts: &'a [&'a Attempt],
}

impl OneObject<'_> {
    fn states(&self, uid: &str, versions: &Versions) -> Vec<State> {
        let mut states = Vec::new();
        let mut base = 0;
        for (number, version) in versions {
            if version.terminating {
                if base != 0 {
                    states.push(self.gone(base));
                }
                return states;
            }
            states.push(self.written(base, *number, version));
            base = *number;
        }
        if !self.evidence.live.contains(uid) {
            states.push(self.gone(base));
        }
        states
    }

    fn written(&self, base: u64, number: u64, version: &Version) -> State {
        // Whose last call was not on the version before has changed nothing: what was wanted was there already.
        let real = |claim: &&Claim| {
            let attempt = claim.op.and_then(|op| self.last.get(&op));
            attempt.is_none_or(|attempt| attempt.base == base)
        };
        let mut claims: Vec<&Claim> = version.claims.iter().filter(real).collect();
        if claims.is_empty() {
            // The log lacks the version before: the apiserver was killed as it wrote it down.
            claims.extend(&version.claims);
        }
        let users: BTreeSet<String> = claims.iter().map(|claim| claim.user.clone()).collect();
        let own = claims
            .iter()
            .find_map(|claim| claim.op.and_then(|op| self.last.get(&op)));
        let excuse = if version.initial {
            Some(Excuse::Initial)
        } else if own.is_some_and(|own| self.has_rivals(own, base, &users)) {
            Some(Excuse::Rivals)
        } else {
            None
        };
        State {
            text: version.text,
            act: self.act(claims.iter().find_map(|claim| claim.op)),
            users,
            excuse,
            version: number,
        }
    }

    /// Another user asked for what can't be told from it, on the same version.
    fn has_rivals(&self, own: &Attempt, base: u64, users: &BTreeSet<String>) -> bool {
        let rival = |other: &&&Attempt| {
            other.base == base && !users.contains(&other.user) && other.operation == own.operation
        };
        own.operation == "UPDATE"
            && self.attempts.iter().filter(rival).any(|other| {
                match (own.replicas, other.replicas) {
                    (Some(own), Some(other)) => own == other,
                    // The bytes of one are not known: a chance is enough.
                    (Some(_), None) | (None, Some(_)) => true,
                    (None, None) => {
                        own.fields == other.fields
                            && (own.hash == other.hash || own.api_version != other.api_version)
                    }
                }
            })
    }

    fn gone(&self, base: u64) -> State {
        let asked = |on: &dyn Fn(u64) -> bool| -> Vec<&Attempt> {
            let deletes = self.attempts.iter().copied();
            let on = |a: &&Attempt| a.operation == "DELETE" && !a.terminating && on(a.base);
            deletes.filter(on).collect()
        };
        let mut all = asked(&|on| on == base);
        if !all.iter().any(|attempt| self.may_be_done(attempt)) {
            // The log lacks the last version, for the same reason.
            all = asked(&|on| on >= base);
        }
        let done: Vec<&&Attempt> = all.iter().filter(|a| self.may_be_done(a)).collect();
        let users: BTreeSet<String> = done.iter().map(|a| a.user.clone()).collect();
        let all: BTreeSet<&str> = all.iter().map(|a| a.user.as_str()).collect();
        let excuse = match (users.len(), all.len()) {
            (0, _) => Some(Excuse::NotAdmitted),
            (_, 2..) => Some(Excuse::Rivals),
            _ => None,
        };
        State {
            text: Text::Gone,
            act: self.act(done.iter().find_map(|a| a.op)),
            users,
            excuse,
            version: base + 1,
        }
    }

    /// Nothing speaks against the delete that was asked for.
    fn may_be_done(&self, attempt: &Attempt) -> bool {
        let accepted = attempt.op.is_none_or(|op| {
            let unanswered = self.sent(op).is_some_and(|sent| sent.status.is_none());
            // Called again, about another object of that name or on one that is going: this call lost.
            let last = self.last.get(&op);
            let stands = self.log.collections.contains(&op)
                || last.is_none_or(|last| last.uid == attempt.uid && !last.terminating);
            (self.log.accepted.contains(&op) || unanswered) && stands
        });
        accepted && !attempt.refused
    }

    fn sent(&self, op: Op) -> Option<&Sent> {
        self.evidence.journal.get(usize::try_from(op).ok()?)
    }

    fn act(&self, op: Option<Op>) -> &'static str {
        op.and_then(|op| self.sent(op))
            .map_or("others", |sent| sent.act)
    }
}

fn text_of(kind: Kind, identity: &Identity, object: &Value, fetched: bool) -> Text {
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
