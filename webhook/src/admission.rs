//! The HTTP side of an admission, without the socket.
//!
//! A request gets one of: 404 any path but ours, 405 not POST, 415 not JSON, 413 too large,
//! 408 too slow, 503 too many large ones at a time, 400 not an AdmissionReview v1. Everything
//! else is answered 200 and allowed.

mod body;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Incoming};

use crate::interest::{CurrentInterest, InterestSet};
use crate::metrics::Metrics;
use crate::observe::{Outcome, observe};
use crate::outbox::{Outbox, Receipt};
use crate::reach::Reach;
use crate::review::{self, ReviewError};
use crate::server::webhook::Handler;
use crate::token::Route;
use body::{Bodies, BodyError};

pub use body::MAX_BODY;

/// From this size on a body is hashed on a thread of its own, so that the small ones behind it
/// don't wait: below it takes some 1 ms.
const LARGE_BODY: usize = 64 << 10;

/// Answers admissions. Shared by all connections.
#[derive(Debug)]
pub struct Admission {
    route: Route,
    reviewer: Arc<Reviewer>,
    interest: Arc<CurrentInterest>,
    metrics: Arc<Metrics>,
    bodies: Bodies,
}

/// What is done with a body, on whichever thread.
#[derive(Debug)]
struct Reviewer {
    outbox: Arc<Outbox>,
    reach: Reach,
}

/// Why a request gets no review.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("not found")]
    Path,
    #[error("only POST is served")]
    Method,
    #[error("the content type must be application/json")]
    ContentType,
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Review(#[from] ReviewError),
}

/// What is left of a review once it is read and what it showed is queued.
struct Decision {
    answer: Bytes,
    label: &'static str,
    receipt: Option<Receipt>,
}

impl Admission {
    /// Serves this route.
    #[must_use]
    pub fn new(
        route: Route,
        outbox: Arc<Outbox>,
        interest: Arc<CurrentInterest>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            route,
            reviewer: Arc::new(Reviewer {
                outbox,
                reach: Reach::new(Instant::now()),
            }),
            interest,
            metrics,
            bodies: Bodies::default(),
        }
    }

    /// Answers one request. Never fails: whatever is wrong with it is a status code.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes>,
    {
        let started = Instant::now();
        match self.review(request, started).await {
            Ok(Decision {
                answer,
                label,
                receipt,
            }) => {
                if let Some(receipt) = receipt {
                    let delivery = self.reviewer.outbox.delivered(receipt).await;
                    tracing::trace!(?delivery, "observed");
                }
                self.metrics.request(label, Some(started.elapsed()));
                let mut response = Response::new(Full::new(answer));
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err(refusal) => {
                let (status, label) = refusal.status();
                self.metrics.request(label, None);
                tracing::debug!(%refusal, status = status.as_u16(), "request refused");
                refusal.response(status)
            }
        }
    }

    async fn review<B>(&self, request: Request<B>, started: Instant) -> Result<Decision, Refusal>
    where
        B: Body<Data = Bytes>,
    {
        if !self.route.matches(request.uri().path()) {
            return Err(Refusal::Path);
        }
        if request.method() != Method::POST {
            return Err(Refusal::Method);
        }
        if !is_json(request.headers().get(CONTENT_TYPE)) {
            return Err(Refusal::ContentType);
        }
        let body = self.bodies.read(request.into_body()).await?;
        let interest = self.interest.load();
        if body.len() < LARGE_BODY {
            return Ok(self.reviewer.decide(&body, &interest, started)?);
        }
        // The apiserver may give up on the answer meanwhile, and this future goes with its stream; the write goes ahead all
        // the same. So what it showed is queued over there: a task that blocks runs to its end.
        let reviewer = Arc::clone(&self.reviewer);
        let decided =
            tokio::task::spawn_blocking(move || reviewer.decide(&body, &interest, started)).await;
        match decided {
            Ok(decided) => Ok(decided?),
            // Let the panic end this request as it would have ended it here.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Handler for Admission {
    fn serves(&self, path: &str) -> bool {
        self.route.matches(path)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        self.handle(request).await
    }
}

impl Reviewer {
    /// Reads a body and queues what it shows; only the acknowledgement is left to wait for.
    fn decide(
        &self,
        body: &[u8],
        interest: &InterestSet,
        started: Instant,
    ) -> Result<Decision, ReviewError> {
        let request = review::parse(body)?;
        let outcome = observe(&request, interest, SystemTime::now());
        let answer = review::allowed(&request.uid);
        let label = outcome.label();
        let early = self.reach.is_early(started);
        let receipt = match outcome {
            Outcome::Observed(mut observation) => {
                observation.early = early;
                Some(self.outbox.push(*observation))
            }
            Outcome::Skipped(_) => None,
        };
        Ok(Decision {
            answer,
            label,
            receipt,
        })
    }
}

fn is_json(content_type: Option<&HeaderValue>) -> bool {
    content_type
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

impl Refusal {
    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Path => (StatusCode::NOT_FOUND, "not_found"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::ContentType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json"),
            Self::Body(BodyError::TooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::Body(BodyError::TooSlow) => (StatusCode::REQUEST_TIMEOUT, "too_slow"),
            Self::Body(BodyError::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::Body(BodyError::Broken) => (StatusCode::BAD_REQUEST, "broken_body"),
            Self::Review(_) => (StatusCode::BAD_REQUEST, "malformed"),
        }
    }

    fn response(&self, status: StatusCode) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(format!("{self}\n").into()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        if matches!(self, Self::Method) {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

#[cfg(test)]
mod tests;
