//! The envelope: `AdmissionReview` of `admission.k8s.io/v1`.
//!
//! The body is walked once and nothing is copied out of it: names are borrowed, and the objects
//! stay raw text until someone wants to look inside. Most reviews are answered without that.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// As much of an `AdmissionRequest` as observing it takes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// Names this call; the answer repeats it.
    #[serde(borrow)]
    pub uid: Cow<'a, str>,
    /// The resource in the version that the webhook is called with.
    #[serde(borrow, default)]
    pub resource: Resource<'a>,
    /// Empty, or such as `scale`.
    #[serde(borrow, default)]
    pub sub_resource: Cow<'a, str>,
    /// Absent where the object's own name says more: generateName, deletecollection.
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    /// Empty for cluster-scoped objects, except that a Namespace is said to be in itself.
    #[serde(borrow, default)]
    pub namespace: Cow<'a, str>,
    /// CREATE, UPDATE, DELETE or CONNECT.
    #[serde(borrow, default)]
    pub operation: Cow<'a, str>,
    /// Who asks.
    #[serde(borrow, default)]
    pub user_info: UserInfo<'a>,
    /// The object as it will be stored.
    #[serde(borrow, default)]
    pub object: Option<&'a RawValue>,
    /// The object that is replaced or deleted.
    #[serde(borrow, default)]
    pub old_object: Option<&'a RawValue>,
    /// Nothing will be stored.
    #[serde(default)]
    pub dry_run: Option<bool>,
    /// CreateOptions, UpdateOptions, PatchOptions or DeleteOptions.
    #[serde(borrow, default)]
    pub options: Option<&'a RawValue>,
}

/// `GroupVersionResource`.
#[derive(Debug, Default, Deserialize)]
pub struct Resource<'a> {
    /// Empty for core.
    #[serde(borrow, default)]
    pub group: Cow<'a, str>,
    /// Such as `v1`.
    #[serde(borrow, default)]
    pub version: Cow<'a, str>,
    /// The plural.
    #[serde(borrow, default)]
    pub resource: Cow<'a, str>,
}

/// `authentication.k8s.io/v1` UserInfo.
#[derive(Debug, Default, Deserialize)]
pub struct UserInfo<'a> {
    /// The name that RBAC knows.
    #[serde(borrow, default)]
    pub username: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    request: Option<Request<'a>>,
}

/// The body is not a question that can be answered. No variant holds any of it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReviewError {
    /// Not JSON, or JSON of another shape.
    #[error("not an AdmissionReview: {category} error at line {line} column {column}")]
    Json {
        /// syntax, data or eof.
        category: &'static str,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// Another type, or another version of it.
    #[error("not an AdmissionReview of {API_VERSION}")]
    WrongType,
    /// Nothing to answer.
    #[error("an AdmissionReview without request.uid")]
    NoRequest,
}

/// Reads a body.
///
/// # Errors
/// When it is not an `AdmissionReview` of `admission.k8s.io/v1` with a request in it.
pub fn parse(body: &[u8]) -> Result<Request<'_>, ReviewError> {
    let review: Review<'_> = serde_json::from_slice(body).map_err(|error| ReviewError::Json {
        // serde's own message may quote the value it tripped over.
        category: match error.classify() {
            serde_json::error::Category::Io => "i/o",
            serde_json::error::Category::Syntax => "syntax",
            serde_json::error::Category::Data => "data",
            serde_json::error::Category::Eof => "eof",
        },
        line: error.line(),
        column: error.column(),
    })?;
    if review.api_version != API_VERSION || review.kind != KIND {
        return Err(ReviewError::WrongType);
    }
    review
        .request
        .filter(|request| !request.uid.is_empty())
        .ok_or(ReviewError::NoRequest)
}

/// The only answer there is: allowed.
#[must_use]
pub fn allowed(uid: &str) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer<'a> {
        api_version: &'a str,
        kind: &'a str,
        response: Response<'a>,
    }
    #[derive(Serialize)]
    struct Response<'a> {
        uid: &'a str,
        allowed: bool,
    }
    serde_json::to_vec(&Answer {
        api_version: API_VERSION,
        kind: KIND,
        response: Response { uid, allowed: true },
    })
    .expect("strings and a bool always serialize")
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_borrowed_and_escapes_are_undone() {
        let body = br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{
            "uid":"u-1","userInfo":{"username":"J\u00f6 \"x\"\n"},"name":"n",
            "object":null,"oldObject":{"a":[1, 2]},"options":null}}"#;
        let request = parse(body).unwrap();
        assert!(matches!(request.uid, Cow::Borrowed("u-1")));
        assert_eq!(request.user_info.username, "Jö \"x\"\n");
        assert!(request.object.is_none());
        assert_eq!(request.old_object.unwrap().get(), r#"{"a":[1, 2]}"#);
        assert!(request.options.is_none());
    }

    #[test]
    fn what_is_not_a_review_of_v1_is_an_error() {
        let review = |version: &str, kind: &str, request: &str| {
            format!(r#"{{"apiVersion":"{version}","kind":"{kind}"{request}}}"#)
        };
        let uid = r#","request":{"uid":"u"}"#;
        assert!(parse(review(API_VERSION, KIND, uid).as_bytes()).is_ok());
        for (body, error) in [
            (
                review("admission.k8s.io/v1beta1", KIND, uid),
                ReviewError::WrongType,
            ),
            (review(API_VERSION, "Pod", uid), ReviewError::WrongType),
            ("{}".to_owned(), ReviewError::WrongType),
            (review(API_VERSION, KIND, ""), ReviewError::NoRequest),
            (
                review(API_VERSION, KIND, r#","request":null"#),
                ReviewError::NoRequest,
            ),
            (
                review(API_VERSION, KIND, r#","request":{"uid":""}"#),
                ReviewError::NoRequest,
            ),
        ] {
            assert_eq!(parse(body.as_bytes()).unwrap_err(), error, "{body}");
        }
        for body in ["", "{", "null", "7", "\u{feff}{}", r#"{"kind":1}"#] {
            let error = parse(body.as_bytes()).unwrap_err();
            assert!(matches!(error, ReviewError::Json { .. }), "{body}");
        }
        assert!(parse(b"\xff\xfe").is_err());
    }

    #[test]
    fn an_error_quotes_nothing_of_the_body() {
        let body =
            br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":"hunter2"}"#;
        let error = parse(body).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn the_answer_repeats_the_uid() {
        let answer: serde_json::Value = serde_json::from_slice(&allowed("a\"b")).unwrap();
        assert_eq!(
            answer,
            serde_json::json!({
                "apiVersion": "admission.k8s.io/v1",
                "kind": "AdmissionReview",
                "response": {"uid": "a\"b", "allowed": true},
            })
        );
    }
}
