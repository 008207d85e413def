//! The test's own webhooks: one that remembers every call and may refuse it, one that changes objects,
//! and the conversion of its custom resource.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use manifest::{Identity, SpecHash};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tests::hooks::{Handler, HookServer};

use crate::crowd::{OP, Op, REFUSE};
use crate::faults;
use crate::kinds::Kind;
use crate::truth::{self, Text};

/// One call of the webhook: the apiserver is about to write.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// None of a controller's.
    pub(crate) op: Option<Op>,
    pub(crate) user: String,
    pub(crate) uid: String,
    /// The version to be replaced; 0 for a create.
    pub(crate) base: u64,
    pub(crate) operation: String,
    /// Whose file it is about, and what that is to hold then; none if the write is not about what is in files.
    pub(crate) file: Option<(Identity, Text)>,
    /// Of the object asked for.
    pub(crate) api_version: String,
    pub(crate) hash: Option<SpecHash>,
    pub(crate) fields: Option<SpecHash>,
    /// Of a scale.
    pub(crate) replicas: Option<i64>,
    /// Refused by this hook.
    pub(crate) refused: bool,
    /// What is there is being deleted already.
    pub(crate) terminating: bool,
    /// For the reader of a finding.
    #[allow(dead_code, reason = "printed")]
    pub(crate) at: String,
}

/// All calls, in their order.
#[derive(Default)]
pub(crate) struct Witness {
    attempts: Mutex<Vec<Attempt>>,
    mutations: AtomicU64,
}

impl Witness {
    pub(crate) fn serve(self: &Arc<Self>) -> HookServer {
        let witness = Arc::clone(self);
        let handler: Handler = Arc::new(move |path, review| {
            let witness = Arc::clone(&witness);
            Box::pin(async move {
                match path.as_str() {
                    "mutate" => witness.mutate(&review),
                    "convert" => convert(review),
                    _ => witness.review(&review),
                }
            })
        });
        HookServer::start(handler).unwrap()
    }

    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.attempts.lock().clone()
    }

    fn review(&self, review: &Value) -> Value {
        let request = &review["request"];
        let refused = request["userInfo"]["extra"].get(REFUSE).is_some();
        if request["dryRun"] != true {
            let attempt = attempt(request, refused);
            self.attempts.lock().push(attempt);
        }
        answer(review, json!({"allowed": !refused}))
    }

    /// Another value with each call, so that a retry asks for something else.
    fn mutate(&self, review: &Value) -> Value {
        let count = self.mutations.fetch_add(1, Ordering::Relaxed);
        let annotations = review["request"]["object"]["metadata"].get("annotations");
        let patch = if annotations.is_some() {
            json!([{"op": "add", "path": "/metadata/annotations/corpus.test~1mutated", "value": count.to_string()}])
        } else {
            json!([{"op": "add", "path": "/metadata/annotations", "value": {"corpus.test/mutated": count.to_string()}}])
        };
        let patch = BASE64.encode(patch.to_string());
        answer(
            review,
            json!({"allowed": true, "patchType": "JSONPatch", "patch": patch}),
        )
    }
}

/// What a review's request is about.
pub(crate) fn attempt(request: &Value, refused: bool) -> Attempt {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (object, old) = (&request["object"], &request["oldObject"]);
    let asked = if object.is_object() { object } else { old };
    let scale = request["subResource"] == "scale";
    let known = if old.is_object() { old } else { object };
    let hash = manifest::canonicalize(asked).ok().map(|m| m.hash);
    Attempt {
        op: request["userInfo"]["extra"][OP][0]
            .as_str()
            .and_then(|op| op.parse().ok()),
        user: text(&request["userInfo"]["username"]),
        uid: text(&known["metadata"]["uid"]),
        base: old["metadata"]["resourceVersion"]
            .as_str()
            .and_then(|version| version.parse().ok())
            .unwrap_or(0),
        operation: text(&request["operation"]),
        file: hash.and_then(|_| file(request, known, asked)),
        api_version: text(&asked["apiVersion"]),
        hash,
        fields: manifest::managed_fields_hash(asked).filter(|_| !scale),
        replicas: scale.then(|| manifest::replicas(asked).unwrap_or(0)),
        refused,
        terminating: old["metadata"]["deletionTimestamp"].is_string(),
        at: format!("{:.3}", faults::clock()),
    }
}

/// `known` names the object, or its scale; `asked` is what is to be stored, and can be made a manifest.
fn file(request: &Value, known: &Value, asked: &Value) -> Option<(Identity, Text)> {
    let resource = &request["resource"];
    let kind = Kind::find(resource["group"].as_str()?, resource["resource"].as_str()?)?;
    let identity = kind.identity(&known["metadata"]);
    let text = match request["subResource"].as_str().unwrap_or_default() {
        "" if request["operation"] == "DELETE" => Text::Gone,
        // A Scale is of another kind than the object, and so can't be read.
        "" | "scale" => truth::text_of(kind, &identity, asked, false),
        _ => return None,
    };
    Some((identity, text))
}

fn answer(review: &Value, mut response: Value) -> Value {
    response["uid"] = review["request"]["uid"].clone();
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

/// Widgets: v1 has `spec.size` and `spec.colour`, v2 `spec.dimensions.size` and `spec.paint`.
fn convert(mut review: Value) -> Value {
    let wanted = review["request"]["desiredAPIVersion"].clone();
    let mut objects = review["request"]["objects"].take();
    for object in objects.as_array_mut().into_iter().flatten() {
        if object["apiVersion"] == wanted {
            continue;
        }
        let spec = &object["spec"];
        object["spec"] = if wanted == "corpus.test/v1" {
            json!({"size": spec["dimensions"]["size"], "colour": spec["paint"]})
        } else {
            json!({"dimensions": {"size": spec["size"]}, "paint": spec["colour"]})
        };
        object["apiVersion"] = wanted.clone();
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
        "response": {
            "uid": review["request"]["uid"], "result": {"status": "Success"}, "convertedObjects": objects,
        },
    })
}
