//! Many users, each request of whom can be told apart afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use http::Request;
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::Value;

/// Numbers one request. The apiserver passes it on to webhooks and to its audit log, as an extra of
/// the impersonated user's; what is tested knows nothing of it.
pub(crate) type Op = u64;

/// The extra that holds the number.
pub(crate) const OP: &str = "opid";
/// The extra that has the hook refuse the write, after everybody has seen it.
pub(crate) const REFUSE: &str = "refuse";

/// What is remembered of a request.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) act: &'static str,
    pub(crate) user: String,
    /// The HTTP status; none where the connection broke, and nobody knows whether it was done.
    pub(crate) status: Option<u16>,
}

/// Everybody who writes.
pub(crate) struct Crowd {
    /// Several, as each has one connection.
    clients: Vec<Client>,
    turn: AtomicUsize,
    next: AtomicU64,
    /// Nobody begins anything new.
    over: AtomicBool,
    journal: Mutex<Vec<Sent>>,
}

/// Somebody, at one kind of work.
#[derive(Clone)]
pub(crate) struct Actor {
    crowd: Arc<Crowd>,
    act: &'static str,
    user: String,
    refused: bool,
}

/// An answer of the apiserver's; status 0 where there was none.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Crowd {
    pub(crate) fn new(clients: Vec<Client>) -> Arc<Self> {
        Arc::new(Self {
            clients,
            turn: AtomicUsize::new(0),
            next: AtomicU64::new(0),
            over: AtomicBool::new(false),
            journal: Mutex::default(),
        })
    }

    pub(crate) fn actor(self: &Arc<Self>, act: &'static str, user: &str) -> Actor {
        Actor {
            crowd: Arc::clone(self),
            act,
            user: user.to_owned(),
            refused: false,
        }
    }

    /// All requests that were to change something, by number.
    pub(crate) fn journal(&self) -> Vec<Sent> {
        self.journal.lock().clone()
    }

    /// Sends everybody home once they have done what they are at.
    pub(crate) fn finish(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// How many they are.
    pub(crate) fn journal_len(&self) -> usize {
        self.journal.lock().len()
    }

    fn number(&self, act: &'static str, user: &str) -> Op {
        let mut journal = self.journal.lock();
        journal.push(Sent {
            act,
            user: user.to_owned(),
            status: None,
        });
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

impl Actor {
    pub(crate) fn name(&self) -> &str {
        &self.user
    }

    /// The same person, whose writes are refused by a webhook beside ours.
    pub(crate) fn refused(&self) -> Self {
        Self {
            refused: true,
            ..self.clone()
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "", None, None).await
    }

    /// Under the field manager that everybody has: nothing but the version replaced tells rivals apart.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> Reply {
        self.write(
            "POST",
            &with(path, "fieldManager=kubectl"),
            "json",
            Some(object),
        )
        .await
    }

    pub(crate) async fn put(&self, path: &str, object: &Value) -> Reply {
        self.write(
            "PUT",
            &with(path, "fieldManager=kubectl"),
            "json",
            Some(object),
        )
        .await
    }

    pub(crate) async fn merge(&self, path: &str, patch: &Value) -> Reply {
        let path = with(path, "fieldManager=kubectl");
        self.write("PATCH", &path, "merge-patch+json", Some(patch))
            .await
    }

    pub(crate) async fn strategic(&self, path: &str, patch: &Value) -> Reply {
        let path = with(path, "fieldManager=kubectl");
        self.write("PATCH", &path, "strategic-merge-patch+json", Some(patch))
            .await
    }

    pub(crate) async fn json_patch(&self, path: &str, patch: &Value) -> Reply {
        let path = with(path, "fieldManager=kubectl");
        self.write("PATCH", &path, "json-patch+json", Some(patch))
            .await
    }

    pub(crate) async fn apply(
        &self,
        path: &str,
        manager: &str,
        force: bool,
        object: &Value,
    ) -> Reply {
        let path = with(path, &format!("fieldManager={manager}&force={force}"));
        self.write("PATCH", &path, "apply-patch+yaml", Some(object))
            .await
    }

    /// `options`: DeleteOptions.
    pub(crate) async fn delete(&self, path: &str, options: &Value) -> Reply {
        self.write("DELETE", path, "json", Some(options)).await
    }

    pub(crate) async fn write(
        &self,
        method: &'static str,
        path: &str,
        content: &str,
        body: Option<&Value>,
    ) -> Reply {
        let op = self.crowd.number(self.act, &self.user);
        let reply = self.send(method, path, content, body, Some(op)).await;
        let index = usize::try_from(op).unwrap();
        self.crowd.journal.lock()[index].status = (reply.status != 0).then_some(reply.status);
        reply
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        content: &str,
        body: Option<&Value>,
        op: Option<Op>,
    ) -> Reply {
        let user = http::HeaderValue::from_bytes(self.user.as_bytes()).unwrap();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("Impersonate-User", user)
            .header("Impersonate-Group", "system:masters")
            .header("Content-Type", format!("application/{content}"))
            .header("Accept", "application/json");
        if let Some(op) = op {
            request = request.header(format!("Impersonate-Extra-{OP}"), op);
        }
        if self.refused {
            request = request.header(format!("Impersonate-Extra-{REFUSE}"), "yes");
        }
        let body = body.map_or_else(Body::empty, |body| {
            Body::from(body.to_string().into_bytes())
        });
        let turn = self.crowd.turn.fetch_add(1, Ordering::Relaxed) % self.crowd.clients.len();
        let unanswered = Reply {
            status: 0,
            body: Value::Null,
        };
        let sent = self.crowd.clients[turn]
            .send(request.body(body).unwrap())
            .await;
        let Ok(response) = sent else {
            return unanswered;
        };
        let status = response.status().as_u16();
        match response.into_body().collect().await {
            Ok(body) => Reply {
                status,
                body: serde_json::from_slice(&body.to_bytes()).unwrap_or_default(),
            },
            Err(_) => unanswered,
        }
    }
}

fn with(path: &str, query: &str) -> String {
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}{query}")
}
