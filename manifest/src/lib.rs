//! The canonical form of a Kubernetes object: what the webhook sidecar and the reverser must
//! compute alike, or no admission would ever match a watch event.
//!
//! `sanitize → canonical YAML → hash`, and `identity → path in Git`. Pure: no I/O, no clock.

mod canonical;
mod cut;
mod hashes;
mod identity;
mod left_out;
mod path;
mod sanitize;
mod work;
mod yaml;

pub use canonical::{CanonicalizeError, Manifest, canonicalize};
pub use hashes::{ReplicasPath, managed_fields_hash, replicas};
pub use identity::{Identity, ParseSpecHashError, SpecHash};
pub use left_out::{ClusterMade, LeftOut, left_out};
pub use path::{
    encode_segment, file_path, group_directory, is_api_version, is_manifest_file_name, is_segment,
    type_directory,
};
pub use sanitize::{Rule, rules, sanitize};
pub use yaml::{ParseError, keys_in_order, parse};
