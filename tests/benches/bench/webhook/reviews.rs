//! Reviews as the apiserver at hand posts them: one is caught, and told again of other objects, versions and users.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::api::PostParams;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tests::net::free_port;
use tests::reverser::Reverser;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::lab::{Lab, config_map, payload};

const OBJECT: &str = "told-again-00000000";
const USER: &str = "told-by-00";
/// The value of one key before the update and after it.
const OLD: &str = "before-00000000";
const NEW: &str = "after-000000000";

/// So many objects are told of in turn, and so many users.
const OBJECTS: u64 = 1000;
const USERS: u64 = 10;

/// The review of an update, with room for what makes it another one.
pub(super) struct Template {
    pieces: Vec<Piece>,
}

enum Piece {
    Text(String),
    Field(Field),
}

#[derive(Clone, Copy)]
enum Field {
    Review,
    Object,
    Name,
    Version,
    User,
    Old,
    New,
}

// === impl Template ===

impl Template {
    /// Lets a user update a ConfigMap of this size, and catches what the apiserver posts. It calls nobody else afterwards.
    pub(super) async fn catch(lab: &Lab<'_>, reverser: &Reverser, bytes: usize) -> Result<Self> {
        let mut map = config_map(OBJECT, &payload(0, bytes))?;
        let set = |map: &mut k8s_openapi::api::core::v1::ConfigMap, value: &str| {
            map.data
                .get_or_insert_default()
                .insert("write".to_owned(), value.to_owned());
        };
        set(&mut map, OLD);
        let maps = lab.maps(lab.user(USER));
        let mut map = maps.create(&PostParams::default(), &map).await?;
        let (url, mut posted) = listen(reverser).await?;
        reverser.register_webhook_at(&url).await?;
        set(&mut map, NEW);
        maps.replace(OBJECT, &PostParams::default(), &map).await?;
        reverser.unregister_webhook().await?;
        maps.delete(OBJECT, &Default::default()).await?;
        loop {
            let body = posted.recv().await.context("the server has ended")?;
            let review: Value = serde_json::from_slice(&body)?;
            if review["request"]["operation"] == "UPDATE" && review["request"]["name"] == OBJECT {
                return Self::of(&String::from_utf8(body.to_vec())?, &review["request"]);
            }
        }
    }

    fn of(text: &str, request: &Value) -> Result<Self> {
        let old = &request["oldObject"]["metadata"];
        let version = format!(r#""resourceVersion":{}"#, old["resourceVersion"]);
        let mut template = Self {
            pieces: vec![Piece::Text(text.to_owned())],
        };
        for (value, field) in [
            (request["uid"].as_str(), Field::Review),
            (old["uid"].as_str(), Field::Object),
            (Some(OBJECT), Field::Name),
            (Some(version.as_str()), Field::Version),
            (Some(USER), Field::User),
            (Some(OLD), Field::Old),
            (Some(NEW), Field::New),
        ] {
            let value = value.context("a review without a uid")?;
            template
                .make_room(value, field)
                .with_context(|| format!("{value} is not in the review"))?;
        }
        Ok(template)
    }

    /// `None` if the text is nowhere.
    fn make_room(&mut self, value: &str, field: Field) -> Option<()> {
        let mut found = None;
        for piece in std::mem::take(&mut self.pieces) {
            let Piece::Text(text) = piece else {
                self.pieces.push(piece);
                continue;
            };
            for (at, part) in text.split(value).enumerate() {
                if at > 0 {
                    found = Some(());
                    self.pieces.push(Piece::Field(field));
                }
                self.pieces.push(Piece::Text(part.to_owned()));
            }
        }
        found
    }

    /// The body for the update of this number. Each is of another base version, and of another content than before.
    pub(super) fn body(&self, number: u64) -> Bytes {
        let mut body = String::with_capacity(32 << 10);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => body.push_str(text),
                Piece::Field(field) => field.write(number, &mut body),
            }
        }
        body.into()
    }
}

// === impl Field ===

impl Field {
    /// As long as what the apiserver had there, or nearly.
    fn write(self, number: u64, body: &mut String) {
        use std::fmt::Write as _;
        let object = number % OBJECTS;
        // Writing to a String can't fail.
        let _ = match self {
            Self::Review => write!(body, "6ba7b810-9dad-41d1-80b4-{number:012x}"),
            Self::Object => write!(body, "6ba7b811-9dad-41d1-80b4-{object:012x}"),
            Self::Name => write!(body, "told-again-{object:08}"),
            Self::Version => write!(body, r#""resourceVersion":"{}""#, 1_000_000 + number),
            Self::User => write!(body, "told-by-{:02}", number % USERS),
            Self::Old => write!(body, "before-{number:08}"),
            Self::New => write!(body, "after-{number:09}"),
        };
    }
}

/// A server with the sidecar's certificate that allows everything and hands on what was posted, until the receiver goes.
async fn listen(reverser: &Reverser) -> Result<(String, mpsc::Receiver<Bytes>)> {
    let [certificate, key] = reverser.certificate_paths();
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address = format!("127.0.0.1:{}", free_port());
    let listener = TcpListener::bind(&address).await?;
    let (sender, posted) = mpsc::channel(100);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if sender.is_closed() {
                return;
            }
            tokio::spawn(serve(acceptor.clone(), stream, sender.clone()));
        }
    });
    Ok((format!("https://{address}/"), posted))
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, sender: mpsc::Sender<Bytes>) {
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let service = service_fn(|request: Request<Incoming>| {
        let sender = sender.clone();
        async move {
            let body = request.into_body().collect().await?.to_bytes();
            let answer = allowed(&body);
            // Nobody may be interested any more.
            let _ = sender.try_send(body);
            Ok::<_, hyper::Error>(Response::new(Full::new(answer)))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new();
    let _ = connection
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn allowed(body: &[u8]) -> Bytes {
    let review: Value = serde_json::from_slice(body).unwrap_or_default();
    let answer = serde_json::json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": review["request"]["uid"], "allowed": true},
    });
    answer.to_string().into()
}
