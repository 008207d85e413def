//! Who works in the cluster.

use rand::Rng;
use rand::rngs::StdRng;

/// Names that a header can carry, and Git's formats could stumble over.
const ODD: [&str; 16] = [
    "🦀 crab",
    "quo\"te",
    "it's me",
    "Name <mail@example.com>",
    "Signed-off-by: x",
    "Kubernetes-User: root",
    "100%25 sure%0A",
    "back\\slash",
    "tab\tulator",
    "#hash;semi,comma",
    "-dash",
    ".",
    "..",
    "ÄÖÜ ß ñ 日本語",
    "oidc:https://issuer.example/realms/a#b",
    "trailing colon:",
];

/// One of a thousand, some of them odd.
pub(crate) fn anybody(rng: &mut StdRng) -> String {
    match rng.random_range(0..1000) {
        n @ 0..40 => ODD[n % ODD.len()].to_owned(),
        40..60 => format!("{}-{}", "long".repeat(100), rng.random_range(0..5)),
        n @ 60..120 => format!("system:serviceaccount:team-{}:robot-{}", n % 7, n % 3),
        n => format!("user-{n}@example.com"),
    }
}
