//! A manifest as a SOPS file, and SOPS files looked at.
//!
//! The MAC is over *all* values, as SOPS has made it since its beginning, not over the encrypted ones alone (`mac_only_encrypted`, which
//! releases before 3.9 take for a broken file): so no name, namespace or label gets another value unnoticed either.

use bytes::Bytes;
use manifest::{CanonicalizeError, Identity, ParseError};
use ring::digest;
use serde_json::{Map, Value, json};

use super::super::redact::{escaped, is_kept};
use super::age;
use super::format::{MARK, Plain};
use super::recipient::Recipients;
use super::seed::{ClusterKey, Purpose, Seed};

/// Where SOPS keeps what it needs.
const FIELD: &str = "sops";

/// What of every file is encrypted: Flux and everybody's `.sops.yaml` have it so for Secrets.
const ALWAYS: [&str; 2] = ["data", "stringData"];

/// What else would be encrypted if a field beside metadata had such a name; nobody could tell then whose file it is.
const OF_METADATA: [&str; 5] = ["annotations", "finalizers", "labels", "name", "namespace"];

/// Part of the MAC, so it must not differ from time to time. When a file was changed, Git says.
const LAST_MODIFIED: &str = "1970-01-01T00:00:00Z";

/// The release whose format this is; older ones of version 3 read it as well.
const VERSION: &str = "3.9.0";

/// A manifest can't be encrypted. Nothing of its content is told.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EncryptError {
    /// It does not read back.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// It is no object any more.
    #[error(transparent)]
    Canonicalize(#[from] CanonicalizeError),
    /// Its own field `sops` would be lost.
    #[error("it has a field 'sops' already")]
    HasSops,
    /// SOPS would encrypt it in metadata as well.
    #[error("it has a field beside metadata that is named as one of metadata: {0}")]
    NamedAsMetadata(&'static str),
    /// None of the libraries' own conditions, all of which are about lengths, can fail here.
    #[error("it can't be encrypted")]
    Cipher,
    /// There must be somebody who can read it.
    #[error("there is nobody to encrypt it for")]
    NoRecipients,
    /// Without it nothing is derived.
    #[error("there is no key (--redaction-key-file)")]
    NoKey,
}

impl From<ring::error::Unspecified> for EncryptError {
    fn from(_: ring::error::Unspecified) -> Self {
        Self::Cipher
    }
}

impl From<aes_gcm::Error> for EncryptError {
    fn from(_: aes_gcm::Error) -> Self {
        Self::Cipher
    }
}

pub(super) fn encrypt(
    key: &ClusterKey,
    identity: &Identity,
    text: &[u8],
    recipients: &Recipients,
) -> Result<Bytes, EncryptError> {
    if recipients.is_empty() {
        return Err(EncryptError::NoRecipients);
    }
    let mut object = manifest::parse(text)?;
    let Some(fields) = object.as_object_mut() else {
        return Err(CanonicalizeError::NotAnObject.into());
    };
    if fields.contains_key(FIELD) {
        return Err(EncryptError::HasSops);
    }
    if let Some(name) = OF_METADATA.into_iter().find(|it| fields.contains_key(*it)) {
        return Err(EncryptError::NamedAsMetadata(name));
    }
    let seed = key.seed(identity, text, recipients);
    let mut walk = Walk {
        data_key: seed.derive(Purpose::DataKey, ""),
        seed: &seed,
        encrypted: encrypted_fields(identity, fields),
        mac: digest::Context::new(&digest::SHA512),
        path: Vec::new(),
    };
    walk.fields(fields, "")?;
    let sops = walk.metadata(recipients)?;
    fields.insert(FIELD.to_owned(), sops);
    Ok(manifest::canonicalize(&object)?.text.into())
}

/// The names below which everything is encrypted, wherever they stand in a path: that is how SOPS reads its expression, so that a label
/// of such a name is encrypted too.
fn encrypted_fields(identity: &Identity, fields: &Map<String, Value>) -> Vec<String> {
    let own = fields.keys().filter(|field| !is_kept(identity, field));
    let mut names: Vec<String> = own.cloned().chain(ALWAYS.map(ToOwned::to_owned)).collect();
    names.sort();
    names.dedup();
    names
}

struct Walk<'a> {
    seed: &'a Seed,
    data_key: [u8; 32],
    encrypted: Vec<String>,
    mac: digest::Context,
    /// As SOPS has it: without the indices of lists.
    path: Vec<String>,
}

impl Walk<'_> {
    /// In the order of the text, which the MAC depends on.
    fn fields(
        &mut self,
        fields: &mut Map<String, Value>,
        pointer: &str,
    ) -> Result<(), EncryptError> {
        for field in manifest::keys_in_order(pointer, fields) {
            let Some(value) = fields.get_mut(&field) else {
                continue;
            };
            let below = format!("{pointer}/{}", escaped(&field));
            self.path.push(field);
            self.value(value, &below)?;
            self.path.pop();
        }
        Ok(())
    }

    fn value(&mut self, value: &mut Value, pointer: &str) -> Result<(), EncryptError> {
        match value {
            Value::Object(fields) => self.fields(fields, pointer)?,
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(item, &format!("{pointer}/{index}"))?;
                }
            }
            scalar => {
                let Some(plain) = Plain::of(scalar) else {
                    return Ok(());
                };
                self.mac.update(&plain.bytes);
                if self.path.iter().any(|it| self.encrypted.contains(it)) {
                    let iv = self.seed.derive(Purpose::ValueIv, pointer);
                    let aad = format!("{}:", self.path.join(":"));
                    *scalar = plain.encrypted(&self.data_key, &iv, &aad)?.into();
                }
            }
        }
        Ok(())
    }

    fn metadata(self, recipients: &Recipients) -> Result<Value, EncryptError> {
        let mac = self.mac.finish();
        let mac: String = mac
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        let iv = self.seed.derive(Purpose::MacIv, "");
        let mac = Plain::of(&mac.into()).ok_or(EncryptError::Cipher)?;
        let mac = mac.encrypted(&self.data_key, &iv, LAST_MODIFIED)?;
        let age = recipients
            .iter()
            .map(|recipient| {
                let enc = age::wrap(&self.data_key, recipient, self.seed)?;
                Ok(json!({"recipient": recipient.as_ref(), "enc": enc}))
            })
            .collect::<Result<Vec<Value>, EncryptError>>()?;
        Ok(json!({
            "age": age,
            "encrypted_regex": regex(&self.encrypted),
            "lastmodified": LAST_MODIFIED,
            "mac": mac,
            "version": VERSION,
        }))
    }
}

/// Exactly these names.
fn regex(names: &[String]) -> String {
    let quoted = |name: &String| {
        let mut quoted = String::new();
        for character in name.chars() {
            if r"\.+*?()|[]{}^$".contains(character) {
                quoted.push('\\');
            }
            quoted.push(character);
        }
        quoted
    };
    let names: Vec<String> = names.iter().map(quoted).collect();
    format!("^({})$", names.join("|"))
}

/// Whether a file was encrypted here, for whomever.
pub(in crate::secrets) fn is_ours(file: &Value) -> bool {
    let sops = &file[FIELD];
    sops["lastmodified"] == LAST_MODIFIED && sops["mac"].is_string() && sops["age"].is_array()
}

/// Whether a file is what [`encrypt`] makes of some version of the object, for these recipients.
pub(in crate::secrets) fn is_encrypted_for(
    identity: &Identity,
    file: &Value,
    recipients: &Recipients,
) -> bool {
    let Some(fields) = file.as_object().filter(|_| is_ours(file)) else {
        return false;
    };
    let age = file[FIELD]["age"].as_array().into_iter().flatten();
    age.map(|it| it["recipient"].as_str().unwrap_or_default())
        .eq(recipients.iter().map(AsRef::as_ref))
        && fields
            .iter()
            .filter(|(field, _)| !is_kept(identity, field) && *field != FIELD)
            .all(|(_, value)| is_hidden(value))
}

/// For whom a file is encrypted; `None` where it holds anything that is not.
pub(in crate::secrets) fn readers(identity: &Identity, file: &Value) -> Option<Recipients> {
    let age = file[FIELD]["age"].as_array()?;
    let readers = age.iter().map(|it| it["recipient"].as_str()?.parse().ok());
    let readers: Recipients = readers.collect::<Option<Vec<_>>>()?.into_iter().collect();
    is_encrypted_for(identity, file, &readers).then_some(readers)
}

/// Encrypted, or nothing that SOPS would encrypt.
pub(in crate::secrets) fn is_hidden(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().all(is_hidden),
        Value::Array(items) => items.iter().all(is_hidden),
        Value::String(text) => text.is_empty() || text.starts_with(MARK),
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Takes away what makes the file one of SOPS: its values are to be hidden otherwise.
pub(in crate::secrets) fn strip(file: &mut Value) {
    if is_ours(file)
        && let Some(fields) = file.as_object_mut()
    {
        fields.remove(FIELD);
    }
}
