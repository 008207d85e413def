//! Who may read and write a Git server over HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderValue;

use super::Secret;

/// Who may do what.
#[derive(Clone, Debug, Default)]
pub enum HttpAuth {
    /// Anyone may read and write.
    #[default]
    Open,
    /// HTTP basic authentication for everything.
    Basic {
        /// The user name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// `Authorization: Bearer …` for everything.
    Bearer(Secret),
}

/// The request carries no credential, or not the right one.
pub(super) struct Refused;

// === impl HttpAuth ===

impl HttpAuth {
    /// The user that the credential proves, or `None` where nobody has to say who they are.
    pub(super) fn check(
        &self,
        authorization: Option<&HeaderValue>,
    ) -> Result<Option<String>, Refused> {
        let authorization = authorization.and_then(|value| value.to_str().ok());
        match self {
            Self::Open => Ok(None),
            Self::Basic { user, password } => {
                let expected = format!("{user}:{}", password.reveal());
                let given = authorization
                    .and_then(|value| value.strip_prefix("Basic "))
                    .and_then(|value| BASE64.decode(value).ok())
                    .ok_or(Refused)?;
                if given == expected.as_bytes() {
                    Ok(Some(user.clone()))
                } else {
                    Err(Refused)
                }
            }
            Self::Bearer(token) => {
                let given = authorization
                    .and_then(|value| value.strip_prefix("Bearer "))
                    .ok_or(Refused)?;
                if given == token.reveal() {
                    Ok(Some("bearer".to_owned()))
                } else {
                    Err(Refused)
                }
            }
        }
    }
}
