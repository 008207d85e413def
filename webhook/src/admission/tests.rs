use std::convert::Infallible;
use std::time::Duration;

use futures::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};

use super::*;
use crate::outbox::Limits;
use crate::token::PATH;

fn admission(route: Route) -> Admission {
    let metrics = Arc::new(Metrics::new().unwrap());
    let outbox = Arc::new(Outbox::new(Limits::default(), Arc::clone(&metrics)));
    Admission::new(route, outbox, Arc::default(), metrics)
}

fn review(padding: usize) -> Bytes {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u-1",
            "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "configmaps"},
            "namespace": "lab",
            "userInfo": {"username": "jane"},
            "object": {
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "n", "namespace": "lab", "uid": "o-1"},
                "data": {"padding": "x".repeat(padding)},
            },
        },
    })
    .to_string()
    .into()
}

fn post<B>(body: B) -> Request<B> {
    Request::post(PATH)
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .unwrap()
}

async fn status(admission: &Admission, request: Request<Full<Bytes>>) -> u16 {
    admission.handle(request).await.status().as_u16()
}

async fn answer(response: Response<Full<Bytes>>) -> Value {
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn a_review_is_allowed_and_observed() {
    let admission = admission(Route::open());
    let response = admission.handle(post(Full::new(review(0)))).await;
    assert_eq!(
        answer(response).await["response"],
        json!({"uid": "u-1", "allowed": true})
    );
    assert_eq!(admission.reviewer.outbox.depth(), 1);
}

#[tokio::test]
async fn a_review_of_two_largest_objects_is_allowed() {
    let admission = admission(Route::open());
    let body = review(6 << 20);
    let response = admission.handle(post(Full::new(body))).await;
    assert_eq!(answer(response).await["response"]["allowed"], true);
    assert_eq!(admission.reviewer.outbox.depth(), 1);
}

/// As hyper drops it when the apiserver resets the stream.
#[tokio::test]
async fn a_large_review_that_nobody_waits_for_any_more_is_observed() {
    let admission = admission(Route::open());
    let mut handling = Box::pin(admission.handle(post(Full::new(review(1 << 20)))));
    assert!(futures::poll!(handling.as_mut()).is_pending());
    drop(handling);
    // Until the thread that has it is done.
    while Arc::strong_count(&admission.reviewer) > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(admission.reviewer.outbox.depth(), 1);
}

#[tokio::test]
async fn a_body_in_many_pieces_is_one_body() {
    let admission = admission(Route::open());
    let body = review(200_000);
    let frames: Vec<_> = body
        .chunks(1000)
        .map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(chunk))))
        .collect();
    let response = admission
        .handle(post(StreamBody::new(stream::iter(frames))))
        .await;
    assert_eq!(answer(response).await["response"]["uid"], "u-1");
}

#[tokio::test]
async fn a_skipped_review_is_allowed_all_the_same() {
    let admission = admission(Route::open());
    for request in [
        json!({"uid": "u", "dryRun": true}),
        json!({"uid": "u", "operation": "CREATE", "object": 7}),
        json!({"uid": "u", "operation": "CREATE", "object": {"metadata": 7}}),
        json!({"uid": "u"}),
    ] {
        let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                          "request": request})
        .to_string();
        let response = admission.handle(post(Full::new(body.into()))).await;
        assert_eq!(answer(response).await["response"]["allowed"], true);
    }
    assert_eq!(admission.reviewer.outbox.depth(), 0);
}

#[tokio::test]
async fn an_object_nested_without_end_is_allowed() {
    let admission = admission(Route::open());
    let body = String::from_utf8(review(0).to_vec())
        .unwrap()
        .replace(r#""x""#, "0")
        .replace(
            r#""padding":"""#,
            &format!(
                r#""padding":{}{}"#,
                "[".repeat(100_000),
                "]".repeat(100_000)
            ),
        );
    let response = admission.handle(post(Full::new(body.into()))).await;
    assert_eq!(answer(response).await["response"]["allowed"], true);
}

#[tokio::test]
async fn malformed_bodies_are_bad_requests() {
    let admission = admission(Route::open());
    let v1beta1 = r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"u"}}"#;
    for body in ["", "{", "[]", "\0", "{}", v1beta1] {
        let request = post(Full::new(Bytes::from_static(body.as_bytes())));
        assert_eq!(status(&admission, request).await, 400, "{body}");
    }
    let review = review(0);
    for end in [1, review.len() / 2, review.len() - 1] {
        let request = post(Full::new(review.slice(..end)));
        assert_eq!(status(&admission, request).await, 400);
    }
}

#[tokio::test]
async fn oversized_bodies_are_refused_whether_announced_or_not() {
    let admission = admission(Route::open());
    let body = Bytes::from(vec![b' '; MAX_BODY + 1]);
    assert_eq!(status(&admission, post(Full::new(body))).await, 413);
    let endless = stream::repeat_with(|| {
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b' '; 1 << 16])))
    });
    let response = admission.handle(post(StreamBody::new(endless))).await;
    assert_eq!(response.status(), 413);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_bad_request() {
    let admission = admission(Route::open());
    let frames = stream::iter([
        Ok(Frame::data(review(0).slice(..10))),
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
    ]);
    let response = admission.handle(post(StreamBody::new(frames))).await;
    assert_eq!(response.status(), 400);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_times_out() {
    let admission = admission(Route::open());
    let slow = stream::iter([Ok::<_, Infallible>(Frame::data(review(0).slice(..10)))])
        .chain(stream::pending());
    let started = tokio::time::Instant::now();
    let response = admission.handle(post(StreamBody::new(slow))).await;
    assert_eq!(response.status(), 408);
    assert_eq!(started.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn slow_large_bodies_can_not_take_all_memory() {
    let admission = Arc::new(admission(Route::open()));
    let slow = || {
        let first = Frame::data(Bytes::from(vec![b' '; 1 << 17]));
        StreamBody::new(stream::iter([Ok::<_, Infallible>(first)]).chain(stream::pending()))
    };
    let holders: Vec<_> = (0..4)
        .map(|_| {
            let admission = Arc::clone(&admission);
            tokio::spawn(async move { admission.handle(post(slow())).await.status() })
        })
        .collect();
    tokio::task::yield_now().await;
    let large = post(Full::new(review(1 << 20)));
    assert_eq!(status(&admission, large).await, 503);
    let small = post(Full::new(review(0)));
    assert_eq!(status(&admission, small).await, 200);
    for holder in holders {
        assert_eq!(holder.await.unwrap(), 408);
    }
    let large = post(Full::new(review(1 << 20)));
    assert_eq!(status(&admission, large).await, 200);
}

#[tokio::test]
async fn other_paths_methods_and_types_are_told_apart() {
    let admission = admission(Route::open());
    let request = |method: Method, path: &str, content_type: Option<&str>| {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        request.body(Full::new(review(0))).unwrap()
    };
    for (method, path, content_type, expected) in [
        (Method::POST, PATH, Some("application/json"), 200),
        (
            Method::POST,
            "/process-validating-webhook?timeout=1s",
            Some("application/json"),
            200,
        ),
        (
            Method::POST,
            PATH,
            Some("Application/JSON; charset=utf-8"),
            200,
        ),
        (Method::POST, PATH, Some("application/jsonp"), 415),
        (Method::POST, PATH, Some("text/plain"), 415),
        (Method::POST, PATH, None, 415),
        (Method::GET, PATH, None, 405),
        (Method::PUT, PATH, Some("application/json"), 405),
        (Method::POST, "/", Some("application/json"), 404),
        (Method::GET, "/process-validating-webhook/", None, 404),
    ] {
        let request = request(method.clone(), path, content_type);
        let status = status(&admission, request).await;
        assert_eq!(status, expected, "{method} {path} {content_type:?}");
    }
}

#[tokio::test]
async fn with_a_token_the_bare_path_does_not_exist() {
    let token = "0123456789abcdef";
    let admission = admission(Route::with_token(token).unwrap());
    assert_eq!(status(&admission, post(Full::new(review(0)))).await, 404);
    let mut request = post(Full::new(review(0)));
    *request.uri_mut() = format!("{PATH}/{token}").parse().unwrap();
    assert_eq!(status(&admission, request).await, 200);
}
