use std::path::Path;

use manifest::SpecHash;
use serde_json::{Value, json};

use super::*;
use crate::crowd::{OP, Sent};
use crate::kinds::MAPS;
use crate::truth::{Evidence, Log, Text, Truth};
use crate::witness;

/// What the witness, the crowd and the log have of one ConfigMap's name.
struct Story {
    log: Log,
    attempts: Vec<Attempt>,
    journal: Vec<Sent>,
    live: HashSet<String>,
    faulty: bool,
}

fn map(uid: &str, version: u64, value: &str) -> Value {
    let mut metadata = json!({"namespace": "home", "uid": uid});
    if version > 0 {
        metadata["resourceVersion"] = version.to_string().into();
    }
    MAPS.object("map", json!({"metadata": metadata, "data": {"k": value}}))
}

fn text(value: &str) -> Text {
    Text::Is(manifest::canonicalize(&map("", 0, value)).unwrap().hash)
}

impl Story {
    fn new() -> Self {
        Self {
            log: Log::default(),
            attempts: Vec::new(),
            journal: Vec::new(),
            live: HashSet::new(),
            faulty: true,
        }
    }

    /// A request that nobody knows the end of.
    fn request(&mut self, user: &str) -> Op {
        self.journal.push(Sent {
            act: "test",
            user: user.to_owned(),
            status: None,
        });
        Op::try_from(self.journal.len() - 1).unwrap()
    }

    /// The webhook is called: a create on 0, a delete if there is no value.
    fn call(&mut self, op: Op, uid: &str, base: u64, value: &str) -> &mut Attempt {
        let user = self.journal[usize::try_from(op).unwrap()].user.clone();
        let (operation, object, old) = match (base, value) {
            (0, _) => ("CREATE", map(uid, 0, value), Value::Null),
            (_, "") => ("DELETE", Value::Null, map(uid, base, "old")),
            _ => ("UPDATE", map(uid, base, value), map(uid, base, "old")),
        };
        let request = json!({
            "resource": {"group": "", "version": "v1", "resource": "configmaps"}, "operation": operation,
            "userInfo": {"username": user, "extra": {OP: [op.to_string()]}}, "object": object, "oldObject": old,
        });
        self.attempts.push(witness::attempt(&request, false));
        self.attempts.last_mut().unwrap()
    }

    /// One request with one call.
    fn ask(&mut self, user: &str, uid: &str, base: u64, value: &str) -> Op {
        let op = self.request(user);
        self.call(op, uid, base, value);
        op
    }

    fn answer(&mut self, op: Op, status: u16) {
        self.journal[usize::try_from(op).unwrap()].status = Some(status);
    }

    /// The log has a line of it.
    fn line(&mut self, op: Option<Op>, user: &str, verb: &str, object: &Value) {
        let extra = op.map(|op| json!({OP: [op.to_string()]}));
        self.log.event(&json!({
            "stage": "ResponseComplete", "verb": verb, "responseStatus": {"code": 200}, "requestURI": "/",
            "user": {"username": user, "extra": extra}, "objectRef": {"resource": "configmaps"},
            "responseObject": object,
        }));
    }

    /// Asked for, stored as the version, answered and written down.
    fn done(&mut self, user: &str, uid: &str, base: u64, version: u64, value: &str) {
        let op = self.ask(user, uid, base, value);
        self.answer(op, 200);
        match value {
            "" => self.line(Some(op), user, "delete", &json!({"kind": "Status"})),
            _ => self.line(Some(op), user, "update", &map(uid, version, value)),
        }
    }

    fn live(mut self, uid: &str) -> Self {
        self.live.insert(uid.to_owned());
        self
    }

    fn truth(self) -> Truth {
        self.log.judge(&Evidence {
            log: Path::new(""),
            attempts: &self.attempts,
            journal: &self.journal,
            initial: &[],
            live: &self.live,
            faulty: self.faulty,
        })
    }

    /// `value user`, with a `?` where it may not have been.
    fn tell(self) -> Vec<String> {
        let truth = self.truth();
        assert!(truth.chains.len() <= 1);
        let states = truth.chains.into_values().flatten();
        states.map(|state| told(&state)).collect()
    }
}

fn told(state: &State) -> String {
    let mark = if state.certain { "" } else { "?" };
    let value = match state.text {
        Text::Gone => "gone".to_owned(),
        Text::Unknown => "unknown".to_owned(),
        known => ('a'..='z')
            .map(String::from)
            .find(|value| text(value) == known)
            .unwrap_or_else(|| format!("{known:?}")),
    };
    let users: Vec<&str> = state.users.iter().map(String::as_str).collect();
    format!("{mark}{value} {}", users.join("+"))
        .trim_end()
        .to_owned()
}

#[test]
fn a_write_that_was_not_answered_may_have_been_done_on_what_it_was_asked_on() {
    let mut story = Story::new();
    story.done("ann", "u", 0, 11, "a");
    story.ask("ben", "u", 11, "b");
    story.done("cid", "u", 12, 13, "c");
    assert_eq!(story.live("u").tell(), ["a ann", "?b ben", "c cid"]);
}

#[test]
fn several_may_be_missing_in_a_row() {
    let mut story = Story::new();
    story.ask("ann", "u", 0, "a");
    story.ask("ben", "u", 11, "b");
    story.ask("cid", "u", 12, "c");
    story.done("dan", "u", 13, 14, "d");
    story.ask("eve", "u", 14, "e");
    let told = ["?a ann", "?b ben", "?c cid", "d dan", "?e eve"];
    assert_eq!(story.live("u").tell(), told);
}

#[test]
fn an_answer_is_given_before_the_line_is_written() {
    let mut story = Story::new();
    story.done("ann", "u", 0, 11, "a");
    let op = story.ask("ben", "u", 11, "b");
    story.answer(op, 200);
    let op = story.ask("cid", "u", 11, "c");
    story.answer(op, 409);
    assert_eq!(story.live("u").tell(), ["a ann", "?b ben"]);
}

#[test]
fn what_was_refused_or_could_leave_nothing_was_not_done() {
    let mut story = Story::new();
    story.done("ann", "u", 0, 11, "a");
    let op = story.request("ben");
    story.call(op, "u", 11, "b").refused = true;
    story.call(op, "u", 11, "c").terminating = true;
    // What is there already.
    story.ask("cid", "u", 11, "a");
    assert_eq!(story.live("u").tell(), ["a ann"]);
}

#[test]
fn only_the_last_call_of_a_request_can_be_stored() {
    let mut story = Story::new();
    story.done("ann", "u", 0, 11, "a");
    let op = story.request("ben");
    story.call(op, "u", 11, "b");
    story.done("cid", "u", 11, 12, "c");
    story.call(op, "u", 12, "d");
    assert_eq!(story.live("u").tell(), ["a ann", "c cid", "?d ben"]);
}

#[test]
fn on_a_version_that_the_log_shows_replaced_nothing_else_was_stored() {
    let mut story = Story::new();
    story.done("ann", "u", 0, 11, "a");
    story.ask("ben", "u", 11, "b");
    story.done("cid", "u", 11, 12, "c");
    assert_eq!(story.live("u").tell(), ["a ann", "c cid"]);
}

#[test]
fn whose_write_found_it_there_did_not_write_it() {
    let mut story = Story::new();
    story.done("ann", "u", 0, 11, "a");
    story.ask("ben", "u", 11, "b");
    // Nothing to change: the answer shows Ben's version.
    story.done("cid", "u", 12, 12, "b");
    assert_eq!(story.live("u").tell(), ["a ann", "?b ben", "b"]);
}

#[test]
fn who_asked_for_the_same_on_one_version_is_a_rival() {
    let mut story = Story::new();
    story.done("ann", "u", 0, 11, "a");
    story.ask("ben", "u", 11, "b");
    story.ask("cid", "u", 11, "b");
    story.ask("dan", "u", 11, "d");
    let states = story.live("u").truth().chains.into_values().next().unwrap();
    let excuses: Vec<_> = states.iter().map(|s| (told(s), s.excuse)).collect();
    let rivals = Some(Excuse::Rivals);
    let of = |text: &str, excuse| (text.to_owned(), excuse);
    assert_eq!(
        excuses,
        [
            of("a ann", None),
            of("?b ben", rivals),
            of("?b cid", rivals),
            of("?d dan", None)
        ]
    );
}

#[test]
fn a_controllers_write_is_missing_unless_the_log_has_its_next() {
    let mut story = Story::new();
    story.done("ann", "u", 0, 11, "a");
    for (base, value) in [(11, "b"), (12, "c")] {
        let op = story.request("robot");
        story.call(op, "u", base, value).op = None;
    }
    story.line(None, "robot", "update", &map("u", 12, "b"));
    assert_eq!(story.live("u").tell(), ["a ann", "b robot", "?c robot"]);
}

#[test]
fn an_object_may_come_and_go_between_two_that_the_log_knows() {
    let mut story = Story::new();
    story.done("ann", "1", 0, 11, "a");
    story.done("ben", "1", 11, 0, "");
    story.ask("cid", "2", 0, "c");
    story.ask("dan", "2", 14, "d");
    story.ask("eve", "2", 15, "");
    story.done("fay", "3", 0, 20, "f");
    let told = [
        "a ann",
        "gone ben",
        "?c cid",
        "?d dan",
        "?gone eve",
        "f fay",
    ];
    assert_eq!(story.live("3").tell(), told);
}

#[test]
fn an_object_that_may_never_have_been_goes_by_itself() {
    let mut story = Story::new();
    story.ask("ann", "u", 0, "a");
    assert_eq!(story.tell(), ["?a ann", "?gone"]);
    let mut story = Story::new();
    story.ask("ann", "u", 0, "a");
    assert_eq!(story.live("u").tell(), ["?a ann"]);
    // A delete alone is of nothing that could have had a file.
    let mut story = Story::new();
    story.ask("ann", "u", 11, "");
    assert_eq!(story.tell(), [""; 0]);
}

#[test]
fn what_waits_for_its_finalizers_may_have_been_deleted() {
    let mut story = Story::new();
    story.done("ann", "u", 0, 11, "a");
    story.ask("ben", "u", 11, "");
    assert_eq!(story.live("u").tell(), ["a ann", "?gone ben"]);
    // The log has a later version only.
    let mut story = Story::new();
    story.ask("ann", "u", 0, "a");
    story.ask("ben", "u", 11, "");
    let mut terminating = map("u", 13, "a");
    terminating["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    story.line(None, "robot", "update", &terminating);
    assert_eq!(story.live("u").tell(), ["?a ann", "?gone ben"]);
}

#[test]
fn a_delete_was_of_the_last_version_that_anybody_saw() {
    let mut story = Story::new();
    story.done("ann", "u", 0, 11, "a");
    story.ask("ben", "u", 11, "");
    story.ask("cid", "u", 11, "c");
    let op = story.ask("dan", "u", 12, "");
    story.answer(op, 200);
    assert_eq!(story.tell(), ["a ann", "?c cid", "gone dan"]);
}

#[test]
fn a_delete_of_many_may_be_missing_as_a_whole() {
    let mut story = Story::new();
    story.done("ann", "u", 0, 11, "a");
    let op = story.ask("ben", "u", 11, "");
    let other = story.call(op, "v", 12, "");
    other.file.as_mut().unwrap().0.name = "other".to_owned();
    let chains = story.truth().chains;
    let states = chains.values().flatten().map(told);
    assert_eq!(states.collect::<Vec<_>>(), ["a ann", "gone ben"]);
}

#[test]
fn without_faults_the_log_has_everything() {
    let mut story = Story::new();
    story.faulty = false;
    story.done("ann", "u", 0, 11, "a");
    story.ask("ben", "u", 11, "b");
    story.ask("cid", "v", 0, "c");
    assert_eq!(story.live("u").tell(), ["a ann"]);
}

#[test]
fn what_a_call_would_leave_is_known_unless_it_is_a_scale_or_of_another_version() {
    let file = |kind: &str, subresource: Value, mut object: Value| {
        object["metadata"]["uid"] = "u".into();
        let request = json!({
            "resource": {"group": "apps", "version": "v1", "resource": kind}, "subResource": subresource,
            "operation": "UPDATE", "object": object, "oldObject": object,
        });
        witness::attempt(&request, false).file
    };
    let metadata = json!({"name": "web", "namespace": "home"});
    let deployment =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {}});
    let hash: SpecHash = manifest::canonicalize(&deployment).unwrap().hash;
    let (identity, text) = file("deployments", Value::Null, deployment.clone()).unwrap();
    assert_eq!((identity.name.as_str(), text), ("web", Text::Is(hash)));
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": {"replicas": 2}});
    let (of_scale, text) = file("deployments", "scale".into(), scale).unwrap();
    assert_eq!((of_scale, text), (identity, Text::Unknown));
    let mut older = deployment.clone();
    older["apiVersion"] = "apps/v1beta1".into();
    assert_eq!(
        file("deployments", Value::Null, older).unwrap().1,
        Text::Unknown
    );
    assert_eq!(
        file("deployments", "status".into(), deployment.clone()),
        None
    );
    assert_eq!(file("replicasets", Value::Null, deployment), None);
}
