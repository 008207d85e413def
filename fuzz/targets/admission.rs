//! Whatever is posted to the webhook: it is read or refused, and every answer is one that the apiserver understands.
#![no_main]

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use webhook::interest::InterestSet;
use webhook::observe::{MAX_OBSERVATION, Outcome, observe};
use webhook::review::{allowed, parse};

fuzz_target!(|body: &[u8]| {
    let Ok(request) = parse(body) else {
        return;
    };
    let answer: serde_json::Value =
        serde_json::from_slice(&allowed(&request.uid)).expect("an answer is JSON");
    assert_eq!(answer["response"]["allowed"], true);
    assert_eq!(answer["response"]["uid"], *request.uid);
    let everything = InterestSet::Everything;
    if let Outcome::Observed(observation) = observe(&request, &everything, SystemTime::UNIX_EPOCH) {
        assert!(!observation.username.is_empty() || request.user_info.username.is_empty());
        assert!(format!("{observation:?}").len() < 16 * MAX_OBSERVATION);
    }
});
